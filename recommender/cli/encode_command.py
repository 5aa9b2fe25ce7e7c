"""Step two: encodes a movie catalogue for the model and writes movies_data.txt."""

import argparse
from collections.abc import Sequence

from recommender.cli.options import Parser, path_arg, refuse_overwriting
from recommender.errors import DataError, Step, pluralize
from recommender.files import read_bytes
from recommender.films.titles import title_key
from recommender.movielens.catalogue import parse_movies, write_movies_data
from recommender.store import CATALOGUE, SavedModel

MAX_CHANGED = 0.5
"""Upper bound on the share of the training movies that the catalogue lacks or has under another title."""

EXAMPLES = """\
examples:
  python get_movies_data.py                              the catalogue that train.py wrote
  python get_movies_data.py -f movies_origin.txt         the same, by name
  python get_movies_data.py -f ~/ml-1m/movies.dat        UTF-8 and Latin-1 are both read

a line of FILE:             2010::Metropolis (1926)::Sci-Fi
a line of movies_data.txt:  2010::3105,(1926)::16::Metropolis (1926)::Sci-Fi::1826
(id, word indices and year, genre indices, title, genres, movie index)

You may add films to FILE, with ids of their own: the model knows them by their titles and genres."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = Parser(__doc__, EXAMPLES)
    catalogue = "catalogue, lines MovieID::Title::Genres (default: movies_origin.txt in the working folder)"
    parser.add_argument("-f", "--file", type=path_arg, metavar="FILE", help=catalogue)
    options = parser.parse(argv)
    options.file = options.file or options.workdir.movies_origin
    refuse_overwriting(parser, "-f", options.workdir.movies_data, [options.file])
    return options


def execute(options: argparse.Namespace) -> None:
    """Reads the catalogue, encodes it for the model and writes it."""
    workdir = options.workdir
    model = SavedModel(workdir.model)
    own = model.folder / CATALOGUE
    movies = parse_movies(read_bytes(options.file, f"the model folder has a copy of it: {own}"), str(options.file))
    titles = {movie.movie_id: title_key(movie.title) for movie in movies}
    changed = [movie for movie in model.movies.values() if titles.get(movie.movie_id) != title_key(movie.title)]
    known = pluralize(len(model.movies), "movie")
    if len(changed) > MAX_CHANGED * len(model.movies):
        problem = f"{len(changed):,} of the {known} that the model knows are missing or have another title"
        raise DataError(f"this is not the catalogue of this model: {problem}; the model's own is {own}")
    if changed:
        names = "; ".join(f"{movie.movie_id} {movie.title}" for movie in changed[:3])
        print(f"Missing or renamed since training, {len(changed):,} of {known}: {names}")
    words, genres = write_movies_data(workdir.movies_data, movies, model.vocabularies, model.fingerprint)
    print(f"{pluralize(len(movies), 'movie')} written to {workdir.movies_data}")
    if words or genres:
        unknown = f"{pluralize(words, 'title word')} and {pluralize(genres, 'genre')}"
        print(f"Not in the training data: {unknown} of them.")
    example = " -a 0 -g 1 -j 10" if model.facts.has_demographics else " --like 'toy story'"
    print(f"Next: {workdir.command(Step.INDEX)}{example}")
