"""Where training starts: what a singular value decomposition of the ratings says of people and movies. Plain arrays."""

import numpy as np
from scipy.sparse import csr_array

from recommender.evaluation.metrics import Ratings, damped_mean

FACTORS = 30
ITERATIONS = 6
MEAN_DAMPING = 10
COUNT_DAMPING = 20


def spectral_start(ratings: Ratings, num_people: int, num_movies: int) -> tuple[np.ndarray, np.ndarray]:
    """Tells people and movies apart by how far their ratings are from the means of the movie and the person.

    Returns:
        float64[people, factors + 1] and float64[movies, factors + 1]: at most `FACTORS` columns of a singular value
        decomposition in which those with few ratings weigh less, and the mean. Their standard deviation is 1, or 0
        where all ratings agree; rows without ratings are 0.
    """
    person_row, movie_row, rating = ratings
    residual = rating - rating.mean()
    movie_mean = damped_mean(residual, movie_row, num_movies, MEAN_DAMPING)
    residual -= movie_mean[movie_row]
    person_mean = damped_mean(residual, person_row, num_people, MEAN_DAMPING)
    residual -= person_mean[person_row]
    residual *= _damping(person_row, num_people)[person_row]
    residual *= _damping(movie_row, num_movies)[movie_row]
    people, movies = factorise(csr_array((residual, (person_row, movie_row)), (num_people, num_movies)))
    return _with_column(people, person_mean), _with_column(movies, movie_mean)


def factorise(cells: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64[rows, factors] and float64[columns, factors], whose product is near a sparse matrix.

    Halko, Martinsson, Tropp, Finding structure with randomness (2011), algorithm 4.4; unlike ARPACK, which
    `scipy.sparse.linalg.svds` calls, it takes any matrix, even of zeros.
    """
    basis = np.random.default_rng(0).normal(size=(cells.shape[1], FACTORS))
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(cells.T @ (cells @ basis))
    left, values, right = np.linalg.svd(cells @ basis, full_matrices=False)
    return left * np.sqrt(values), basis @ right.T * np.sqrt(values)


def _damping(row: np.ndarray, num_rows: int) -> np.ndarray:
    weights: np.ndarray = 1 / np.sqrt(np.bincount(row, minlength=num_rows) + COUNT_DAMPING)
    return weights


def _with_column(factors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.column_stack([factors / max(factors.std(), 1e-9), mean / max(mean.std(), 1e-9)])
