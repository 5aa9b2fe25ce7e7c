"""The command line of infer_milvus.py."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.cli.arguments import (
    LITE_URI,
    MODEL_FOLDER,
    MOVIES_DATA,
    MOVIES_ORIGIN,
    PipelinePaths,
    age_arg,
    create_parser,
    label_arg,
    number_arg,
    path_arg,
    real_path,
    refuse_overwriting,
    text_arg,
    years_arg,
)
from recommender.movielens.encoding import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.files import STANDARD_STREAM
from recommender.milvus.build import FLAT_MAX_ROWS, INDEX_PARAMS
from recommender.milvus.collection import MAX_TOP_K
from recommender.milvus.connection import without_password
from recommender.milvus.filters import MovieFilter
from recommender.users import RANKING_WEIGHTS

DEFAULT_TOP_K = 5
DEFAULT_MIN_RATINGS = 50
"""Lower bound on training ratings where movies are ordered by stars."""


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
ages, by number or label; above {len(AGE_LABELS) - 1} an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

Score is the predicted rating in stars: five times the cosine of user and movie vector. Pick is the taste score: 0 for
a movie that the user would not watch, higher the likelier they watch and like it; 1 stands for a certain 4 stars.
Results are ordered by Pick + 0.2 x Score where a user has ratings (--user, or --ratings with stars); by Pick where
films are known without ratings (--like, --seen), as Score is then that of age, gender and job; for these alone by
Score, as in the original. --by changes it.

environment: RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand for --uri, --token and
--tls-ca."""
FOR_WHOM = """\
options that are left out count as unknown

  python infer_milvus.py -a 25-34 -g F -j programmer
  python infer_milvus.py -a 30 -g F --like alien --like "blade runner" --seen "pretty woman"
  python infer_milvus.py --ratings ~/Downloads/letterboxd/ratings.csv
  python infer_milvus.py --user 42"""
FOR_SEVERAL = """\
  python infer_milvus.py --user 42 --with 7 --with data/sample/my_ratings.csv
  python infer_milvus.py --users all -k 10 --output recommendations.csv"""
WHICH_MOVIES = """\
  python infer_milvus.py -g F --genre War --genre Western --not-genre Romance --year 1950-1969
  python infer_milvus.py --ratings data/sample/my_ratings.csv --among data/sample/watchlist.csv
  python infer_milvus.py --like alien --max-ratings 100"""
WHICH_ORDER = """\
  python infer_milvus.py --like "toy story" -k 10 --variety 0.5 --why
  python infer_milvus.py --user 42 --by stars
  python infer_milvus.py --user 1 --movie 783"""
OUTPUT = """\
  python infer_milvus.py --like "toy story" -k 20 --format json"""
STORAGE = """\
  python infer_milvus.py -a 0 -g 1 -j 10 -i
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530"""


@dataclass(frozen=True)
class QueryOptions:
    """The command line of infer_milvus.py, with defaults but for those that depend on what is known of the users."""

    age: int | None
    gender: int | None
    job: int | None
    like: list[str]
    seen: list[str]
    ratings: list[Path]
    unmatched: Path | None
    user: int | None
    together: list[int | Path]
    """Users to recommend together with: ids, or files of ratings."""
    users: Path | str | None
    """A file, or `all`."""
    top_k: int
    by: str
    """A key of `RANKING_WEIGHTS`; "" to choose by what is known of the users, see `default_ranking`."""
    variety: float
    why: bool
    movie: str | None
    movie_filter: MovieFilter
    among: list[Path]
    include_seen: bool
    format: str
    output: Path | None
    infer: bool
    index: str | None
    model: Path
    movies_data: Path
    uri: str
    token: str
    tls_ca: Path | None
    wait: float

    @property
    def paths(self) -> PipelinePaths:
        """The paths that other steps need."""
        uri = without_password(self.uri)
        return PipelinePaths(model=self.model, movies_data=self.movies_data, uri=uri, tls_ca=self.tls_ca)


def parse_args(argv: list[str] | None) -> QueryOptions:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser("Step three: inserts the movies into Milvus (-i) and recommends movies for a user.", EPILOG)
    _add_user_options(parser.add_argument_group("for whom", FOR_WHOM))
    _add_group_options(parser.add_argument_group("for several", FOR_SEVERAL))
    _add_filter_options(parser.add_argument_group("which movies", WHICH_MOVIES))
    _add_order_options(parser.add_argument_group("in which order", WHICH_ORDER))
    _add_output_options(parser.add_argument_group("output", OUTPUT))
    _add_storage_options(parser.add_argument_group("model and Milvus", STORAGE))
    args = parser.parse_args(argv)
    authority = os.environ.get("RECOMMENDER_MILVUS_TLS_CA")
    if args.tls_ca is None and authority and args.uri.startswith("https://"):
        args.tls_ca = path_arg(authority)
    for is_refused, message in _conflicts(args):
        if is_refused:
            parser.error(message)
    inputs = [*_input_files(args), args.movies_data, MOVIES_ORIGIN, args.model]
    if "://" not in args.uri:
        inputs.append(Path(args.uri))
        refuse_overwriting(parser, Path(args.uri) if args.infer else None, [args.model], "--uri")
    refuse_overwriting(parser, args.output, inputs)
    refuse_overwriting(parser, args.unmatched, inputs, "--unmatched")
    return _with_defaults(args)


def _add_user_options(group: Any) -> None:
    add = group.add_argument
    titles: dict[str, Any] = {"action": "append", "default": [], "type": text_arg, "metavar": "TITLE"}
    add("-a", "--age", type=age_arg, help="age group, as listed below")
    add("-g", "--gender", type=label_arg("gender", GENDER_LABELS), help="0 or M, 1 or F")
    add("-j", "--job", type=label_arg("job", OCCUPATIONS), help="job, as listed below")
    add("--like", **titles, help="a film that the user likes: title, part of it, or id like id:1214; repeatable")
    add("--seen", **titles, help="a film that the user has seen and not liked much; repeatable")
    ratings = "the user's ratings: CSV with title, rating, year, or an export of Letterboxd or IMDb; repeatable"
    add("--ratings", type=path_arg, action="append", default=[], metavar="FILE", help=ratings)
    add(
        "--user",
        type=number_arg(int, 1),
        help="a user of the training data, by id, without what they rated in training",
    )


def _add_group_options(group: Any) -> None:
    add = group.add_argument
    others = "something to watch together with another user: an id, or a file as for --ratings; repeatable"
    add("--with", dest="together", type=_with_arg, action="append", default=[], metavar="FILE|USER", help=others)
    users = "a list for each of many, into --output: all, a file of ids, one per line, or a CSV of ratings with a "
    add("--users", type=_users_arg, metavar="FILE|all", help=f"{users}column user")


def _add_filter_options(group: Any) -> None:
    add = group.add_argument
    genres: dict[str, Any] = {"action": "append", "default": [], "type": text_arg}
    add("--genre", **genres, help="movies of any genre given; repeatable")
    add("--not-genre", **genres, metavar="GENRE", help="no movie that has this genre; repeatable")
    add("--year", type=years_arg, default=(None, None), help="movies of 1994, 1990-1999, 1990- or -1960")
    minimum = f"movies with so many training ratings (default: {DEFAULT_MIN_RATINGS} by stars, else 0)"
    add("--min-ratings", type=number_arg(int, 0), help=minimum)
    maximum = "movies with at most so many training ratings; --min-ratings is then 0 by default"
    add("--max-ratings", type=number_arg(int, 0), help=maximum)
    among = "only the films of a file: Letterboxd's watchlist.csv, another CSV with titles, or a title per line; "
    among += "repeatable"
    add("--among", type=path_arg, action="append", default=[], metavar="FILE", help=among)
    add("--include-seen", action="store_true", help="also movies that users of the training data rated there")


def _add_order_options(group: Any) -> None:
    add = group.add_argument
    add("-k", "--top-k", type=number_arg(int, 1, MAX_TOP_K), help=f"number of movies (default: {DEFAULT_TOP_K})")
    add("--by", choices=list(RANKING_WEIGHTS), help="order by predicted stars, by likely picks, or by both")
    variety = "0 to 1: less of one kind; 0, the default, is the exact order"
    add("--variety", type=number_arg(float, 0, 1), default=0, help=variety)
    add("--why", action="store_true", help="print what contributes most to each movie's place")
    add(
        "--movie",
        type=text_arg,
        help="no list but the predicted rating of this movie: a title, or a number, which is an id",
    )


def _add_output_options(group: Any) -> None:
    add = group.add_argument
    add("--format", choices=["table", "json", "csv"], default="table", help="(default: %(default)s)")
    add("--output", type=path_arg, metavar="FILE", help="the CSV file that --users writes; - is standard output")
    add("--unmatched", type=path_arg, metavar="FILE", help="write the films of a file that did not match")


def _add_storage_options(group: Any) -> None:
    add = group.add_argument
    add("-i", "--infer", action="store_true", help="first insert the movies of --movies-data into Milvus")
    rule = f"with -i; HNSW needs a server, where it is the default above {FLAT_MAX_ROWS:,} movies"
    add("--index", type=str.upper, choices=sorted(INDEX_PARAMS), help=rule)
    add("--model", type=path_arg, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    add("--movies-data", type=path_arg, default=MOVIES_DATA, help="catalogue of step two (default: %(default)s)")
    uri = os.environ.get("RECOMMENDER_MILVUS_URI") or LITE_URI
    add("--uri", default=uri, help=f"Milvus Lite folder or server address (default: {LITE_URI})")
    token = os.environ.get("RECOMMENDER_MILVUS_TOKEN", "")
    add("--token", default=token, help="user:password; safer in the environment")
    add("--tls-ca", type=path_arg, metavar="FILE", help="certificate of the authority of an https server")
    wait = "how long to wait for Milvus to answer (default: 0)"
    add("--wait", type=number_arg(float, 0, 86_400), default=0, metavar="SECONDS", help=wait)


def _users_arg(text: str) -> Path | str:
    return text if text == "all" else path_arg(text)


def _with_arg(text: str) -> int | Path:
    return int(number_arg(int, 1)(text)) if text.isdecimal() else path_arg(text)


def _conflicts(args: argparse.Namespace) -> list[tuple[object, str]]:
    """Returns pairs of a condition that is refused, and the message."""
    has_demographics = (args.age, args.gender, args.job) != (None, None, None)
    bounds = args.min_ratings, args.max_ratings
    has_filter = args.genre or args.not_genre or args.among or args.year != (None, None) or bounds != (None, None)
    has_filter = has_filter or args.include_seen
    files = _input_files(args)
    has_format = args.format != "table"
    registered = args.user or args.users
    titles = args.like or args.seen
    is_described = registered or has_demographics or titles or args.ratings
    return [
        (registered and has_demographics, "--user and --users have their own age, gender and job; omit -a, -g and -j"),
        (registered and args.ratings, "--user and --users have their own ratings; omit --ratings"),
        (args.user and args.users, "--user is for one user, --users for many; give one of them"),
        (
            bool(args.users) != bool(args.output),
            "--users and --output go together: the users, and the CSV file to write",
        ),
        (
            args.users and (args.movie or titles or args.together or has_format),
            "--users writes a CSV of each user's own movies; omit --movie, --like, --seen, --with and --format",
        ),
        (
            args.movie
            and (
                titles or args.together or has_filter or args.top_k or args.by or args.variety or args.why or has_format
            ),
            "--movie predicts one rating; omit films, --with, filters, -k, --by, --variety, --why and --format",
        ),
        (args.together and (args.variety or args.why), "--with has an order of its own; omit --variety and --why"),
        (_has_repeated_user(args), "--with names a user or a file twice"),
        (
            len(args.together) == 1 and not is_described,
            "--with is for several; give it twice, or describe yourself: --ratings, --user, --like, -a, -g or -j",
        ),
        (
            args.output and args.unmatched and real_path(args.output) == real_path(args.unmatched),
            "--output and --unmatched name the same file",
        ),
        (
            args.unmatched == STANDARD_STREAM and (has_format or args.output == STANDARD_STREAM),
            "--unmatched - would mix with the recommendations on standard output; name a file",
        ),
        (files.count(STANDARD_STREAM) > 1, "standard input (-) can be read once; save one of the files"),
        (None not in bounds and bounds[0] > bounds[1], "--min-ratings is above --max-ratings; no movie has both"),
        (args.unmatched and not files, "--unmatched goes with a file: --ratings, --among, --with or --users"),
        (args.index and not args.infer, "--index is for building the collection; add -i"),
        (args.tls_ca and not args.uri.startswith("https://"), "--tls-ca goes with a --uri that begins with https://"),
        (args.tls_ca and not args.tls_ca.is_file(), f"--tls-ca: there is no file {args.tls_ca}"),
        (
            args.include_seen and not (registered or any(isinstance(one, int) for one in args.together)),
            "--include-seen goes with users of the training data: --user, --users or --with",
        ),
    ]


def _input_files(args: argparse.Namespace) -> list[Path]:
    """Returns the files of users and films that the options name."""
    return [file for file in (args.users, *args.together, *args.ratings, *args.among) if isinstance(file, Path)]


def _has_repeated_user(args: argparse.Namespace) -> bool:
    """Returns whether --with names a user that another option names too, a file under whatever name."""
    users = [args.user, *args.together, *(args.ratings if args.together else [])]
    distinct = {real_path(one) if isinstance(one, Path) else one for one in users}
    return len(distinct) < len(users)


def _with_defaults(args: argparse.Namespace) -> QueryOptions:
    values = vars(args)
    min_ratings, max_ratings = values.pop("min_ratings"), values.pop("max_ratings")
    genres, not_genres = (tuple(values.pop(name)) for name in ("genre", "not_genre"))
    first_year, last_year = values.pop("year")
    movie_filter = MovieFilter(genres, not_genres, first_year, last_year, min_ratings, max_ratings)
    values |= {"by": args.by or "", "top_k": args.top_k or DEFAULT_TOP_K}
    return QueryOptions(movie_filter=movie_filter, **values)
