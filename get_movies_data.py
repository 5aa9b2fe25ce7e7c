"""Step two: encodes a movie catalogue for the model and writes movies_data.txt."""

if __name__ == "__main__":
    from recommender.cli.process import start

    start()

import argparse
import sys

from recommender.cli.arguments import MODEL_FOLDER, MOVIES_DATA, Places, create_parser, path, run
from recommender.cli.process import finish
from recommender.data.features import write_movies_data
from recommender.data.movielens import DataError, Movie, parse_movies
from recommender.errors import counted
from recommender.files import STANDARD_STREAM, read_bytes
from recommender.inference.model_folder import SavedModel, load_model
from recommender.inference.titles import title_key

MAX_OTHER_TITLES = 0.1
"""The share of the movies known by id that may have another title than in training."""

EXAMPLES = """\
examples:
  python get_movies_data.py -f movies_origin.txt         the catalogue that train.py wrote
  python get_movies_data.py -f ~/ml-1m/movies.dat        UTF-8 and Latin-1 are both read

a line of FILE:             2010::Metropolis (1926)::Sci-Fi
a line of movies_data.txt:  2010::2913,(1926)::16::Metropolis (1926)::Sci-Fi::2e1b5e62
(id, word indices and year, genre indices, title, genres, checksum)

Films may be added to FILE, with ids of their own: the model knows what it has not seen by title and genres.

next: python infer_milvus.py -a 0 -g 1 -j 10 -i"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EXAMPLES)
    parser.add_argument("-f", "--file", type=path, required=True, help="movies: MovieID::Title::Genres, a line each")
    parser.add_argument("--model", type=path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    parser.add_argument("--output", type=path, default=MOVIES_DATA, help="where to write (default: %(default)s)")
    args = parser.parse_args(argv)
    args.places = Places(model=args.model, movies_data=args.output)
    return args


def encode_catalogue(args: argparse.Namespace) -> None:
    """Reads the catalogue, encodes it for the model and writes it."""
    log = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    print("Start.", file=log)
    model = load_model(args.model)
    movies = parse_movies(read_bytes(args.file, "train.py writes movies_origin.txt"), str(args.file))
    other = other_titles(model, movies)
    if other:
        print(f"{counted(len(other), 'movie')} not called what training called them: {'; '.join(other[:3])}", file=log)
    unknown = write_movies_data(args.output, movies, model.vocabularies)
    print(f"{counted(len(movies), 'movie')} written to {args.output}", file=log)
    if any(unknown):
        words, genres = counted(unknown.words, "title word"), counted(unknown.genres, "genre")
        print(f"Training has not seen {words} and {genres} of them.", file=log)
    print("Finish.", file=log)


def other_titles(model: SavedModel, movies: list[Movie]) -> list[str]:
    """Says which movies the model knows by id under another title; a corrected title is fine, other movies are not.

    Raises:
        DataError: It is too many of them for corrections.
    """
    trained = {movie.movie_id: movie.title for movie in parse_movies(model.movies_origin, "movies_origin.txt")}
    known = [movie for movie in movies if movie.movie_id in trained]
    other = [movie for movie in known if title_key(movie.title) != title_key(trained[movie.movie_id])]
    said = [f"{movie.movie_id} {movie.title}, was {trained[movie.movie_id]}" for movie in other]
    if len(other) > max(1, MAX_OTHER_TITLES * len(known)):
        problem = f"{len(other)} of the {counted(len(known), 'movie')} that the model knows by id are others: {said[0]}"
        raise DataError(f"these are not the movies of this model; {problem}; give the --model of these movies")
    return said


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: encode_catalogue(args), args.places)


if __name__ == "__main__":
    finish(main)
