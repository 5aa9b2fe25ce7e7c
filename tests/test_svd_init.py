"""The initial embeddings of ids: factors of residuals, and means."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recommender.stars.svd_init import svd_init, truncated_svd


def draw_cells(num_users, num_movies, count):
    cells = np.random.default_rng(0).choice(num_users * num_movies, count, replace=False)
    return np.divmod(cells, num_movies)


def test_a_checkerboard_of_tastes_is_one_factor():
    user_row, movie_row = draw_cells(50, 40, 1000)
    users, movies = svd_init(user_row, movie_row, 1 + 4 * ((user_row + movie_row) % 2), 50, 40)
    assert users.shape == (50, 31)
    assert movies.shape == (40, 31)
    predicted = np.outer(users[:, 0], movies[:, 0]) > 0
    assert (predicted == (np.add.outer(np.arange(50), np.arange(40)) % 2 == 1)).all()
    assert users[:, :-1].std() == pytest.approx(1)
    assert users[:, 0].std() > 1.5 * users[:, 1].std()


def test_means_are_the_last_column():
    user_row, movie_row = draw_cells(50, 40, 1000)
    _, movies = svd_init(user_row, movie_row, np.where(movie_row % 2, 5, 3), 50, 40)
    assert movies[1::2, -1].min() > 0 > movies[::2, -1].max()
    assert movies[:, -1].std() == pytest.approx(1)
    users, _ = svd_init(user_row, movie_row, np.where(user_row % 2, 5, 3), 50, 40)
    assert users[1::2, -1].min() > 0 > users[::2, -1].max()


def test_factors_are_of_the_weighted_residuals():
    """Against dense loops: residuals of damped means, movies first; rows and columns divided by √(count + 20)."""
    user_row, movie_row = draw_cells(12, 9, 60)
    rating = np.random.default_rng(1).integers(1, 6, 60).astype(float)
    users, movies = svd_init(user_row, movie_row, rating, 12, 9)
    residuals, is_rated = np.zeros((12, 9)), np.zeros((12, 9), bool)
    residuals[user_row, movie_row], is_rated[user_row, movie_row] = rating - rating.mean(), True
    movie_mean = residuals.sum(0) / (is_rated.sum(0) + 10)
    residuals = (residuals - movie_mean) * is_rated
    user_mean = residuals.sum(1) / (is_rated.sum(1) + 10)
    residuals = (residuals - user_mean[:, None]) * is_rated
    weighted = residuals / np.sqrt(is_rated.sum(1, keepdims=True) + 20) / np.sqrt(is_rated.sum(0) + 20)
    product = users[:, :-1] @ movies[:, :-1].T
    np.testing.assert_allclose(product / np.linalg.norm(product), weighted / np.linalg.norm(weighted), atol=1e-8)
    np.testing.assert_allclose(users[:, -1], user_mean / user_mean.std())
    np.testing.assert_allclose(movies[:, -1], movie_mean / movie_mean.std())


@pytest.mark.parametrize(("num_users", "num_movies", "count"), [(50, 40, 100), (3, 4, 12), (40, 3, 99), (2, 2, 1)])
def test_equal_ratings_have_factors_of_zero(num_users, num_movies, count):
    user_row, movie_row = draw_cells(num_users, num_movies, count)
    tables = svd_init(user_row, movie_row, np.full(count, 4), num_users, num_movies)
    assert all((table == 0).all() for table in tables)


def test_few_users_and_movies_have_few_factors():
    user_row, movie_row = draw_cells(9, 4, 20)
    users, movies = svd_init(user_row, movie_row, 1 + (user_row * movie_row) % 5, 10, 4)
    assert users.shape == (10, 5)
    assert movies.shape == (4, 5)
    assert np.isfinite(users).all()
    assert (users[9] == 0).all(), "a user without ratings"


def test_truncated_svd_agrees_with_numpy():
    dense = np.random.default_rng(1).normal(size=(60, 5)) @ np.random.default_rng(2).normal(size=(5, 45))
    rows, columns = truncated_svd(csr_array(dense), 30)
    np.testing.assert_allclose(rows @ columns.T, dense, atol=1e-8)
    values = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose((rows**2).sum(0)[:5], values[:5])
    np.testing.assert_allclose((columns**2).sum(0)[:5], values[:5])
