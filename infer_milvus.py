"""Step three: puts the movies into Milvus (-i) and finds the ones that suit a person best."""

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recommender.checkpoint import MODEL_FOLDER, SavedModel, load_model
from recommender.command import create_parser, number, run
from recommender.evaluation import MAX_SCORE
from recommender.features import MOVIES_DATA, anonymous_row, encode_movies, read_movies_data
from recommender.movie_index import (
    ALIAS,
    BUILD_PARAMETERS,
    DEFAULT_URI,
    EXACT_UP_TO,
    MAX_TOP_K,
    SEARCH_BATCH,
    Hit,
    MovieIndex,
)
from recommender.movielens import AGE_GROUPS, GENDERS, OCCUPATIONS, DataError, Movie, written_whole

AGE_LABELS = tuple(AGE_GROUPS.values())
GENDER_LABELS = tuple(GENDERS.values())
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
  python infer_milvus.py --user 42 --movie 139          the predicted rating of one movie; -a, -g and -j do too
  python infer_milvus.py --like Metropolis --like 33    movies near others, by title or id
  python infer_milvus.py -g F --genre War --genre Western --year 1950-1969
  python infer_milvus.py --users all -k 10 --output recommendations.csv
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages:
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
    person.add_argument(
        "-a", "--age", type=_choice("age", AGE_LABELS), help="age group, by the number or label listed below"
    )
    person.add_argument("-g", "--gender", type=_choice("gender", GENDER_LABELS), help="0 or M, 1 or F")
    person.add_argument(
        "-j", "--job", type=_choice("job", OCCUPATIONS), help="job, by the number or label listed below"
    )
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
        "--like", action="append", default=[], metavar="TITLE|ID", help="movies near this one; may be repeated"
    )
    wanted.add_argument("--genre", action="append", default=[], help="of this genre, or of any if repeated")
    wanted.add_argument("--year", type=_years, default=(None, None), help="released in 1994, 1990-1999, 1990- or -1960")
    wanted.add_argument(
        "--min-ratings",
        type=number(int, 0),
        help=f"only movies with so many training ratings, 0 for all (default: {DEFAULT_MIN_RATINGS})",
    )
    wanted.add_argument("--include-seen", action="store_true", help="with --user: also what they rated in training")
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=["table", "json", "csv"], default="table", help="(default: %(default)s)")
    output.add_argument("--output", type=Path, help="the CSV file that --users writes")
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
        default=os.environ.get("RECOMMENDER_MILVUS_URI") or DEFAULT_URI,
        help=f"Milvus Lite path or server address (default: {DEFAULT_URI})",
    )
    storage.add_argument(
        "--token",
        default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""),
        help="user:password, for a server that asks for it; better put it into the environment",
    )
    storage.add_argument(
        "--tls-ca",
        type=Path,
        default=os.environ.get("RECOMMENDER_MILVUS_TLS_CA") or None,
        metavar="FILE",
        help="for an https address: the certificate of its authority, unless that is a public one",
    )
    storage.add_argument(
        "--wait", type=number(float, 0, 86_400), default=0, metavar="SECONDS", help="how long to wait for Milvus"
    )
    args = parser.parse_args(argv)
    if refusal := _refusal(args):
        parser.error(refusal)
    return args


def _refusal(args: argparse.Namespace) -> str | None:
    """Says why options do not go together, or None if they do."""
    described = args.age is not None or args.gender is not None or args.job is not None
    filtered = args.genre or args.year != (None, None) or args.min_ratings is not None
    if (args.user or args.users) and described:
        return "--user and --users bring their own age, gender and job; leave out -a, -g and -j"
    if args.user and args.users:
        return "--user asks for one user, --users for many; give one of them"
    if bool(args.users) != bool(args.output):
        return "--users and --output go together: the users to ask for, and the CSV file to write"
    if args.users and (args.movie or args.like or args.format != "table"):
        return "--users writes a CSV of everyone's own movies; leave out --movie, --like and --format"
    if args.movie and (args.like or filtered or args.top_k or args.format != "table"):
        return "--movie predicts one rating; leave out --like, --genre, --year, --min-ratings, -k and --format"
    if args.index and not args.infer:
        return "--index chooses how -i builds; add -i"
    if args.tls_ca and not args.uri.startswith("https://"):
        return "--tls-ca goes with an address in --uri that begins with https://"
    if args.tls_ca and not args.tls_ca.expanduser().is_file():
        return f"--tls-ca: there is no file {args.tls_ca}"
    if args.include_seen and (args.movie or not (args.user or args.users)):
        return "--include-seen is about the movies that --user or --users rated"
    return None


def _choice(what: str, labels: Sequence[str]) -> Callable[[str], int]:
    """Makes an argparse type that turns a number, or a label, its part or beginning, into an index."""

    def parse(text: str) -> int:
        wanted = text.strip().casefold()
        known = list(map(str.casefold, labels))
        exact = [index for index, label in enumerate(known) if wanted in (str(index), label, *label.split("/"))]
        found = exact or [index for index, label in enumerate(known) if label.startswith(wanted)]
        if len(found) != 1:
            options = ", ".join(f"{index} {labels[index]}" for index in found or range(len(labels)))
            problem = f"more than one {what} begins with" if found else f"no {what}"
            raise argparse.ArgumentTypeError(f"{problem} {text!r}; choose one of: {options}")
        return found[0]

    return parse


def _years(text: str) -> tuple[int | None, int | None]:
    match = re.fullmatch(r"([0-9]{4})?(-)?([0-9]{4})?", text)
    first, dash, last = match.groups() if match else (None, None, None)
    if not (first or last) or (first and last and (not dash or first > last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of years; write 1994, 1990-1999, 1990- or -1960")
    return (int(first) if first else None, int(last) if last else None if dash else int(first))


def index_movies(index: MovieIndex, model: SavedModel, movies: list[Movie], index_type: str | None) -> None:
    """Embeds all movies in one pass and puts them into Milvus."""
    from recommender.training import embed_movies  # Imports Paddle, which a mere query does not need.

    vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(movies, model.vocabularies))
    print("get infer vectors finished!", file=sys.stderr)
    ratings = model.ratings()
    rated, counts = np.unique(ratings["movie_id"][~ratings["held_out"]], return_counts=True)
    count_of = dict(zip(rated.tolist(), counts.tolist(), strict=True))
    num_ratings = [count_of.get(movie.movie_id, 0) for movie in movies]
    index.build(movies, vectors, num_ratings, model.fingerprint, index_type)


def person_row(model: SavedModel, args: argparse.Namespace) -> int:
    """Returns the asked-for person's row of the model's people."""
    if args.user:
        return model.user_row(args.user)
    gender, age, job = (0 if index is None else 1 + index for index in (args.gender, args.age, args.job))
    return int(anonymous_row(gender, age, job))


def describe(model: SavedModel, row: int, args: argparse.Namespace) -> str:
    """Says in words who is asked for."""
    _, gender, age, job = model.people[row]
    words = (("anyone", *GENDER_LABELS)[gender], ("any age", *AGE_LABELS)[age], ("any job", *OCCUPATIONS)[job])
    return (f"user {args.user}: " if args.user else "") + ", ".join(words)


def seen_movies(model: SavedModel, user_ids: Sequence[int]) -> list[set[int]]:
    """Returns for each user the ids of the movies that they rated in training."""
    return [set(ratings["movie_id"][~ratings["held_out"]].tolist()) for ratings in model.ratings_of(user_ids)]


def unit_sum(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Returns float32[1, 200], the unit vector in the direction of the sum."""
    total = np.sum(vectors, axis=0, dtype=np.float32)
    return (total / np.linalg.norm(total))[None]


def where(index: MovieIndex, args: argparse.Namespace) -> str:
    """Returns the filter that the options ask for."""
    least = DEFAULT_MIN_RATINGS if args.min_ratings is None else args.min_ratings
    return index.where(args.genre, args.year, least)


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
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        names = ["top", "movie_id", "title", "year", "genres", "num_ratings", "score"]
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def recommend_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the movies nearest to a person, to liked movies, or to both."""
    liked = [index.find_movie(text) for text in args.like]
    row = person_row(model, args)
    asked = []
    if not liked or args.user or row != anonymous_row(0, 0, 0):
        asked.append(model.user_vectors[row])
    if liked:
        asked.append(unit_sum(index.vectors_of(liked))[0])
    leave_out = set(liked)
    if args.user and not args.include_seen:
        leave_out |= seen_movies(model, [args.user])[0]
    k = args.top_k or DEFAULT_TOP_K
    hits = index.search(unit_sum(asked), k, where(index, args), [leave_out])[0]
    if args.format == "table":
        likes = f"{' and ' if len(asked) > 1 else ''}movies like {', '.join(args.like)}" if liked else ""
        print(f"recommended for: {describe(model, row, args) if len(asked) > 1 or not liked else ''}{likes}")
    print_hits(hits, args.format)
    if len(hits) < k:
        print(
            f"Only {len(hits)} of {k}: no more movies fit these filters, of which --min-ratings is one.",
            file=sys.stderr,
        )


def predict_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the predicted rating of one movie twice, through Milvus and by the towers in Paddle."""
    row = person_row(model, args)
    from recommender.training import embed_movies, embed_people

    index.vectors_of([args.movie])  # Raises where there is no such movie.
    hit = index.search(model.user_vectors[[row]], 1, f"id == {args.movie}")[0][0]

    user_vector = embed_people(model.load_tower("user_tower"), model.people[[row]])[0]
    movie_vector = embed_movies(model.load_tower("movie_tower"), encode_movies([hit.movie], model.vocabularies))[0]
    print(f"{describe(model, row, args)} on {hit.movie.movie_id} {hit.movie.title}, in stars")
    print(f"predicted, through Milvus\t{MAX_SCORE * hit.similarity:.4f}")
    print(f"predicted, by Paddle\t\t{MAX_SCORE * user_vector @ movie_vector:.4f}")
    if args.user:
        ratings = model.ratings_of([args.user])[0]
        actual = [
            f"{rating['rating']} ({'a test row' if rating['held_out'] else 'seen in training'})"
            for rating in ratings[ratings["movie_id"] == args.movie]
        ]
        print(f"actual\t\t\t\t{(actual or ['not rated'])[0]}")


def recommend_many(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Writes the movies nearest to each of many users to a CSV file, whole or not at all."""
    known = model.vocabularies.users.tokens
    users = known if args.users == "all" else read_user_ids(Path(args.users), set(known))
    vectors = model.user_vectors[[model.user_row(user) for user in users]]
    filters = where(index, args)
    leave_out = [set()] * len(users) if args.include_seen else seen_movies(model, users)
    k = args.top_k or DEFAULT_TOP_K
    short = 0
    with written_whole(args.output.expanduser()) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user_id", "top", "movie_id", "title", "score"])
        with tqdm(total=len(users), unit="user", disable=None) as progress:
            for start in range(0, len(users), SEARCH_BATCH):
                part = slice(start, start + SEARCH_BATCH)
                found = index.search(vectors[part], k, filters, leave_out[part])
                for user, hits in zip(users[part], found, strict=True):
                    short += len(hits) < k
                    for top, hit in enumerate(hits):
                        score = f"{MAX_SCORE * hit.similarity:.4f}"
                        writer.writerow([user, top, hit.movie.movie_id, hit.movie.name, score])
                progress.update(len(found))
    print(f"recommendations for {len(users):,} users written to {args.output}")
    if short:
        print(f"{short:,} of them have fewer than {k} movies: no more fit.", file=sys.stderr)


def read_user_ids(path: Path, known: Collection[int]) -> list[int]:
    """Reads a user id a line; one that comes again counts once.

    Raises:
        DataError: A line is something else, nobody known has that id, or there is none.
    """
    try:
        lines = path.expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"{path}: cannot read it: {reason}; --users takes a file of user ids, or all") from error
    user_ids = []
    for line_number, line in enumerate(map(str.strip, lines), 1):
        if not (line.isascii() and line.isdigit() and len(line) <= 10):
            raise DataError(f"{path}, line {line_number}: {line!r} is not a user id; write one a line")
        if int(line) not in known:
            raise DataError(f"{path}, line {line_number}: no user {line} in the training data; delete the line")
        user_ids.append(int(line))
    if not user_ids:
        raise DataError(f"{path}: the file is empty; write a user id a line")
    return list(dict.fromkeys(user_ids))


def recommend(args: argparse.Namespace) -> None:
    """Loads the model, indexes the movies if asked to, and answers."""
    model = load_model(args.model.expanduser())
    movies = read_movies_data(args.movies_data.expanduser(), model.vocabularies) if args.infer else []
    index = MovieIndex(args.uri, args.token, args.tls_ca, args.wait, create=args.infer)
    print("Server connected.", file=sys.stderr)
    if args.infer:
        index_movies(index, model, movies, args.index)
    count = index.open(model.fingerprint, model.user_vectors.shape[1])
    if args.format == "table":
        print(f"rows in collection {ALIAS}: {count}")
    if args.users:
        recommend_many(model, index, args)
    elif args.movie:
        predict_one(model, index, args)
    else:
        recommend_one(model, index, args)
    index.close()


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: recommend(args))


if __name__ == "__main__":
    sys.exit(main())
