"""Movies and users, their vocabularies, and their encoding as integer arrays.

A vocabulary index of 0 pads lists of words and genres; 1 is "unknown"; tokens follow in sorted order. Gender, age and
occupation have no padding: their index 0 is "unknown".
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from recommender.films.titles import split_title

GENDERS = {"M": "male", "F": "female"}
AGE_GROUPS = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
AGE_CODES = tuple(AGE_GROUPS)
GENDER_LABELS, AGE_LABELS = tuple(GENDERS.values()), tuple(AGE_GROUPS.values())
OCCUPATIONS = tuple(
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|doctor/health care|"
    "executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|retired|sales/marketing|scientist|"
    "self-employed|technician/engineer|tradesman/craftsman|unemployed|writer".split("|")
)
EMBEDDING_DIM = 200
"""Length of a rating vector and of a taste vector."""
PADDING, UNKNOWN, NUM_RESERVED = 0, 1, 2
"""The first indices of a vocabulary, and the number of them."""
DEMOGRAPHICS: list[tuple[object, ...]] = [(None, *GENDERS), (None, *AGE_CODES), (None, *range(len(OCCUPATIONS)))]
"""Values of gender, age and occupation in a `User`, in the order of their indices."""
DEMOGRAPHIC_SIZES = tuple(map(len, DEMOGRAPHICS))
"""Number of indices of gender, age and occupation, "unknown" included."""
NUM_DEMOGRAPHIC_PROFILES = int(np.prod(DEMOGRAPHIC_SIZES))
"""Number of combinations of gender, age and occupation: 3 x 8 x 22."""


class Movie(NamedTuple):
    """One movie of a catalogue."""

    movie_id: int
    title: str
    """As in the file, with the year: `Toy Story (1995)`."""
    genres: tuple[str, ...]
    imdb_id: str = ""
    """Such as `tt0114709`; "" where the data set has none."""
    tmdb_id: int = 0
    """0 where the data set has none. Two movies may share an id, as twins in ml-latest do."""

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


class Vocabulary:
    """Tokens numbered in sorted order, so that every process gives a token the same index."""

    def __init__(self, tokens: Iterable[Any]) -> None:
        self.tokens = sorted(set(tokens))
        self.size = NUM_RESERVED + len(self.tokens)
        """Number of indices, padding and "unknown" included."""
        self._index = {token: index for index, token in enumerate(self.tokens, NUM_RESERVED)}

    def index(self, token: Any) -> int:
        """Returns a token's index, or `UNKNOWN`."""
        return self._index.get(token, UNKNOWN)


class Vocabularies(NamedTuple):
    """The vocabularies of one data set."""

    words: Vocabulary
    genres: Vocabulary
    movies: Vocabulary
    """Ids of the movies that have training ratings; any other movie is unknown."""


class MovieFeatures(NamedTuple):
    """Input of the movie tower, one row per movie."""

    movie_idx: np.ndarray
    """int64[movies]"""
    genre_idx: np.ndarray
    """int64[movies, maximum genres], padded with 0"""
    word_idx: np.ndarray
    """int64[movies, maximum words], padded with 0; a title has at least one word"""

    def select(self, rows: np.ndarray) -> "MovieFeatures":
        """Returns the features of some rows, given as indices or as a mask."""
        return MovieFeatures(*(array[rows] for array in self))


def title_tokens(movie: Movie) -> list[str]:
    """Returns the lower-case words of a movie's name, split at blanks as in the original."""
    return movie.name.lower().split()


def genre_key(genre: str) -> str:
    """Returns the key that spellings of a genre share: `drama` is `Drama`, `sci fi` is `Sci-Fi`."""
    return "".join(char for char in genre.casefold() if char.isalnum()) or genre


def build_vocabularies(movies: Sequence[Movie], rated_movie_ids: Iterable[int]) -> Vocabularies:
    """Builds the vocabularies of a data set.

    Args:
        movies: The movies whose words and genres get indices.
        rated_movie_ids: Ids of the movies with training ratings.
    """
    return Vocabularies(
        words=Vocabulary(word for movie in movies for word in title_tokens(movie)),
        genres=Vocabulary(genre_key(genre) for movie in movies for genre in movie.genres),
        movies=Vocabulary(rated_movie_ids),
    )


def encode_movies(movies: Sequence[Movie], vocabularies: Vocabularies) -> MovieFeatures:
    """Encodes movies, in the order given."""
    return MovieFeatures(
        np.array([vocabularies.movies.index(movie.movie_id) for movie in movies], np.int64),
        pad_rows([[vocabularies.genres.index(genre_key(genre)) for genre in movie.genres] for movie in movies]),
        pad_rows([[vocabularies.words.index(word) for word in title_tokens(movie)] for movie in movies]),
    )


def pad_rows(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns int64[rows, longest row], the rows padded with `PADDING`."""
    return np.array([*zip_longest(*rows, fillvalue=PADDING)], np.int64).T.copy()


def demographic_profile_row(gender_idx: np.ndarray, age_idx: np.ndarray, occupation_idx: np.ndarray) -> np.ndarray:
    """Returns the profile row of a combination of demographics; an index of 0 is "unknown"."""
    return np.ravel_multi_index((gender_idx, age_idx, occupation_idx), DEMOGRAPHIC_SIZES)


def encode_profiles(users: Sequence[User], has_ratings: np.ndarray) -> np.ndarray:
    """Encodes all profiles: every combination of demographics, then every user.

    Args:
        users: The users, in the order of their rows.
        has_ratings: bool[users], whether a user has training ratings; without any, the user's id is unknown.

    Returns:
        int64[profiles, 4], columns user, gender, age and occupation index. The first `NUM_DEMOGRAPHIC_PROFILES` rows
        are at the places that `demographic_profile_row` gives.
    """
    anonymous = np.insert(np.indices(DEMOGRAPHIC_SIZES).reshape(3, -1).T, 0, UNKNOWN, axis=1)
    demographics = [[*map(tuple.index, DEMOGRAPHICS, user[1:])] for user in users]
    user_idx = np.where(has_ratings, NUM_RESERVED + np.arange(len(users)), UNKNOWN)
    registered = np.column_stack([user_idx, np.array(demographics, np.int64).reshape(-1, 3)])
    return np.concatenate([anonymous, registered])
