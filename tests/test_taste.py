"""From a history to a taste vector, against sums computed one by one."""

import numpy as np
import pytest

from recommender.movielens.encoding import UNKNOWN, MovieFeatures
from recommender.picks.taste import (
    HALF_ANYONE_LENGTH,
    MAX_ANYONE_SHARE,
    History,
    MovieEmbeddings,
    anyone_share,
    history_weights,
    known_demographics,
    shrinkage,
)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_movies_with_ratings_have_rows_and_others_are_sums(random):
    by_content = random.normal(size=(4 + 5, 6)).astype(np.float32)
    by_content[[0, 4]] = 0  # Padding.
    table = MovieEmbeddings(random.normal(size=(6, 6)).astype(np.float32), by_content)
    movies = MovieFeatures(
        movie_idx=np.array([2, UNKNOWN, 5, UNKNOWN]),
        genre_idx=np.array([[2, 3], [3, 0], [2, 0], [2, 3]]),
        word_idx=np.array([[2], [3], [4], [4]]),
    )
    sums = by_content[3] + by_content[4 + 3], by_content[2] + by_content[3] + by_content[4 + 4]
    expected = [table.by_id[2], sums[0], table.by_id[5], sums[1]]
    np.testing.assert_allclose(table.lookup(movies, 4), expected, atol=1e-6)


@pytest.mark.parametrize("demographic_idx", [[0, 0, 0], [2, 0, 21], [1, 7, 1]])
@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.5, 0.5]])
def test_taste_vector_is_the_shrunken_mean_of_history_and_demographics(random, weights, demographic_idx):
    table = random.normal(size=(34, 200)).astype(np.float32)
    embeddings = random.normal(size=(len(weights), 200)).astype(np.float32)
    variances = random.uniform(0, 2, 200).astype(np.float32)
    weights = np.array(weights, np.float32)
    expected = table[33].astype(float)
    for row, weight in zip(embeddings, weights, strict=True):
        expected += row * weight
    for offset, index in zip((0, 3, 11), demographic_idx, strict=True):
        expected += table[offset + index] if index else 0
    squared_length = (weights**2).sum() + 1
    expected *= variances / (variances + 0.3 / squared_length) / np.sqrt(squared_length)
    history = History(embeddings, weights, known_demographics(table, np.array(demographic_idx)), variances)
    parts, vector = history.contributions(), history.vector()
    assert parts.shape == (len(weights) + np.count_nonzero(demographic_idx) + 1, 200)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected, atol=1e-5)
    np.testing.assert_allclose(parts.sum(0), vector, atol=1e-5)
    assert history.squared_norm == pytest.approx(squared_length - 1)


def test_shrinkage_trusts_long_histories_and_large_variances_more():
    factors = shrinkage(np.array([0.0, 0.1, 1.0, 100.0], np.float32), np.array([0, 10, 1e6], np.float32))
    assert factors.shape == (3, 4)
    assert (factors[:, 0] == 0).all()
    assert (np.diff(factors, axis=1) > 0).all()
    assert (np.diff(factors[:, 1:], axis=0) > 0).all()
    assert factors[2, 2] == pytest.approx(1, abs=1e-5)


def test_share_of_anyones_taste_grows_with_the_history():
    lengths = np.array([0, HALF_ANYONE_LENGTH, 1e6], np.float32)
    expected = MAX_ANYONE_SHARE * np.array([0, 0.5, 1])
    np.testing.assert_allclose(anyone_share(lengths), expected, atol=1e-4)
    np.testing.assert_allclose(anyone_share(lengths, 0.5), expected + 0.5, atol=1e-4)
    assert (np.diff(anyone_share(np.arange(100, dtype=np.float32))) > 0).all()


def test_weights_of_a_history_grow_with_the_stars():
    assert history_weights(np.array([1, 2, 3, 4, 5])).tolist() == pytest.approx([0.1, 0.3, 0.6, 1, 1.4])
    assert history_weights(np.array([0.5, 3.5, 4.5])).tolist() == pytest.approx([0.1, 0.8, 1.2])
    assert history_weights(np.array([], np.float32)).dtype == np.float32
