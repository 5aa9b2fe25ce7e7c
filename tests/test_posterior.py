"""The Gibbs sampler against exact Gaussian computations, and on ratings whose truth is known."""

import numpy as np
import pytest
from checkerboard import build_dataset
from scipy.sparse import csr_array

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, MovieFeatures
from recommender.movielens.split import Ratings
from recommender.stars.posterior import (
    MeanSketch,
    PosteriorConfig,
    Side,
    encode_features,
    rating_factors,
    sample_normal,
    sample_posterior,
)

CONFIG = PosteriorConfig(num_factors=3, num_sweeps=60, burn_in=10)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def draw_side(random, num_rows, num_columns, num_features, config=CONFIG):
    cells = np.where(random.random((num_rows, num_columns)) < 0.5, random.normal(0, 1, (num_rows, num_columns)), 0)
    features = csr_array(random.normal(0, 1, (num_rows, num_features)).astype(np.float32))
    return Side(features, csr_array(cells.astype(np.float32)), config, random)


def test_recovers_ratings_of_low_rank_that_it_has_not_seen(random):
    users, movies = random.normal(size=(80, 2)), random.normal(size=(60, 2))
    truth = 3 + (users @ movies.T) / 2 + movies[:, 0] / 2
    dataset, _ = build_dataset(80, 60, lambda user, movie: truth[user, movie] + random.normal(0, 0.1), share=0.3)
    posterior = sample_posterior(dataset, CONFIG)
    predicted = posterior.predict(*np.divmod(np.arange(80 * 60), 60)).reshape(80, 60)
    unseen = np.ones((80, 60), bool)
    unseen[dataset.ratings.profile_row - NUM_DEMOGRAPHIC_PROFILES, dataset.ratings.movie_row] = False
    assert truth[unseen].std() > 0.8
    assert np.sqrt(np.mean((predicted - truth)[unseen] ** 2)) < 0.15
    assert posterior.user_factors.dtype == np.float32


def test_features_predict_users_and_movies_without_ratings(random):
    """Women give 4 stars and men 2; movies of the first genre have one more."""
    gender, genre = random.integers(1, 3, 200), random.integers(2, 4, 60)
    dataset, _ = build_dataset(200, 60, lambda user, movie: 2 * gender[user] + (genre[movie] == 2), share=0.3)
    dataset.profiles[NUM_DEMOGRAPHIC_PROFILES:, 1] = gender
    dataset = dataset._replace(movies=dataset.movies._replace(genre_idx=genre[:, None]))
    kept = (dataset.ratings.profile_row >= NUM_DEMOGRAPHIC_PROFILES + 10) & (dataset.ratings.movie_row >= 5)
    posterior = sample_posterior(dataset._replace(ratings=dataset.ratings.select(kept)), CONFIG)
    predicted = posterior.user_factors @ posterior.movie_factors.T
    expected = np.add.outer(2 * gender, genre == 2)
    np.testing.assert_allclose(predicted[:10, 5:], expected[:10, 5:], atol=0.7)
    np.testing.assert_allclose(predicted[10:, :5], expected[10:, :5], atol=0.7)


def test_same_seed_same_mean_other_seed_another():
    dataset, _ = build_dataset(20, 15, share=0.7)
    means = [sample_posterior(dataset, PosteriorConfig(num_sweeps=5, burn_in=1, seed=seed)) for seed in (1, 1, 2)]
    assert np.array_equal(means[0].user_factors, means[1].user_factors)
    assert np.array_equal(means[0].movie_factors, means[1].movie_factors)
    assert not np.array_equal(means[0].user_factors, means[2].user_factors)


def test_expected_numbers_are_those_of_a_weighted_ridge_regression_row_by_row(random):
    side, other = draw_side(random, 30, 20, 4), draw_side(random, 20, 30, 2)
    for drawn in (side, other):
        drawn.reliability[:, 0] = random.gamma(2, size=len(drawn.reliability))
    reliability = side.reliability[:, 0].copy()
    side.sample_prior()
    error = side.sample_latent(other, noise_precision=2.0)
    ratings, expected_error = side.ratings.toarray().astype(float), 0.0
    for row, rating in enumerate(ratings):
        rated = np.flatnonzero(rating)
        weight = other.reliability[rated, 0]
        design = np.column_stack([other.latent[rated, :-1], np.ones(len(rated))]).astype(float)
        residual = rating[rated] - other.latent[rated, -1]
        alpha = 2 * reliability[row] * weight
        precision = side.precision + design.T * alpha @ design
        mean = np.linalg.solve(precision, side.precision @ side.mean[row] + design.T @ (alpha * residual))
        np.testing.assert_allclose(side.expected[row], mean, atol=1e-4)
        expected_error += side.reliability[row, 0] * (weight * (residual - design @ side.latent[row]) ** 2).sum()
    assert error == pytest.approx(expected_error, rel=1e-4)


def test_reliability_is_that_of_a_users_ratings(random):
    """Errors have a standard deviation of 0.25 at half of the users and of 1 at the others."""
    spread = np.where(np.arange(100) % 2, 1, 0.25)
    ratings = csr_array(random.normal(0, spread[:, None], (100, 60)).astype(np.float32))
    config = PosteriorConfig(num_factors=1, reliability_freedom=2)
    users = Side(csr_array(np.ones((100, 1), np.float32)), ratings, config, random)
    movies = Side(csr_array(np.ones((60, 1), np.float32)), ratings.T.tocsr(), config, random)
    movies.latent[:] = 0
    users.sample_prior()
    users.sample_latent(movies, noise_precision=2.0)
    found = users.reliability.reshape(50, 2).mean(0)
    np.testing.assert_allclose(found, [(2 + 60) / (2 + 2 * 60 * 0.25**2), (2 + 60) / (2 + 2 * 60)], rtol=0.1)


def test_draws_have_the_mean_and_the_covariance(random):
    factor = random.normal(size=(4, 4))
    precision = factor @ factor.T + np.eye(4)
    right = random.normal(size=4)
    tiled = np.tile(precision, (20_000, 1, 1)).astype(np.float32), np.tile(right, (20_000, 1)).astype(np.float32)
    means, draws = sample_normal(*tiled, random)
    np.testing.assert_allclose(means, np.tile(np.linalg.solve(precision, right), (20_000, 1)), atol=1e-5)
    np.testing.assert_allclose(draws.mean(0), means[0], atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(precision), atol=0.03)


@pytest.mark.parametrize("num_features", [3, 40], ids=["fewer features than rows", "more features than rows"])
def test_regression_on_features_is_a_ridge_regression_on_average(random, num_features):
    side = draw_side(random, 12, 5, num_features, PosteriorConfig(num_factors=1, ridge=4.0))
    features = side.features.toarray()
    gram = features.T @ features + 4 * np.eye(num_features)
    expected = features @ np.linalg.solve(gram, features.T @ side.latent)
    spread = features @ np.linalg.solve(gram, features.T)  # Of a draw, in units of the covariance.
    total, squares = np.zeros_like(expected), np.zeros_like(expected)
    for _ in range(1500):
        side.precision = 10 * np.eye(2)
        side.sample_prior()
        total += side.mean
        squares += (side.mean - expected) ** 2
    np.testing.assert_allclose(total / 1500, expected, atol=0.03)
    np.testing.assert_allclose(squares / 1500, np.tile(np.diag(spread)[:, None] / 10, 2), rtol=0.15)


def test_precision_is_drawn_around_that_of_the_numbers(random):
    side = draw_side(random, 400, 5, 1, PosteriorConfig(num_factors=1))
    side.latent[:] = random.normal(size=(400, 2)) @ np.array([[1.0, 0.5], [0, 0.5]])
    expected = np.linalg.inv(np.cov(side.latent.T))
    draws = []
    for _ in range(500):
        side.sample_prior()
        draws.append(side.precision)
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, rtol=0.05)
    spread = np.std(draws, axis=0) / np.abs(expected)
    np.testing.assert_allclose(np.diag(spread), (2 / 400) ** 0.5, rtol=0.15)


def test_sketch_is_the_mean_of_matrices(random):
    sketch, exact = MeanSketch((50, 40), 30, random), np.zeros((50, 40))
    common = random.normal(size=(50, 3)), random.normal(size=(40, 3))
    for _ in range(5):
        rows, columns = (factor + random.normal(0, 0.3, factor.shape) for factor in common)
        sketch.add(rows.astype(np.float32), columns.astype(np.float32))
        exact += rows @ columns.T / 5
    rows, columns = sketch.factors(rank=15)
    np.testing.assert_allclose(rows @ columns.T, exact, atol=1e-3)
    rows, columns = sketch.factors(rank=3)
    left, values, right = np.linalg.svd(exact)
    np.testing.assert_allclose(rows @ columns.T, left[:, :3] * values[:3] @ right[:3], atol=1e-3)


def test_factors_of_a_rating():
    users, movies = np.array([[2.0, 3.0, 0.1]], np.float32), np.array([[5.0, 7.0, 0.2]], np.float32)
    user_rows, movie_rows = rating_factors(users, movies, np.float32(3))
    assert (user_rows @ movie_rows.T).item() == pytest.approx(2 * 5 + 3 * 7 + 0.1 + 0.2 + 3)


def test_features_are_demographics_movies_rated_content_and_raters():
    dataset, _ = build_dataset(3, 4)
    dataset = dataset._replace(
        movies=MovieFeatures(
            dataset.movies.movie_idx,
            genre_idx=np.array([[2, 3], [2, 0], [3, 0], [3, 0]]),
            word_idx=np.array([[2, 3, 4], [2, 3, 0], [2, 0, 0], [2, 0, 0]]),  # Word 4 is in one movie only.
        )
    )
    ratings = csr_array(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], np.float32))
    users, movies = (features.toarray() for features in encode_features(dataset, ratings, 100))
    half = 0.5**0.5
    # Everyone | gender, age, job of index 1, 3, 1 | the two movies that more than one user rated.
    demographics = [0, 1, 0, 0, 0, 1, 0, 1]
    np.testing.assert_allclose(users[:, :9], [[1, *demographics]] * 3)
    np.testing.assert_allclose(users[:, 9:], [[half, half], [1, 0], [half, half]])
    np.testing.assert_allclose(movies[:, :1], 1)
    np.testing.assert_allclose(movies[0, 1:5], [0, 0, half, half])
    np.testing.assert_allclose(movies[:, 5:7], [[half, half], [half, half], [1, 0], [1, 0]])
    np.testing.assert_allclose(movies[0, 7:], [half, half])
    users, movies = (features.toarray() for features in encode_features(dataset, ratings, 1))
    np.testing.assert_allclose(users[:, 9:], [[1], [1], [1]])
    np.testing.assert_allclose(movies[:, 5:], [[1, 1], [1, 1], [1, 1], [1, 1]])


def test_two_ratings_are_enough():
    dataset, _ = build_dataset(2, 2)
    dataset = dataset._replace(ratings=Ratings(*(column[:2] for column in dataset.ratings)))
    posterior = sample_posterior(dataset, PosteriorConfig(num_sweeps=3))
    assert np.isfinite(posterior.user_factors @ posterior.movie_factors.T).all()
    assert posterior.user_factors.shape[1] == posterior.movie_factors.shape[1] <= 40
