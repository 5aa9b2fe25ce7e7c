"""From rating vectors to stars, and from a new user's ratings to a rating vector. Plain numpy.

A predicted rating is 5 times the inner product of a user's and a movie's rating vector. Movie vectors have length 1;
the length of a user's vector is the model's own, so that it can predict 4.6 stars on average for a user who is generous
and still tell their movies apart.
"""

from typing import NamedTuple

import numpy as np

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, UNKNOWN, demographic_profile_row

COSINE_SCALE = 5.0
"""The predicted rating, in stars, of two vectors of length 1 and equal direction."""
RATING_VARIANCE = 0.75
"""Variance of a rating around its prediction, in stars squared; chosen on held-out users."""
PAIR_BATCH = 1 << 13


def predict_ratings(
    user_vectors: np.ndarray, movie_vectors: np.ndarray, user_rows: np.ndarray, movie_rows: np.ndarray
) -> np.ndarray:
    """Returns float32[pairs], the predicted stars of pairs of a user row and a movie row, not clipped."""
    stars = np.empty(len(user_rows), np.float32)
    for start in range(0, len(stars), PAIR_BATCH):
        batch = slice(start, start + PAIR_BATCH)
        users, movies = user_vectors[user_rows[batch]], movie_vectors[movie_rows[batch]]
        stars[batch] = COSINE_SCALE * np.einsum("ij,ij->i", users, movies)
    return stars


class UserPrior(NamedTuple):
    """Prior over the offset of a user's rating vector from that of the user's demographic profile, with mean 0.

    With V = 5 · movie vectors of n ratings r, C the covariance, σ² = `RATING_VARIANCE` and u the profile's vector, the
    posterior has the mean u + C Vᵀ (V C Vᵀ + σ² I)⁻¹ (r - V u), a ridge regression with smaller penalties where users
    differ more.
    """

    covariance: np.ndarray
    """float32[200, 200]"""

    def posterior_mean(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Folds ratings into the rating vector of a demographic profile, in closed form.

        Args:
            vector: float32[200], the profile's rating vector
            movie_vectors: float32[ratings, 200], the rating vectors of the rated movies
            ratings: float[ratings], stars

        Returns:
            float32[200]
        """
        return np.asarray(vector + self.contributions(vector, movie_vectors, ratings).sum(0), np.float32)

    def contributions(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Returns float64[ratings, 200], by how much each rating moves the vector; see `posterior_mean`."""
        scaled = COSINE_SCALE * movie_vectors  # V
        gain = scaled @ self.covariance  # V C
        noise = RATING_VARIANCE * np.eye(len(ratings))
        coefficients = np.linalg.solve(gain @ scaled.T + noise, ratings - scaled @ vector)
        return np.asarray(coefficients[:, None] * gain)


def fit_user_prior(profile_vectors: np.ndarray, profiles: np.ndarray) -> UserPrior:
    """Returns the prior with the covariance of the offsets of the users with a known id.

    Their mean is not that of new users: a profile's vector is trained on ratings, of which active users have more.

    Args:
        profile_vectors: float32[profiles, 200], the user tower's rating vectors
        profiles: int64[profiles, 4], see `encode_profiles`
    """
    known = NUM_DEMOGRAPHIC_PROFILES + np.flatnonzero(profiles[NUM_DEMOGRAPHIC_PROFILES:, 0] != UNKNOWN)
    offsets = profile_vectors[known] - profile_vectors[demographic_profile_row(*profiles[known, 1:].T)]
    covariance = np.cov(offsets.T) if len(offsets) > 1 else np.zeros((offsets.shape[1],) * 2)
    return UserPrior(covariance.astype(np.float32))
