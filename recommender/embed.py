"""Movies to joined vectors, with the movie tower in Paddle: what `-i` and `--movie` need beyond a query.

The third part of a joined vector says what makes movies alike. The similarity of movie j to movie i is

    V_i · V_j / (|V_i| (|V_j| + m)) + 0.2 genres + 0.2 titles + 0.15 years

The first term is the cosine of the taste vectors V, damped for little known movies: m is the median length of V among
movies with 20 ratings or more. The others are 1 for movies with the same genres, with the same rare words in their
titles, as sequels have, and of the same year. Each is an inner product, so the whole is one.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recommender.films.titles import alternative_names, normalize_words
from recommender.movielens.catalogue import Movie, read_movies_data
from recommender.movielens.encoding import encode_movies, genre_key
from recommender.stars.predict import COSINE_SCALE
from recommender.store import SavedModel
from recommender.users import StoredMovies, UserProfile, rating_vector
from recommender.vectors import EPS, TASTE_DIM, join, normalize_rows

KNOWN_RATINGS = 20
GENRE_WEIGHT, TITLE_WEIGHT, YEAR_WEIGHT = 0.2, 0.2, 0.15
MAX_WORD_SHARE = 0.01
"""Share of the titles from which a word is too common to link two movies."""
WORD_DIM = 64
"""Numbers onto which title words are projected at random: the products of unlike titles are noise around 0."""
YEAR_STEP, FIRST_YEAR, LAST_YEAR = 10, 1890, 2040
"""A year is a row of bumps ten years apart, so that movies ten years apart share 0.6 of it, twenty 0.14."""


def embed_catalogue(model: SavedModel, movies_data: Path) -> tuple[list[Movie], np.ndarray, np.ndarray]:
    """Returns the movies of movies_data.txt, their joined vectors float32[movies, dim] and numbers of ratings."""
    from recommender.stars.fusion import embed_movies, load_tower  # Paddle, which a query does not need.

    movies, features = read_movies_data(movies_data, model.fingerprint)
    num_ratings = model.count_ratings(np.array([movie.movie_id for movie in movies]))
    ratings = embed_movies(load_tower(model.folder / "movie_tower"), features)
    tastes = model.taste.outputs.lookup(features, model.vocabularies.genres.size)
    vectors = join(ratings, tastes, similarity_parts(movies, tastes, num_ratings))
    return movies, vectors, num_ratings


def paddle_score(model: SavedModel, profile: UserProfile, movie_id: int, stored: StoredMovies) -> float:
    """Returns the Score of a movie, unclipped, as Paddle's towers compute it without Milvus.

    Args:
        model: The saved model.
        profile: The user.
        movie_id: The movie.
        stored: The movie and those in `new_ratings`, by id.
    """
    from recommender.stars.fusion import embed_movies, embed_profiles, load_tower

    features = encode_movies([found.movie for found in stored.values()], model.vocabularies)
    vectors = dict(zip(stored, embed_movies(load_tower(model.folder / "movie_tower"), features), strict=True))
    own = embed_profiles(load_tower(model.folder / "user_tower"), model.profiles[[profile.row]])[0]
    user = rating_vector(model, profile, own, [vectors[rated] for rated in profile.new_ratings])
    return COSINE_SCALE * float(user @ vectors[movie_id])


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
    keys = [{genre_key(genre) for genre in movie.genres} for movie in movies]
    all_keys = sorted(set[str]().union(*keys))
    genres = np.array([[key in own for key in all_keys] for own in keys], float)
    content = ((GENRE_WEIGHT, genres), (TITLE_WEIGHT, _embed_titles(movies)), (YEAR_WEIGHT, _embed_years(movies)))
    parts = [np.sqrt(weight) * normalize_rows(part) for weight, part in content]
    return np.concatenate([damped, *parts], axis=1, dtype=np.float32)


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
