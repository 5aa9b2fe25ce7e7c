"""What people pick: a person's taste vector from the films that they know, gender, age and occupation. Plain arrays.

A pick score is the inner product of a person's and a movie's vector. The last number of a movie's vector is its bias,
so the last of a person's is 1. What a person's vector is the sum of explains the score, too.
"""

from typing import NamedTuple

import numpy as np

from recommender.data.features import DEMOGRAPHIC_SIZES, UNKNOWN, MovieFeatures, Vocabularies
from recommender.evaluation.metrics import LIKED_FROM

LIKED_WEIGHT = 1.0
SEEN_WEIGHT = 0.5
DEMOGRAPHIC_STARTS = np.cumsum((0, *DEMOGRAPHIC_SIZES[:-1]))
"""Where the rows of gender, age and occupation begin in `Taste.demographics`."""


class Taste(NamedTuple):
    """What training has learnt of tastes. A movie that it has not seen is the sum of its genres and words."""

    history: np.ndarray
    """float32[movie indices, 199], what a movie that a person knows adds to them"""
    target: np.ndarray
    """float32[movie indices, 200], a movie's vector, its bias last"""
    history_content: np.ndarray
    """float32[genre and word indices, 199], the same of movies that are not known"""
    target_content: np.ndarray
    """float32[genre and word indices, 200], likewise"""
    demographics: np.ndarray
    """float32[33, 199], what a gender, an age and an occupation add; index 0 of each is "unknown" """

    def history_of(self, movies: MovieFeatures, vocabularies: Vocabularies) -> np.ndarray:
        """Returns float32[movies, 199], what each movie adds to a person who knows it."""
        return _rows(self.history, self.history_content, movies, vocabularies)

    def target_of(self, movies: MovieFeatures, vocabularies: Vocabularies) -> np.ndarray:
        """Returns float32[movies, 200], each movie's vector."""
        return _rows(self.target, self.target_content, movies, vocabularies)


def _rows(table: np.ndarray, content: np.ndarray, movies: MovieFeatures, vocabularies: Vocabularies) -> np.ndarray:
    """Looks up known movies in a table, and sums the genres and words of the others; those of padding are 0."""
    rows = np.array(table[movies.movie_index])
    _, genres, words = movies.take(movies.movie_index == UNKNOWN)
    rows[movies.movie_index == UNKNOWN] = content[genres].sum(1) + content[vocabularies.genres.size + words].sum(1)
    return rows


def weights_of(ratings: np.ndarray) -> np.ndarray:
    """Returns float32[ratings], how much each film of a history counts, given its stars."""
    return np.where(ratings >= LIKED_FROM, np.float32(LIKED_WEIGHT), np.float32(SEEN_WEIGHT))


def parts_of(
    history: np.ndarray, weights: np.ndarray, demographics: np.ndarray, demographic_index: np.ndarray
) -> np.ndarray:
    """Returns float32[films + 3, 199], what a person's vector is the sum of: their films, gender, age, occupation.

    Args:
        history: float32[films, 199], rows of `Taste.history` of the films that they know
        weights: float32[films], how much each counts
        demographics: see `Taste.demographics`
        demographic_index: int64[3], of gender, age and occupation, 0 where not known
    """
    known = (demographic_index > 0)[:, None] * demographics[DEMOGRAPHIC_STARTS + demographic_index]
    return np.concatenate([history * _shares(weights)[:, None], known])


def vector_of(
    history: np.ndarray, weights: np.ndarray, demographics: np.ndarray, demographic_index: np.ndarray
) -> np.ndarray:
    """Returns float32[200], a person's vector: the sum of `parts_of` them, and 1 behind it.

    The sum is one product here, without the parts, which matters for thousands of people.
    """
    known = demographics[(DEMOGRAPHIC_STARTS + demographic_index)[demographic_index > 0]]
    return np.append(_shares(weights) @ history + known.sum(0), np.float32(1))


def _shares(weights: np.ndarray) -> np.ndarray:
    """Returns the weights of a history, scaled to length 1 together."""
    return weights / max(float(np.linalg.norm(weights)), 1e-6)
