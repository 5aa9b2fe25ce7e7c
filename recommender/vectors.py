"""The joined vector, where stars, taste and similarity meet: one vector per movie, one per question.

    movie      rating 200 | taste 200 | similar
    question   the same parts, each times the weight of what is asked for

So one inner product, and one exact search in Milvus, ranks by any mixture, and every filter works with it.
"""

import numpy as np

from recommender.movielens.encoding import EMBEDDING_DIM
from recommender.stars.predict import COSINE_SCALE

STAR_WEIGHT = 0.125
"""Weight of a predicted star beside Pick in `both`, chosen on validation rows of ml-100k, ml-1m and ml-latest-small."""
RANKINGS = {
    "stars": (COSINE_SCALE, 0.0, 0.0),
    "picks": (0.0, 1.0, 0.0),
    "both": (COSINE_SCALE * STAR_WEIGHT, 1.0, 0.0),
    "similar": (0.0, 0.0, 1.0),
}
"""Weights of the three parts, by the name of the ranking; that of stars gives stars."""
TASTE_DIM = 100
"""Numbers of a taste vector that count for similarity: the first, along the axes in which users differ most."""
EPS = 1e-9


def join(rating: np.ndarray, taste: np.ndarray, similar: np.ndarray) -> np.ndarray:
    """Returns float32[..., dim], the joined vectors of rating vectors, taste vectors and similarity parts."""
    return np.concatenate([rating, taste, similar], axis=-1, dtype=np.float32)


def split(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three parts of joined vectors."""
    rating, taste, similar = np.split(vectors, [EMBEDDING_DIM, 2 * EMBEDDING_DIM], axis=-1)
    return rating, taste, similar


def similar_to(vectors: np.ndarray) -> np.ndarray:
    """Returns float32[..., similar], the question "like this one" for joined vectors of movies, see `embed.py`."""
    _, taste, similar = split(vectors)
    return np.concatenate([normalize_rows(taste[..., :TASTE_DIM]), similar[..., TASTE_DIM:]], axis=-1)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns float[..., dim], each row scaled to length 1; rows of zeros stay zero."""
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), EPS)
    return unit
