"""The joined vector: one inner product is the weighted sum of three."""

import numpy as np
import pytest

from recommender.users import UserVectors
from recommender.vectors import RANKINGS, STAR_WEIGHT, join, split


def test_joined_vectors_are_split_again():
    rating, taste, similar = (np.random.default_rng(0).normal(size=(3, dim)).astype("f") for dim in (200, 200, 77))
    joined = join(rating, taste, similar)
    assert (joined.shape, joined.dtype) == ((3, 477), np.float32)
    assert all(map(np.array_equal, split(joined), (rating, taste, similar)))
    assert all(map(np.array_equal, split(joined[1]), (rating[1], taste[1], similar[1])))


@pytest.mark.parametrize(
    ("ranking", "value"),
    [
        ("stars", lambda stars, pick, similarity: stars),
        ("picks", lambda stars, pick, similarity: pick),
        ("both", lambda stars, pick, similarity: STAR_WEIGHT * stars + pick),
        ("similar", lambda stars, pick, similarity: similarity),
    ],
)
def test_a_search_ranks_by_what_it_says(ranking, value):
    random = np.random.default_rng(0)
    user, movie = (UserVectors(*(random.normal(size=dim) for dim in (200, 200, 77))) for _ in range(2))
    stars, pick, similarity = (a @ b for a, b in zip(user, movie, strict=True))
    assert user.query(ranking) @ join(*movie) == pytest.approx(value(5 * stars, pick, similarity), rel=1e-4)
    assert len(RANKINGS) == 4
