"""The joined vector, where stars, taste and similarity meet: one vector per movie, one per question.

    movie      rating 200 | taste 200 | similar 200 + genres
    question   the same parts, each times the weight of what is asked for

So one inner product, and one exact search in Milvus, ranks by any mixture, and every filter works with it.
"""

import numpy as np

from recommender.movielens.encoding import EMBEDDING_DIM, PADDING, MovieFeatures
from recommender.stars.predict import COSINE_SCALE

STAR_WEIGHT = 0.2
"""Weight of a predicted star beside Pick in the ranking `both`, chosen on validation rows of ml-1m."""
RANKINGS = {
    "stars": (1.0, 0.0, 0.0),
    "picks": (0.0, 1.0, 0.0),
    "both": (COSINE_SCALE * STAR_WEIGHT, 1.0, 0.0),
    "similar": (0.0, 0.0, 1.0),
}
"""Weights of the three parts, by the name of the ranking."""
LENGTH_DAMPING = 0.6
"""How much the similarity of little known movies is damped, in lengths of a typical taste vector."""
GENRE_WEIGHT = 0.1
"""Weight of the cosine of genre sets beside that of taste vectors."""
EPS = 1e-9


def join(rating: np.ndarray, taste: np.ndarray, similar: np.ndarray) -> np.ndarray:
    """Returns float32[..., dim], the joined vectors of rating vectors, taste vectors and similarity parts."""
    return np.concatenate([rating, taste, similar], axis=-1, dtype=np.float32)


def split(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three parts of joined vectors."""
    rating, taste, similar = np.split(vectors, [EMBEDDING_DIM, 2 * EMBEDDING_DIM], axis=-1)
    return rating, taste, similar


def similarity_parts(tastes: np.ndarray, movies: MovieFeatures, num_genres: int, num_ratings: np.ndarray) -> np.ndarray:
    """Returns float32[movies, 200 + genres], the part by which movies are found that are like others.

    The similarity of movie j to movie i is V_i · V_j / (|V_i| (|V_j| + 0.6 m)) + 0.1 cos(genres of i, genres of j): the
    cosine of their taste vectors V, damped for little known movies, and of their genres. m is the median length of V
    among movies with 20 ratings or more. This returns what depends on j; `similar_to` has what depends on i.

    Args:
        tastes: float32[movies, 200], V
        movies: The features of the movies.
        num_genres: The number of genre indices.
        num_ratings: int[movies], the numbers of training ratings
    """
    length = np.linalg.norm(tastes, axis=1)
    is_known = num_ratings >= min(20, num_ratings.max(initial=0))
    typical = np.median(length[is_known]) if is_known.any() else 0
    damped = tastes / np.maximum(length + LENGTH_DAMPING * typical, EPS)[:, None]
    rows, columns = np.nonzero(movies.genre_idx != PADDING)
    genres = np.zeros((len(tastes), num_genres), np.float32)
    genres[rows, movies.genre_idx[rows, columns]] = 1
    return np.concatenate([damped, np.sqrt(GENRE_WEIGHT) * normalize_rows(genres)], axis=1, dtype=np.float32)


def similar_to(vectors: np.ndarray) -> np.ndarray:
    """Returns float32[movies, 200 + genres], the question "like this one" for each of some joined vectors of movies."""
    _, taste, similar = split(vectors)
    return np.concatenate([normalize_rows(taste), similar[..., EMBEDDING_DIM:]], axis=-1)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns float[rows, dim], each row scaled to length 1; rows of zeros stay zero."""
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), EPS)
    return unit
