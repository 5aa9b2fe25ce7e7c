"""The model folder: everything that a query needs from training.

    manifest.json           format, fingerprint, facts of the data, settings, metrics
    *.npy                   the arrays of `SavedModel`
    vocabularies.json       words and genres, in the order of their indices
    movies_origin.txt       the catalogue of the training data
    user_tower.*            Paddle inference programs; `paddle.jit.load(folder + "/user_tower")` runs them without
    movie_tower.*           this package
    training_curve.png

A new model is written beside the old one and renamed into its place. Nothing is pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recommender.errors import RecommenderError, Step, pluralize
from recommender.files import read_bytes
from recommender.movielens.catalogue import Movie, parse_movies
from recommender.movielens.encoding import (
    EMBEDDING_DIM,
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    Vocabularies,
    Vocabulary,
)
from recommender.movielens.split import RATING_DTYPE
from recommender.picks.taste import MovieEmbeddings, TasteParameters
from recommender.stars.predict import UserPrior

FORMAT_VERSION = 5
"""Of the files, and of the layout of the joined vector (vectors.py, embed.py): it is part of the fingerprint."""
MANIFEST = "manifest.json"
CATALOGUE = "movies_origin.txt"
CURVE = "training_curve.png"
PARTS = MovieEmbeddings._fields


class ModelError(RecommenderError):
    """The model folder is missing, damaged, or cannot be written. The message names the remedy."""


class Facts(NamedTuple):
    """What a query must know of the training data."""

    has_demographics: bool
    """Whether gender, age and occupation of the users are known; without, those profiles are not trained."""
    has_links: bool
    """Whether the movies have IMDb and TMDB ids."""
    min_rating: float
    """The lowest rating, in stars."""
    max_rating: float
    notice: str
    """A sentence to show with every answer, or ""."""


class SavedModel:
    """A trained model as a query reads it; arrays are memory-mapped.

    Args:
        folder: The model folder.

    Raises:
        ModelError: There is no model, a file of it is missing or damaged, or another version of this program wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / MANIFEST
        if not path.exists():
            raise ModelError(f"{folder}: no model here", Step.TRAIN)
        with _reading(path):
            self.manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
            version = self.manifest["format_version"]
            if version != FORMAT_VERSION:
                raise ModelError(f"{folder}: format {version}, this program reads {FORMAT_VERSION}", Step.TRAIN)
            self.facts = Facts(**self.manifest["data"])
            if not 0 < self.facts.min_rating < self.facts.max_rating <= 5:
                raise ValueError("ratings are from half a star to five")
            self.fingerprint: str = self.manifest["fingerprint"]
            """A hash of everything that determines the model's answers."""
        self.user_ids = self._array("user_ids", np.int64, None)
        """int64[users], sorted"""
        self.profiles = self._array("profiles", np.int64, None, 4)
        """int64[profiles, 4], see `encode_profiles`; the users are the last rows"""
        self.profile_vectors = self._array("profile_vectors", np.float32, None, EMBEDDING_DIM)
        """float32[profiles, 200], the user tower's rating vectors"""
        self.ratings = self._array("ratings", RATING_DTYPE, None)
        """`RATING_DTYPE`[ratings], sorted by user and movie id"""
        self.ratings_indptr = self._array("ratings_indptr", np.int64, None)
        """int64[users + 1], CSR row pointers into `ratings`"""
        self.movie_ids = self._array("movie_ids", np.int64, None)
        """int64[movies with training ratings], sorted, in the order of their indices"""
        self.user_prior = UserPrior(self._array("prior_covariance", np.float32, EMBEDDING_DIM, EMBEDDING_DIM))
        self.taste = TasteParameters(
            MovieEmbeddings(*(self._array(f"taste_inputs_{part}", np.float32, None, EMBEDDING_DIM) for part in PARTS)),
            MovieEmbeddings(*(self._array(f"taste_outputs_{part}", np.float32, None, EMBEDDING_DIM) for part in PARTS)),
            self._array("taste_demographics", np.float32, None, EMBEDDING_DIM),
            self._array("taste_variances", np.float32, EMBEDDING_DIM),
        )

    def _array(self, name: str, dtype: Any, *shape: int | None) -> np.ndarray:
        """Loads an array, whose shape is as given where that is not None."""
        path = self.folder / f"{name}.npy"
        with _reading(path):
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        sizes = zip(array.shape, shape, strict=False)
        if array.dtype != dtype or array.ndim != len(shape) or any(size not in (None, own) for own, size in sizes):
            raise ModelError(f"{path}: damaged, it holds {array.dtype}{list(array.shape)}", Step.TRAIN)
        return array

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """The vocabularies that encode movies for this model."""
        path = self.folder / "vocabularies.json"
        with _reading(path):
            words, genres = (Vocabulary(map(str, tokens)) for tokens in json.loads(path.read_text("utf-8")))
        return Vocabularies(words, genres, Vocabulary(self.movie_ids.tolist()))

    @cached_property
    def movies(self) -> dict[int, Movie]:
        """The movies of the training data by id."""
        path = self.folder / CATALOGUE
        return {movie.movie_id: movie for movie in parse_movies(read_bytes(path, fix_step=Step.TRAIN), str(path))}

    def profile_row(self, user_id: int) -> int:
        """Returns the profile row of a user of the training data.

        Raises:
            ModelError: There is no such user.
        """
        row = int(np.searchsorted(self.user_ids, user_id))
        if row == len(self.user_ids) or self.user_ids[row] != user_id:
            users = f"{pluralize(len(self.user_ids), 'user')}, with ids from {self.user_ids[0]} to {self.user_ids[-1]}"
            raise ModelError(f"no user {user_id} in the training data; there are {users}")
        return NUM_DEMOGRAPHIC_PROFILES + row

    def ratings_of(self, user_id: int) -> np.ndarray:
        """Returns `RATING_DTYPE`[ratings], all ratings of a user of the training data.

        Raises:
            ModelError: There is no such user.
        """
        user = self.profile_row(user_id) - NUM_DEMOGRAPHIC_PROFILES
        return self.ratings[self.ratings_indptr[user] : self.ratings_indptr[user + 1]]

    def describe_rating(self, user_id: int, movie_id: int) -> str:
        """Returns the rating of a user of the training data in words."""
        ratings = self.ratings_of(user_id)
        rated = ratings[ratings["movie_id"] == movie_id]
        if len(rated) == 0:
            return "not rated"
        return f"{rated[0]['rating']:g} ({'a test row' if rated[0]['held_out'] else 'seen in training'})"

    def count_ratings(self, movie_ids: np.ndarray) -> np.ndarray:
        """Returns int64[movies], the numbers of training ratings of movies given by id."""
        rated = self.movie_idx(self.ratings["movie_id"][~self.ratings["held_out"]])
        counts: np.ndarray = np.bincount(rated, minlength=NUM_RESERVED + len(self.movie_ids))[self.movie_idx(movie_ids)]
        return counts

    def movie_idx(self, movie_ids: np.ndarray) -> np.ndarray:
        """Returns int64[movies], the movie indices of some ids, `UNKNOWN` for movies without training ratings."""
        position = np.minimum(np.searchsorted(self.movie_ids, movie_ids), len(self.movie_ids) - 1)
        return np.where(self.movie_ids[position] == movie_ids, NUM_RESERVED + position, UNKNOWN)


def check_output(folder: Path) -> None:
    """Raises a ModelError where `save_model` could not write a model; changes nothing."""
    if folder.exists() and not (folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder}: this is not a model folder, and stays as it is; choose another --workdir")


def save_model(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    vocabularies: Vocabularies,
    files: Mapping[str, bytes],
    save_towers: Callable[[Path], None],
    metadata: Mapping[str, Any],
) -> str:
    """Writes a model beside the current one, if any, and renames it into place.

    Args:
        folder: The model folder.
        arrays: The arrays of `SavedModel` by file name, `movie_ids` apart.
        vocabularies: The vocabularies.
        files: The contents of further files by name.
        save_towers: A function that writes both towers into a folder.
        metadata: JSON values for the manifest; `data` has the fields of `Facts`.

    Returns:
        The fingerprint.

    Raises:
        ModelError: The folder holds something else, or cannot be written; the model before stays.
    """
    check_output(folder)
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{state}") for state in ("new", "old"))
    tokens = [vocabularies.words.tokens, vocabularies.genres.tokens]
    try:
        new.mkdir(parents=True)
        save_towers(new)
        for name, array in {**arrays, "movie_ids": np.array(vocabularies.movies.tokens)}.items():
            np.save(new / f"{name}.npy", array)
        for name, content in {**files, "vocabularies.json": json.dumps(tokens, ensure_ascii=False).encode()}.items():
            (new / name).write_bytes(content)
        digest = hashlib.sha256(str(FORMAT_VERSION).encode())
        for path in sorted(path for path in new.iterdir() if path.name != CURVE):
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        fingerprint = digest.hexdigest()[:16]
        manifest = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, **metadata}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        # numpy reports a short write without a reason.
        raise ModelError(f"{folder}: cannot write the model: {error.strerror or 'no space left on device'}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return fingerprint


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: missing or damaged", Step.TRAIN) from error
