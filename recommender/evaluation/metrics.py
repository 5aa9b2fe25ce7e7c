"""How good predictions are: scores from vectors, rating metrics, the baselines to beat, exact top k. Plain arrays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MAX_SCORE = 5.0
"""The score of two parallel vectors, in stars."""
LIKED_FROM = 4
"""Stars. A movie that was rated so high is liked, any other that was rated is only known."""
CHUNK = 1 << 13
PEOPLE_CHUNK = 1 << 8
MAX_JUDGED = 10_000


class Ratings(NamedTuple):
    """Ratings as rows of people and movies, numbered from 0."""

    person_row: np.ndarray
    movie_row: np.ndarray
    rating: np.ndarray


class RatingMetrics(NamedTuple):
    """Errors of predicted ratings, in stars."""

    rmse: float
    mae: float


def rating_metrics(predicted: np.ndarray, rating: np.ndarray) -> RatingMetrics:
    """Compares predictions with ratings, both float[ratings], in stars.

    Raises:
        ValueError: There is nothing to compare, or the lengths differ.
    """
    if len(predicted) != len(rating) or len(rating) == 0:
        raise ValueError(f"{len(predicted)} predictions for {len(rating)} ratings")
    error = predicted.astype(np.float64) - rating
    return RatingMetrics(float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))))


def predict_scores(
    user_vectors: np.ndarray, movie_vectors: np.ndarray, person_row: np.ndarray, movie_row: np.ndarray
) -> np.ndarray:
    """Returns float32[ratings], five times the dot product of each rating's two unit vectors."""
    scores = np.empty(len(person_row), np.float32)
    for start in range(0, len(scores), CHUNK):
        part = slice(start, start + CHUNK)
        users, movies = user_vectors[person_row[part]], movie_vectors[movie_row[part]]
        scores[part] = MAX_SCORE * np.einsum("ij,ij->i", users, movies)
    return scores


def exact_top_k(user_vectors: np.ndarray, movie_vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k movies of the largest inner product by comparing with every one.

    Args:
        user_vectors: float32[users, 200]
        movie_vectors: float32[movies, 200]
        k: How many; no more than there are movies.

    Returns:
        int64[users, k] movie rows and float32[users, k] inner products, best first; the lower row first among equals.
    """
    products = user_vectors @ movie_vectors.T
    rows = top_rows(products, k)
    return rows, np.take_along_axis(products, rows, axis=1)


def top_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns int64[users, k], the k highest of float[users, movies], best first; the lower row first among equals."""
    least = np.partition(scores, -k, axis=1)[:, -k]
    top = np.empty((len(scores), k), np.int64)
    for user, mine in enumerate(scores):
        candidates = np.flatnonzero(mine >= least[user])
        top[user] = candidates[np.argsort(-mine[candidates], kind="stable")][:k]
    return top


class RankingMetrics(NamedTuple):
    """How well the first k of a ranking hit the relevant movies, as means over users, each 0..1."""

    precision: float
    recall: float
    ndcg: float
    mrr: float


def ranking_metrics(scores: np.ndarray, relevant: np.ndarray, hidden: np.ndarray, k: int = 10) -> RankingMetrics:
    """Judges the first k movies of each user's ranking; users without a relevant movie do not count.

    Gains are 0 or 1; the ideal of NDCG has as many hits as fit among k.

    Args:
        scores: float[users, movies]; the highest comes first, the lower row first among equals.
        relevant: bool[users, movies], what a good ranking puts first.
        hidden: bool[users, movies], what is not ranked: the movies that a user rated in training.
        k: How many places count.

    Raises:
        ValueError: A relevant movie is hidden, so training and test overlap; or nobody has a relevant movie.
    """
    rows = _rank(scores, relevant, hidden, k)
    if len(rows) == 0:
        raise ValueError("nobody has a relevant movie")
    return RankingMetrics(*rows.mean(0).tolist())


def _rank(scores: np.ndarray, relevant: np.ndarray, hidden: np.ndarray, k: int) -> np.ndarray:
    """Returns float64[users with a relevant movie, 4], the `RankingMetrics` of each."""
    if (relevant & hidden).any():
        raise ValueError("training and test overlap: a movie is both hidden and relevant")
    counted = relevant.any(1)
    relevant = relevant[counted]
    ranked = top_rows(np.where(hidden[counted], -np.inf, scores[counted]), min(k, scores.shape[1]))
    hits = np.take_along_axis(relevant, ranked, axis=1)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    num_relevant = relevant.sum(1)
    ideal = np.cumsum(discounts)[np.minimum(num_relevant, k) - 1]
    first = np.where(hits.any(1), 1 / (1 + hits.argmax(1)), 0)
    return np.column_stack([hits.mean(1), hits.sum(1) / num_relevant, hits @ discounts[: hits.shape[1]] / ideal, first])


def judge_rankings(
    rankings: dict[str, Callable[[np.ndarray], np.ndarray]], train: Ratings, test: Ratings, num_movies: int
) -> dict[str, RankingMetrics]:
    """Judges rankings of all movies that somebody did not rate in training; relevant are the test rows they liked.

    Args:
        rankings: By name, what scores all movies for some people: int64[people] to float[people, movies].
        train: What is hidden.
        test: What may be relevant.
        num_movies: How many movies there are.

    Returns:
        The metrics of each; of many people, `MAX_JUDGED` of them, spread evenly, are judged. Empty if nobody likes a
        test row.
    """
    liked = Ratings(*(column[test.rating >= LIKED_FROM] for column in test))
    people = np.unique(liked.person_row)
    people = people[:: max(1, -(-len(people) // MAX_JUDGED))]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in rankings}
    for start in range(0, len(people), PEOPLE_CHUNK):
        part = people[start : start + PEOPLE_CHUNK]
        relevant, hidden = rating_cells(liked, part, num_movies), rating_cells(train, part, num_movies)
        for name, score in rankings.items():
            rows[name].append(_rank(score(part), relevant, hidden, 10))
    return {name: RankingMetrics(*np.concatenate(parts).mean(0).tolist()) for name, parts in rows.items() if parts}


def rating_cells(ratings: Ratings, people: np.ndarray, num_movies: int) -> np.ndarray:
    """Returns bool[people, movies], True where one of some people, given by their rows, sorted, rated a movie."""
    place = np.minimum(np.searchsorted(people, ratings.person_row), len(people) - 1)
    theirs = people[place] == ratings.person_row
    cells = np.zeros((len(people), num_movies), bool)
    cells[place[theirs], ratings.movie_row[theirs]] = True
    return cells


def baseline_predictions(train: Ratings, test: Ratings) -> dict[str, np.ndarray]:
    """Predicts the test ratings in three simple ways, learnt from the training ratings.

    Returns:
        float64[test ratings] for `global mean`, `movie mean` (the global mean where a movie has no rating) and
        `user + movie bias`.
    """
    mean = train.rating.mean()
    num_users = max(train.person_row.max(), test.person_row.max()) + 1
    num_movies = max(train.movie_row.max(), test.movie_row.max()) + 1
    movie_mean = mean + damped_mean(train.rating - mean, train.movie_row, num_movies, damping=0)
    user_bias, movie_bias = np.zeros(num_users), np.zeros(num_movies)
    for _ in range(10):  # Alternating least squares with Surprise's BaselineOnly damping, 15 and 10.
        movie_bias = damped_mean(train.rating - mean - user_bias[train.person_row], train.movie_row, num_movies, 10)
        user_bias = damped_mean(train.rating - mean - movie_bias[train.movie_row], train.person_row, num_users, 15)
    return {
        "global mean": np.full(len(test.rating), mean),
        "movie mean": movie_mean[test.movie_row],
        "user + movie bias": mean + user_bias[test.person_row] + movie_bias[test.movie_row],
    }


def damped_mean(values: np.ndarray, group: np.ndarray, num_groups: int, damping: float) -> np.ndarray:
    """Returns float64[groups], each group's sum over its count plus `damping`; 0 for a group without values."""
    counts = np.bincount(group, minlength=num_groups)
    means: np.ndarray = np.bincount(group, values, minlength=num_groups) / np.maximum(counts + damping, 1)
    return means
