"""Orders of candidates, against naive second implementations."""

import numpy as np
import pytest

from recommender.rerank import MAX_TRADE_OFF, RANK_CONSTANT, diversify, fuse_ranks, normalize_rows


@pytest.fixture
def random():
    return np.random.default_rng(0)


def candidates(random, count):
    """Returns a query vector and vectors of candidates, best first."""
    query, vectors = random.normal(size=400), random.normal(size=(count, 400))
    return query, vectors[np.argsort(-vectors @ query)]


def naive_diversify(query, vectors, variety, k):
    values = [float(vector @ query) for vector in vectors]
    relevance = [(value - min(values)) / (max(values) - min(values)) for value in values]

    def similarity(one, other):
        return vectors[one, 200:] @ vectors[other, 200:] / np.linalg.norm(vectors[[one, other], 200:], axis=1).prod()

    order = [0]
    while len(order) < k:
        left = [row for row in range(len(vectors)) if row not in order]
        weight = MAX_TRADE_OFF * variety
        order.append(
            max(left, key=lambda row: (1 - weight) * relevance[row] - weight * max(similarity(row, o) for o in order))
        )
    return order


@pytest.mark.parametrize("variety", [0.1, 0.5, 1])
def test_maximal_marginal_relevance(random, variety):
    query, vectors = candidates(random, 40)
    order = diversify(query, vectors, variety, 15)
    assert order == naive_diversify(query, vectors, variety, 15)
    assert order != list(range(15))


def test_no_variety_is_the_order_of_relevance(random):
    query, vectors = candidates(random, 40)
    assert diversify(query, vectors, 0, 40) == list(range(40))


def test_copies_of_the_first_come_late(random):
    query, vectors = candidates(random, 20)
    vectors[1:4] = vectors[0]
    assert diversify(query, vectors, 1, 20)[0] == 0
    assert not {1, 2, 3} & set(diversify(query, vectors, 1, 10))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_candidates_and_equal_ones(random, count):
    query, vectors = candidates(random, count)
    assert sorted(diversify(query, vectors, 0.5, 10)) == list(range(count))
    assert sorted(diversify(query, np.zeros((count, 400)), 0.5, 10)) == list(range(count))


def test_reciprocal_rank_fusion(random):
    values = random.normal(size=(3, 50))
    totals = np.zeros(50)
    for user in values:
        for rank, position in enumerate(sorted(range(50), key=lambda row: -user[row]), 1):
            totals[position] += 1 / (RANK_CONSTANT + rank)
    assert fuse_ranks(values).tolist() == sorted(range(50), key=lambda row: -totals[row])
    assert fuse_ranks(values[:1]).tolist() == np.argsort(-values[0]).tolist(), "of one user, the user's order"
    assert fuse_ranks(np.zeros((2, 0))).tolist() == []


def test_scale_of_a_users_values_does_not_matter(random):
    values = random.normal(size=(2, 30))
    assert fuse_ranks(values).tolist() == fuse_ranks(values * [[100], [0.1]] - 5).tolist()


def test_rows_of_zeros_stay_zero():
    np.testing.assert_allclose(normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
