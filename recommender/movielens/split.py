"""Ratings and profiles as integer arrays, split into training and test rows."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    MovieFeatures,
    Vocabularies,
    build_vocabularies,
    encode_movies,
    encode_profiles,
)
from recommender.movielens.releases import MovieLens

RELEVANCE_THRESHOLD = 4
"""Stars from which a movie counts as liked, and as relevant in a ranking."""
RATING_DTYPE = np.dtype([("movie_id", "<i4"), ("rating", "<f4"), ("held_out", "?")])
"""One rating of a user's history; `held_out` marks a test row, which training did not see."""


class Ratings(NamedTuple):
    """Ratings as rows of profiles and movies."""

    profile_row: np.ndarray
    """int32[ratings]"""
    movie_row: np.ndarray
    """int32[ratings]"""
    rating: np.ndarray
    """float[ratings], stars"""

    def select(self, rows: np.ndarray) -> "Ratings":
        """Returns some of the ratings, given as indices or as a mask."""
        return Ratings(*(column[rows] for column in self))


class Dataset(NamedTuple):
    """Training ratings with the features of their profiles and movies."""

    ratings: Ratings
    profiles: np.ndarray
    """int64[profiles, 4], see `encode_profiles`; the users are the last rows"""
    movies: MovieFeatures

    @property
    def num_users(self) -> int:
        """Number of registered users."""
        return len(self.profiles) - NUM_DEMOGRAPHIC_PROFILES


class Split(NamedTuple):
    """A data set in training and test rows, encoded."""

    train: Dataset
    test: Ratings
    vocabularies: Vocabularies
    user_ids: np.ndarray
    """int64[users], sorted: the ids of the last rows of `train.profiles`"""


def held_out_rows(num_ratings: int) -> np.ndarray:
    """Returns bool[num_ratings], True for the test rows: 99,981 of ml-1m's 1,000,209.

    Source: `paddle.dataset.movielens`: `numpy.random.seed(0)`, then for each row `random() < 0.1`.
    """
    return np.random.RandomState(0).random_sample(num_ratings) < 0.1


def split_and_encode(data: MovieLens, held_out: np.ndarray) -> Split:
    """Encodes a data set for training.

    Args:
        data: The data set.
        held_out: bool[ratings], True for the test rows. A user or movie without other rows has an unknown id.
    """
    rated_movies, rated_users = (data.ratings[name][~held_out].unique() for name in ("movie_id", "user_id"))
    vocabularies = build_vocabularies(data.movies, rated_movies.tolist())
    users = sorted(data.users)
    user_ids = np.array([user.user_id for user in users])
    user_row = pd.Index(user_ids).get_indexer(pd.Index(data.ratings.user_id))
    movie_row = pd.Index([movie.movie_id for movie in data.movies]).get_indexer(pd.Index(data.ratings.movie_id))
    profile_row = (NUM_DEMOGRAPHIC_PROFILES + user_row).astype(np.int32)
    ratings = Ratings(profile_row, movie_row.astype(np.int32), data.ratings.rating.to_numpy())
    profiles = encode_profiles(users, np.isin(user_ids, rated_users))
    train = Dataset(ratings.select(~held_out), profiles, encode_movies(data.movies, vocabularies))
    return Split(train, ratings.select(held_out), vocabularies, user_ids)


def group_ratings_by_user(
    ratings: pd.DataFrame, held_out: np.ndarray, user_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Groups ratings into histories.

    Args:
        ratings: Columns `user_id`, `movie_id` and `rating`.
        held_out: bool[ratings], True for the test rows.
        user_ids: int64[users], sorted.

    Returns:
        `RATING_DTYPE`[ratings], sorted by user and movie id, and int64[users + 1], CSR row pointers into them.
    """
    order = np.lexsort((ratings.movie_id, ratings.user_id))
    columns = (ratings.movie_id, ratings.rating, held_out)
    grouped = np.rec.fromarrays([np.asarray(column)[order] for column in columns], RATING_DTYPE)
    users = ratings.user_id.to_numpy()[order]
    return grouped, np.append(np.searchsorted(users, user_ids), len(users))
