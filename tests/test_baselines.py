"""The baselines of the package and of the benchmarks, against second implementations."""

import numpy as np
import pytest
from rivals import autoencoder_weights, demographic_predictions, nearest
from scipy.sparse import csr_array

from recommender.movielens.split import Ratings
from recommender.evaluation.baselines import baseline_predictions, damped_mean
from recommender.evaluation.metrics import rating_metrics


def test_damped_mean_by_hand():
    means = damped_mean(np.array([4.0, 2.0, 3.0]), np.array([0, 0, 2]), 4, damping=2)
    assert means.tolist() == [6 / 4, 0, 3 / 3, 0]
    assert damped_mean(np.array([4.0, 2.0]), np.array([0, 0]), 2, damping=0).tolist() == [3, 0]


def test_baselines_by_hand():
    train = Ratings(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5, 3, 4]))
    test = Ratings(np.array([1, 1]), np.array([1, 2]), np.array([2, 2]))
    predictions = baseline_predictions(train, test)
    assert list(predictions) == ["global mean", "movie mean", "user + movie bias"]
    assert predictions["global mean"].tolist() == [4, 4]
    assert predictions["movie mean"].tolist() == [3, 4]


def test_bias_baseline_solves_its_equations():
    random = np.random.default_rng(0)
    n = 5000
    train = Ratings(random.integers(40, size=n), random.integers(30, size=n), random.integers(1, 6, size=n))
    all_pairs = Ratings(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40), np.zeros(1200))
    grid = baseline_predictions(train, all_pairs)["user + movie bias"].reshape(40, 30)
    # A second implementation: ridge regression on one-hot users and movies, damping 15 and 10.
    one_hot = np.zeros((n, 70))
    one_hot[np.arange(n), train.profile_row] = one_hot[np.arange(n), 40 + train.movie_row] = 1
    mean = train.rating.mean()
    penalty = np.diag([15.0] * 40 + [10.0] * 30)
    bias = np.linalg.solve(one_hot.T @ one_hot + penalty, one_hot.T @ (train.rating - mean))
    np.testing.assert_allclose(grid, mean + bias[:40, None] + bias[None, 40:], atol=5e-4)


@pytest.mark.parametrize("num_users", [60, 7], ids=["more users than movies", "fewer users than movies"])
def test_autoencoder_is_a_regression_of_each_movie_on_the_others(num_users):
    interactions = np.random.default_rng(0).random((num_users, 8)).round() * 0.5
    ridge = np.arange(1.0, 9.0)
    weights = autoencoder_weights(csr_array(interactions.astype(np.float32)), ridge)
    for movie in range(8):
        others = [other for other in range(8) if other != movie]
        design = interactions[:, others]
        gram = design.T @ design + np.diag(ridge[others])
        expected = np.linalg.solve(gram, design.T @ interactions[:, movie])
        np.testing.assert_allclose(weights[others, movie], expected, atol=1e-4)
        assert weights[movie, movie] == 0


def test_nearest_neighbours():
    matrix = np.array([[1.0, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    similarity = nearest(matrix @ matrix.T, np.linalg.norm(matrix, axis=1), 1, 0)
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0.5**0.5], [0, 0, 0.5**0.5, 0]]
    np.testing.assert_allclose(similarity, expected, atol=1e-6)


def test_demographic_predictions_find_a_gender_gap():
    user_row, movie_row = np.divmod(np.arange(200 * 4), 4)
    demographics = np.column_stack([user_row[::4] % 2, np.zeros(200, int), np.zeros(200, int)])
    rating = np.where((movie_row == 0) & (user_row % 2 == 1), 5, 3)
    is_known = user_row < 180
    train, test = (Ratings(user_row[part], movie_row[part], rating[part]) for part in (is_known, ~is_known))
    predictions = demographic_predictions(train, test, demographics)
    assert rating_metrics(predictions["movie mean"], test.rating).rmse == pytest.approx(0.5, abs=0.02)
    assert rating_metrics(predictions["movie mean + demographics"], test.rating).rmse < 0.2
