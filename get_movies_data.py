"""Step two: encodes a movie catalogue for the model and writes movies_data.txt."""

if __name__ == "__main__":
    from recommender.cli.process import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recommender.cli.arguments import (
    LITE_URI,
    MODEL_FOLDER,
    MOVIES_DATA,
    PipelinePaths,
    create_parser,
    path_arg,
    refuse_overwriting,
)
from recommender.cli.process import run_and_report, run_main
from recommender.errors import DataError
from recommender.movielens.catalogue import Movie, parse_movies
from recommender.movielens.catalogue import write_movies_data
from recommender.films.titles import title_key
from recommender.errors import pluralize
from recommender.files import STANDARD_STREAM, read_bytes
from recommender.store import SavedModel, load_model, saved_catalogues

MAX_RENAMED = 0.1
"""Upper bound on the share of the training movies that may have another title in the catalogue."""

EXAMPLES = """\
examples:
  python get_movies_data.py -f movies_origin.txt         the catalogue that train.py wrote
  python get_movies_data.py -f ~/ml-1m/movies.dat        UTF-8 and Latin-1 are both read

a line of FILE:             2010::Metropolis (1926)::Sci-Fi
a line of movies_data.txt:  2010::2913,(1926)::16::Metropolis (1926)::Sci-Fi
(id, word indices and year, genre indices, title, genres)

Films may be added to FILE, with ids of their own: the model embeds them by their titles and genres.

next: python infer_milvus.py -a 0 -g 1 -j 10 -i"""


@dataclass(frozen=True)
class EncodeOptions:
    """The command line of get_movies_data.py."""

    file: Path
    model: Path
    output: Path

    @property
    def paths(self) -> PipelinePaths:
        """The paths that other steps need."""
        return PipelinePaths(model=self.model, movies_data=self.output)


def parse_args(argv: list[str] | None) -> EncodeOptions:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EXAMPLES)
    parser.add_argument("-f", "--file", type=path_arg, required=True, help="catalogue, lines MovieID::Title::Genres")
    parser.add_argument("--model", type=path_arg, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    parser.add_argument("--output", type=path_arg, default=MOVIES_DATA, help="file to write (default: %(default)s)")
    options = EncodeOptions(**vars(parser.parse_args(argv)))
    refuse_overwriting(parser, options.output, [options.file, options.model, Path(LITE_URI)])
    return options


def encode_catalogue(options: EncodeOptions) -> None:
    """Reads the catalogue, encodes it for the model and writes it."""
    log = sys.stderr if options.output == STANDARD_STREAM else sys.stdout
    print("Start.", file=log)
    model = load_model(options.model)
    content = read_bytes(options.file, "train.py writes movies_origin.txt")
    if content != model.catalogue and content in saved_catalogues(options.model):
        content = model.catalogue
        print(f"{options.file} is the catalogue of an earlier model; the current model's is used", file=sys.stderr)
    movies = parse_movies(content, str(options.file))
    renamed = find_renamed(model, movies)
    if renamed:
        print(f"{pluralize(len(renamed), 'movie')} renamed since training: {'; '.join(renamed[:3])}", file=log)
    unknown = write_movies_data(options.output, movies, model.vocabularies, model.fingerprint)
    print(f"{pluralize(len(movies), 'movie')} written to {options.output}", file=log)
    if any(unknown):
        words, genres = pluralize(unknown.words, "title word"), pluralize(unknown.genres, "genre")
        print(f"Not in the training data: {words} and {genres} of them.", file=log)
    print("Finish.", file=log)


def find_renamed(model: SavedModel, movies: Sequence[Movie]) -> list[str]:
    """Returns descriptions of the movies that had another title in training.

    Raises:
        DataError: There are more of them than corrected titles explain: the catalogue belongs to another model.
    """
    common = [movie for movie in movies if movie.movie_id in model.movies]
    renamed = [movie for movie in common if title_key(movie.title) != title_key(model.movies[movie.movie_id].title)]
    shown = [f"{movie.movie_id} {movie.title}, was {model.movies[movie.movie_id].title}" for movie in renamed]
    if len(renamed) > max(1, MAX_RENAMED * len(common)):
        problem = f"{len(renamed)} of {pluralize(len(common), 'common id')} have other titles: {shown[0]}"
        raise DataError(f"this is not the catalogue of this model; {problem}; give the --model of this catalogue")
    return shown


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse_args(argv)
    return run_and_report(lambda: encode_catalogue(options), options.paths.command)


if __name__ == "__main__":
    run_main(main)
