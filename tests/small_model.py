"""A small model of random numbers, saved as training saves one, without Paddle, and its catalogue in Milvus Lite.

Movies are of eight kinds, by the noun of their titles; users like kinds, and some movies are far better known.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recommender.embed import similarity_parts
from recommender.files import Workdir
from recommender.films.matching import FilmHistory
from recommender.milvus.build import build_collection
from recommender.milvus.connection import MilvusConnection
from recommender.movielens.catalogue import Movie, format_movies, write_movies_data
from recommender.movielens.encoding import (
    AGE_CODES,
    EMBEDDING_DIM,
    NUM_DEMOGRAPHIC_PROFILES,
    User,
    build_vocabularies,
    encode_movies,
    encode_profiles,
)
from recommender.movielens.split import RATING_DTYPE
from recommender.picks.taste import EVERYONE
from recommender.stars.predict import fit_user_prior
from recommender.store import CATALOGUE, PARTS, SavedModel, save_model
from recommender.vectors import join, normalize_rows

ADJECTIVES = "Silent Crimson Hollow Golden Broken Distant Midnight Paper".split()
NOUNS = "Harbor River Engine Garden Lantern Mirror Winter Comet".split()
GENRES = ["Drama", "Comedy", "Sci-Fi", "War", "Film-Noir", "Children's"]
NUM_USERS = 200
USER_IDS = range(1, 2 * NUM_USERS, 2)
WITHOUT_TRAINING_RATINGS = USER_IDS[-1]
"""A user all of whose ratings are test rows."""
NEW_MOVIE = Movie(9001, "Alien Robots (2031)", ("Sci-Fi", "Horror"), "tt0009001", 79001)
"""A movie of the catalogue that training has not seen."""
ONLY_TEST_RATINGS = 318
"""A movie all of whose ratings are test rows."""
GONE = 28
"""A movie of the training data that the catalogue no longer has."""


class Catalogue(NamedTuple):
    """What is in Milvus."""

    movies: list[Movie]
    vectors: np.ndarray
    """float32[movies, dim], joined vectors"""
    num_ratings: np.ndarray

    def row(self, movie_id: int) -> int:
        """Returns a movie's row."""
        return [movie.movie_id for movie in self.movies].index(movie_id)


def films(liked: Iterable[int] = (), seen: Iterable[int] = (), rated: Mapping[int, float] | None = None) -> FilmHistory:
    """Returns films by id; what has NaN stars was seen."""
    stars = {movie_id: value for movie_id, value in (rated or {}).items() if not np.isnan(value)}
    return FilmHistory(stars, set(liked), {*seen, *(rated or {})} - stars.keys())


def create_movies() -> list[Movie]:
    """Returns the 64 movies of the training data: "Silent Harbor, The (1950)", id 3, and so on in steps of 5."""
    movies = []
    for row in range(len(ADJECTIVES) * len(NOUNS)):
        adjective, noun = divmod(row, len(NOUNS))
        article, year = ", The" if row % 3 == 0 else "", f" ({1940 + 71 * row % 80})" if row != 17 else ""
        genres = dict.fromkeys((GENRES[noun % len(GENRES)], GENRES[(noun + adjective) % len(GENRES)]))
        title = f"{ADJECTIVES[adjective]} {NOUNS[noun]}{article}{year}"
        movie_id = 3 + 5 * row
        movies.append(Movie(movie_id, title, tuple(genres), f"tt{7000 + movie_id:07}", 50000 + movie_id))
    return movies


def rating_vectors(num_movies: int) -> np.ndarray:
    """Returns float32[movies, 200] of length 1, as the movie tower would compute them."""
    random = np.random.default_rng(1)
    kinds = np.tile(np.eye(len(NOUNS)), (-(-num_movies // len(NOUNS)), 1))[:num_movies]
    kinds = normalize_rows(kinds + 0.25 * random.normal(size=kinds.shape))
    return normalize_rows((_basis()[0] + kinds @ _basis()[1:]).astype(np.float32))


def _basis() -> np.ndarray:
    """Returns float64[1 + kinds, 200]: orthonormal directions of what all share, and of each kind."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(EMBEDDING_DIM, 1 + len(NOUNS))))[0].T


def save_small_model(folder: Path, **facts: Any) -> str:
    """Saves the model and returns its fingerprint; `facts` replaces fields of `Facts`."""
    random = np.random.default_rng(2)
    movies = create_movies()
    users = [
        User(user_id, "MF"[row % 2], AGE_CODES[row % len(AGE_CODES)], row % 21) for row, user_id in enumerate(USER_IDS)
    ]

    # A user's vector is the sum of what all share, their demographics' and their own likes of kinds.
    profiles = encode_profiles(users, np.array([user_id != WITHOUT_TRAINING_RATINGS for user_id in USER_IDS]))
    likes = sum(
        random.normal(0, 0.3, (size, len(NOUNS)))[column]
        for size, column in zip((3, 8, 22), profiles[:, 1:].T, strict=True)
    )
    likes[NUM_DEMOGRAPHIC_PROFILES:] += random.normal(0, 0.6, (NUM_USERS, len(NOUNS)))
    profile_vectors = (0.9 * (_basis()[0] + likes @ _basis()[1:])).astype(np.float32)

    popularity = random.beta(0.8, 1.5, len(movies))
    is_rated = random.random((NUM_USERS, len(movies))) < popularity * random.uniform(0.1, 1, (NUM_USERS, 1))
    user, movie = np.nonzero(is_rated)
    stars = 5 * (profile_vectors[NUM_DEMOGRAPHIC_PROFILES:] @ rating_vectors(len(movies)).T)[user, movie]
    ratings = np.zeros(len(user), RATING_DTYPE)
    ratings["movie_id"] = [movies[row].movie_id for row in movie]
    ratings["rating"] = np.rint(stars + random.normal(0, 0.7, len(stars))).clip(1, 5)
    ratings["held_out"] = random.random(len(user)) < 0.1
    ratings["held_out"] |= (user == NUM_USERS - 1) | (ratings["movie_id"] == ONLY_TEST_RATINGS)
    vocabularies = build_vocabularies(movies, ratings["movie_id"][~ratings["held_out"]].tolist())

    # Taste: movies of a kind lie close together; popular ones are long, and anyone likes them.
    num_content = vocabularies.genres.size + vocabularies.words.size
    kinds = np.array([(row // 5) % len(NOUNS) for row in (np.array(vocabularies.movies.tokens) - 3)])
    directions = random.normal(0, 0.05, (len(NOUNS), EMBEDDING_DIM)) + random.normal(0, 0.04, EMBEDDING_DIM)
    tables = {}
    for name in ("inputs", "outputs"):
        by_id = directions[kinds] + random.normal(0, 0.03, (len(kinds), EMBEDDING_DIM))
        by_id *= (0.3 + popularity[(np.array(vocabularies.movies.tokens) - 3) // 5])[:, None]
        by_content = random.normal(0, 0.02, (num_content, EMBEDDING_DIM))
        by_content[[0, vocabularies.genres.size]] = 0  # Padding.
        for part, array in zip(PARTS, (np.concatenate([np.zeros((2, EMBEDDING_DIM)), by_id]), by_content), strict=True):
            tables[f"taste_{name}_{part}"] = array.astype(np.float32)
    demographics = random.normal(0, 0.03, (EVERYONE + 1, EMBEDDING_DIM)).astype(np.float32)
    demographics[EVERYONE] += 2 * tables["taste_outputs_by_id"].mean(0)

    arrays = {
        "user_ids": np.array(USER_IDS),
        "profiles": profiles,
        "profile_vectors": profile_vectors,
        "ratings": ratings,
        "ratings_indptr": np.append(0, is_rated.sum(1).cumsum()),
        "prior_covariance": fit_user_prior(profile_vectors, profiles).covariance,
        **tables,
        "taste_demographics": demographics,
        "taste_variances": np.linspace(0.2, 0.01, EMBEDDING_DIM, dtype=np.float32),
    }
    data = {"has_demographics": True, "has_links": True, "min_rating": 1.0, "max_rating": 5.0, "notice": "", **facts}
    files = {CATALOGUE: format_movies(movies).encode(), "training_curve.png": b"picture"}
    return save_model(folder, arrays, vocabularies, files, _write_towers, {"data": data, "metrics": {}})


def _write_towers(folder: Path) -> None:
    (folder / "user_tower.json").write_text("a tower")
    (folder / "movie_tower.json").write_text("a tower")


def create_catalogue(model: SavedModel) -> Catalogue:
    """Returns the movies of the training data but for `GONE`, and `NEW_MOVIE`, with their joined vectors."""
    trained = create_movies()
    movies = [movie for movie in trained if movie.movie_id != GONE] + [NEW_MOVIE]
    num_ratings = model.count_ratings(np.array([movie.movie_id for movie in movies]))
    tastes = model.taste.outputs.lookup(encode_movies(movies, model.vocabularies), model.vocabularies.genres.size)
    rows = [trained.index(movie) for movie in movies[:-1]] + [len(trained)]
    vectors = join(rating_vectors(len(trained) + 1)[rows], tastes, similarity_parts(movies, tastes, num_ratings))
    return Catalogue(movies, vectors, num_ratings)


def fill_workdir(folder: Path, **facts: Any) -> Workdir:
    """Fills a folder as the three commands do: model, movies_origin.txt, movies_data.txt and the Lite database."""
    workdir = Workdir(folder)
    save_small_model(workdir.model, **facts)
    model = SavedModel(workdir.model)
    movies, vectors, num_ratings = create_catalogue(model)
    workdir.movies_origin.write_text(format_movies(movies), "utf-8")
    write_movies_data(workdir.movies_data, movies, model.vocabularies, model.fingerprint)
    with MilvusConnection(str(workdir.database), create=True) as connection:
        build_collection(connection, movies, vectors, num_ratings.tolist(), model.fingerprint)
    return workdir
