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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recommender import counted
from recommender.checkpoint import SavedModel, load_model
from recommender.command import (
    LITE_URI,
    MODEL_FOLDER,
    MOVIES_DATA,
    Places,
    choice,
    create_parser,
    number,
    plain_text,
    run,
    span_of_years,
)
from recommender.evaluation import MAX_SCORE
from recommender.features import encode_movies, read_movies_data
from recommender.files import STANDARD_STREAM, read_bytes, written_whole
from recommender.index_build import BUILD_PARAMETERS, EXACT_UP_TO, Catalogue, build_index
from recommender.milvus import Milvus, without_password
from recommender.movie_index import ALIAS, MAX_TOP_K, MovieIndex
from recommender.movielens import AGE_CODES, DataError, Movie, decode_lines
from recommender.process import finish
from recommender.recommend import LABELS, WEIGHTS, Recommendation, Wish, describe, find_movie, person_of, recommend

DEFAULT_TOP_K = 5
DEFAULT_MIN_RATINGS = 50
GENDER_LABELS, AGE_LABELS, JOB_LABELS = LABELS


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
examples:
  python infer_milvus.py -a 0 -g 1 -j 10 -i             index the movies, then recommend
  python infer_milvus.py -a 25-34 -g F -j programmer    labels work as well as numbers
  python infer_milvus.py -a 6 -k 20                     what is left out is unknown
  python infer_milvus.py --like alien --like "blade runner" --why
                                                        by titles, parts of them, or ids like id:1214
  python infer_milvus.py -a 30 -g F --like "toy story" --seen psycho
  python infer_milvus.py --user 42                      a user of the training data, without what they rated
  python infer_milvus.py --user 1 --movie 783           the predicted rating of one movie; -a, -g and -j do too
  python infer_milvus.py -g F --genre War --genre Western --year 1950-1969 --by picks
  python infer_milvus.py --users all -k 10 --output recommendations.csv
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages, by number or label; more than {len(AGE_LABELS) - 1} is an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(JOB_LABELS)}

Score is the predicted rating in stars: five times the cosine of user and movie vector. Pick says how likely the person
is to pick the movie. Of a person of whom no films are known, the order is that of the stars; where films are known, it
is that of both, and --by chooses otherwise.

environment: RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand for --uri, --token and
--tls-ca."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EPILOG)
    person = parser.add_argument_group("for whom")
    person.add_argument("-a", "--age", type=_age, help="age group, as listed below")
    person.add_argument("-g", "--gender", type=choice("gender", GENDER_LABELS), help="0 or M, 1 or F")
    person.add_argument("-j", "--job", type=choice("job", JOB_LABELS), help="job, as listed below")
    titles: dict[str, Any] = {"action": "append", "default": [], "type": plain_text, "metavar": "TITLE"}
    person.add_argument("--like", **titles, help="a film that they liked; may be repeated")
    person.add_argument("--seen", **titles, help="a film that they know and did not like much; may be repeated")
    person.add_argument("--user", type=number(int, 1), help="a user of the training data, by id")
    person.add_argument(
        "--users", metavar="FILE|all", help="many users, a user id a line, or everyone; writes --output"
    )
    wanted = parser.add_argument_group("what")
    wanted.add_argument(
        "-k", "--top-k", type=number(int, 1, MAX_TOP_K), help=f"how many movies (default: {DEFAULT_TOP_K})"
    )
    wanted.add_argument(
        "--by", choices=list(WEIGHTS), help="order by predicted stars, by what such people pick, or by both"
    )
    wanted.add_argument("--why", action="store_true", help="say what speaks for each movie that they might pick")
    wanted.add_argument("--movie", type=number(int, 1), help="only the predicted rating of this movie, by id")
    wanted.add_argument(
        "--genre", action="append", default=[], type=plain_text, help="of this genre, or of any if repeated"
    )
    wanted.add_argument(
        "--year", type=span_of_years, default=(None, None), help="released in 1994, 1990-1999, 1990- or -1960"
    )
    wanted.add_argument(
        "--min-ratings",
        type=number(int, 0),
        help=f"only movies with so many training ratings (default: {DEFAULT_MIN_RATINGS} by stars, else 0: people "
        "rarely pick what is rare)",
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
    if args.by is None:
        args.by = "both" if args.user or args.users or args.like or args.seen else "stars"
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
    told = args.like or args.seen
    return [
        (known and described, "--user and --users bring their own age, gender and job; leave out -a, -g and -j"),
        (args.user and args.users, "--user asks for one user, --users for many; give one of them"),
        (
            bool(args.users) != bool(args.output),
            "--users and --output go together: the users to ask for, and the CSV file to write",
        ),
        (
            args.users and (args.movie or told or formatted),
            "--users writes a CSV of everyone's own movies; leave out --movie, --like, --seen and --format",
        ),
        (
            args.movie and (told or filtered or args.top_k or args.why or formatted),
            "--movie predicts one rating; leave out --like, --seen, --genre, --year, --min-ratings, -k, --why, --format",
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


def _age(text: str) -> int:
    """Turns an age group, or an age in years where that is no group's number, into the group's number."""
    if re.fullmatch("[0-9]{1,3}", text) and int(text) >= len(AGE_LABELS):
        return bisect(AGE_CODES, int(text)) - 1
    return choice("age", AGE_LABELS)(text)


def embed_catalogue(model: SavedModel, movies: list[Movie]) -> Catalogue:
    """Embeds all movies in one pass: stars by the movie tower, in Paddle, and behind them the taste."""
    from recommender.training import embed_movies  # Imports Paddle, which a mere query does not need.

    features = encode_movies(movies, model.vocabularies)
    stars = embed_movies(model.load_tower("movie_tower"), features)
    vectors = np.hstack([stars, model.taste.target_of(features, model.vocabularies)])
    print("get infer vectors finished!", file=sys.stderr)
    count_of = model.count_ratings()
    return Catalogue(movies, vectors, [count_of.get(movie.movie_id, 0) for movie in movies], model.fingerprint)


def wish_of(index: MovieIndex, args: argparse.Namespace) -> Wish:
    """Returns what the options ask for."""
    return Wish(args.by, args.top_k, index.where(args.genre, args.year, args.min_ratings), args.why)


def column_names(args: argparse.Namespace) -> list[str]:
    """Returns what is told of each movie."""
    names = ["top", "movie_id", "title", "year", "genres", "num_ratings", "score"]
    return names + ["pick"] * (args.by != "stars") + ["why"] * args.why


def record(top: int, found: Recommendation) -> dict[str, Any]:
    """Returns all that can be told of a movie, by name."""
    return {
        "top": top,
        "movie_id": found.movie.movie_id,
        "title": found.movie.name,
        "year": found.movie.year,
        "genres": "|".join(found.movie.genres),
        "num_ratings": found.num_ratings,
        "score": round(found.score, 4),
        "pick": round(found.pick, 4),
        "why": ", ".join(f"{reason.what} {reason.added:+.2f}" for reason in found.reasons),
    }


def print_answer(found: Sequence[Recommendation], args: argparse.Namespace) -> None:
    """Prints movies as JSON, as CSV, or as the original's four columns, separated by tabs and aligned, and more."""
    names = column_names(args)
    records = [record(top, one) for top, one in enumerate(found)]
    if args.format == "json":
        print(json.dumps([{name: one[name] for name in names} for one in records], indent=1))
    elif args.format == "csv":
        writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    else:
        width = max((len(one["title"]) for one in records), default=0)
        print("\t".join(["Top", "Ids", f"{'Title':<{width}}", "Score", *map(str.capitalize, names[7:])]))
        for one in records:
            numbers = [f"{one[name]:.4f}" for name in names if name in ("score", "pick")]
            why = [one["why"]] if args.why else []
            print("\t".join([str(one["top"]), str(one["movie_id"]), f"{one['title']:<{width}}", *numbers, *why]))


def recommend_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the movies that suit a person best."""
    liked, seen = ([find_movie(index, text) for text in texts] for texts in (args.like, args.seen))
    person = person_of(
        model,
        args.user,
        (args.gender, args.age, args.job),
        [title.movie_id for title in liked],
        [title.movie_id for title in seen],
        args.include_seen,
    )
    found = next(recommend(model, index, [person], wish_of(index, args)))
    if args.format == "table":
        told = [
            f"; {verb} {', '.join(title.title for title in titles)}"
            for verb, titles in (("likes", liked), ("knows", seen))
            if titles
        ]
        print(f"recommended for: {describe(model, person)}{''.join(told)}")
    print_answer(found, args)
    if len(found) < args.top_k:
        print(explain_few(index, args, len(found)), file=sys.stderr)


def explain_few(index: MovieIndex, args: argparse.Namespace, num_found: int) -> str:
    """Says why there are not as many movies as asked for."""
    all_fits = index.count_where(index.where(args.genre, args.year))
    rare = all_fits - index.count_where(index.where(args.genre, args.year, args.min_ratings))
    why = "no more movies fit"
    if rare:
        why = f"{counted(rare, 'more movie')} would fit with fewer than {counted(args.min_ratings, 'rating')}"
        why += "; try --min-ratings 0"
    return f"Only {num_found} of {args.top_k}: {why}."


def predict_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the predicted rating of one movie twice, through Milvus and by the towers in Paddle."""
    from recommender.training import embed_movies, embed_people

    person = person_of(model, args.user, (args.gender, args.age, args.job), include_seen=True)
    movie = index.fetch([args.movie])[args.movie].movie
    [found] = next(recommend(model, index, [person], Wish("stars", 1, f"id == {args.movie}")))
    user_vector = embed_people(model.load_tower("user_tower"), model.arrays.people[[person.row]])[0]
    movie_vector = embed_movies(model.load_tower("movie_tower"), encode_movies([movie], model.vocabularies))[0]
    print(f"{describe(model, person)} on {movie.movie_id} {movie.title}, in stars")
    print(f"predicted, through Milvus\t{found.score:.4f}")
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
    users = model.arrays.user_ids.tolist() if args.users == "all" else read_user_ids(Path(args.users))
    people = [person_of(model, user, include_seen=args.include_seen) for user in users]
    answers = recommend(model, index, people, wish_of(index, args))
    names = ["user_id", *(name for name in column_names(args) if name not in ("year", "genres", "num_ratings"))]
    short = 0
    with written_whole(args.output) as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for user, found in zip(users, tqdm(answers, total=len(users), unit="user", disable=None), strict=True):
            short += len(found) < args.top_k
            writer.writerows({"user_id": user, **record(top, one)} for top, one in enumerate(found))
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
    if args.min_ratings is None:
        args.min_ratings = DEFAULT_MIN_RATINGS if args.by == "stars" else 0
    model = load_model(args.model)
    catalogue = None
    if args.infer:
        catalogue = embed_catalogue(model, read_movies_data(args.movies_data, model.vocabularies))
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
