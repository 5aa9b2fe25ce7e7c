"""The closed form that the taste model starts from, against a regression of each movie on all others."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from recommender.picks import closed_form as module
from recommender.picks.closed_form import (
    TasteConfig,
    autoencoder_weights,
    low_rank_autoencoder,
    right_factors,
    scale_features,
    squared_norms,
)
from recommender.picks.taste import history_weights

NUM_USERS, NUM_MOVIES, NUM_DEMOGRAPHICS = 60, 9, 4
NO_DROPOUT = TasteConfig(ridge=1, movie_dropout=0, history_dropout=0, demographic_dropout=0)
DROPOUT = TasteConfig(ridge=1, movie_dropout=0.5, history_dropout=0.4, demographic_dropout=0.1)


@pytest.fixture
def users():
    """Histories and demographics: two kinds of users, who watch the first or the last movies."""
    random = np.random.default_rng(0)
    kind = np.arange(NUM_USERS) % 2
    probability = np.where((np.arange(NUM_MOVIES) < 5) == (kind[:, None] == 0), 0.7, 0.1)
    stars = random.integers(1, 6, (NUM_USERS, NUM_MOVIES)) * (random.random((NUM_USERS, NUM_MOVIES)) < probability)
    histories = np.where(stars, history_weights(stars), 0).astype(np.float32)
    demographics = (random.random((NUM_USERS, NUM_DEMOGRAPHICS)) < 0.5).astype(np.float32)
    demographics[:, -1] = 1
    return csr_array(histories), csr_array(demographics)


def test_features_have_unit_length_with_one_prior_movie(users):
    histories, demographics = users
    features = scale_features(histories, demographics).toarray()
    lengths = np.sqrt((histories.toarray() ** 2).sum(1) + 1)
    np.testing.assert_allclose(features[:, :NUM_MOVIES] * lengths[:, None], histories.toarray(), atol=1e-6)
    np.testing.assert_allclose(features[:, NUM_MOVIES:] * lengths[:, None], demographics.toarray(), atol=1e-6)
    np.testing.assert_allclose(squared_norms(histories), (histories.toarray() ** 2).sum(1), rtol=1e-6)
    assert features.dtype == np.float32


def regress_one_by_one(histories, demographics, config):
    """Returns the autoencoder as one regression per movie, in which the movie itself is no input."""
    targets, labels = histories.toarray().astype(float), demographics.toarray().astype(float)
    kept = np.array(
        [1 - config.movie_dropout] * NUM_MOVIES + [1 - config.demographic_dropout] * (NUM_DEMOGRAPHICS - 1) + [1]
    )
    length = np.sqrt(kept[0] * (targets**2).sum(1) + 1)[:, None]
    with_history = np.hstack([targets, labels]) / length * kept
    without = np.hstack([np.zeros_like(targets), labels]) * kept
    weights = np.repeat([1 - config.history_dropout, config.history_dropout], NUM_USERS)
    rows, targets = np.vstack([with_history, without]), np.vstack([targets, targets])
    gram = (rows * weights[:, None]).T @ rows
    gram += np.diag(config.ridge + (1 / kept - 1) * np.diag(gram))
    result = np.zeros((NUM_MOVIES + NUM_DEMOGRAPHICS, NUM_MOVIES))
    for movie in range(NUM_MOVIES):
        others = np.arange(len(gram)) != movie
        right = (rows * weights[:, None]).T @ targets[:, movie]
        result[others, movie] = np.linalg.solve(gram[others][:, others], right[others])
    return result


@pytest.mark.parametrize("dropout", [NO_DROPOUT, DROPOUT], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("ridge", [0.1, 10])
def test_weights_are_a_regression_of_each_movie_on_all_others(users, dropout, ridge):
    config = dataclasses.replace(dropout, ridge=ridge)
    weights = autoencoder_weights(*users, config)
    np.testing.assert_allclose(weights, regress_one_by_one(*users, config), atol=2e-4)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(np.diag(weights), 0, atol=1e-5)


@pytest.fixture
def full_rank(monkeypatch):
    monkeypatch.setattr(module, "MOVIES_PER_FACTOR", 1)


def test_embeddings_of_full_rank_are_the_weights(users, full_rank):
    inputs, outputs = low_rank_autoencoder(*users, DROPOUT)
    assert inputs.shape == (NUM_MOVIES + NUM_DEMOGRAPHICS, 200)
    assert outputs.shape == (NUM_MOVIES, 200)
    assert not inputs[:, NUM_MOVIES:].any(), "more factors than movies"
    np.testing.assert_allclose(inputs @ outputs.T, autoencoder_weights(*users, DROPOUT), atol=1e-4)


@pytest.mark.parametrize("movies_per_factor", [2, 4, 9, 20])
def test_low_rank_is_nearly_the_best_approximation_of_the_scores(users, monkeypatch, movies_per_factor):
    monkeypatch.setattr(module, "MOVIES_PER_FACTOR", movies_per_factor)
    rank = -(-NUM_MOVIES // movies_per_factor)
    features = scale_features(*users).toarray()
    scores = features @ autoencoder_weights(*users, DROPOUT)
    inputs, outputs = low_rank_autoencoder(*users, DROPOUT)
    assert np.linalg.matrix_rank(inputs @ outputs.T, tol=1e-4) == rank
    best_error = np.linalg.norm(np.linalg.svd(scores, compute_uv=False)[rank:])
    assert np.linalg.norm(features @ inputs @ outputs.T - scores) <= 1.1 * best_error


def test_users_beyond_the_bound_are_a_sample(users, full_rank, monkeypatch):
    monkeypatch.setattr(module, "MAX_USERS", 30)
    every_other = [matrix[::2] for matrix in users]
    inputs, outputs = low_rank_autoencoder(*users, DROPOUT)
    np.testing.assert_allclose(inputs @ outputs.T, autoencoder_weights(*every_other, DROPOUT), atol=1e-4)


def test_movies_beyond_the_bound_are_a_regression_on_the_users_vectors(users, monkeypatch):
    histories, demographics = users
    counts = np.diff(histories.tocsc().indptr)
    order = np.argsort(-counts, kind="stable")
    monkeypatch.setattr(module, "MAX_MOVIES", 6)
    inputs, outputs = low_rank_autoencoder(*users, dataclasses.replace(DROPOUT, ridge=2))
    assert not inputs[order[6:]].any()
    vectors = scale_features(histories[:, order[:6]], demographics) @ inputs[[*order[:6], 9, 10, 11, 12]]
    gram = vectors.T @ vectors + 2 * np.eye(200)
    expected = np.linalg.solve(gram, vectors.T @ histories.toarray()[:, order[6:]]).T
    np.testing.assert_allclose(outputs[order[6:]], expected, atol=1e-4)
    assert abs(expected).max() > 0.01


def test_right_factors_are_those_of_the_singular_value_decomposition():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(40, 5)) @ random.normal(size=(5, 30)) + 1e-3 * random.normal(size=(40, 30))
    factors = right_factors(csr_array(matrix), 5)
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(factors @ factors.T, right[:5].T * values[:5] @ right[:5], atol=1e-4)
    np.testing.assert_allclose(factors.T @ factors, np.diag(values[:5]), atol=1e-3)
    assert not right_factors(csr_array((40, 30)), 5).any(), "a matrix of zeros"
