"""Rating metrics (RMSE, MAE) and ranking metrics (precision, recall, NDCG, MRR). Plain numpy."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings
from recommender.scoring import top_k_indices

USER_BATCH = 1 << 8
MAX_RANKED_USERS = 10_000
MAX_RANKED_SCORES = 100_000_000
"""Upper bound on users x movies that are ranked, as each takes time."""

Ranking = Callable[[np.ndarray], np.ndarray]
"""Scores all movies for some profiles: int64[profiles] rows to float[profiles, movies]."""


class RatingMetrics(NamedTuple):
    """Errors of predicted ratings, in stars; lower is better."""

    rmse: float
    """Root mean squared error."""
    mae: float
    """Mean absolute error."""


class RankingMetrics(NamedTuple):
    """Quality of the first k places of rankings, as means over users, each 0..1; higher is better."""

    precision: float
    recall: float
    ndcg: float
    """Normalized discounted cumulative gain with gains of 0 and 1; 1 is a list whose first places are all relevant."""
    mrr: float
    """Reciprocal rank of the first relevant movie."""


def rating_metrics(predicted: np.ndarray, rating: np.ndarray) -> RatingMetrics:
    """Compares predicted with observed ratings, both float[ratings], in stars.

    Raises:
        ValueError: The arrays are empty, or their lengths differ.
    """
    if len(predicted) != len(rating) or len(rating) == 0:
        raise ValueError(f"{len(predicted)} predictions for {len(rating)} ratings")
    error = predicted.astype(np.float64) - rating
    return RatingMetrics(float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))))


def ranking_metrics(scores: np.ndarray, relevant: np.ndarray, exclude: np.ndarray, k: int = 10) -> np.ndarray:
    """Evaluates the first k movies of each user's ranking; users without a relevant movie are left out.

    Args:
        scores: float[users, movies]; the highest is first, ties go to the lower row.
        relevant: bool[users, movies], the movies that belong at the top.
        exclude: bool[users, movies], the movies that are not ranked: those rated in training.
        k: The number of places.

    Returns:
        float64[users with a relevant movie, 4], the `RankingMetrics` of each user.

    Raises:
        ValueError: A relevant movie is excluded, so training and test overlap.
    """
    if (relevant & exclude).any():
        raise ValueError("training and test overlap: a movie is both excluded and relevant")
    has_relevant = relevant.any(1)
    relevant = relevant[has_relevant]
    ranked = top_k_indices(np.where(exclude[has_relevant], -np.inf, scores[has_relevant]), min(k, scores.shape[1]))
    hits = np.take_along_axis(relevant, ranked, axis=1)
    num_relevant = relevant.sum(1)
    first_hit = np.where(hits.any(1), 1 / (1 + hits.argmax(1)), 0)
    return np.column_stack([hits.mean(1), hits.sum(1) / num_relevant, ndcg(hits, num_relevant, k), first_hit])


def ndcg(hits: np.ndarray, num_relevant: np.ndarray, k: int = 10) -> np.ndarray:
    """Returns float64[users], the NDCG at k of each list.

    Args:
        hits: bool[users, places], whether the movie in each place is relevant; at most k places.
        num_relevant: int[users], the number of relevant movies of each user, at least 1.
        k: The number of places of a perfect list.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(num_relevant, k) - 1]
    gains: np.ndarray = hits @ discounts[: hits.shape[1]] / ideal
    return gains


def evaluate_rankings(
    rankings: Mapping[str, Ranking], train: Ratings, test: Ratings, num_movies: int
) -> dict[str, RankingMetrics]:
    """Evaluates rankings of all movies that a user did not rate in training; relevant are the liked test rows.

    Args:
        rankings: The rankings by name.
        train: The training ratings, whose movies are not ranked.
        test: The test ratings.
        num_movies: The number of movies.

    Returns:
        The metrics of each ranking, on large data over some users spread evenly; empty where nobody likes a test row.
    """
    liked = test.select(test.rating >= RELEVANCE_THRESHOLD)
    users = np.unique(liked.profile_row)
    max_users = min(MAX_RANKED_USERS, MAX_RANKED_SCORES // num_movies)
    users = users[:: max(1, -(-len(users) // max_users))]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in rankings}
    for start in range(0, len(users), USER_BATCH):
        batch = users[start : start + USER_BATCH]
        relevant, exclude = interaction_mask(liked, batch, num_movies), interaction_mask(train, batch, num_movies)
        for name, score in rankings.items():
            rows[name].append(ranking_metrics(score(batch), relevant, exclude))
    return {name: RankingMetrics(*np.concatenate(parts).mean(0).tolist()) for name, parts in rows.items() if parts}


def interaction_mask(ratings: Ratings, profile_rows: np.ndarray, num_movies: int) -> np.ndarray:
    """Returns bool[profiles, movies], True where a profile rated a movie; `profile_rows` are sorted."""
    position = np.minimum(np.searchsorted(profile_rows, ratings.profile_row), len(profile_rows) - 1)
    is_wanted = profile_rows[position] == ratings.profile_row
    mask = np.zeros((len(profile_rows), num_movies), bool)
    mask[position[is_wanted], ratings.movie_row[is_wanted]] = True
    return mask
