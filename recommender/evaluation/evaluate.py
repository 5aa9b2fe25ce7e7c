"""Evaluates a trained model on the test rows, beside baselines."""

import numpy as np

from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings, Split
from recommender.evaluation.baselines import baseline_predictions
from recommender.evaluation.metrics import Ranking, RankingMetrics, RatingMetrics, evaluate_rankings, rating_metrics
from recommender.users import RANKING_WEIGHTS
from recommender.scoring import predict_ratings


def evaluate_ratings(split: Split, user_vectors: np.ndarray, movie_vectors: np.ndarray) -> dict[str, RatingMetrics]:
    """Returns the metrics of the predicted ratings, `this model`, and of the baselines.

    Args:
        split: The data set.
        user_vectors: float32[profiles, 200], rating vectors
        movie_vectors: float32[movies, 200], rating vectors
    """
    test = split.test
    predictions = {
        **baseline_predictions(split.train.ratings, test),
        "this model": predict_ratings(user_vectors, movie_vectors, test.profile_row, test.movie_row),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def evaluate_model_rankings(
    split: Split, user_vectors: tuple[np.ndarray, np.ndarray], movie_vectors: tuple[np.ndarray, np.ndarray]
) -> dict[str, RankingMetrics]:
    """Returns the metrics of the model's rankings by `stars`, `picks` and `both`, and of `most popular`.

    Args:
        split: The data set.
        user_vectors: float32[profiles, 200] twice, rating vectors and taste vectors
        movie_vectors: float32[movies, 200] twice
    """
    train, num_movies = split.train.ratings, len(movie_vectors[0])
    rankings = {
        "most popular": most_popular(train, num_movies),
        **{name: weighted_sum(weights, user_vectors, movie_vectors) for name, weights in RANKING_WEIGHTS.items()},
    }
    return evaluate_rankings(rankings, train, split.test, num_movies)


def most_popular(train: Ratings, num_movies: int) -> Ranking:
    """Returns the ranking of all movies by the number of users who liked them."""
    counts = np.bincount(train.movie_row[train.rating >= RELEVANCE_THRESHOLD], minlength=num_movies)
    return lambda rows: np.broadcast_to(counts, (len(rows), num_movies))


def weighted_sum(
    weights: tuple[float, float],
    user_vectors: tuple[np.ndarray, np.ndarray],
    movie_vectors: tuple[np.ndarray, np.ndarray],
) -> Ranking:
    """Returns the ranking by the weighted sum of two inner products, as one search in Milvus ranks.

    Args:
        weights: The weights of both inner products, see `RANKING_WEIGHTS`.
        user_vectors: float32[profiles, 200] twice, rating vectors and taste vectors
        movie_vectors: float32[movies, 200] twice
    """
    parts = tuple(zip(weights, user_vectors, movie_vectors, strict=True))
    return lambda rows: sum(weight * users[rows] @ movies.T for weight, users, movies in parts)
