"""Evaluates lists of ten movies against test ratings, and prints the metrics as tables."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from tables import Table

from recommender.data.dataset import RELEVANCE_THRESHOLD, Ratings
from recommender.evaluation.metrics import USER_BATCH, Ranking, interaction_mask, ndcg
from recommender.scoring import top_k_indices

K = 10
NUM_PAIRS = 2_000
"""Number of random pairs of users whose lists are compared."""
LISTS_NAME_WIDTH = 42
"""Width of the names in all tables of evaluate.py."""


class ListMetrics(NamedTuple):
    """Metrics of users' lists; a movie is relevant if its user liked it in the test ratings."""

    ndcg: float
    recall: float
    hit_rating: float
    """Mean rating of the relevant movies in the lists, in stars."""
    list_rating: float
    """Mean rating of the movies in the lists that their user rated at all, in stars."""
    low_share: float
    """Share of these that have one or two stars."""
    num_movies: float
    """Number of different movies in all lists."""
    num_shared: float
    """Number of movies that the lists of two users have in common, as a mean."""


COLUMNS = {
    "NDCG@10": ".4f",
    "recall@10": ".4f",
    "hits, stars": ".2f",
    "rated, stars": ".2f",
    "1-2 stars": ".1%",
    "movies": ",.0f",
    "shared": ".1f",
}
"""Headings of `ListMetrics` and their formats."""


def liked(ratings: Ratings) -> Ratings:
    """Returns the ratings of 4 stars or more."""
    return ratings.select(ratings.rating >= RELEVANCE_THRESHOLD)


def most_popular(train: Ratings, num_movies: int) -> Ranking:
    """Returns the ranking of all movies by the number of users who liked them."""
    counts = np.bincount(liked(train).movie_row, minlength=num_movies)
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


def top_lists(ranking: Ranking, profile_rows: np.ndarray, exclude: Ratings, num_movies: int) -> np.ndarray:
    """Returns int64[profiles, 10], the first movies of a ranking without those that a profile rated in `exclude`."""
    lists = []
    for start in range(0, len(profile_rows), USER_BATCH):
        batch = profile_rows[start : start + USER_BATCH]
        scores = np.where(interaction_mask(exclude, batch, num_movies), -np.inf, ranking(batch))
        lists.append(top_k_indices(scores, K))
    return np.concatenate(lists)


def evaluate_lists(lists: np.ndarray, profile_rows: np.ndarray, test: Ratings, num_movies: int) -> ListMetrics:
    """Evaluates lists.

    Args:
        lists: int64[profiles, 10], movie rows
        profile_rows: int64[profiles], sorted; each has liked a movie in `test`
        test: The test ratings.
        num_movies: The number of all movies.
    """
    table = csr_array((test.rating, (test.profile_row, test.movie_row)), (test.profile_row.max() + 1, num_movies))
    ratings = table[profile_rows[:, None], lists].toarray()  # [profiles, 10], 0 where there is none
    hits = ratings >= RELEVANCE_THRESHOLD
    num_relevant = interaction_mask(liked(test), profile_rows, num_movies).sum(1)
    one, other = np.random.default_rng(0).integers(0, len(profile_rows), (2, NUM_PAIRS))
    num_shared = (lists[one, :, None] == lists[other, None, :]).sum((1, 2))
    return ListMetrics(
        ndcg(hits, num_relevant, K).mean(),
        (hits.sum(1) / num_relevant).mean(),
        ratings[hits].mean(),
        ratings[ratings > 0].mean(),
        (ratings[ratings > 0] < 3).mean(),
        len(np.unique(lists)),
        num_shared[one != other].mean(),
    )


def evaluate_top_lists(
    rankings: Mapping[str, Ranking], exclude: Ratings, test: Ratings, num_movies: int
) -> dict[str, ListMetrics]:
    """Evaluates the lists of all profiles that liked a movie in `test`, without the movies rated in `exclude`."""
    rows = np.unique(liked(test).profile_row)
    return {
        name: evaluate_lists(top_lists(ranking, rows, exclude, num_movies), rows, test, num_movies)
        for name, ranking in rankings.items()
    }


def print_lists(title: str, metrics: Mapping[str, ListMetrics]) -> None:
    """Prints a table of the metrics of several rankings."""
    table = Table(title, COLUMNS, LISTS_NAME_WIDTH)
    for name, values in metrics.items():
        table.add(name, *values)
