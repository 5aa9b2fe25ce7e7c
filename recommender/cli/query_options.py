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
    refuse_overwriting,
    text_arg,
    years_arg,
)
from recommender.data.movielens import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.index.build import FLAT_MAX_ROWS, INDEX_PARAMS
from recommender.index.collection import MAX_TOP_K
from recommender.index.connection import without_password
from recommender.index.filters import MovieFilter
from recommender.inference.user_vectors import RANKING_WEIGHTS

DEFAULT_TOP_K = 5
DEFAULT_MIN_RATINGS = 50


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
examples:
  python infer_milvus.py -a 0 -g 1 -j 10 -i             insert the movies, then recommend
  python infer_milvus.py -a 25-34 -g F -j programmer    labels work as well as numbers
  python infer_milvus.py -a 6 -k 20                     what is left out is unknown
  python infer_milvus.py --like alien --like "blade runner" --why
                                                        titles, parts of them, or ids like id:1214
  python infer_milvus.py -a 30 -g F --like "toy story" --seen "pretty woman"
  python infer_milvus.py --ratings data/sample/my_ratings.csv
                                                        what you rated, as a CSV file
  python infer_milvus.py --user 42                      a user of the training data, without what they rated
  python infer_milvus.py --user 1 --movie 783           the predicted rating of one movie; -a, -g and -j do too
  python infer_milvus.py -g F --genre War --genre Western --year 1950-1969 --by picks
  python infer_milvus.py --users all -k 10 --output recommendations.csv
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages, by number or label; above {len(AGE_LABELS) - 1} an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

Score is the predicted rating in stars: five times the cosine of user and movie vector. Pick is the taste score: about 0
for a movie that the user would not watch, about 1 for one that they would give 4 stars. With a history (--like, --seen,
--ratings, --user) results are ordered by Pick + 0.2 x Score; for age, gender and job alone by Score, as in the
original. --by changes the order.

environment: RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand for --uri, --token and
--tls-ca."""


@dataclass(frozen=True)
class QueryOptions:
    """The command line of infer_milvus.py, with defaults filled in."""

    age: int | None
    gender: int | None
    job: int | None
    like: list[str]
    seen: list[str]
    ratings: list[Path]
    unmatched: Path | None
    user: int | None
    users: Path | str | None
    """A file, or `all`."""
    top_k: int
    by: str
    why: bool
    movie: str | None
    movie_filter: MovieFilter
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
    _add_user_options(parser.add_argument_group("for whom"))
    _add_query_options(parser.add_argument_group("which movies"))
    _add_output_options(parser.add_argument_group("output"))
    _add_storage_options(parser.add_argument_group("model and Milvus"))
    args = parser.parse_args(argv)
    authority = os.environ.get("RECOMMENDER_MILVUS_TLS_CA")
    if args.tls_ca is None and authority and args.uri.startswith("https://"):
        args.tls_ca = path_arg(authority)
    for is_refused, message in _conflicts(args):
        if is_refused:
            parser.error(message)
    inputs = [args.users if isinstance(args.users, Path) else None, *args.ratings]
    for output in (args.output, args.unmatched):
        refuse_overwriting(parser, output, [*inputs, args.movies_data, MOVIES_ORIGIN, args.model])
    return _with_defaults(args)


def _add_user_options(group: Any) -> None:
    add = group.add_argument
    titles: dict[str, Any] = {"action": "append", "default": [], "type": text_arg, "metavar": "TITLE"}
    add("-a", "--age", type=age_arg, help="age group, as listed below")
    add("-g", "--gender", type=label_arg("gender", GENDER_LABELS), help="0 or M, 1 or F")
    add("-j", "--job", type=label_arg("job", OCCUPATIONS), help="job, as listed below")
    add("--like", **titles, help="a film that the user likes; repeatable")
    add("--seen", **titles, help="a film that the user has seen and not liked much; repeatable")
    ratings = "the user's ratings: CSV with title, rating, year, or an export of Letterboxd or IMDb; repeatable"
    add("--ratings", type=path_arg, action="append", default=[], metavar="FILE", help=ratings)
    add("--unmatched", type=path_arg, metavar="FILE", help="write the films of --ratings or --users that did not match")
    add("--user", type=number_arg(int, 1), help="a user of the training data, by id")
    users = "many users, into --output: all, a file of ids, one per line, or a CSV of ratings with a column user"
    add("--users", type=_users_arg, metavar="FILE|all", help=users)


def _add_query_options(group: Any) -> None:
    add = group.add_argument
    add("-k", "--top-k", type=number_arg(int, 1, MAX_TOP_K), help=f"number of movies (default: {DEFAULT_TOP_K})")
    add("--by", choices=list(RANKING_WEIGHTS), help="order by predicted stars, by likely picks, or by both")
    add("--why", action="store_true", help="print what contributes most to each movie's place")
    add("--movie", type=text_arg, help="only the predicted rating of this movie, by id or title")
    add("--genre", action="append", default=[], type=text_arg, help="movies of any genre given; repeatable")
    add("--year", type=years_arg, default=(None, None), help="movies of 1994, 1990-1999, 1990- or -1960")
    minimum = f"movies with so many training ratings (default: {DEFAULT_MIN_RATINGS} by stars, else 0)"
    add("--min-ratings", type=number_arg(int, 0), help=minimum)
    add("--include-seen", action="store_true", help="with --user: also movies that the user rated in training")


def _add_output_options(group: Any) -> None:
    add = group.add_argument
    add("--format", choices=["table", "json", "csv"], default="table", help="(default: %(default)s)")
    add("--output", type=path_arg, metavar="FILE", help="the CSV file that --users writes; - is standard output")


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


def _conflicts(args: argparse.Namespace) -> list[tuple[object, str]]:
    """Returns pairs of a condition that is refused, and the message."""
    has_demographics = (args.age, args.gender, args.job) != (None, None, None)
    has_filter = args.genre or args.year != (None, None) or args.min_ratings is not None
    has_format = args.format != "table"
    registered = args.user or args.users
    titles = args.like or args.seen
    return [
        (registered and has_demographics, "--user and --users have their own age, gender and job; omit -a, -g and -j"),
        (registered and args.ratings, "--user and --users have their own ratings; omit --ratings"),
        (args.user and args.users, "--user is for one user, --users for many; give one of them"),
        (
            bool(args.users) != bool(args.output),
            "--users and --output go together: the users, and the CSV file to write",
        ),
        (
            args.users and (args.movie or titles or has_format),
            "--users writes a CSV of each user's own movies; omit --movie, --like, --seen and --format",
        ),
        (
            args.movie and (titles or has_filter or args.top_k or args.by or args.why or has_format),
            "--movie predicts one rating; omit films, filters, -k, --by, --why and --format",
        ),
        (args.unmatched and not (args.ratings or args.users), "--unmatched goes with --ratings or --users FILE"),
        (args.index and not args.infer, "--index is for building the collection; add -i"),
        (args.tls_ca and not args.uri.startswith("https://"), "--tls-ca goes with a --uri that begins with https://"),
        (args.tls_ca and not args.tls_ca.is_file(), f"--tls-ca: there is no file {args.tls_ca}"),
        (args.include_seen and (args.movie or not registered), "--include-seen goes with --user or --users"),
    ]


def _with_defaults(args: argparse.Namespace) -> QueryOptions:
    values = vars(args)
    has_history = args.user or args.users or args.ratings or args.like or args.seen
    by = args.by or ("both" if has_history else "stars")
    min_ratings = args.min_ratings
    if min_ratings is None:
        min_ratings = DEFAULT_MIN_RATINGS if by == "stars" else 0
    first_year, last_year = values.pop("year")
    movie_filter = MovieFilter(tuple(values.pop("genre")), first_year, last_year, min_ratings)
    del values["min_ratings"]
    values |= {"by": by, "top_k": args.top_k or DEFAULT_TOP_K}
    return QueryOptions(movie_filter=movie_filter, **values)
