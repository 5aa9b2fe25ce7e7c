"""Lists of ten movies against test ratings: metrics, and 95 % intervals of differences from a bootstrap over users.

Columns: NDCG@10 and recall@10 count movies that the user rated with 4 stars or more in the test; "rated, stars" is the
mean rating of all listed movies that the user rated in the test; "coverage" is the share of all movies that are in any
list, "ratings" the median number of training ratings of a listed movie.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from blocks import Table
from loader import liked
from scipy.sparse import csr_array

from recommender.evaluation import USER_BATCH, Ranking, ndcg, rated_movies, top_k_indices
from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings, Split

K = 10
NUM_SAMPLES = 2_000
"""Number of samples of a bootstrap."""
COLUMNS = {"NDCG@10": ".4f", "recall@10": ".4f", "rated, stars": ".2f", "coverage": ".3f", "ratings": ",.0f"}
"""Headings and formats of `ListMetrics`."""


class ListMetrics(NamedTuple):
    """Metrics of users' lists, see the beginning of this file."""

    ndcg: float
    recall: float
    list_rating: float
    coverage: float
    num_ratings: float


class ListTest(NamedTuple):
    """What lists are evaluated with."""

    test: Ratings
    exclude: Ratings
    """Ratings whose movies are not listed for their profiles."""
    num_ratings: np.ndarray
    """int64[movies], the numbers of training ratings"""

    @classmethod
    def of(cls, split: Split, test: Ratings | None = None, exclude: Ratings | None = None) -> "ListTest":
        """Returns the test of a split, with other test rows or excluded ratings if they are given."""
        train = split.train.ratings
        num_ratings = np.bincount(train.movie_row, minlength=len(split.train.movies.movie_idx))
        return cls(split.test if test is None else test, train if exclude is None else exclude, num_ratings)

    @property
    def profile_rows(self) -> np.ndarray:
        """int64[profiles], sorted: those that like a movie of the test."""
        return np.unique(liked(self.test).profile_row)

    def top_lists(self, ranking: Ranking) -> np.ndarray:
        """Returns int64[profiles, 10], the first movies of a ranking."""
        lists = []
        num_profiles = 1 + np.append(self.exclude.profile_row, self.profile_rows).max()
        exclude = rated_movies(self.exclude, (num_profiles, len(self.num_ratings)))
        for start in range(0, len(self.profile_rows), USER_BATCH):
            batch = self.profile_rows[start : start + USER_BATCH]
            lists.append(top_k_indices(np.where(exclude[batch].toarray(), -np.inf, ranking(batch)), K))
        return np.concatenate(lists)

    def hits(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float[profiles, 10], the test ratings of listed movies, 0 for none; and each profile's NDCG@10."""
        cells = self.test.profile_row, self.test.movie_row
        shape = self.test.profile_row.max() + 1, len(self.num_ratings)
        ratings = csr_array((self.test.rating.astype(np.float32), cells), shape)[self.profile_rows[:, None], lists]
        num_relevant = np.bincount(liked(self.test).profile_row)[self.profile_rows]
        stars = ratings.toarray()
        return stars, ndcg(stars >= RELEVANCE_THRESHOLD, num_relevant, K)

    def gains(self, ranking: Ranking) -> np.ndarray:
        """Returns float[profiles], the NDCG@10 of each profile's list."""
        return self.hits(self.top_lists(ranking))[1]

    def evaluate(self, lists: np.ndarray) -> ListMetrics:
        """Evaluates lists, int64[profiles, 10]."""
        ratings, gains = self.hits(lists)
        num_relevant = np.bincount(liked(self.test).profile_row)[self.profile_rows]
        rated = ratings[ratings > 0]
        return ListMetrics(
            gains.mean(),
            ((ratings >= RELEVANCE_THRESHOLD).sum(1) / num_relevant).mean(),
            rated.mean() if len(rated) else np.nan,
            len(np.unique(lists)) / len(self.num_ratings),
            float(np.median(self.num_ratings[lists])),
        )


def print_rankings(title: str, test: ListTest, rankings: Mapping[str, Ranking]) -> None:
    """Prints the metrics of some rankings, then the differences of the first from the others, with intervals."""
    found = {name: test.top_lists(ranking) for name, ranking in rankings.items()}
    table = Table(title, COLUMNS)
    for name, lists in found.items():
        table.add(name, *test.evaluate(lists))
    gains = {name: test.hits(lists)[1] for name, lists in found.items()}
    first = next(iter(gains))
    print_differences(f"{title}; NDCG@10 of {first}", gains.pop(first), gains, test.profile_rows)


def print_differences(
    title: str, ours: np.ndarray, others: Mapping[str, np.ndarray], users: np.ndarray, lower_is_better: bool = False
) -> None:
    """Prints the differences of means from ours, with 95 % intervals; one that holds 0 tells nothing.

    Args:
        title: The title of the table.
        ours: float[values], such as squared errors
        others: The same of others, by name.
        users: int[values], the user of each value
        lower_is_better: Whether small values are good.
    """
    table = Table(title, {"difference": "+.4f", "from": "+.4f", "to": "+.4f", "relative": "+.1%", "better": ""})
    _, user_of_value, counts = np.unique(users, return_inverse=True, return_counts=True)
    for name, values in others.items():
        random = np.random.default_rng(0)
        sums = np.bincount(user_of_value, ours - values)
        samples = (random.integers(0, len(sums), len(sums)) for _ in range(NUM_SAMPLES))
        means = [sums[sample].sum() / counts[sample].sum() for sample in samples]
        low, high = np.percentile(means, [2.5, 97.5])
        difference = float((ours - values).mean())
        better = "neither" if low <= 0 <= high else "ours" if (difference < 0) == lower_is_better else "theirs"
        table.add(name, difference, low, high, difference / values.mean(), better)
