"""What a visitor's own ratings say of how they rate: their stars vector, moved. Plain arrays."""

from typing import NamedTuple

import numpy as np

from recommender.data.features import NUM_ANONYMOUS, anonymous_row
from recommender.evaluation.metrics import MAX_SCORE

NOISE = 0.75
"""Variance of a rating about what a person's own vector predicts, in stars squared; as what follows, chosen on people
held out."""
SPREAD = 1.5
"""How much more people differ than the vectors that training has learnt, which regularisation holds together."""
SHIFT = 0.5
"""How much of what users' vectors have in common, beside those of described people, holds for visitors."""


class Deviations(NamedTuple):
    """How users' vectors differ from those of people of whom only gender, age and occupation are known."""

    deviation_mean: np.ndarray
    """float32[200]"""
    deviation_covariance: np.ndarray
    """float32[200, 200]"""

    def moved(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Moves somebody's vector as far as their ratings say that they are no average person of their kind.

        It is the most likely vector where people's vectors are spread like users' and ratings have the variance
        `NOISE`: a ridge regression of the ratings in which directions cost as little as users differ along them.

        Args:
            vector: float32[200], of somebody described
            movie_vectors: float32[ratings, 200], of the movies that they rated
            ratings: float[ratings], in stars

        Returns:
            float32[200], no longer of unit length.
        """
        start = vector + self.deviation_mean
        rated = MAX_SCORE * movie_vectors
        spread = rated @ self.deviation_covariance
        noise = NOISE * np.eye(len(ratings))
        moved: np.ndarray = start + spread.T @ np.linalg.solve(spread @ rated.T + noise, ratings - rated @ start)
        return moved.astype(np.float32)


def fit_deviations(user_vectors: np.ndarray, people: np.ndarray) -> Deviations:
    """Learns from all users, given float32[people, 200] and int64[people, 4], see `encode_people`."""
    described = anonymous_row(*people[NUM_ANONYMOUS:, 1:].T)
    deviations = user_vectors[NUM_ANONYMOUS:] - user_vectors[described]
    return Deviations(SHIFT * deviations.mean(0), SPREAD * np.cov(deviations.T).astype(np.float32))
