"""Step two: encodes a movie catalogue for the model and writes movies_data.txt."""

import argparse
import sys
from pathlib import Path

from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.command import create_parser, run
from recommender.features import MOVIES_DATA, write_movies_data
from recommender.movielens import DataError, Movie, parse_movies

EXAMPLES = """\
examples:
  python get_movies_data.py -f movies_origin.txt         the catalogue that train.py wrote
  python get_movies_data.py -f ~/ml-1m/movies.dat        UTF-8 and Latin-1 are both read

a line of FILE:             139::Metropolis (1927)::Drama|Sci-Fi
a line of movies_data.txt:  139::254,(1927)::8,15::Metropolis (1927)::Drama|Sci-Fi

next: python infer_milvus.py -a 0 -g 1 -j 10 -i"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EXAMPLES)
    parser.add_argument("-f", "--file", type=Path, required=True, help="movies: MovieID::Title::Genres, a line each")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=MOVIES_DATA, help="where to write (default: %(default)s)")
    return parser.parse_args(argv)


def encode_catalogue(args: argparse.Namespace) -> None:
    """Reads the catalogue, encodes it for the model and writes it."""
    print("Start.")
    vocabularies = load_model(args.model.expanduser()).vocabularies
    movies = read_catalogue(args.file.expanduser())
    unknown = write_movies_data(args.output.expanduser(), movies, vocabularies)
    print(f"{len(movies):,} movies written to {args.output}")
    if any(unknown):
        print(
            f"The model has never seen {unknown.words:,} of their title words and {unknown.genres:,} of their genres."
        )
    print("Finish.")


def read_catalogue(path: Path) -> list[Movie]:
    """Reads a movies file.

    Raises:
        DataError: It cannot be read, or a line is wrong.
    """
    try:
        return parse_movies(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}; train.py writes movies_origin.txt") from error


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: encode_catalogue(args))


if __name__ == "__main__":
    sys.exit(main())
