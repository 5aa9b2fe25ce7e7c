"""Encodes people and movies as integer arrays, and writes and reads movies_data.txt.

An index of 0 is padding in a list of words or genres, and "unknown" for a single gender, age or occupation. In the
vocabularies 0 pads, 1 is "unknown", and the tokens follow in sorted order.
"""

import zlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from recommender.data.movielens import AGE_CODES, AGE_GROUPS, GENDERS, OCCUPATIONS, DataError, Movie, User, parse_movie
from recommender.errors import Step, counted
from recommender.files import read_bytes, written_whole

VECTOR_SIZE = 200
"""Numbers in a person's or movie's vector of stars, and as many in that of tastes."""
MOVIE_SIZE = 2 * VECTOR_SIZE
"""Numbers of a movie in Milvus: its stars and, behind them, its taste."""
PADDING = 0
UNKNOWN = 1
NUM_RESERVED = 2
DEMOGRAPHIC_SIZES = (1 + len(GENDERS), 1 + len(AGE_GROUPS), 1 + len(OCCUPATIONS))
"""How many indices gender, age and occupation have; index 0 of each is "unknown"."""
NUM_ANONYMOUS = int(np.prod(DEMOGRAPHIC_SIZES))
"""How many people without an id can be told apart: 3 x 8 x 22."""

RATING = np.dtype([("movie_id", "<i4"), ("rating", "i1"), ("held_out", "?")])
"""One rating; `held_out` says that it is a test row, which training did not see."""

Token = TypeVar("Token", bound=Hashable)


class Vocabulary(Generic[Token]):
    """Numbers tokens in sorted order, so that every process gives the same token the same index."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self.tokens: list[Token] = sorted(set(tokens))  # type: ignore[type-var]
        self._index = {token: index for index, token in enumerate(self.tokens, NUM_RESERVED)}

    @property
    def size(self) -> int:
        """How many indices there are, padding and "unknown" included."""
        return NUM_RESERVED + len(self.tokens)

    def index(self, token: Token) -> int:
        """Returns a token's index, or `UNKNOWN`."""
        return self._index.get(token, UNKNOWN)


class Vocabularies(NamedTuple):
    """All that turns MovieLens' labels and ids into indices."""

    words: Vocabulary[str]
    genres: Vocabulary[str]
    movies: Vocabulary[int]
    """The movies that have ratings to learn from; any other is an unknown movie."""


class MovieFeatures(NamedTuple):
    """What the movie tower reads: one row a movie."""

    movie_index: np.ndarray
    """int64[movies]"""
    genre_index: np.ndarray
    """int64[movies, most genres], padded with 0"""
    word_index: np.ndarray
    """int64[movies, most words], padded with 0; a title has at least one word"""

    def take(self, rows: np.ndarray) -> "MovieFeatures":
        """Returns the features of some rows."""
        return MovieFeatures(*(array[rows] for array in self))


def title_words(movie: Movie) -> list[str]:
    """Splits a title, without its year, into lower-case words."""
    return movie.name.lower().split()


def genre_key(genre: str) -> str:
    """Returns what makes two spellings one genre: `drama` is `Drama`."""
    return genre.casefold()


def build_vocabularies(movies: Sequence[Movie], rated_movie_ids: Iterable[int]) -> Vocabularies:
    """Builds the vocabularies of a data set.

    Args:
        movies: The movies whose words and genres to know.
        rated_movie_ids: The movies to know by id: those with ratings to learn from.
    """
    return Vocabularies(
        words=Vocabulary(word for movie in movies for word in title_words(movie)),
        genres=Vocabulary(genre_key(genre) for movie in movies for genre in movie.genres),
        movies=Vocabulary(rated_movie_ids),
    )


def encode_movies(movies: Sequence[Movie], vocabularies: Vocabularies) -> MovieFeatures:
    """Encodes movies, in the order given."""
    return MovieFeatures(
        np.array([vocabularies.movies.index(movie.movie_id) for movie in movies], np.int64),
        _pad([_encode_genres(movie, vocabularies) for movie in movies]),
        _pad([_encode_title(movie, vocabularies) for movie in movies]),
    )


def _encode_genres(movie: Movie, vocabularies: Vocabularies) -> list[int]:
    return [vocabularies.genres.index(genre_key(genre)) for genre in movie.genres]


def _encode_title(movie: Movie, vocabularies: Vocabularies) -> list[int]:
    return [vocabularies.words.index(word) for word in title_words(movie)]


def _pad(rows: Sequence[Sequence[int]]) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), PADDING, np.int64)
    for row, indices in zip(padded, rows, strict=True):
        row[: len(indices)] = indices
    return padded


def anonymous_row(gender_index: np.ndarray, age_index: np.ndarray, occupation_index: np.ndarray) -> np.ndarray:
    """Returns the row, in `encode_people`, of a person without an id; 0 stands for what is not known of them."""
    return np.ravel_multi_index((gender_index, age_index, occupation_index), DEMOGRAPHIC_SIZES)


def encode_people(users: Sequence[User]) -> np.ndarray:
    """Encodes everyone that a question can be asked for.

    Returns:
        int64[people, 4], columns user, gender, age and occupation index: first the `NUM_ANONYMOUS` people without an
        id, at the rows that `anonymous_row` gives, then the users in the order given, which numbers them.
    """
    demographics = np.indices(DEMOGRAPHIC_SIZES).reshape(len(DEMOGRAPHIC_SIZES), NUM_ANONYMOUS).T
    anonymous = np.column_stack([np.full(NUM_ANONYMOUS, UNKNOWN), demographics])
    genders = tuple(GENDERS)
    known = [
        (NUM_RESERVED + row, 1 + genders.index(user.gender), 1 + AGE_CODES.index(user.age), 1 + user.occupation)
        for row, user in enumerate(users)
    ]
    return np.concatenate([anonymous, np.array(known).reshape(-1, anonymous.shape[1])]).astype(np.int64)


def sort_ratings(ratings: pd.DataFrame, held_out: np.ndarray, user_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts ratings by user and movie.

    Args:
        ratings: Columns `user_id`, `movie_id` and `rating`.
        held_out: bool[ratings], True for the test rows.
        user_ids: int64[users], sorted.

    Returns:
        `RATING`[ratings] and int64[users + 1], where each user's begin; the last is their number.
    """
    order = np.lexsort((ratings.movie_id, ratings.user_id))
    columns = (ratings.movie_id, ratings.rating, held_out)
    in_order = np.rec.fromarrays([np.asarray(column)[order] for column in columns], RATING)
    users = ratings.user_id.to_numpy()[order]
    return in_order, np.append(np.searchsorted(users, user_ids), len(users))


class UnknownCounts(NamedTuple):
    """How many words and genres of a catalogue the model has never seen."""

    words: int
    genres: int


def write_movies_data(path: Path, movies: Sequence[Movie], vocabularies: Vocabularies) -> UnknownCounts:
    """Writes movies_data.txt: `id::word index,...,(YEAR)::genre index,...::title::genres::checksum`, a line a movie.

    The first three fields are the original demo's, whose readers drop the year at the end of the second. The checksum
    is of the line before it. The file appears under its name only when it is whole.

    Raises:
        FileError: It cannot be written.
    """
    unknown_words = unknown_genres = 0
    with written_whole(path) as file:
        for movie in movies:
            unknown_words += _encode_title(movie, vocabularies).count(UNKNOWN)
            unknown_genres += _encode_genres(movie, vocabularies).count(UNKNOWN)
            file.write(_movies_data_line(movie, vocabularies) + "\n")
    return UnknownCounts(unknown_words, unknown_genres)


def _movies_data_line(movie: Movie, vocabularies: Vocabularies) -> str:
    fields = [
        str(movie.movie_id),
        ",".join([*map(str, _encode_title(movie, vocabularies)), f"({movie.year or ''})"]),
        ",".join(map(str, _encode_genres(movie, vocabularies))),
        movie.title,
        "|".join(movie.genres),
    ]
    return _with_checksum("::".join(fields))


def _with_checksum(line: str) -> str:
    return f"{line}::{zlib.crc32(line.encode()):08x}"


def read_movies_data(path: Path, vocabularies: Vocabularies) -> list[Movie]:
    """Reads what `write_movies_data` wrote with the same vocabularies.

    Raises:
        FileError: The file cannot be read.
        DataError: A line is broken, changed or there twice, or was encoded for another model.
    """

    def damaged(problem: str) -> DataError:
        return DataError(f"{path}{problem}", Step.ENCODE)

    try:
        content = read_bytes(path, redo=Step.ENCODE).decode()
    except UnicodeDecodeError as error:
        raise damaged(f": damaged at byte {error.start}") from error
    if not content:
        raise damaged(": the file is empty")
    movies: dict[int, Movie] = {}
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        fields = line.split("::")
        if len(fields) != 6:
            raise damaged(f", line {number}: {counted(len(fields), 'field')} instead of 6")
        if _with_checksum("::".join(fields[:-1])) != line:
            raise damaged(f", line {number}: changed since it was written")
        movie = parse_movie(fields[0], fields[3], fields[4], file=str(path), number=number)
        if _movies_data_line(movie, vocabularies) != line:
            raise damaged(f", line {number}: not encoded for this model")
        if movie.movie_id in movies:
            raise damaged(f", line {number}: movie {movie.movie_id} is there twice")
        movies[movie.movie_id] = movie
    return list(movies.values())
