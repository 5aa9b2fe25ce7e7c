"""What makes movies alike: the third part of the joined vector, and the question "like this one".

The similarity of movie j to movie i is

    V_i · V_j / (|V_i| (|V_j| + m)) + 0.2 genres + 0.2 titles + 0.15 years

The first term is the cosine of the taste vectors V, damped for little known movies: m is the median length of V among
movies with 20 ratings or more. The others are 1 for movies with the same genres, with the same rare words in their
titles, as sequels have, and of the same year. Each is an inner product, so the whole is one.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from recommender.films.titles import alternative_names, normalize_words
from recommender.movielens.catalogue import Movie
from recommender.movielens.encoding import genre_key
from recommender.vectors import split

TASTE_DIM = 100
"""Numbers of V that count: the first, as these are along the axes in which users differ most."""
KNOWN_RATINGS = 20
GENRE_WEIGHT = 0.2
TITLE_WEIGHT = 0.2
YEAR_WEIGHT = 0.15
MAX_WORD_SHARE = 0.01
"""Share of the titles from which a word is too common to link two movies."""
WORD_DIM = 64
"""Numbers onto which title words are projected at random: the products of unlike titles are noise around 0."""
YEAR_STEP, FIRST_YEAR, LAST_YEAR = 10, 1890, 2040
"""A year is a row of bumps ten years apart, so that movies ten years apart share 0.6 of it, twenty 0.14."""
EPS = 1e-9


def similarity_parts(movies: Sequence[Movie], tastes: np.ndarray, num_ratings: np.ndarray) -> np.ndarray:
    """Returns float32[movies, dim], what depends on j in the similarity above; `similar_to` has what depends on i.

    Args:
        movies: The movies.
        tastes: float32[movies, 200], V
        num_ratings: int[movies], the numbers of training ratings
    """
    tastes = tastes[:, :TASTE_DIM]
    length = np.linalg.norm(tastes, axis=1)
    is_known = num_ratings >= min(KNOWN_RATINGS, num_ratings.max(initial=0))
    damped = tastes / np.maximum(length + np.median(length[is_known]), EPS)[:, None]
    genres = _one_hot([{genre_key(genre) for genre in movie.genres} for movie in movies])
    content = ((GENRE_WEIGHT, genres), (TITLE_WEIGHT, _embed_titles(movies)), (YEAR_WEIGHT, _embed_years(movies)))
    parts = [np.sqrt(weight) * normalize_rows(part) for weight, part in content]
    return np.concatenate([damped, *parts], axis=1, dtype=np.float32)


def similar_to(vectors: np.ndarray) -> np.ndarray:
    """Returns float32[..., dim], the question "like this one" for joined vectors of movies."""
    _, taste, similar = split(vectors)
    return np.concatenate([normalize_rows(taste[..., :TASTE_DIM]), similar[..., TASTE_DIM:]], axis=-1)


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns float[..., dim], each row scaled to length 1; rows of zeros stay zero."""
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), EPS)
    return unit


def _embed_titles(movies: Sequence[Movie]) -> np.ndarray:
    """Returns float32[movies, 64]: the sum of the vectors of a title's words, rare words counting more."""
    words = [set(normalize_words(alternative_names(movie.title)[0])) for movie in movies]
    counts = Counter(word for title in words for word in title if not word.isdigit())
    linking = sorted(word for word, count in counts.items() if 2 <= count <= max(2, MAX_WORD_SHARE * len(movies)))
    random = np.random.default_rng(0).standard_normal((len(linking), WORD_DIM))
    rarity = np.log(len(movies) / np.array([counts[word] for word in linking]).reshape(-1, 1))
    vectors = dict(zip(linking, normalize_rows(random) * rarity, strict=True))
    nothing = np.zeros(WORD_DIM)
    return np.array([sum((vectors.get(word, nothing) for word in sorted(title)), nothing) for title in words])


def _embed_years(movies: Sequence[Movie]) -> np.ndarray:
    """Returns float[movies, bumps]; a movie without a year has none."""
    years = np.array([movie.year or np.nan for movie in movies], float)[:, None]
    centers = np.arange(FIRST_YEAR, LAST_YEAR, YEAR_STEP)
    return np.nan_to_num(np.exp(-(((years - centers) / YEAR_STEP) ** 2)))


def _one_hot(sets: Sequence[set[str]]) -> np.ndarray:
    """Returns float[sets, values], 1 at each value of a set."""
    columns = {value: column for column, value in enumerate(sorted(set[str]().union(*sets)))}
    table = np.zeros((len(sets), len(columns)))
    for row, values in zip(table, sets, strict=True):
        row[[columns[value] for value in values]] = 1
    return table
