"""A data set as integer arrays: what the models learn from and are judged by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.data.features import (
    NUM_ANONYMOUS,
    UNKNOWN,
    MovieFeatures,
    Vocabularies,
    build_vocabularies,
    encode_movies,
    encode_people,
)
from recommender.data.movielens import MovieLens
from recommender.evaluation.metrics import Ratings


class Dataset(NamedTuple):
    """Ratings to learn from, and what the towers read about each person and movie."""

    ratings: Ratings
    people: np.ndarray
    """int64[people, 4], see `encode_people`; the users are the last rows"""
    movies: MovieFeatures
    """Each movie."""
    hidden_movies: MovieFeatures
    """The same movies, but with ids unknown."""


class Split(NamedTuple):
    """A data set, split and encoded."""

    train: Dataset
    test: Ratings
    vocabularies: Vocabularies
    user_ids: np.ndarray
    """int64[users], sorted: of the last rows of `train.people`"""


def split_and_encode(data: MovieLens, held_out: np.ndarray) -> Split:
    """Encodes a data set for training.

    Args:
        data: What `read_movielens` read.
        held_out: bool[ratings], True for the test rows; a movie without other rows is an unknown movie.
    """
    rated = data.ratings.movie_id[~held_out].unique().tolist()
    vocabularies = build_vocabularies(data.movies, rated)
    users = sorted(data.users)
    user_ids = np.array([user.user_id for user in users])
    ratings = Ratings(
        np.int32(NUM_ANONYMOUS) + _rows_of(data.ratings.user_id, user_ids),
        _rows_of(data.ratings.movie_id, [movie.movie_id for movie in data.movies]),
        data.ratings.rating.to_numpy(),
    )
    train, test = (Ratings(*(column[rows] for column in ratings)) for rows in (~held_out, held_out))
    movies = encode_movies(data.movies, vocabularies)
    hidden = movies._replace(movie_index=np.full_like(movies.movie_index, UNKNOWN))
    return Split(Dataset(train, encode_people(users), movies, hidden), test, vocabularies, user_ids)


def _rows_of(ids: pd.Series, known: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns int32[ids], the place of each among those known."""
    return pd.Index(known).get_indexer(pd.Index(ids)).astype(np.int32)
