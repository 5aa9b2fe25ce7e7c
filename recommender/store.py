"""The model folder: everything that inference needs, published in one atomic step and verified when it is read.

    manifest.json         the name of the current version, format, configuration, metrics, checksums, fingerprint
    files-0123456789ab/   one version, never changed:
      user_tower.*        Paddle inference programs; `paddle.jit.load(folder + "/user_tower")` runs them without
      movie_tower.*       this package
      vocabularies.json   words, genres and movie ids, in the order of their indices
      movies_origin.txt   the catalogue of the training data
      titles.json         its titles as title matching sees them
      *.npy               the arrays of `training.save.ServingArrays`, by their dotted names
      training_curve.png

A new version gets a folder of its own, then a new manifest. So the last of several writers wins, and a reader has one
version or the other. The version before stays until the next one is saved. Nothing is pickled.
"""

import hashlib
import json
import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recommender.movielens.split import RATING_DTYPE, RatingHistories
from recommender.movielens.encoding import (
    EMBEDDING_DIM,
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    Vocabularies,
    Vocabulary,
)
from recommender.movielens.catalogue import Movie, parse_movies
from recommender.errors import RecommenderError, Step, pluralize
from recommender.films.matching import Title
from recommender.users import MovieEmbeddings, TasteParameters, UserPrior

FORMAT_VERSION = 4
MANIFEST = "manifest.json"
CATALOGUE = "movies_origin.txt"
TITLES = "titles.json"
CURVE = "training_curve.png"
VERSION_NAME = re.compile(r"files-[0-9a-f]{12}")


class ModelError(RecommenderError):
    """The model folder is missing, damaged, or cannot be written. The message names the remedy."""


class SavedModel:
    """A version of a model. Each file is loaded and verified when it is first used.

    Args:
        folder: The version's folder.
        manifest: The parsed manifest.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def fingerprint(self) -> str:
        """A hash of everything that determines the model's answers."""
        return str(self.manifest["fingerprint"])

    @property
    def notice(self) -> str:
        """A sentence about the training data to show with every answer, or ""."""
        return str(self.manifest.get("notice", ""))

    @property
    def has_demographics(self) -> bool:
        """Whether the model knows gender, age and occupation; without, those profiles are not trained."""
        return bool(self.manifest["data"]["has_demographics"])

    @property
    def has_links(self) -> bool:
        """Whether the data set has IMDb and TMDB ids."""
        return bool(self.manifest["data"]["has_links"])

    @property
    def min_rating(self) -> float:
        """The lowest rating in the training data, in stars."""
        return float(self.manifest["data"]["min_rating"])

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """The vocabularies that encode movies for this model."""
        try:
            tokens = json.loads(self._verified_path("vocabularies.json").read_text("utf-8"))
            for name, kind in zip(Vocabularies._fields, (str, str, int), strict=True):
                if {type(token) for token in tokens[name]} != {kind}:
                    raise TypeError(f"{name} are not of type {kind.__name__}")
            return Vocabularies(*(Vocabulary(tokens[name]) for name in Vocabularies._fields))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(f"{self.folder / 'vocabularies.json'}: damaged: {error!r}", Step.TRAIN) from error

    @property
    def catalogue(self) -> bytes:
        """The movies of the training data, as train.py wrote them to movies_origin.txt."""
        return self._verified_path(CATALOGUE).read_bytes()

    @cached_property
    def movies(self) -> dict[int, Movie]:
        """The movies of the training data by id."""
        return {movie.movie_id: movie for movie in parse_movies(self.catalogue, str(self.folder / CATALOGUE))}

    @cached_property
    def titles(self) -> list[Title]:
        """The titles of the training data, with names and numbers of ratings."""
        path = self._verified_path(TITLES)
        try:
            rows = json.loads(path.read_text("utf-8"))
            return [Title(movie_id, title, num_ratings, tuple(names)) for movie_id, title, num_ratings, names in rows]
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{path}: damaged: {error!r}", Step.TRAIN) from error

    @cached_property
    def user_ids(self) -> np.ndarray:
        """int64[users], sorted."""
        return self._array("user_ids", np.int64, None)

    @cached_property
    def profiles(self) -> np.ndarray:
        """int64[profiles, 4], see `encode_profiles`."""
        return self._array("profiles", np.int64, None, 4)

    @cached_property
    def profile_vectors(self) -> np.ndarray:
        """float32[profiles, 200], of unit length."""
        return self._array("profile_vectors", np.float32, None, EMBEDDING_DIM)

    @cached_property
    def histories(self) -> RatingHistories:
        """All ratings, grouped by user."""
        ratings = self._array("histories.ratings", RATING_DTYPE, None)
        return RatingHistories(ratings, self._array("histories.indptr", np.int64, None))

    @cached_property
    def user_prior(self) -> UserPrior:
        """The prior for folding in new ratings."""
        mean = self._array("user_prior.mean", np.float32, EMBEDDING_DIM)
        return UserPrior(mean, self._array("user_prior.covariance", np.float32, EMBEDDING_DIM, EMBEDDING_DIM))

    @cached_property
    def taste_inputs(self) -> MovieEmbeddings:
        """Embeddings of the movies in a history."""
        return self._embeddings("taste.inputs")

    @cached_property
    def taste_outputs(self) -> MovieEmbeddings:
        """The movies' taste vectors."""
        return self._embeddings("taste.outputs")

    @cached_property
    def taste_demographics(self) -> np.ndarray:
        """float32[34, 200], see `TasteParameters`."""
        return self._array("taste.demographics", np.float32, None, EMBEDDING_DIM)

    @cached_property
    def taste_variances(self) -> np.ndarray:
        """float32[200], see `TasteParameters`."""
        return self._array("taste.variances", np.float32, EMBEDDING_DIM)

    @property
    def taste(self) -> TasteParameters:
        """The whole taste model."""
        return TasteParameters(self.taste_inputs, self.taste_outputs, self.taste_demographics, self.taste_variances)

    def tower_path(self, name: str) -> Path:
        """Returns the verified path of `user_tower` or `movie_tower`, without suffix, for `load_tower`."""
        for suffix in ("json", "pdiparams"):
            self._verified_path(f"{name}.{suffix}")
        return self.folder / name

    def refuse_demographics(self) -> None:
        """Raises a ModelError for a query by gender, age or occupation."""
        problem = "this model was trained on data without age, gender and job; leave out -a, -g and -j"
        raise ModelError(f"{problem}, or train on ml-1m or ml-100k")

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
        return self.histories.of(self.profile_row(user_id) - NUM_DEMOGRAPHIC_PROFILES)

    def count_ratings(self) -> dict[int, int]:
        """Returns the number of training ratings of each movie by id."""
        return {title.movie_id: title.num_ratings for title in self.titles}

    def movie_idx(self, movie_ids: np.ndarray) -> np.ndarray:
        """Returns int64[movies], the movie indices of some ids, `UNKNOWN` for movies without training ratings."""
        known_ids = self._rated_movie_ids
        position = np.minimum(np.searchsorted(known_ids, movie_ids), len(known_ids) - 1)
        return np.where(known_ids[position] == movie_ids, NUM_RESERVED + position, UNKNOWN)

    @cached_property
    def _rated_movie_ids(self) -> np.ndarray:
        return np.array(self.vocabularies.movies.tokens)

    def _embeddings(self, name: str) -> MovieEmbeddings:
        names = [f"{name}.{field}" for field in MovieEmbeddings._fields]
        return MovieEmbeddings(*(self._array(name, np.float32, None, EMBEDDING_DIM) for name in names))

    def _array(self, name: str, dtype: Any, *shape: int | None) -> np.ndarray:
        """Loads an array, whose shape is as given where that is not None."""
        path = self._verified_path(f"{name}.npy")
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (ValueError, EOFError) as error:
            raise ModelError(f"{path}: damaged: {error}", Step.TRAIN) from error
        expected = [actual if size is None else size for actual, size in zip(array.shape, shape, strict=False)]
        is_finite = array.dtype.names is not None or bool(np.isfinite(array).all())
        if array.dtype != dtype or array.ndim != len(shape) or list(array.shape) != expected or not is_finite:
            raise ModelError(f"{path}: damaged: {array.dtype}{list(array.shape)}", Step.TRAIN)
        return array

    def _verified_path(self, name: str) -> Path:
        """Returns the path of a file whose checksum is right.

        Raises:
            ModelError: The file was changed, or the version was replaced twice and removed meanwhile.
        """
        path = self.folder / name
        try:
            if file_checksum(path) == self.manifest["files"].get(name):
                return path
        except FileNotFoundError as error:
            if read_manifest(self.folder.parent)["folder"] != self.folder.name:
                raise ModelError(f"{path}: replaced while it was being read; run the command again") from error
        except OSError as error:
            raise ModelError(f"{path}: cannot read it: {error.strerror}") from error
        raise ModelError(f"{path}: damaged, its checksum is wrong", Step.TRAIN)


def load_model(folder: Path) -> SavedModel:
    """Returns the current version of a model folder.

    Raises:
        ModelError: There is no model, it is damaged, or another version of this program wrote it. Methods of the model
            raise it too where a file that they load is damaged.
    """
    manifest = read_manifest(folder)
    name, files = str(manifest["folder"]), manifest["files"]
    if not VERSION_NAME.fullmatch(name) or compute_fingerprint(files) != manifest["fingerprint"]:
        raise ModelError(f"{folder / MANIFEST}: damaged, its fingerprint is wrong", Step.TRAIN)
    with suppress(OSError):
        unlisted = {path.name for path in (folder / name).iterdir()} - {*files, CURVE}
        if unlisted:
            path = folder / name / min(unlisted)
            raise ModelError(f"{path}: not part of the model; delete it, or replace the model", Step.TRAIN)
    return SavedModel(folder / name, manifest)


def saved_catalogues(folder: Path) -> list[bytes]:
    """Returns the catalogues of all versions in a model folder, as train.py wrote them to movies_origin.txt."""
    catalogues = []
    for path in folder.glob(f"files-*/{CATALOGUE}"):
        with suppress(OSError):
            catalogues.append(path.read_bytes())
    return catalogues


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a model folder; `folder`, `fingerprint` and `files` are always there.

    Raises:
        ModelError: There is none, it is damaged, or another version of this program wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = dict(json.loads(path.read_text("utf-8")))
        format_version = manifest["format_version"]
        manifest = {"folder": "", "fingerprint": "", **manifest, "files": dict(manifest.get("files", {}))}
    except FileNotFoundError:
        raise ModelError(f"{folder}: no model here", Step.TRAIN) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot read it: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: damaged: {str(error)[:80]}", Step.TRAIN) from error
    if format_version != FORMAT_VERSION:
        problem = f"format {str(format_version)[:20]}, this program reads format {FORMAT_VERSION}"
        raise ModelError(f"{folder}: {problem}", Step.TRAIN)
    return manifest


def file_checksum(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute_fingerprint(checksums: dict[str, str]) -> str:
    """Returns 16 hexadecimal digits, a hash of all checksums."""
    return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[:16]
