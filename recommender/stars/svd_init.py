"""Initial id embeddings from a singular value decomposition of the rating residuals."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator

from recommender.evaluation.baselines import damped_mean

NUM_FACTORS = 30
NUM_ITERATIONS = 6
MEAN_DAMPING = 10
COUNT_DAMPING = 20


def svd_init(
    user_row: np.ndarray, movie_row: np.ndarray, rating: np.ndarray, num_users: int, num_movies: int
) -> tuple[np.ndarray, np.ndarray]:
    """Factorizes the residuals of ratings from the means of their movies and users.

    Args:
        user_row: int[ratings], 0..num_users - 1
        movie_row: int[ratings], 0..num_movies - 1
        rating: [ratings], stars
        num_users: The number of user rows.
        num_movies: The number of movie rows.

    Returns:
        float64[users, factors + 1] and float64[movies, factors + 1]: at most `NUM_FACTORS` columns of the SVD, in which
        rows with few ratings weigh less, and the damped mean. The factors have standard deviation 1, as has the mean,
        or 0 where all ratings agree; rows without ratings are 0.
    """
    residual = rating.astype(np.float64)
    residual -= residual.mean()
    movie_mean = damped_mean(residual, movie_row, num_movies, MEAN_DAMPING)
    residual -= movie_mean[movie_row]
    user_mean = damped_mean(residual, user_row, num_users, MEAN_DAMPING)
    residual -= user_mean[user_row]
    residual *= _count_weights(user_row, num_users)[user_row]
    residual *= _count_weights(movie_row, num_movies)[movie_row]
    matrix = csr_array((residual, (user_row, movie_row)), (num_users, num_movies))
    users, movies = truncated_svd(matrix, NUM_FACTORS)
    return _standardize(users, user_mean), _standardize(movies, movie_mean)


def truncated_svd(matrix: csr_array | LinearOperator, num_factors: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns float[rows, factors] and float[columns, factors], U√S and V√S of a matrix, largest factors first.

    Source: Halko, Martinsson, Tropp, Finding structure with randomness (2011), algorithm 4.4. Unlike ARPACK, which
    `scipy.sparse.linalg.svds` calls, it accepts a matrix of zeros.
    """
    basis = np.random.default_rng(0).normal(size=(matrix.shape[1], num_factors)).astype(matrix.dtype)
    for _ in range(NUM_ITERATIONS):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    left, values, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    return left * np.sqrt(values), basis @ right.T * np.sqrt(values)


def _count_weights(row: np.ndarray, num_rows: int) -> np.ndarray:
    weights: np.ndarray = 1 / np.sqrt(np.bincount(row, minlength=num_rows) + COUNT_DAMPING)
    return weights


def _standardize(factors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.column_stack([factors / max(factors.std(), 1e-9), mean / max(mean.std(), 1e-9)])
