"""Predicted stars, and new ratings folded into a vector, against Gaussian conditionals computed in another way."""

import numpy as np
import pytest
from checkerboard import DEMOGRAPHIC_PROFILES

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, NUM_RESERVED, UNKNOWN, demographic_profile_row
from recommender.stars.predict import PAIR_BATCH, RATING_VARIANCE, UserPrior, fit_user_prior, predict_ratings

DIM = 200


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_predicted_ratings_are_five_times_the_inner_products(random):
    users, movies = random.normal(size=(7, DIM)), random.normal(size=(5, DIM))
    user_rows, movie_rows = random.integers(7, size=PAIR_BATCH + 3), random.integers(5, size=PAIR_BATCH + 3)
    predicted = predict_ratings(users, movies, user_rows, movie_rows)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, (5 * users @ movies.T)[user_rows, movie_rows], atol=1e-4)
    assert predicted.max() > 5, "not clipped"


def draw_prior(random):
    factors = random.normal(size=(DIM, DIM))
    covariance = 0.002 * factors @ factors.T / DIM
    return UserPrior(covariance.astype(np.float32))


def draw_ratings(random, count):
    movie_vectors = random.normal(size=(count, DIM))
    movie_vectors /= np.linalg.norm(movie_vectors, axis=1, keepdims=True)
    vector = random.normal(size=DIM)
    vector = (1.2 * vector / np.linalg.norm(vector)).astype(np.float32)
    return vector, movie_vectors.astype(np.float32), random.uniform(1, 5, count)


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_posterior_mean_is_that_of_a_ridge_regression(random, count):
    """Solved for the vector, where the package solves for the ratings."""
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, count)
    design = 5 * movie_vectors.astype(float)
    precision = np.linalg.inv(prior.covariance.astype(float) + 1e-12 * np.eye(DIM))
    normal = design.T @ design / RATING_VARIANCE + precision
    expected = vector + np.linalg.solve(normal, design.T @ (ratings - design @ vector) / RATING_VARIANCE)
    posterior = prior.posterior_mean(vector, movie_vectors, ratings)
    assert posterior.dtype == np.float32
    np.testing.assert_allclose(posterior, expected, atol=1e-4)


def test_posterior_is_a_gaussian_conditional(random):
    """The offset given ratings, of their joint Gaussian, conditioned on one rating after the other."""
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, 20)
    mean, covariance = np.zeros(DIM), prior.covariance.astype(float)
    for movie_vector, rating in zip(5 * movie_vectors.astype(float), ratings, strict=True):
        with_rating = covariance @ movie_vector
        variance = movie_vector @ with_rating + RATING_VARIANCE
        mean = mean + with_rating * (rating - movie_vector @ (vector + mean)) / variance
        covariance = covariance - np.outer(with_rating, with_rating) / variance
    np.testing.assert_allclose(prior.posterior_mean(vector, movie_vectors, ratings), vector + mean, atol=1e-5)


def test_contributions_of_ratings_add_up_to_the_posterior_mean(random):
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, 7)
    parts = prior.contributions(vector, movie_vectors, ratings)
    assert parts.shape == (7, DIM)
    posterior = prior.posterior_mean(vector, movie_vectors, ratings)
    np.testing.assert_allclose(vector + parts.sum(0), posterior, atol=1e-6)


def test_ratings_as_predicted_do_not_move_the_vector(random):
    prior = draw_prior(random)
    vector, movie_vectors, _ = draw_ratings(random, 7)
    posterior = prior.posterior_mean(vector, movie_vectors, 5 * movie_vectors @ vector)
    np.testing.assert_allclose(posterior, vector, atol=1e-5)


def draw_profiles(random, has_ratings):
    """Users with demographics at random; without training ratings their id is unknown."""
    ids = np.where(has_ratings, NUM_RESERVED + np.arange(len(has_ratings)), UNKNOWN)
    users = np.column_stack([ids, *(random.integers(1, size, len(has_ratings)) for size in (3, 8, 22))])
    profiles = np.concatenate([DEMOGRAPHIC_PROFILES, users])
    return profiles, random.normal(size=(len(profiles), DIM)).astype(np.float32)


def test_user_prior_has_the_covariance_of_the_offsets_from_demographics(random):
    """Of the users with training ratings."""
    has_ratings = np.arange(40) % 4 != 0
    profiles, vectors = draw_profiles(random, has_ratings)
    prior = fit_user_prior(vectors, profiles)
    offsets = []
    for row, (_, gender, age, occupation) in enumerate(profiles[NUM_DEMOGRAPHIC_PROFILES:]):
        if has_ratings[row]:
            own = vectors[NUM_DEMOGRAPHIC_PROFILES + row]
            offsets.append(own - vectors[demographic_profile_row(gender, age, occupation)])
    centered = np.array(offsets) - np.mean(offsets, axis=0)
    assert len(offsets) == 30
    np.testing.assert_allclose(prior.covariance, centered.T @ centered / 29, atol=1e-5)
    assert prior.covariance.dtype == np.float32


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("has_ratings", [[True], [False, True, False]])
def test_user_prior_of_one_user_is_finite_and_folds_in_ratings(random, has_ratings):
    profiles, vectors = draw_profiles(random, np.array(has_ratings))
    prior = fit_user_prior(vectors, profiles)
    assert not prior.covariance.any()
    assert np.isfinite(prior.posterior_mean(*draw_ratings(random, 3))).all()
