"""From a history to a taste vector. Plain numpy.

A user's taste vector is the sum of the input embeddings of the movies in their history and of their demographics. Its
inner product with a movie's taste vector is the movie's Pick.
"""

from typing import Any, NamedTuple

import numpy as np

from recommender.movielens.encoding import DEMOGRAPHIC_SIZES, UNKNOWN, MovieFeatures

WHOLE_STARS, RATING_WEIGHTS = (1, 2, 3, 4, 5), (0.1, 0.3, 0.6, 1.0, 1.4)
"""Weights of a movie in a history by its stars, and the Picks that the taste model is trained towards."""
LIKED_WEIGHT = 1.0
SEEN_WEIGHT = 0.5
PRIOR_WEIGHT = 1.0
"""Weight of demographics beside a history: that of one movie with 4 stars."""
TASTE_NOISE = 0.3
"""Noise variance of the taste vector of a user without history, see `shrinkage`."""
MAX_ANYONE_SHARE, HALF_ANYONE_LENGTH = 0.4, 30.0
"""Largest share of anyone's taste that is taken from a user's, and the length of a history that has half of it."""
DEMOGRAPHIC_OFFSETS = np.cumsum((0, *DEMOGRAPHIC_SIZES[:-1]))
"""First rows of gender, age and occupation in a table of demographic embeddings."""
EVERYONE = sum(DEMOGRAPHIC_SIZES)
"""Last row of that table, which counts for every user."""


class MovieEmbeddings(NamedTuple):
    """A table of movie embeddings; a movie without training ratings is the sum of its genres' and words'."""

    by_id: np.ndarray
    """float32[movie indices, dim]"""
    by_content: np.ndarray
    """float32[genre indices + word indices, dim], genres first; 0 at padding"""

    def lookup(self, movies: MovieFeatures, num_genres: int) -> np.ndarray:
        """Returns float32[movies, dim]; `num_genres` is the number of genre indices."""
        rows = np.array(self.by_id[movies.movie_idx])
        is_unknown = movies.movie_idx == UNKNOWN
        _, genres, words = movies.select(is_unknown)
        rows[is_unknown] = self.by_content[genres].sum(1) + self.by_content[num_genres + words].sum(1)
        return rows


class TasteParameters(NamedTuple):
    """A trained taste model; see `picks.taste_training`."""

    inputs: MovieEmbeddings
    """Of width 200: the embeddings of the movies in a history."""
    outputs: MovieEmbeddings
    """Of width 200: the movies' taste vectors, along the principal axes of the training users' scores."""
    demographics: np.ndarray
    """float32[34, 200], embeddings of genders, ages and occupations, see `DEMOGRAPHIC_OFFSETS`, and of `EVERYONE`"""
    variances: np.ndarray
    """float32[200], mean squares of the training users' taste vectors"""


class History(NamedTuple):
    """What the taste of a user is computed from: movies with weights, and demographics."""

    embeddings: np.ndarray
    """float32[movies, 200], input embeddings of the taste model"""
    weights: np.ndarray
    """float32[movies], see `history_weights`"""
    demographics: np.ndarray
    """float32[known demographics + 1, 200], embeddings of what is known of gender, age and occupation, then of
    `EVERYONE`"""
    variances: np.ndarray
    """float32[200], see `TasteParameters`"""

    @property
    def squared_norm(self) -> np.float32:
        """The sum of the squared weights: the number of movies that the user likes, roughly."""
        return np.float32(self.weights @ self.weights)

    def vector(self) -> np.ndarray:
        """Returns the taste vector, float32[200]."""
        return self.contributions().sum(0)

    def contributions(self) -> np.ndarray:
        """Returns float32[movies + known demographics + 1, 200], the parts that `vector` is the sum of."""
        parts = np.concatenate([self.weights[:, None] * self.embeddings, PRIOR_WEIGHT * self.demographics])
        return parts * history_scale(self.squared_norm) * shrinkage(self.variances, self.squared_norm)


def history_weights(ratings: np.ndarray) -> np.ndarray:
    """Returns float32[ratings], the weight of each movie in a history, 0.1 to 1.4."""
    return np.interp(ratings, WHOLE_STARS, RATING_WEIGHTS).astype(np.float32)


def history_scale(squared_norm: Any) -> np.ndarray:
    """Returns float32[...], the factor that scales a history and its demographics.

    It is one over the length that the history would have with one more movie of weight 1.

    Args:
        squared_norm: float32[...], the sum of the squared `history_weights` of each history
    """
    return 1 / np.sqrt(squared_norm + np.float32(PRIOR_WEIGHT**2))


def shrinkage(variances: np.ndarray, squared_norm: Any) -> np.ndarray:
    """Returns float32[..., 200], 0 to 1: how far each number of a taste vector can be trusted.

    It is the Wiener filter v / (v + noise), whose noise falls with the length of the history. So a short history counts
    in the directions in which users differ most.

    Args:
        variances: float32[200], v, see `TasteParameters`
        squared_norm: float32[...] as of `history_scale`
    """
    noise = np.float32(TASTE_NOISE) / (squared_norm + np.float32(PRIOR_WEIGHT**2))
    return variances / (variances + noise[..., None])


def anyone_share(squared_norm: Any, novelty: float = 0) -> Any:
    """Returns float32[...], the share of an unknown user's taste vector that is taken from a user's own.

    Lists get more personal by it. It grows with the history, from 0: who states little gets what everyone likes.

    Args:
        squared_norm: float32[...] as of `history_scale`, roughly the number of liked movies
        novelty: 0 to 1, which the user adds
    """
    grown = squared_norm / (squared_norm + np.float32(HALF_ANYONE_LENGTH))
    return np.float32(MAX_ANYONE_SHARE) * grown + np.float32(novelty)


def known_demographics(table: np.ndarray, demographic_idx: np.ndarray) -> np.ndarray:
    """Returns float32[known demographics + 1, dim], rows of a table of demographic embeddings, `EVERYONE` last.

    Args:
        table: float32[34, dim], genders, ages and occupations, see `DEMOGRAPHIC_OFFSETS`, and everyone
        demographic_idx: int64[3], gender, age and occupation; 0 is "unknown"
    """
    known = (DEMOGRAPHIC_OFFSETS + demographic_idx)[demographic_idx > 0]
    return table[np.append(known, EVERYONE)]
