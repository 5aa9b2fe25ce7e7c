"""Scores from vectors: predicted ratings of pairs, exact top k. Plain numpy."""

import numpy as np

COSINE_SCALE = 5.0
"""The predicted rating, in stars, of two vectors of equal direction."""
PAIR_BATCH = 1 << 13


def predict_ratings(
    user_vectors: np.ndarray, movie_vectors: np.ndarray, user_rows: np.ndarray, movie_rows: np.ndarray
) -> np.ndarray:
    """Returns float32[pairs], the predicted rating in stars of each pair of a user row and a movie row."""
    scores = np.empty(len(user_rows), np.float32)
    for start in range(0, len(scores), PAIR_BATCH):
        batch = slice(start, start + PAIR_BATCH)
        users, movies = user_vectors[user_rows[batch]], movie_vectors[movie_rows[batch]]
        scores[batch] = COSINE_SCALE * np.einsum("ij,ij->i", users, movies)
    return scores


def exact_top_k(user_vectors: np.ndarray, movie_vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k movies of the largest inner product by comparing with every movie.

    Args:
        user_vectors: float32[users, d]
        movie_vectors: float32[movies, d]
        k: The number of movies per user, at most the number of movies.

    Returns:
        int64[users, k] movie rows and float32[users, k] inner products, best first; ties go to the lower row.
    """
    products = user_vectors @ movie_vectors.T
    rows = top_k_indices(products, k)
    return rows, np.take_along_axis(products, rows, axis=1)


def top_k_indices(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns int64[users, k], the columns of the k highest of float[users, movies], best first, ties by column."""
    threshold = np.partition(scores, -k, axis=1)[:, -k]
    top = np.empty((len(scores), k), np.int64)
    for row, user_scores in enumerate(scores):
        candidates = np.flatnonzero(user_scores >= threshold[row])
        top[row] = candidates[np.argsort(-user_scores[candidates], kind="stable")][:k]
    return top
