"""Judges lists of ten films by what people rated in the test rows, and prints such judgements as tables."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recommender.evaluation.metrics import LIKED_FROM, PEOPLE_CHUNK, Ratings, rating_cells

K = 10
NUM_PAIRS = 2_000
Scorer = Callable[[np.ndarray], np.ndarray]
"""Scores all movies for some people: int64[people] rows to float[people, movies]."""


class Judged(NamedTuple):
    """How good people's lists are."""

    ndcg: float
    recall: float
    hit_stars: float
    """Mean rating of the films listed that the person liked, in stars."""
    rated_stars: float
    """Mean rating of the films listed that the person rated at all, in stars."""
    low_share: float
    """Of the films listed that the person rated at all, the share with one or two stars."""
    films: float
    """Different films over all lists."""
    shared: float
    """Films that the lists of two random people have in common."""


HEADER = (
    f"{'NDCG@10':>9}{'recall@10':>11}{'hits, stars':>13}{'rated, stars':>14}{'1-2 stars':>11}{'films':>8}{'shared':>8}"
)


def select(ratings: Ratings, rows: np.ndarray) -> Ratings:
    """Returns some of the ratings, given a mask or rows."""
    return Ratings(*(column[rows] for column in ratings))


def liked(ratings: Ratings) -> Ratings:
    """Returns those with 4 stars or more."""
    return select(ratings, ratings.rating >= LIKED_FROM)


def popularity(ratings: Ratings, num_movies: int) -> np.ndarray:
    """Returns int64[movies], how many people liked each."""
    return np.bincount(liked(ratings).movie_row, minlength=num_movies)


def top_lists(score: Scorer, people: np.ndarray, hidden: Ratings, num_movies: int) -> np.ndarray:
    """Returns int64[people, 10], the movies of the highest scores without those that a person rated in `hidden`."""
    lists = []
    for start in range(0, len(people), PEOPLE_CHUNK):
        part = people[start : start + PEOPLE_CHUNK]
        scores = np.where(rating_cells(hidden, part, num_movies), -np.inf, score(part))
        lists.append(np.argsort(-scores, axis=1, kind="stable")[:, :K])
    return np.concatenate(lists)


def stars_of(lists: np.ndarray, people: np.ndarray, test: Ratings, num_movies: int) -> np.ndarray:
    """Returns int64[people, 10], the stars that people gave in `test` to the movies of their lists, 0 for none."""
    pairs = test.person_row * num_movies + test.movie_row
    order = np.argsort(pairs)
    wanted = people[:, None] * num_movies + lists
    place = order[np.minimum(np.searchsorted(pairs, wanted, sorter=order), len(pairs) - 1)]
    return np.where(pairs[place] == wanted, test.rating[place], 0)


def judge(lists: np.ndarray, people: np.ndarray, test: Ratings, num_movies: int) -> Judged:
    """Judges the lists of some people, each of whom likes a movie in `test`."""
    stars = stars_of(lists, people, test, num_movies)
    hits = stars >= LIKED_FROM
    num_relevant = np.bincount(liked(test).person_row, minlength=people.max() + 1)[people]
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.minimum(num_relevant, K) - 1]
    random = np.random.default_rng(0)
    one, other = random.integers(0, len(people), (2, NUM_PAIRS))
    different = one != other
    shared = (lists[one, :, None] == lists[other, None, :]).sum((1, 2))[different]
    return Judged(
        float(np.mean(hits @ discounts / ideal)),
        float(np.mean(hits.sum(1) / num_relevant)),
        float(stars[hits].mean()),
        float(stars[stars > 0].mean()),
        float((stars[stars > 0] < 3).mean()),
        len(np.unique(lists)),
        float(shared.mean()),
    )


def judge_all(scorers: dict[str, Scorer], hidden: Ratings, test: Ratings, num_movies: int) -> dict[str, Judged]:
    """Judges the lists of everybody who likes a movie in `test`."""
    people = np.unique(liked(test).person_row)
    return {
        name: judge(top_lists(score, people, hidden, num_movies), people, test, num_movies)
        for name, score in scorers.items()
    }


def print_judged(table: dict[str, Judged]) -> None:
    """Prints a line each."""
    print(f"{'':<44}{HEADER}")
    for name, one in table.items():
        figures = f"{one.ndcg:>9.4f}{one.recall:>11.4f}{one.hit_stars:>13.2f}{one.rated_stars:>14.2f}"
        print(f"{name:<44}{figures}{one.low_share:>11.1%}{one.films:>8,.0f}{one.shared:>8.1f}", flush=True)
