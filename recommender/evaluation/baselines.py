"""Baselines that the models are compared with. Plain numpy."""

import numpy as np

from recommender.movielens.split import Ratings


def baseline_predictions(train: Ratings, test: Ratings) -> dict[str, np.ndarray]:
    """Predicts the test ratings by means and biases of the training ratings.

    Returns:
        float64[test ratings] for `global mean`, `movie mean` (the global mean for a movie without ratings) and
        `user + movie bias`.
    """
    train_rating = train.rating.astype(np.float64)
    mean = train_rating.mean()
    num_users = max(train.profile_row.max(), test.profile_row.max()) + 1
    num_movies = max(train.movie_row.max(), test.movie_row.max()) + 1
    movie_mean = mean + damped_mean(train_rating - mean, train.movie_row, num_movies, damping=0)
    user_bias, movie_bias = np.zeros(num_users), np.zeros(num_movies)
    for _ in range(10):  # Alternating least squares with the damping of Surprise's BaselineOnly, 15 and 10.
        movie_bias = damped_mean(train_rating - mean - user_bias[train.profile_row], train.movie_row, num_movies, 10)
        user_bias = damped_mean(train_rating - mean - movie_bias[train.movie_row], train.profile_row, num_users, 15)
    return {
        "global mean": np.full(len(test.rating), mean),
        "movie mean": movie_mean[test.movie_row],
        "user + movie bias": mean + user_bias[test.profile_row] + movie_bias[test.movie_row],
    }


def damped_mean(values: np.ndarray, group: np.ndarray, num_groups: int, damping: float) -> np.ndarray:
    """Returns float64[groups], each group's sum over its count plus `damping`; 0 for a group without values."""
    counts = np.bincount(group, minlength=num_groups)
    means: np.ndarray = np.bincount(group, values, minlength=num_groups) / np.maximum(counts + damping, 1)
    return means
