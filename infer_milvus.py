"""Step three: puts the movies into Milvus (-i) and finds the ones that suit a person best."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recommender.checkpoint import MODEL_FOLDER, ModelError, SavedModel, load_model
from recommender.evaluation import MAX_SCORE
from recommender.features import MOVIES_DATA, anonymous_row, encode_movies, read_movies_data
from recommender.movie_index import ALIAS, DEFAULT_URI, MAX_TOP_K, Hit, MovieIndex, MovieIndexError
from recommender.movielens import AGE_GROUPS, GENDERS, OCCUPATIONS, DataError, split_title

AGE_LABELS = tuple(AGE_GROUPS.values())
GENDER_LABELS = tuple(GENDERS.values())


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
examples:
  python infer_milvus.py -a 0 -g 1 -j 10 -i           index the movies, then recommend
  python infer_milvus.py -a 25-34 -g F -j programmer  labels work as well as numbers
  python infer_milvus.py -a 6 -k 20                   what is left out is unknown
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

environment: RECOMMENDER_MILVUS_URI and RECOMMENDER_MILVUS_TOKEN stand for --uri and --token."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-a", "--age", type=_choice("age", AGE_LABELS), help="age group, by number or label")
    parser.add_argument("-g", "--gender", type=_choice("gender", GENDER_LABELS), help="0 or M, 1 or F")
    parser.add_argument("-j", "--job", type=_choice("job", OCCUPATIONS), help="job, by number or label")
    parser.add_argument("-i", "--infer", action="store_true", help="first put the movies of --movies-data into Milvus")
    parser.add_argument("-k", "--top-k", type=_top_k, default=5, help="how many movies (default: %(default)s)")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    parser.add_argument(
        "--movies-data", type=Path, default=MOVIES_DATA, help="what get_movies_data.py wrote (default: %(default)s)"
    )
    parser.add_argument(
        "--uri",
        default=os.environ.get("RECOMMENDER_MILVUS_URI") or DEFAULT_URI,
        help=f"Milvus Lite path or server address (default: {DEFAULT_URI})",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""),
        help="user:password, for a server that asks for it",
    )
    return parser.parse_args(argv)


def _choice(what: str, labels: Sequence[str]):
    """Makes an argparse type that turns a number or a label, whole or one of its parts, into an index."""

    def parse(text: str) -> int:
        wanted = text.strip().casefold()
        for index, label in enumerate(map(str.casefold, labels)):
            if wanted in (str(index), label, *label.split("/")) or (what == "gender" and wanted == label[0]):
                return index
        options = ", ".join(f"{index} {label}" for index, label in enumerate(labels))
        raise argparse.ArgumentTypeError(f"no {what} {text!r}; choose one of: {options}")

    return parse


def _top_k(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_TOP_K):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_TOP_K}")
    return int(text)


def index_movies(index: MovieIndex, model: SavedModel, movies_data: Path) -> None:
    """Embeds all movies of movies_data.txt in one pass and puts them into Milvus."""
    movies = read_movies_data(movies_data, model.vocabularies)
    from recommender.training import embed_movies  # Imports Paddle, which a mere query does not need.

    vectors = embed_movies(model.load_movie_tower(), encode_movies(movies, model.vocabularies))
    print("get infer vectors finished!", file=sys.stderr)
    index.build(movies, vectors, model.fingerprint)


def user_vector(model: SavedModel, args: argparse.Namespace) -> np.ndarray:
    """Returns float32[1, 200], unit length: the vector of a person without an id."""
    gender, age, job = (0 if index is None else 1 + index for index in (args.gender, args.age, args.job))
    return model.user_vectors[[anonymous_row(gender, age, job)]]


def describe(args: argparse.Namespace) -> str:
    """Says in words who is asked for."""
    gender = "anyone" if args.gender is None else GENDER_LABELS[args.gender]
    age = "any age" if args.age is None else AGE_LABELS[args.age]
    job = "any job" if args.job is None else OCCUPATIONS[args.job]
    return f"{gender}, {age}, {job}"


def print_table(hits: Sequence[Hit]) -> None:
    """Prints the original's four columns, separated by tabs and aligned."""
    names = [split_title(hit.title)[0] for hit in hits]
    width = max(map(len, names), default=0)
    print(f"Top\tIds\t{'Title':<{width}}\tScore")
    for top, (hit, name) in enumerate(zip(hits, names, strict=True)):
        print(f"{top}\t{hit.movie_id}\t{name:<{width}}\t{MAX_SCORE * hit.similarity:.4f}")


def recommend(args: argparse.Namespace) -> None:
    """Loads the model, indexes the movies if asked to, and prints the best ones."""
    model = load_model(args.model.expanduser())
    index = MovieIndex(args.uri, args.token)
    print("Server connected.", file=sys.stderr)
    if args.infer:
        index_movies(index, model, args.movies_data.expanduser())
    count = index.open(model.fingerprint)
    print(f"rows in collection {ALIAS}: {count}")
    print(f"recommended for: {describe(args)}")
    print_table(index.search(user_vector(model, args), args.top_k)[0])
    index.close()


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    try:
        recommend(args)
    except (DataError, ModelError, MovieIndexError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
