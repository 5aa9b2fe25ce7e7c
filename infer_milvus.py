"""Step three: puts the movies into Milvus (-i) and finds the ones that suit a person best."""

if __name__ == "__main__":
    from recommender.process import start

    start()

import argparse
import csv
import json
import os
import re
import sys
from bisect import bisect
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from recommender import counted
from recommender.checkpoint import SavedModel, load_model
from recommender.command import LITE_URI, MODEL_FOLDER, MOVIES_DATA, Places, create_parser, number, plain_text, run
from recommender.evaluation import MAX_SCORE
from recommender.features import encode_movies, read_movies_data
from recommender.files import STANDARD_STREAM, read_bytes, written_whole
from recommender.index_build import BUILD_PARAMETERS, EXACT_UP_TO, Catalogue, build_index
from recommender.milvus import Milvus, without_password
from recommender.movie_index import ALIAS, MAX_TOP_K, Hit, MovieIndex
from recommender.movielens import AGE_CODES, OCCUPATIONS, DataError, Movie, decode_lines
from recommender.process import finish
from recommender.recommend import (
    AGE_LABELS,
    GENDER_LABELS,
    Person,
    describe,
    find_movie,
    person_of,
    recommend,
    recommend_like,
)

DEFAULT_TOP_K = 5
DEFAULT_MIN_RATINGS = 50


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
examples:
  python infer_milvus.py -a 0 -g 1 -j 10 -i             index the movies, then recommend
  python infer_milvus.py -a 25-34 -g F -j programmer    labels work as well as numbers
  python infer_milvus.py -a 6 -k 20                     what is left out is unknown
  python infer_milvus.py --user 42                      a user of the training data, without what they rated
  python infer_milvus.py --user 1 --movie 783           the predicted rating of one movie; -a, -g and -j do too
  python infer_milvus.py --like alien --like "blade runner"      movies near others, by title, a part of it, or id:1214
  python infer_milvus.py -g F --genre War --genre Western --year 1950-1969
  python infer_milvus.py --users all -k 10 --output recommendations.csv
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages, by number or label; more than {len(AGE_LABELS) - 1} is an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

A score is a predicted rating in stars: five times the cosine of user and movie vector. With --like and nobody to ask
for, it is five times the cosine of two movies' vectors, a likeness.

environment: RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand for --uri, --token and
--tls-ca."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EPILOG)
    person = parser.add_argument_group("for whom")
    person.add_argument("-a", "--age", type=_age, help="age group, as listed below")
    person.add_argument("-g", "--gender", type=_choice("gender", GENDER_LABELS), help="0 or M, 1 or F")
    person.add_argument("-j", "--job", type=_choice("job", OCCUPATIONS), help="job, as listed below")
    person.add_argument("--user", type=number(int, 1), help="a user of the training data, by id")
    person.add_argument(
        "--users", metavar="FILE|all", help="many users, a user id a line, or everyone; writes --output"
    )
    wanted = parser.add_argument_group("what")
    wanted.add_argument(
        "-k", "--top-k", type=number(int, 1, MAX_TOP_K), help=f"how many movies (default: {DEFAULT_TOP_K})"
    )
    wanted.add_argument("--movie", type=number(int, 1), help="only the predicted rating of this movie, by id")
    wanted.add_argument(
        "--like",
        action="append",
        default=[],
        type=plain_text,
        metavar="TITLE",
        help="movies near this one; may be repeated",
    )
    wanted.add_argument(
        "--genre", action="append", default=[], type=plain_text, help="of this genre, or of any if repeated"
    )
    wanted.add_argument("--year", type=_years, default=(None, None), help="released in 1994, 1990-1999, 1990- or -1960")
    wanted.add_argument(
        "--min-ratings",
        type=number(int, 0),
        help=f"only movies with so many training ratings, 0 for all (default: {DEFAULT_MIN_RATINGS})",
    )
    wanted.add_argument("--include-seen", action="store_true", help="with --user: also what they rated in training")
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=["table", "json", "csv"], default="table", help="(default: %(default)s)")
    output.add_argument("--output", type=Path, help="the CSV file that --users writes; - is standard output")
    storage = parser.add_argument_group("where things are")
    storage.add_argument("-i", "--infer", action="store_true", help="first put the movies of --movies-data into Milvus")
    storage.add_argument(
        "--index",
        type=str.upper,
        choices=sorted(BUILD_PARAMETERS),
        help=f"with -i: how Milvus searches; HNSW is for servers, and their default beyond {EXACT_UP_TO:,} movies",
    )
    storage.add_argument("--model", type=Path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    storage.add_argument(
        "--movies-data", type=Path, default=MOVIES_DATA, help="what get_movies_data.py wrote (default: %(default)s)"
    )
    storage.add_argument(
        "--uri",
        default=os.environ.get("RECOMMENDER_MILVUS_URI") or LITE_URI,
        help=f"Milvus Lite path or server address (default: {LITE_URI})",
    )
    storage.add_argument(
        "--token",
        default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""),
        help="user:password, for a server that asks for it; better put it into the environment",
    )
    storage.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="for an https address: the certificate of its authority, unless that is a public one",
    )
    storage.add_argument(
        "--wait", type=number(float, 0, 86_400), default=0, metavar="SECONDS", help="how long to wait for Milvus"
    )
    args = parser.parse_args(argv)
    authority = os.environ.get("RECOMMENDER_MILVUS_TLS_CA")
    if args.tls_ca is None and authority and args.uri.startswith("https://"):
        args.tls_ca = Path(authority)
    for name in ("model", "movies_data", "output", "tls_ca"):
        path = getattr(args, name)
        setattr(args, name, path and path.expanduser())
    for refused, message in _refusals(args):
        if refused:
            parser.error(message)
    uri = without_password(args.uri)
    args.places = Places(model=args.model, movies_data=args.movies_data, uri=uri, tls_ca=args.tls_ca)
    return args


def _refusals(args: argparse.Namespace) -> list[tuple[object, str]]:
    """Returns which options do not go together, each with what to do."""
    described = any(index is not None for index in (args.age, args.gender, args.job))
    filtered = args.genre or args.year != (None, None) or args.min_ratings is not None
    formatted = args.format != "table"
    known = args.user or args.users
    return [
        (known and described, "--user and --users bring their own age, gender and job; leave out -a, -g and -j"),
        (args.user and args.users, "--user asks for one user, --users for many; give one of them"),
        (
            bool(args.users) != bool(args.output),
            "--users and --output go together: the users to ask for, and the CSV file to write",
        ),
        (
            args.users and (args.movie or args.like or formatted),
            "--users writes a CSV of everyone's own movies; leave out --movie, --like and --format",
        ),
        (
            args.movie and (args.like or filtered or args.top_k or formatted),
            "--movie predicts one rating; leave out --like, --genre, --year, --min-ratings, -k and --format",
        ),
        (args.index and not args.infer, "--index chooses how -i builds; add -i"),
        (
            args.tls_ca and not args.uri.startswith("https://"),
            "--tls-ca goes with an address in --uri that begins with https://",
        ),
        (args.tls_ca and not args.tls_ca.is_file(), f"--tls-ca: there is no file {args.tls_ca}"),
        (
            args.include_seen and (args.movie or not known),
            "--include-seen is about the movies that --user or --users rated",
        ),
    ]


def _choice(what: str, labels: Sequence[str]) -> Callable[[str], int]:
    """Makes an argparse type that turns a number, a label, or the beginning of a word of one, into an index."""

    def parse(text: str) -> int:
        glued = re.search(r"-[a-z]$", text)
        if glued:
            raise argparse.ArgumentTypeError(f"no {what} {text!r}; a blank is missing before {glued[0]}")
        wanted = text.strip().casefold()
        known = list(map(str.casefold, labels))
        exact = [index for index, label in enumerate(known) if wanted in (str(index), label, *label.split("/"))]
        begun = [index for index, label in enumerate(known) if label.startswith(wanted)]
        inside = [index for index, label in enumerate(known) if re.search(rf"\b{re.escape(wanted)}", label)]
        found = exact or begun or inside
        if wanted and len(found) == 1:
            return found[0]
        options = ", ".join(f"{index} {labels[index]}" for index in found or range(len(labels)))
        problem = f"more than one {what} fits" if wanted and found else f"no {what}"
        raise argparse.ArgumentTypeError(f"{problem} {text!r}; choose one of: {options}")

    return parse


def _age(text: str) -> int:
    """Turns an age group, or an age in years where that is no group's number, into the group's number."""
    if re.fullmatch("[0-9]{1,3}", text) and int(text) >= len(AGE_LABELS):
        return bisect(AGE_CODES, int(text)) - 1
    return _choice("age", AGE_LABELS)(text)


def _years(text: str) -> tuple[int | None, int | None]:
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    years = [year for year in (first, last) if year]
    if not years or years != sorted(years) or not all(re.fullmatch("[0-9]{4}", year) for year in years):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of years; write 1994, 1990-1999, 1990- or -1960")
    return (int(first) if first else None, int(last) if last else None)


def embed_catalogue(model: SavedModel, movies: list[Movie]) -> Catalogue:
    """Embeds all movies in one pass."""
    from recommender.training import embed_movies  # Imports Paddle, which a mere query does not need.

    vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(movies, model.data.vocabularies))
    print("get infer vectors finished!", file=sys.stderr)
    count_of = model.count_ratings()
    return Catalogue(movies, vectors, [count_of.get(movie.movie_id, 0) for movie in movies], model.fingerprint)


def print_hits(hits: Sequence[Hit], form: str) -> None:
    """Prints hits as JSON, as CSV, or as the original's four columns, separated by tabs and aligned."""
    if form == "table":
        width = max((len(hit.movie.name) for hit in hits), default=0)
        print(f"Top\tIds\t{'Title':<{width}}\tScore")
        for top, hit in enumerate(hits):
            print(f"{top}\t{hit.movie.movie_id}\t{hit.movie.name:<{width}}\t{MAX_SCORE * hit.similarity:.4f}")
        return
    rows = [
        {
            "top": top,
            "movie_id": hit.movie.movie_id,
            "title": hit.movie.name,
            "year": hit.movie.year,
            "genres": "|".join(hit.movie.genres),
            "num_ratings": hit.num_ratings,
            "score": round(MAX_SCORE * hit.similarity, 4),
        }
        for top, hit in enumerate(hits)
    ]
    if form == "json":
        print(json.dumps(rows, indent=1))
    else:
        names = ["top", "movie_id", "title", "year", "genres", "num_ratings", "score"]
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def recommend_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the movies that suit a person best, or those near liked ones."""
    person = person_of(model, args.user, args.gender, args.age, args.job)
    where = index.where(args.genre, args.year, args.min_ratings)
    if args.like:
        liked = [find_movie(index, text) for text in args.like]
        somebody = person if person.row else None
        movie_ids = [title.movie_id for title in liked]
        hits = recommend_like(model, index, somebody, movie_ids, args.top_k, where, args.include_seen)
        likes = f"movies like {', '.join(title.title for title in liked)}"
        who = f"{describe(model, person)} and {likes}" if somebody else likes
    else:
        hits = next(recommend(model, index, [person], args.top_k, where, args.include_seen))
        who = describe(model, person)
    if args.format == "table":
        print(f"recommended for: {who}")
    print_hits(hits, args.format)
    if len(hits) < args.top_k:
        print(explain_few(index, args, len(hits)), file=sys.stderr)


def explain_few(index: MovieIndex, args: argparse.Namespace, num_hits: int) -> str:
    """Says why there are not as many movies as asked for."""
    all_fits = index.count_where(index.where(args.genre, args.year))
    rare = all_fits - index.count_where(index.where(args.genre, args.year, args.min_ratings))
    why = "no more movies fit"
    if rare:
        why = f"{counted(rare, 'more movie')} would fit with fewer than {counted(args.min_ratings, 'rating')}"
        why += "; try --min-ratings 0"
    return f"Only {num_hits} of {args.top_k}: {why}."


def predict_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the predicted rating of one movie twice, through Milvus and by the towers in Paddle."""
    person = person_of(model, args.user, args.gender, args.age, args.job)
    index.vectors_of([args.movie])  # Raises where there is no such movie.
    hit = index.search(model.data.user_vectors[[person.row]], 1, f"id == {args.movie}")[0][0]
    from recommender.training import embed_movies, embed_people

    user_vector = embed_people(model.load_tower("user_tower"), model.data.people[[person.row]])[0]
    features = encode_movies([hit.movie], model.data.vocabularies)
    movie_vector = embed_movies(model.load_tower("movie_tower"), features)[0]
    print(f"{describe(model, person)} on {hit.movie.movie_id} {hit.movie.title}, in stars")
    print(f"predicted, through Milvus\t{MAX_SCORE * hit.similarity:.4f}")
    print(f"predicted, by Paddle\t\t{MAX_SCORE * user_vector @ movie_vector:.4f}")
    if args.user:
        ratings = model.ratings_of(args.user)
        rated = ratings[ratings["movie_id"] == args.movie]
        actual = "not rated"
        if len(rated):
            actual = f"{rated[0]['rating']} ({'a test row' if rated[0]['held_out'] else 'seen in training'})"
        print(f"actual\t\t\t\t{actual}")


def recommend_many(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Writes the movies that suit each of many users best to a CSV file, whole or not at all."""
    users = model.data.user_ids.tolist() if args.users == "all" else read_user_ids(Path(args.users))
    people = [Person(model.person_row(user), user) for user in users]
    where = index.where(args.genre, args.year, args.min_ratings)
    found = recommend(model, index, people, args.top_k, where, args.include_seen)
    short = 0
    with written_whole(args.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user_id", "top", "movie_id", "title", "score"])
        for user, hits in zip(users, tqdm(found, total=len(users), unit="user", disable=None), strict=True):
            short += len(hits) < args.top_k
            for top, hit in enumerate(hits):
                score = f"{MAX_SCORE * hit.similarity:.4f}"
                writer.writerow([user, top, hit.movie.movie_id, hit.movie.name, score])
    log = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    print(f"recommendations for {counted(len(users), 'user')} written to {args.output}", file=log)
    if short:
        print(f"{short:,} of them have fewer than {counted(args.top_k, 'movie')}: no more fit.", file=sys.stderr)


def read_user_ids(path: Path) -> list[int]:
    """Reads a user id a line; blank lines do not count, and one that comes again counts once.

    Raises:
        FileError: It cannot be read.
        DataError: A line is something else, or there is none.
    """
    raw = read_bytes(path.expanduser(), "--users takes a file of user ids, a line each, or all")
    user_ids = []
    for line_number, line in enumerate(decode_lines(raw, str(path)), 1):
        text = line.strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise DataError(f"{path}, line {line_number}: {text!r} is not a user id; write one a line")
        if text:
            user_ids.append(int(text))
    if not user_ids:
        raise DataError(f"{path}: no user ids in it; write one a line")
    return list(dict.fromkeys(user_ids))


def answer(args: argparse.Namespace) -> None:
    """Loads the model, indexes the movies if asked to, and answers."""
    args.top_k = args.top_k or DEFAULT_TOP_K
    args.min_ratings = DEFAULT_MIN_RATINGS if args.min_ratings is None else args.min_ratings
    model = load_model(args.model)
    catalogue = None
    if args.infer:
        catalogue = embed_catalogue(model, read_movies_data(args.movies_data, model.data.vocabularies))
    with Milvus(args.uri, args.token, args.tls_ca, args.wait, create=args.infer) as milvus:
        print("Server connected." if milvus.is_server else "Milvus Lite opened.", file=sys.stderr)
        if catalogue:
            build_index(milvus, catalogue, args.index)
        index = MovieIndex(milvus, model.fingerprint, model.vector_size)
        if args.format == "table":
            print(f"rows in collection {ALIAS}: {index.count}")
        if args.users:
            recommend_many(model, index, args)
        elif args.movie:
            predict_one(model, index, args)
        else:
            recommend_one(model, index, args)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: answer(args), args.places)


if __name__ == "__main__":
    finish(main)
