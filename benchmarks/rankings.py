"""Evaluates lists of ten movies against test ratings, and prints the metrics as tables."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from tables import Table

from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings, Split
from recommender.evaluation.metrics import USER_BATCH, Ranking, interaction_mask, ndcg
from recommender.scoring import top_k_indices

K = 10
NUM_PAIRS = 2_000
"""Number of random pairs of users whose lists are compared."""
NUM_SAMPLES = 2_000
"""Number of samples of a bootstrap."""
LISTS_NAME_WIDTH = 42
"""Width of the names in all tables of evaluate.py."""


class ListMetrics(NamedTuple):
    """Metrics of users' lists, as means; a movie is relevant if its user liked it in the test ratings."""

    ndcg: float
    recall: float
    hit_rating: float
    """Mean rating of the relevant movies in the lists, in stars."""
    list_rating: float
    """Mean rating of the movies in the lists that their user rated at all, in stars."""
    low_share: float
    """Share of these that have one or two stars."""
    coverage: float
    """Share of all movies that are in at least one list."""
    novelty: float
    """Mean of -log2 of the share of the training users who rated a listed movie, in bits."""
    num_shared: float
    """Number of movies that the lists of two users have in common, as a mean."""


COLUMNS = {
    "NDCG@10": ".4f",
    "recall@10": ".4f",
    "hits, stars": ".2f",
    "rated, stars": ".2f",
    "1-2 stars": ".1%",
    "coverage": ".1%",
    "novelty": ".2f",
    "shared": ".1f",
}
"""Headings of `ListMetrics` and their formats."""


def liked(ratings: Ratings) -> Ratings:
    """Returns the ratings of 4 stars or more."""
    return ratings.select(ratings.rating >= RELEVANCE_THRESHOLD)


def profile_matrix(ratings: Ratings, num_profiles: int, num_movies: int) -> csr_array:
    """Returns float32[profiles, movies], the ratings in stars, 0 for none."""
    cells = ratings.profile_row, ratings.movie_row
    return csr_array((ratings.rating.astype(np.float32), cells), (num_profiles, num_movies))


def top_lists(ranking: Ranking, profile_rows: np.ndarray, exclude: Ratings, num_movies: int) -> np.ndarray:
    """Returns int64[profiles, 10], the first movies of a ranking without those that a profile rated in `exclude`."""
    lists = []
    for start in range(0, len(profile_rows), USER_BATCH):
        batch = profile_rows[start : start + USER_BATCH]
        scores = np.where(interaction_mask(exclude, batch, num_movies), -np.inf, ranking(batch))
        lists.append(top_k_indices(scores, K))
    return np.concatenate(lists)


class ListTest(NamedTuple):
    """What lists are evaluated with."""

    test: Ratings
    exclude: Ratings
    """Ratings whose movies are not listed for their profiles."""
    popularity: np.ndarray
    """float64[movies], the share of the training users who rated each"""

    @classmethod
    def of(cls, split: Split, test: Ratings | None = None, exclude: Ratings | None = None) -> "ListTest":
        """Returns the test of a split, with other test rows or excluded ratings if they are given."""
        train = split.train.ratings
        counts = np.bincount(train.movie_row, minlength=len(split.train.movies.movie_idx))
        popularity = np.maximum(counts, 1) / max(1, len(np.unique(train.profile_row)))
        return cls(split.test if test is None else test, train if exclude is None else exclude, popularity)

    @property
    def profile_rows(self) -> np.ndarray:
        """int64[profiles], sorted: those that like a movie of the test."""
        return np.unique(liked(self.test).profile_row)

    def top_lists(self, ranking: Ranking) -> np.ndarray:
        """Returns int64[profiles, 10], the first movies of a ranking."""
        return top_lists(ranking, self.profile_rows, self.exclude, len(self.popularity))

    def hits(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float[profiles, 10], the test ratings of listed movies, 0 for none; and each profile's NDCG@10."""
        table = profile_matrix(self.test, self.test.profile_row.max() + 1, len(self.popularity))
        ratings = table[self.profile_rows[:, None], lists].toarray()
        num_relevant = np.bincount(liked(self.test).profile_row)[self.profile_rows]
        return ratings, ndcg(ratings >= RELEVANCE_THRESHOLD, num_relevant, K)

    def gains(self, ranking: Ranking) -> np.ndarray:
        """Returns float[profiles], the NDCG@10 of each profile's list."""
        return self.hits(self.top_lists(ranking))[1]

    def evaluate(self, lists: np.ndarray) -> ListMetrics:
        """Evaluates lists, int64[profiles, 10]."""
        ratings, gains = self.hits(lists)
        hits = ratings >= RELEVANCE_THRESHOLD
        num_relevant = np.bincount(liked(self.test).profile_row)[self.profile_rows]
        one, other = np.random.default_rng(0).integers(0, len(lists), (2, NUM_PAIRS))
        num_shared = (lists[one, :, None] == lists[other, None, :]).sum((1, 2))
        return ListMetrics(
            gains.mean(),
            (hits.sum(1) / num_relevant).mean(),
            ratings[hits].mean(),
            ratings[ratings > 0].mean(),
            (ratings[ratings > 0] < 3).mean(),
            len(np.unique(lists)) / len(self.popularity),
            -np.log2(self.popularity[lists]).mean(),
            num_shared[one != other].mean(),
        )

    def evaluate_all(self, rankings: Mapping[str, Ranking]) -> dict[str, ListMetrics]:
        """Evaluates the lists of several rankings."""
        return {name: self.evaluate(lists) for name, lists in self.all_top_lists(rankings).items()}

    def all_top_lists(self, rankings: Mapping[str, Ranking]) -> dict[str, np.ndarray]:
        """Returns int64[profiles, 10], the lists of several rankings."""
        return {name: self.top_lists(ranking) for name, ranking in rankings.items()}


def print_lists(title: str, metrics: Mapping[str, ListMetrics]) -> None:
    """Prints a table of the metrics of several rankings."""
    table = Table(title, COLUMNS, LISTS_NAME_WIDTH)
    for name, values in metrics.items():
        table.add(name, *values)


def interval(values: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of some values, from a bootstrap over their users.

    Args:
        values: float[values]
        users: int[values], the user of each value
    """
    _, user_of_value, counts = np.unique(users, return_inverse=True, return_counts=True)
    sums = np.bincount(user_of_value, values)
    random = np.random.default_rng(0)
    samples = (random.integers(0, len(sums), len(sums)) for _ in range(NUM_SAMPLES))
    means = [sums[sample].sum() / counts[sample].sum() for sample in samples]
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def print_differences(
    title: str, ours: np.ndarray, others: Mapping[str, np.ndarray], users: np.ndarray, lower_is_better: bool = False
) -> None:
    """Prints the differences of means from ours, with intervals, and whether they are distinguishable.

    Args:
        title: The title of the table.
        ours: float[values], such as squared errors
        others: The same of others, by name.
        users: int[values], the user of each value
        lower_is_better: Whether small values are good.
    """
    columns = {"ours - other": "+.4f", "from": "+.4f", "to": "+.4f", "relative": "+.1%", "": ""}
    table = Table(title, columns, LISTS_NAME_WIDTH)
    for name, values in others.items():
        low, high = interval(ours - values, users)
        difference = float((ours - values).mean())
        better = "ours" if (difference < 0) == lower_is_better else name
        verdict = "not distinguishable" if low <= 0 <= high else f"{better} is better"
        table.add(name, difference, low, high, difference / values.mean(), verdict)
