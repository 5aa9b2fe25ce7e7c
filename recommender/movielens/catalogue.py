"""Records of the MovieLens data sets, and the catalogue format of this program."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from recommender.movielens.lines import decode_lines, line_error
from recommender.films.titles import split_title
from recommender.errors import pluralize

GENDERS = {"M": "male", "F": "female"}
AGE_GROUPS = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
AGE_CODES = tuple(AGE_GROUPS)
GENDER_LABELS, AGE_LABELS = tuple(GENDERS.values()), tuple(AGE_GROUPS.values())
OCCUPATIONS = tuple(
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|doctor/health care|"
    "executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|retired|sales/marketing|scientist|"
    "self-employed|technician/engineer|tradesman/craftsman|unemployed|writer".split("|")
)
MAX_TITLE_CHARACTERS = 1000
ID_PREFIX = "id:"
"""Begins a movie id where a title may stand, as in `id:1214`."""
MAX_GENRE_CHARACTERS = 30
MAX_ID = 2**31 - 1

_GENRE_PUNCTUATION = "'&+.()-"
_GENRE = re.compile(rf"(?! )(?:[^\W_]|[ {re.escape(_GENRE_PUNCTUATION)}]){{1,{MAX_GENRE_CHARACTERS}}}(?<! )")
_IMDB_ID = re.compile(r"tt[0-9]{7,10}")


class Movie(NamedTuple):
    """One movie of a catalogue."""

    movie_id: int
    title: str
    """As in the file, with the year: `Toy Story (1995)`."""
    genres: tuple[str, ...]
    imdb_id: str = ""
    """Such as `tt0114709`; "" where the data set has none."""
    tmdb_id: int = 0
    """0 where the data set has none."""

    @property
    def name(self) -> str:
        """The title without its year."""
        return split_title(self.title)[0]

    @property
    def year(self) -> int | None:
        """The year of release, or None where the title has none."""
        return split_title(self.title)[1]


class User(NamedTuple):
    """One user; None stands for demographics that the data set does not have."""

    user_id: int
    gender: str | None = None
    """A key of `GENDERS`."""
    age: int | None = None
    """A key of `AGE_GROUPS`: the lowest age of the group."""
    occupation: int | None = None
    """An index into `OCCUPATIONS`, 0..20."""


class MovieLens(NamedTuple):
    """A whole data set; each rating refers to one of its users and movies."""

    users: list[User]
    movies: list[Movie]
    ratings: pd.DataFrame
    """Columns `user_id` and `movie_id`, int32, and `rating`, float32 (stars, 0.5..5), in file order."""
    notice: str = ""
    """What to tell with every answer, from the file notice.txt of the data set."""

    @property
    def has_demographics(self) -> bool:
        """Whether gender, age and occupation of the users are known."""
        return any(user.gender is not None for user in self.users)

    @property
    def has_links(self) -> bool:
        """Whether IMDb ids of the movies are known."""
        return any(movie.imdb_id for movie in self.movies)


def parse_movies(raw: bytes, file: str) -> list[Movie]:
    """Parses movies.dat or movies_origin.txt; `file` names it in messages.

    Raises:
        DataError: A line is not `MovieID::Title::Genres`, perhaps with `::IMDb id::TMDB id`, or an id is there twice.
    """
    movies = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = line.split("::")
        if not line.strip():
            raise line_error(file, number, "a blank line", "delete it")
        if len(fields) not in (3, 5):
            problem = f"{pluralize(len(fields), 'field')} instead of 3"
            raise line_error(file, number, problem, "a line reads MovieID::Title::Genres")
        movies.append(parse_movie(*fields, file=file, number=number))
    require_unique([movie.movie_id for movie in movies], "movie id", file)
    return movies


def format_movies(movies: Sequence[Movie]) -> str:
    """Returns movies in the format that `parse_movies` reads, one per line."""
    return "".join("::".join([str(movie.movie_id), *catalogue_fields(movie)]) + "\n" for movie in movies)


def catalogue_fields(movie: Movie) -> list[str]:
    """Returns title, genres and, where the movie has one, IMDb id and TMDB id."""
    links = [movie.imdb_id, str(movie.tmdb_id or "")]
    return [movie.title, "|".join(movie.genres), *(links if any(links) else [])]


def parse_movie(
    movie_id: str, title: str, genres: str, imdb_id: str = "", tmdb_id: str = "", *, file: str, number: int
) -> Movie:
    """Returns a movie from its fields, which are on line `number` of `file`.

    Raises:
        DataError: A field is malformed.
    """
    if not title.strip() or len(title) > MAX_TITLE_CHARACTERS or "::" in title:
        problem = f"a title of {len(title)} characters" if title.strip() else "an empty title"
        remedy = f"a title has 1 to {MAX_TITLE_CHARACTERS} characters, and no '::'"
        raise line_error(file, number, problem, remedy)
    labels = tuple(genres.split("|"))
    if not all(_GENRE.fullmatch(label) for label in labels):
        remedy = f"genres are separated by a single |; one has letters, digits, inner blanks and {_GENRE_PUNCTUATION}"
        raise line_error(file, number, f"genres {genres!r}", remedy)
    if imdb_id and not _IMDB_ID.fullmatch(imdb_id):
        raise line_error(file, number, f"IMDb id {imdb_id[:40]!r}", "it reads tt0114709, or nothing")
    tmdb = parse_id(tmdb_id, "TMDB id", file, number) if tmdb_id else 0
    return Movie(parse_id(movie_id, "movie id", file, number), title, labels, imdb_id, tmdb)


def parse_id(text: str, what: str, file: str, number: int) -> int:
    """Returns an id from its digits.

    Raises:
        DataError: It is not a whole number from 1 to `MAX_ID`.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_ID):
        raise line_error(file, number, f"{what} {text[:40]!r}", f"it must be a whole number from 1 to {MAX_ID}")
    return int(text)


def require_unique(ids: Sequence[int], what: str, file: str) -> None:
    """Raises a DataError for the first id that is there twice; the ids are those of lines 1, 2, ..."""
    first_line: dict[int, int] = {}
    for number, item_id in enumerate(ids, 1):
        if first_line.setdefault(item_id, number) != number:
            problem = f"{what} {item_id} is there twice, first on line {first_line[item_id]}"
            raise line_error(file, number, problem, "delete one of the two lines")
