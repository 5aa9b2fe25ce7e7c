"""Predicted ratings from vectors, and new ratings folded into a user's vector. Plain numpy."""

from typing import NamedTuple

import numpy as np

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, UNKNOWN, demographic_profile_row

COSINE_SCALE = 5.0
"""The predicted rating, in stars, of two vectors of equal direction."""
PAIR_BATCH = 1 << 13
RATING_VARIANCE = 0.75
"""Variance of a rating around its prediction, in stars squared; this and the next two were chosen on held-out users."""
PRIOR_COV_SCALE = 1.5
"""Factor on the covariance of the learnt user vectors, which regularization draws together."""
PRIOR_MEAN_SCALE = 0.5
"""Factor on the mean offset of the learnt user vectors."""


def predict_ratings(
    user_vectors: np.ndarray, movie_vectors: np.ndarray, user_rows: np.ndarray, movie_rows: np.ndarray
) -> np.ndarray:
    """Returns float32[pairs], the predicted rating in stars of each pair of a user row and a movie row."""
    scores = np.empty(len(user_rows), np.float32)
    for start in range(0, len(scores), PAIR_BATCH):
        batch = slice(start, start + PAIR_BATCH)
        users, movies = user_vectors[user_rows[batch]], movie_vectors[movie_rows[batch]]
        scores[batch] = COSINE_SCALE * np.einsum("ij,ij->i", users, movies)
    return scores


class UserPrior(NamedTuple):
    """Prior over the offset of a user's rating vector from that of the user's demographic profile."""

    mean: np.ndarray
    """float32[200]"""
    covariance: np.ndarray
    """float32[200, 200]"""

    def posterior_mean(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Folds ratings into the rating vector of a demographic profile, in closed form.

        With V = 5 · movie vectors, C the covariance, σ² = `RATING_VARIANCE` and u = vector + mean, it is
        u + C Vᵀ (V C Vᵀ + σ² I)⁻¹ (r - V u): a ridge regression with smaller penalties where users differ more.

        Args:
            vector: float32[200], the profile's rating vector
            movie_vectors: float32[ratings, 200], the rating vectors of the rated movies
            ratings: float[ratings], stars

        Returns:
            float32[200], not of unit length.
        """
        moved = vector + self.mean + self.contributions(vector, movie_vectors, ratings).sum(0)
        return np.asarray(moved, np.float32)

    def contributions(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Returns float64[ratings, 200], by how much each rating moves the vector; see `posterior_mean`."""
        scaled = COSINE_SCALE * movie_vectors
        spread = scaled @ self.covariance
        noise = RATING_VARIANCE * np.eye(len(ratings))
        coefficients = np.linalg.solve(spread @ scaled.T + noise, ratings - scaled @ (vector + self.mean))
        parts: np.ndarray = coefficients[:, None] * spread
        return parts


def fit_user_prior(profile_vectors: np.ndarray, profiles: np.ndarray) -> UserPrior:
    """Fits the prior to the users with a known id.

    Args:
        profile_vectors: float32[profiles, 200], the user tower's rating vectors
        profiles: int64[profiles, 4], see `encode_profiles`
    """
    known = NUM_DEMOGRAPHIC_PROFILES + np.flatnonzero(profiles[NUM_DEMOGRAPHIC_PROFILES:, 0] != UNKNOWN)
    offsets = profile_vectors[known] - profile_vectors[demographic_profile_row(*profiles[known, 1:].T)]
    covariance = np.cov(offsets.T) if len(offsets) > 1 else np.zeros((offsets.shape[1],) * 2)
    return UserPrior(PRIOR_MEAN_SCALE * offsets.mean(0), (PRIOR_COV_SCALE * covariance).astype(np.float32))
