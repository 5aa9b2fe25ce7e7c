"""Step three: inserts the movies into Milvus (-i) and recommends movies."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recommender.api import Prediction, Recommender
from recommender.cli.options import Parser, StoreOnce, path_arg, refuse_overwriting
from recommender.cli.output import csv_text, format_json, format_table, write_letterboxd
from recommender.errors import UsageError, one_line, pluralize
from recommender.files import STANDARD_STREAM, atomic_write
from recommender.movielens.encoding import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.vectors import RANKINGS, STAR_WEIGHT

PERSON = ("age", "gender", "job", "user", "like", "seen", "ratings", "include_seen")
"""Options that say who asks, by the names of `Recommender.recommend`."""
FILTERS = ("genre", "not_genre", "year", "min_ratings", "max_ratings", "among", "not_among")
ORDER = ("k", "skip", "by", "variety", "novelty", "why")
COLLECTION = "recommender_demo"


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
FOR_SEVERAL = """\
  python infer_milvus.py --ratings me.csv --with partner.csv     something for two
  python infer_milvus.py --users all -k 10 --output all.csv"""
WHICH_MOVIES = """\
  python infer_milvus.py -g F --genre War --genre Western --not-genre Romance --year 1950-1969
  python infer_milvus.py --ratings data/sample/my_ratings.csv --among data/sample/watchlist.csv
  python infer_milvus.py --like alien --max-ratings 10%          little known films like Alien"""
WHICH_ORDER = """\
  python infer_milvus.py --ratings me.csv --novelty 0.5 --variety 0.5 --why
  python infer_milvus.py --user 42 --by stars -k 10 --skip 10    the next ten
  python infer_milvus.py --user 1 --movie 783                    what user 1 would think of one movie"""
OUTPUT = """\
  python infer_milvus.py --like "toy story" -k 20 --format json
  python infer_milvus.py --ratings me.csv -k 50 --format letterboxd --output list.csv"""
STORAGE = """\
  python infer_milvus.py -a 0 -g 1 -j 10 -i
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = Parser(__doc__, EPILOG)
    _add_person_options(parser)
    _add_list_options(parser)
    _add_storage_options(parser)
    options = parser.parse(argv)
    options.uri = options.uri or os.environ.get("RECOMMENDER_MILVUS_URI")
    options.token = options.token or os.environ.get("RECOMMENDER_MILVUS_TOKEN", "")
    authority = os.environ.get("RECOMMENDER_MILVUS_TLS_CA")
    options.tls_ca = options.tls_ca or (path_arg(authority) if authority else None)
    person = [name for name in PERSON if getattr(options, name)]
    if options.users and (person not in ([], ["include_seen"]) or options.together or options.movie):
        parser.error("--users writes a list for each of many; leave out options that say who asks, --with and --movie")
    if bool(options.users) > bool(options.output):
        parser.error("--users writes a CSV; name it: --output FILE")
    if options.movie and (options.together or options.output or options.format != "table"):
        parser.error("--movie is about one movie and one user; leave out --with, --output and --format")
    files = [*options.ratings, *options.among, *options.not_among, *_paths(options.together), *_paths([options.users])]
    if [str(file) for file in files].count("-") > 1:
        parser.error("standard input (-) can be read once; save one of the files")
    workdir = options.workdir
    inputs = [Path(file) for file in files] + [workdir.model, workdir.movies_origin, workdir.movies_data]
    inputs.append(Path(options.uri) if options.uri and "://" not in options.uri else workdir.database)
    refuse_overwriting(parser, "--output", options.output, inputs)
    refuse_overwriting(parser, "--matches", options.matches, [*inputs, *filter(None, [options.output])])
    return options


def _add_person_options(parser: Parser) -> None:
    add = parser.add_argument_group("for whom", FOR_WHOM).add_argument
    add("-a", "--age", action=StoreOnce, help="age group, as listed below, or an age in years")
    add("-g", "--gender", action=StoreOnce, help="0 or M, 1 or F")
    add("-j", "--job", action=StoreOnce, help="job, as listed below")
    titles: dict[str, Any] = {"action": "append", "default": [], "metavar": "TITLE"}
    add("--like", **titles, help="a film that you like: title, part of it, or id like id:1214; repeatable")
    add("--seen", **titles, help="a film that you have seen and not liked much; repeatable")
    ratings = "your films: the export of Letterboxd, IMDb, Trakt and others, as zip or file, or a table with titles "
    ratings += "and ratings; repeatable"
    add("--ratings", type=path_arg, action="append", default=[], metavar="FILE", help=ratings)
    user = "a user of the training data, by id, without what they rated in training"
    add("--user", action=StoreOnce, metavar="ID", help=user)
    add("--include-seen", action="store_true", help="also movies that users of the training data rated there")
    add = parser.add_argument_group("for several", FOR_SEVERAL).add_argument
    others = "something to watch together with another user: an id, or a file as for --ratings; repeatable"
    add("--with", dest="together", action="append", default=[], metavar="FILE|ID", help=others)
    users = "a list for each of many, into --output: all, a file of ids, one per line, or a table of ratings with a "
    add("--users", action=StoreOnce, metavar="FILE|all", help=f"{users}column user")


def _add_list_options(parser: Parser) -> None:
    add = parser.add_argument_group("which movies", WHICH_MOVIES).add_argument
    genres: dict[str, Any] = {"action": "append", "default": []}
    add("--genre", **genres, help="movies of any genre given; repeatable")
    add("--not-genre", **genres, metavar="GENRE", help="no movie that has this genre; repeatable")
    add("--year", **genres, metavar="YEARS", help="movies of 1994, 1990-1999, 1990- or -1960; repeatable")
    minimum = "movies with so many training ratings, or 10%% to leave out the least rated tenth (default: 50 by stars, "
    minimum += "1 by similar, else 0)"
    add("--min-ratings", action=StoreOnce, metavar="N|N%", help=minimum)
    maximum = "movies with at most so many training ratings, or 10%% for the least rated tenth"
    add("--max-ratings", action=StoreOnce, metavar="N|N%", help=maximum)
    files: dict[str, Any] = {"type": path_arg, "action": "append", "default": [], "metavar": "FILE"}
    add("--among", **files, help="only the films of a file: a watchlist, any export, or a title per line; repeatable")
    add("--not-among", **files, help="none of the films of a file, which say nothing about your taste; repeatable")
    add = parser.add_argument_group("in which order", WHICH_ORDER).add_argument
    add("-k", "--top-k", dest="k", metavar="K", help="number of movies (default: 5)")
    add("--skip", metavar="N", default=0, help="leave out the first N movies of the list")
    add("--by", choices=list(RANKINGS), help="the order, see below")
    add("--variety", default=0, metavar="0..1", help="less of one kind; 0, the default, is the exact order")
    add("--novelty", default=0, metavar="0..1", help="less of what everyone likes (default: 0)")
    add("--why", action="store_true", help="print what contributes most to each movie's place")
    movie = "no list, but what you would think of this movie: a title, or a number, which is an id"
    add("--movie", action=StoreOnce, metavar="TITLE|ID", help=movie)
    add = parser.add_argument_group("output", OUTPUT).add_argument
    formats = ["table", "json", "csv", "letterboxd"]
    add("--format", choices=formats, default="table", help="letterboxd is a list to import there (default: table)")
    add("--output", type=path_arg, metavar="FILE", help="write the list to a file; - is standard output")
    matches = "write a CSV that says which movie each row of your files became"
    add("--matches", type=path_arg, metavar="FILE", help=matches)


def _add_storage_options(parser: Parser) -> None:
    add = parser.add_argument_group("Milvus", STORAGE).add_argument
    add("-i", "--infer", action="store_true", help="first insert the movies of movies_data.txt into Milvus")
    add("--uri", help="a server's address or a Milvus Lite folder (default: recommender_demo.db in the working folder)")
    add("--token", help="user:password; safer in the environment")
    add("--tls-ca", type=path_arg, metavar="FILE", help="certificate of the authority of an https server")
    wait = "how long to wait for Milvus to answer (default: 10 for Milvus Lite in use, else 0)"
    add("--wait", type=float, metavar="SECONDS", help=wait)


def execute(options: argparse.Namespace) -> None:
    """Opens the recommender, answers and prints."""
    logging.getLogger("recommender").handlers = [NoteHandler()]
    person = {name: getattr(options, name) for name in PERSON}
    order = {name: getattr(options, name) for name in (*FILTERS, *ORDER)}
    order["k"] = order["k"] or 5
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
            if options.users:
                print_many(movies, options, order)
            elif options.movie:
                print_prediction(
                    movies.predict(options.movie, by=options.by, novelty=options.novelty, check=True, **person)
                )
            else:
                print_list(movies, options, person, order)
        finally:
            if options.matches and movies.films.matches:
                with atomic_write(options.matches) as file:
                    file.write(csv_text(movies.films.matches))
    if movies.model.facts.notice:
        print(movies.model.facts.notice, file=sys.stderr)


class NoteHandler(logging.Handler):
    """Prints notes on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one note."""
        print(one_line(record.getMessage()), file=sys.stderr)


def print_list(movies: Recommender, options: argparse.Namespace, person: dict[str, Any], order: dict[str, Any]) -> None:
    """Prints a list for one user or for several together, or writes it to a file."""
    if options.together:
        people, names = group(options, person)
        frame = movies.together(people, names, **order)
        users = [f"{name}: {text.removeprefix(f'{name}: ')}" for name, text in frame.attrs["user"].items()]
    else:
        frame = movies.recommend(**person, **order)
        users = [frame.attrs["user"]]
    heading = [
        f"rows in collection {COLLECTION}: {frame.attrs['movies']}",
        *(f"recommended for: {one_line(user)}" for user in users),
    ]
    rows = frame.to_dict("records")
    if options.format == "json":
        text = format_json(frame)
    elif options.format == "csv":
        text = csv_text(rows, list(frame.columns))
    elif options.format == "letterboxd":
        text = write_letterboxd(rows)
    else:
        text = "\n".join([*heading, format_table(rows, frame.attrs["by"])]) + "\n"
    with atomic_write(options.output or STANDARD_STREAM) as file:
        file.write(text)


def group(options: argparse.Namespace, person: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the users of --with as arguments of `Recommender.together`, and names that tell them apart.

    The one who asks is left out where nothing says who they are.
    """
    people: list[dict[str, Any]] = []
    names: list[str] = []
    if any(value for name, value in person.items() if name != "include_seen"):
        people.append(person)
        names.append(f"user {options.user}" if options.user else "you")
    for other in options.together:
        is_id = other.isdecimal()
        people.append({"user": other, "include_seen": options.include_seen} if is_id else {"ratings": path_arg(other)})
        names.append(f"user {other}" if is_id else Path(other).name)
    if len(people) < 2:
        raise UsageError("--with is for several; give it twice, or say who you are: --ratings, --user, --like, -a")
    named = [options.user, *map(str, options.ratings), *options.together]
    if any(named.count(other) > 1 for other in options.together):
        raise UsageError("--with names a user or a file twice")
    paths = [str(person.get("ratings", name)) for person, name in zip(people, names, strict=True)]
    told_apart = [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]
    return people, [one_line(name) for name in told_apart]


def print_prediction(prediction: Prediction) -> None:
    """Prints what a user would think of one movie, and that Milvus and Paddle agree."""
    view = prediction.movie
    print(f"{prediction.user} on {view.movie.movie_id} {view.movie.title}")
    print(f"Score   {view.score:.2f} stars")
    print(f"Pick    {view.pick:.2f}")
    if prediction.place:
        print(f"Place   {prediction.place:,} on the list by {prediction.by}")
    if view.reasons:
        print("Why     " + ", ".join(f"{reason.label} {reason.contribution:+.2f}" for reason in view.reasons))
    if prediction.actual:
        print(f"Actual  {prediction.actual}")
    print(f"check   score through Milvus {prediction.milvus_score:.4f}, by Paddle {prediction.paddle_score:.4f}")


def print_many(movies: Recommender, options: argparse.Namespace, order: dict[str, Any]) -> None:
    """Writes the best movies for each of many users to a CSV file, atomically."""
    users = options.users if options.users == "all" else path_arg(options.users)
    num_users, frames = movies.recommend_many(users, include_seen=options.include_seen, **order)
    with atomic_write(options.output) as file, tqdm(total=num_users, unit="user", disable=None) as progress:
        is_first = True
        for frame in frames:
            if len(frame):  # Perhaps nothing is left for any of a thousand users.
                rows = frame.drop(columns=["year", "genres"]).to_dict("records")
                file.write(csv_text(rows, header=is_first))
                progress.update(frame["user_id"].nunique())
                is_first = False
    log = sys.stderr if options.output == STANDARD_STREAM else sys.stdout
    by = frame.attrs["by"]
    print(f"lists for {pluralize(num_users, 'user')}, ordered by {by}, written to {options.output}", file=log)


def _paths(values: Sequence[str | None]) -> list[Path]:
    return [path_arg(value) for value in values if value and value != "all" and not value.isdecimal()]
