"""Step three: inserts the movies into Milvus (-i) and recommends movies."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from recommender.api import Recommender
from recommender.cli.options import Parser, path_arg, refuse_overwriting
from recommender.cli.output import FORMATS, format_csv, format_prediction
from recommender.errors import UsageError, one_line, pluralize
from recommender.files import atomic_write
from recommender.movielens.encoding import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.vectors import RANKINGS, STAR_WEIGHT

PERSON = ("age", "gender", "job", "user", "like", "seen", "ratings")
"""Options that say who asks, by the names of `Recommender.recommend`."""
ORDER = ("k", "skip", "by", "variety", "novelty", "why")
FILTERS = ("genre", "not_genre", "year", "min_ratings", "max_ratings", "among", "not_among")


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
ages, by number or label; above {len(AGE_LABELS) - 1} an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

Score is the rating that we expect the user to give, in stars. Pick says how likely they are to watch the movie and like
it: 0 is not at all, 1 is surely, with 4 stars. A list is ordered by

  both      Pick + {STAR_WEIGHT:g} x Score, where there are ratings: --user, --ratings
  similar   likeness to the films named, where --like is all that is given, up to ten times
  picks     Pick, where films are known in another way (--like with -a, --seen, a file without stars), and for --with
  stars     Score, for age, gender and job alone, as in the original

unless --by says otherwise. Options may stand in a file: python infer_milvus.py @me.txt

environment: RECOMMENDER_WORKDIR, RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand
for --workdir, --uri, --token and --tls-ca."""
FOR_WHOM = """\
what is left out is unknown

  python infer_milvus.py -a 25-34 -g F -j programmer
  python infer_milvus.py --ratings letterboxd-export.zip
  python infer_milvus.py -a 30 --like alien --like "blade runner" --seen "pretty woman"
  python infer_milvus.py --like stalker                          films like this one
  python infer_milvus.py --user 42"""
INSTEAD = """\
  python infer_milvus.py --ratings me.csv --with partner.csv     something for two
  python infer_milvus.py --users all -k 10 --output all.csv      a list for each user
  python infer_milvus.py --user 1 --movie 783                    what user 1 would think of one movie"""
WHICH_MOVIES = """\
  python infer_milvus.py -g F --genre War --genre Western --not-genre Romance --year 1950-1969
  python infer_milvus.py --ratings data/sample/my_ratings.csv --among data/sample/watchlist.csv
  python infer_milvus.py --like alien --max-ratings 10%          little known films like Alien"""
WHICH_ORDER = """\
  python infer_milvus.py --ratings me.csv --novelty 0.5 --variety 0.5 --why
  python infer_milvus.py --user 42 --by stars -k 10 --skip 10    the next ten"""
OUTPUT = """\
  python infer_milvus.py --like "toy story" -k 20 --format json
  python infer_milvus.py --ratings me.csv -k 50 --format letterboxd --output list.csv"""
STORAGE = """\
  python infer_milvus.py -a 0 -g 1 -j 10 -i
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = Parser(__doc__, EPILOG)
    _add_options(parser)
    options = parser.parse(argv)
    given = vars(options)
    options.person = {name: given[name] for name in PERSON if given[name] not in (None, [])}
    options.order = {name: given[name] for name in (*ORDER, *FILTERS)}
    if options.users and options.person:
        parser.error("--users writes a list for each of many; leave out options that say who asks")
    if (options.users or options.movie) and options.format != "table":
        parser.error("--users writes a CSV, and --movie has one format; leave out --format")
    films = [*options.ratings, *options.among, *options.not_among, *options.together, options.users]
    if films.count("-") > 1:
        parser.error("standard input (-) can be read once; save one of the files")
    workdir = options.workdir
    inputs = [Path(file) for file in films if file and file != "all" and not file.isdecimal()]
    inputs += [workdir.model, workdir.movies_origin, workdir.movies_data, Path(options.uri or workdir.database)]
    refuse_overwriting(parser, "--output", options.output, inputs)
    refuse_overwriting(parser, "--matches", options.matches, [*inputs, options.output])
    return options


def _add_options(parser: Parser) -> None:
    texts: dict[str, Any] = {"action": "append", "default": []}
    files: dict[str, Any] = {**texts, "type": os.path.expanduser}
    add = parser.add_argument_group("for whom", FOR_WHOM).add_argument
    add("-a", "--age", help="age group, as listed below, or an age in years")
    add("-g", "--gender", help="0 or M, 1 or F")
    add("-j", "--job", help="job, as listed below")
    add("--like", **texts, metavar="TITLE", help="a film that you like: title, part of it, or id:1214; repeatable")
    add("--seen", **texts, metavar="TITLE", help="a film that you have seen and not liked much; repeatable")
    ratings = "your films: an export of Letterboxd, IMDb, Trakt and others, or a table of ratings; repeatable"
    add("--ratings", **files, metavar="FILE", help=ratings)
    add("--user", metavar="ID", help="a user of the training data, by id, without what they rated in training")
    add("--include-seen", action="store_true", help="also movies that users of the training data rated there")

    add = parser.add_argument_group("in place of a list for one", INSTEAD).add_mutually_exclusive_group().add_argument
    others = "something to watch together with another user: an id, or a file as for --ratings; repeatable"
    add("--with", **files, dest="together", metavar="FILE|ID", help=others)
    users = "a CSV of lists for many users: all, a file of ids, one per line, or a table of ratings with a column user"
    add("--users", type=os.path.expanduser, metavar="FILE|all", help=users)
    add("--movie", metavar="TITLE|ID", help="what you would think of this movie: a title, or a number, which is an id")

    add = parser.add_argument_group("which movies", WHICH_MOVIES).add_argument
    add("--genre", **texts, help="movies of any genre given; repeatable")
    add("--not-genre", **texts, metavar="GENRE", help="no movie that has this genre; repeatable")
    add("--year", **texts, metavar="YEARS", help="movies of 1994, 1990-1999, 1990- or -1960; repeatable")
    minimum = (
        "at least so many training ratings; 10%% excludes the least rated tenth (default: 50 by stars, 1 by similar)"
    )
    add("--min-ratings", metavar="N|N%", help=minimum)
    add("--max-ratings", metavar="N|N%", help="at most so many training ratings; 10%% for the least rated tenth")
    among = "only the films of a file: a watchlist, any export, or a title per line; repeatable"
    add("--among", **files, metavar="FILE", help=among)
    not_among = "none of the films of a file, which say nothing about your taste; repeatable"
    add("--not-among", **files, metavar="FILE", help=not_among)

    add = parser.add_argument_group("in which order", WHICH_ORDER).add_argument
    add("-k", "--top-k", dest="k", default=5, metavar="K", help="number of movies (default: 5)")
    add("--skip", metavar="N", default=0, help="leave out the first N movies of the list")
    add("--by", choices=list(RANKINGS), help="the order, see below")
    add("--variety", default=0, metavar="0..1", help="less of one kind; 0, the default, is the exact order")
    add("--novelty", default=0, metavar="0..1", help="less of what everyone likes (default: 0)")
    add("--why", action="store_true", help="print what contributes most to each movie's place")

    add = parser.add_argument_group("output", OUTPUT).add_argument
    add("--format", choices=list(FORMATS), default="table", help="letterboxd: a list to import there (default: table)")
    add("--output", type=path_arg, default="-", metavar="FILE", help="where to write (default: standard output)")
    add("--matches", type=path_arg, metavar="FILE", help="a CSV to write: which movie each row of your files became")

    add = parser.add_argument_group("Milvus", STORAGE).add_argument
    add("-i", "--infer", action="store_true", help="first insert the movies of movies_data.txt into Milvus")
    uri = "a server's address or a Milvus Lite folder (default: recommender_demo.db in the working folder)"
    env = os.environ.get
    add("--uri", type=os.path.expanduser, default=env("RECOMMENDER_MILVUS_URI"), help=uri)
    add("--token", default=env("RECOMMENDER_MILVUS_TOKEN", ""), help="user:password; safer in the environment")
    add("--tls-ca", default=env("RECOMMENDER_MILVUS_TLS_CA", ""), metavar="FILE", help="the server's CA certificate")
    wait = "how long to wait for Milvus to answer (default: 10 for Milvus Lite in use, else 0)"
    add("--wait", type=float, metavar="SECONDS", help=wait)


def execute(options: argparse.Namespace) -> None:
    """Opens the recommender, answers and writes the answer."""
    logging.getLogger("recommender").handlers = [NoteHandler()]
    movies = Recommender.open(
        options.workdir.folder,
        uri=options.uri,
        token=options.token,
        tls_ca=options.tls_ca,
        wait=options.wait,
        build=options.infer,
    )
    with movies:
        try:
            with atomic_write(options.output) as file:
                file.writelines(answer(movies, options))
        finally:
            if options.matches and movies.films.matches:
                with atomic_write(options.matches) as file:
                    file.write(format_csv(pd.DataFrame(movies.films.matches, dtype=object)))
    if movies.model.facts.notice:
        print(movies.model.facts.notice, file=sys.stderr)


class NoteHandler(logging.Handler):
    """Prints notes on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one note."""
        print(one_line(record.getMessage()), file=sys.stderr)


def answer(movies: Recommender, options: argparse.Namespace) -> Iterator[str]:
    """Yields the text of what is asked for: lists for many users, a prediction, a list for several users or for one."""
    person = {**options.person, "include_seen": options.include_seen}
    if options.users:
        yield from lists_of_many(movies, options)
    elif options.movie:
        prediction = movies.predict(options.movie, by=options.by, novelty=options.novelty, check=True, **person)
        yield format_prediction(prediction)
    elif options.together:
        people = group(options, person)
        yield FORMATS[options.format](movies.together(list(people.values()), list(people), **options.order))
    else:
        yield FORMATS[options.format](movies.recommend(**person, **options.order))


def group(options: argparse.Namespace, person: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the users of --with, by names that tell them apart, as arguments of `Recommender.together`.

    The one who asks is the first, or is left out where nothing says who they are.
    """
    me = f"user {options.user}" if options.user else "you"
    people = {me: person} if options.person else {}
    num_named = len(people) + len(options.together)
    for text in options.together:
        if text.isdecimal():
            people[f"user {text}"] = {"user": text, "include_seen": options.include_seen}
        else:
            name = Path(text).name
            people[one_line(text if name in people else name)] = {"ratings": text}
    if len(people) < max(2, num_named):
        raise UsageError("--with is for several; name each once, and say who you are: --ratings, --user, --like, -a")
    return people


def lists_of_many(movies: Recommender, options: argparse.Namespace) -> Iterator[str]:
    """Yields a CSV with the best movies for each of many users, some users at a time."""
    num_users, frames = movies.recommend_many(options.users, include_seen=options.include_seen, **options.order)
    header = True
    with tqdm(total=num_users, unit="user", disable=None) as progress:
        for frame in frames:
            if len(frame):  # Perhaps nothing is left for any of a thousand users.
                yield format_csv(frame.drop(columns=["year", "genres"]), header)
                progress.update(frame.user_id.nunique())
                header = False
    print(f"lists for {pluralize(num_users, 'user')}, ordered by {frame.attrs['by']}", file=sys.stderr)
