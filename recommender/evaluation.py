"""Metrics of predicted ratings and of rankings, and baselines."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings, Split
from recommender.vectors import RANKINGS

USER_BATCH = 1 << 8
MAX_RANKED_SCORES = 100_000_000
"""Upper bound on users x movies that are ranked, as each takes time."""

Ranking = Callable[[np.ndarray], np.ndarray]
"""Scores all movies for some profiles: int64[profiles] rows to float[profiles, movies]."""
Vectors = Sequence[np.ndarray]
"""Vectors of all profiles or movies, float32[rows, 200] for each inner product."""


class RatingMetrics(NamedTuple):
    """Errors of predicted ratings, in stars; lower is better."""

    rmse: float
    """Root mean squared error."""
    mae: float
    """Mean absolute error."""


class RankingMetrics(NamedTuple):
    """Quality of the first k places of rankings, as means over users, each 0..1; higher is better."""

    ndcg: float
    """Normalized discounted cumulative gain with gains of 0 and 1; 1 is a list whose first places are all relevant."""
    recall: float


def rating_metrics(predicted: np.ndarray, rating: np.ndarray) -> RatingMetrics:
    """Compares predicted with observed ratings, both float[ratings], in stars."""
    error = predicted.astype(np.float64) - rating
    return RatingMetrics(float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))))


def ranking_metrics(scores: np.ndarray, relevant: np.ndarray, exclude: np.ndarray, k: int = 10) -> np.ndarray:
    """Evaluates the first k movies of each user's ranking.

    Args:
        scores: float[users, movies]; the highest is first, ties go to the lower row.
        relevant: bool[users, movies], the movies that belong at the top, at least one per user.
        exclude: bool[users, movies], the movies that are not ranked: those rated in training.
        k: The number of places.

    Returns:
        float64[users, 2], the `RankingMetrics` of each user.
    """
    ranked = top_k_indices(np.where(exclude, -np.inf, scores), min(k, scores.shape[1]))
    hits, num_relevant = np.take_along_axis(relevant, ranked, axis=1), relevant.sum(1)
    return np.column_stack([ndcg(hits, num_relevant, k), hits.sum(1) / num_relevant])


def ndcg(hits: np.ndarray, num_relevant: np.ndarray, k: int = 10) -> np.ndarray:
    """Returns float64[users], the NDCG at k of each list.

    Args:
        hits: bool[users, places], whether the movie in each place is relevant; at most k places.
        num_relevant: int[users], the number of relevant movies of each user, at least 1.
        k: The number of places of a perfect list.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(num_relevant, k) - 1]
    return hits @ discounts[: hits.shape[1]] / ideal


def evaluate_rankings(rankings: Mapping[str, Ranking], split: Split) -> dict[str, RankingMetrics]:
    """Evaluates rankings of all movies that a user did not rate in training; relevant are the liked test rows.

    Args:
        rankings: The rankings by name.
        split: The data set.

    Returns:
        The metrics of each ranking, on large data over some users spread evenly; empty where nobody likes a test row.
    """
    shape = len(split.train.profiles), len(split.train.movies.movie_idx)
    liked = split.test.select(split.test.rating >= RELEVANCE_THRESHOLD)
    relevant, exclude = rated_movies(liked, shape), rated_movies(split.train.ratings, shape)
    users = np.unique(liked.profile_row)
    users = users[:: 1 + len(users) * shape[1] // MAX_RANKED_SCORES]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in rankings}
    for start in range(0, len(users), USER_BATCH):
        batch = users[start : start + USER_BATCH]
        masks = relevant[batch].toarray(), exclude[batch].toarray()
        for name, score in rankings.items():
            rows[name].append(ranking_metrics(score(batch), *masks))
    return {name: RankingMetrics(*np.concatenate(parts).mean(0).tolist()) for name, parts in rows.items() if parts}


def rated_movies(ratings: Ratings, shape: tuple[int, int]) -> csr_array:
    """Returns bool[profiles, movies] of a shape, True where a profile rated a movie."""
    return csr_array((np.ones(len(ratings.rating), bool), (ratings.profile_row, ratings.movie_row)), shape)


def top_k_indices(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns int64[users, k], the columns of the k highest of float[users, movies], best first, ties by column."""
    top = np.empty((len(scores), k), np.int64)
    for row, user_scores in enumerate(scores):
        candidates = np.flatnonzero(user_scores >= np.partition(user_scores, -k)[-k])
        top[row] = candidates[np.argsort(-user_scores[candidates], kind="stable")][:k]
    return top


def evaluate_ratings(split: Split, predicted: np.ndarray) -> dict[str, RatingMetrics]:
    """Returns the metrics of the predicted test ratings, float[test ratings], as `this model`, and of `movie mean`."""
    predictions = {"movie mean": movie_means(split.train.ratings, split.test), "this model": predicted}
    return {name: rating_metrics(values, split.test.rating) for name, values in predictions.items()}


def movie_means(train: Ratings, test: Ratings) -> np.ndarray:
    """Returns float64[test ratings], the mean training rating of each movie; the mean of all for a movie without."""
    stars = pd.Series(train.rating, dtype=float)
    return stars.groupby(train.movie_row).mean().reindex(test.movie_row, fill_value=stars.mean()).to_numpy()


def evaluate_model_rankings(split: Split, user_vectors: Vectors, movie_vectors: Vectors) -> dict[str, RankingMetrics]:
    """Returns the metrics of the model's rankings by `stars`, `picks` and `both`, and of `most popular`.

    Args:
        split: The data set.
        user_vectors: The rating vectors and the taste vectors of all profiles.
        movie_vectors: Those of all movies.
    """
    rankings = {"most popular": most_popular(split.train.ratings, len(movie_vectors[0]))}
    for name in ("stars", "picks", "both"):
        rankings[name] = weighted_sum(RANKINGS[name], user_vectors, movie_vectors)
    return evaluate_rankings(rankings, split)


def most_popular(train: Ratings, num_movies: int) -> Ranking:
    """Returns the ranking of all movies by the number of users who liked them."""
    counts = np.bincount(train.movie_row[train.rating >= RELEVANCE_THRESHOLD], minlength=num_movies)
    return lambda rows: np.broadcast_to(counts, (len(rows), num_movies))


def weighted_sum(weights: Sequence[float], user_vectors: Vectors, movie_vectors: Vectors) -> Ranking:
    """Returns the ranking by a weighted sum of inner products, as one search in Milvus ranks.

    Args:
        weights: The weights of the inner products, see `RANKINGS`; those without vectors do not count.
        user_vectors: The vectors of all profiles, such as rating vectors and taste vectors.
        movie_vectors: Those of all movies.
    """
    parts = tuple(zip(weights, user_vectors, movie_vectors, strict=False))
    return lambda rows: np.sum([weight * users[rows] @ movies.T for weight, users, movies in parts], axis=0)
