"""Evaluates a trained model on the test rows, beside baselines."""

import numpy as np

from recommender.data.dataset import RELEVANCE_THRESHOLD, Split
from recommender.evaluation.baselines import baseline_predictions
from recommender.evaluation.metrics import Ranking, RankingMetrics, RatingMetrics, evaluate_rankings, rating_metrics
from recommender.inference.user_vectors import RANKING_WEIGHTS
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
    liked = train.movie_row[train.rating >= RELEVANCE_THRESHOLD]
    popularity = np.bincount(liked, minlength=num_movies)

    def by(ranking: str) -> Ranking:
        rating_weight, taste_weight = RANKING_WEIGHTS[ranking]
        return lambda rows: (
            rating_weight * user_vectors[0][rows] @ movie_vectors[0].T
            + taste_weight * user_vectors[1][rows] @ movie_vectors[1].T
        )

    rankings: dict[str, Ranking] = {
        "most popular": lambda rows: np.broadcast_to(popularity, (len(rows), num_movies)),
        **{ranking: by(ranking) for ranking in RANKING_WEIGHTS},
    }
    return evaluate_rankings(rankings, train, split.test, num_movies)
