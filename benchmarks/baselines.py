"""Baselines in closed form, which `evaluate.py` compares with: EASE, and means by demographics."""

import numpy as np

from recommender.data.dataset import Ratings
from recommender.evaluation.baselines import damped_mean


def ease_weights(interactions: np.ndarray, l2: float = 500.0) -> np.ndarray:
    """Returns float32[movies, movies], the weights of EASE: each movie's best linear reconstruction from the others.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

    Args:
        interactions: float[users, movies], the weight of each training rating
        l2: The regularization.
    """
    interactions = interactions.astype(np.float32)
    gram = interactions.T @ interactions
    gram[np.diag_indices_from(gram)] += l2
    inverse = np.linalg.inv(gram)
    weights: np.ndarray = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def ease_scores(interactions: np.ndarray, l2: float = 500.0) -> np.ndarray:
    """Returns float32[users, movies], the scores of EASE for the users that it is trained on."""
    scores: np.ndarray = interactions.astype(np.float32) @ ease_weights(interactions, l2)
    return scores


def demographic_predictions(train: Ratings, test: Ratings, demographics: np.ndarray) -> dict[str, np.ndarray]:
    """Predicts the ratings of new users in two simple ways.

    Args:
        train: The training ratings.
        test: Ratings of other users.
        demographics: int64[profiles, 3], gender, age and occupation index

    Returns:
        float64[test ratings] for `movie mean` and `movie mean + demographics`: the damped mean of a movie, and that
        plus the damped offset of its ratings by the same gender, then by the same age, then by the same occupation.
    """
    mean = train.rating.mean()
    num_movies = max(train.movie_row.max(), test.movie_row.max()) + 1
    movie_bias = damped_mean(train.rating - mean, train.movie_row, num_movies, damping=5)
    residual = train.rating - mean - movie_bias[train.movie_row]
    movie_mean = mean + movie_bias[test.movie_row]
    total = movie_mean.copy()
    for column in demographics.T:
        num_levels = column.max() + 1
        group = train.movie_row * num_levels + column[train.profile_row]
        offset = damped_mean(residual, group, num_movies * num_levels, damping=40)
        residual = residual - offset[group]
        total += offset[test.movie_row * num_levels + column[test.profile_row]]
    return {"movie mean": movie_mean, "movie mean + demographics": total}
