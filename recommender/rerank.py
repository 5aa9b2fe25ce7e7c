"""Orders of search results that are not one inner product: more variety, or something for several users."""

import numpy as np

from recommender.users import split_vectors

MIN_CANDIDATES = 300
"""Lower bound on the search results that are ordered anew."""
MAX_TRADE_OFF = 0.8
"""Weight of similarity beside relevance at a variety of 1."""
RANK_CONSTANT = 5
"""Added to ranks, which begin at 1; a larger constant favours movies that are fair for all over favourites of one.

Chosen on validation rows of ml-1m, as was `MAX_TRADE_OFF`.
"""
EPS = 1e-9


def num_candidates(k: int) -> int:
    """Returns how many search results are ordered anew for a list of k."""
    return max(MIN_CANDIDATES, 2 * k)


def diversify(query_vector: np.ndarray, vectors: np.ndarray, variety: float, k: int) -> list[int]:
    """Orders candidates by maximal marginal relevance: each is good, and unlike those before it.

    Source: J. Carbonell, J. Goldstein, The use of MMR, SIGIR 1998. Relevance is the inner product with the query,
    scaled to 0 for the last candidate and 1 for the first; similarity is the cosine of taste vectors.

    Args:
        query_vector: float32[400]
        vectors: float32[candidates, 400], rating vectors and taste vectors joined
        variety: 0 to 1; 0 is the order of relevance.
        k: The number of places.

    Returns:
        The positions of at most k candidates, best first.
    """
    if len(vectors) == 0:
        return []
    weight = MAX_TRADE_OFF * variety
    relevance = vectors @ query_vector
    relevance = (1 - weight) * (relevance - relevance.min()) / max(np.ptp(relevance), EPS)
    tastes = normalize_rows(split_vectors(vectors)[1])
    order = [int(relevance.argmax())]
    similarity = tastes @ tastes[order[0]]
    while len(order) < min(k, len(vectors)):
        relevance[order[-1]] = -np.inf
        order.append(int((relevance - weight * similarity).argmax()))
        similarity = np.maximum(similarity, tastes @ tastes[order[-1]])
    return order


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns float[rows, dim], each row scaled to length 1; rows of zeros stay zero."""
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), EPS)
    return unit


def fuse_ranks(values: np.ndarray) -> np.ndarray:
    """Orders candidates for several users by reciprocal rank fusion, so that nobody's favourites are left out.

    Source: G. Cormack, C. Clarke, S. Büttcher, Reciprocal rank fusion outperforms Condorcet, SIGIR 2009.

    Args:
        values: float[users, candidates], what each user's list is ranked by

    Returns:
        int64[candidates], all positions, best first; ties stay in their order.
    """
    ranks = 1 + np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
    return np.argsort(-(1 / (RANK_CONSTANT + ranks)).sum(0), kind="stable")
