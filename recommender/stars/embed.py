"""Runs trained towers over many profiles or movies, and saves and loads towers as Paddle inference programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recommender.movielens.encoding import MovieFeatures
from recommender.paddle_setup import paddle, writable_home
from recommender.stars.fusion import FusionModel

BATCH_SIZE = 1 << 14

Tower = Callable[..., Any]
"""A user tower or a movie tower, as a layer or loaded from a file."""


@paddle.no_grad()
def embed_profiles(user_tower: Tower, profiles: np.ndarray) -> np.ndarray:
    """Returns rating vectors of unit length, float32[profiles, 200], for int64[profiles, 4]."""
    batches = [profiles[start : start + BATCH_SIZE] for start in range(0, len(profiles), BATCH_SIZE)]
    return np.concatenate([user_tower(paddle.to_tensor(batch)).numpy() for batch in batches])


@paddle.no_grad()
def embed_movies(movie_tower: Tower, movies: MovieFeatures) -> np.ndarray:
    """Returns rating vectors of unit length, float32[movies, 200]."""
    rows = np.arange(len(movies.movie_idx))
    batches = [movies.select(rows[start : start + BATCH_SIZE]) for start in range(0, len(rows), BATCH_SIZE)]
    return np.concatenate([movie_tower(*map(paddle.to_tensor, batch)).numpy() for batch in batches])


def save_towers(folder: Path, model: FusionModel) -> None:
    """Writes `user_tower.*` and `movie_tower.*`; `paddle.jit.load` runs them without this package."""
    spec = paddle.static.InputSpec
    movies = [spec([None], "int64", "movie_idx")]
    movies += [spec([None, None], "int64", name) for name in ("genre_idx", "word_idx")]
    with writable_home():
        paddle.jit.save(model.user_tower, str(folder / "user_tower"), input_spec=[spec([None, 4], "int64", "profiles")])
        paddle.jit.save(model.movie_tower, str(folder / "movie_tower"), input_spec=movies)


def load_tower(path: Path) -> Tower:
    """Loads a tower that `save_towers` wrote; `path` has no suffix."""
    tower: Tower = paddle.jit.load(str(path))
    return tower
