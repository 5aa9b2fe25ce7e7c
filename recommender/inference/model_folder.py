"""The model folder: all that inference needs, replaced in one step, checked when it is read.

    manifest.json         which of the folders below is current; format version, configuration, metrics, library
                          versions, checksums, fingerprint
    files-0123456789ab/   one saved model, never changed:
      user_tower.*        Paddle inference programs: `paddle.jit.load(folder + "/user_tower")` needs none of
      movie_tower.*       this package's code
      vocabularies.json   words, genres and movie ids, in the order of their indices
      movies_origin.txt   the movies of the training data, rated or not
      *.npy               the arrays of `Arrays`, with what a query needs of both models, without Paddle
      training_curve.png

A new model gets a folder of its own and then a new manifest, so of two writers the last to finish wins, and a reader
has one of the two. The model before stays until the next one is saved. Nothing is pickled.
"""

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recommender.data.features import NUM_ANONYMOUS, NUM_RESERVED, UNKNOWN, Vocabularies, Vocabulary
from recommender.errors import RecommenderError, Step, counted
from recommender.files import check_folder_writable, unfinished
from recommender.inference.fold_in import Deviations
from recommender.inference.user_vectors import Taste

if TYPE_CHECKING:
    from recommender.models.two_tower import FusionModel

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
LIBRARIES = ("paddlepaddle", "numpy")
ABANDONED_SECONDS = 3600.0
"""A folder that no manifest names is removed when it is so old: until then somebody may be writing or reading it."""
_SAVED_FOLDER = re.compile(r"files-[0-9a-f]{12}")


class ModelError(RecommenderError):
    """The model folder is missing, damaged, or cannot be written. The message names the remedy."""


class Arrays(NamedTuple):
    """What a question needs of a model."""

    user_ids: np.ndarray
    """int64[users], sorted"""
    movie_ids: np.ndarray
    """int64[rated movies], sorted: of the movie indices from `NUM_RESERVED` on"""
    people: np.ndarray
    """int64[people, 4], what the user tower reads of everybody, see `encode_people`; the users are the last rows"""
    user_vectors: np.ndarray
    """float32[people, 200], what it answers: unit length, rows as in `people`"""
    ratings: np.ndarray
    """`RATING`[ratings], sorted by user and movie"""
    first_rating: np.ndarray
    """int64[users + 1], where in `ratings` each user's begin; the last is their number"""
    deviation_mean: np.ndarray
    """This and the next: see `Deviations`."""
    deviation_covariance: np.ndarray
    history: np.ndarray
    """This and what follows: see `Taste`."""
    target: np.ndarray
    history_content: np.ndarray
    target_content: np.ndarray
    demographics: np.ndarray


class ModelData(NamedTuple):
    """What a model folder holds beside the towers."""

    vocabularies: Vocabularies
    movies_origin: bytes
    """The movies of the training data, as `format_movies` writes them."""
    arrays: Arrays


class SavedArrays:
    """The arrays of a saved model by name, see `Arrays`; each is read, and checked, when it is first asked for."""

    def __init__(self, open_file: Callable[[str], Path]) -> None:
        self._open_file = open_file

    def __getattr__(self, name: str) -> np.ndarray:
        path = self._open_file(f"{name}.npy")
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except ValueError as error:
            raise ModelError(f"{path}: damaged: {error}", Step.TRAIN) from error
        setattr(self, name, array)
        return array


class SavedModel:
    """A model that was saved. A file is checked when it is first used, so a question pays only for what it needs.

    Args:
        folder: With the files; never changed, and removed when a second model has been saved after this one.
        manifest: What is said of it.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.arrays = SavedArrays(self._checked)

    def _checked(self, name: str) -> Path:
        """Returns a file's path.

        Raises:
            ModelError: It is not as it was written, or the model has been replaced twice and is gone.
        """
        path = self.folder / name
        try:
            if _checksum(path) == self.manifest["files"].get(name):
                return path
        except OSError as error:
            if _read_manifest(self.folder.parent)["folder"] != self.folder.name:
                raise ModelError(f"{path}: replaced while it was being read; run the command again") from error
        raise ModelError(f"{path}: damaged, its checksum is off", Step.TRAIN)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the model's answers."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def taste(self) -> Taste:
        """What people pick."""
        return Taste(*(getattr(self.arrays, name) for name in Taste._fields))

    @cached_property
    def deviations(self) -> Deviations:
        """How people rate who are no average person of their kind."""
        return Deviations(*(getattr(self.arrays, name) for name in Deviations._fields))

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """What turns movies into indices."""
        tokens = json.loads(self._checked("vocabularies.json").read_text("utf-8"))
        return Vocabularies(**{name: Vocabulary(listed) for name, listed in tokens.items()})

    @property
    def movies_origin(self) -> bytes:
        """The movies of the training data, as train.py wrote them to movies_origin.txt."""
        return self._checked("movies_origin.txt").read_bytes()

    def load_tower(self, name: str) -> Callable[..., Any]:
        """Loads `user_tower`, which takes rows of `people`, or `movie_tower`, which takes `MovieFeatures`."""
        from recommender.models.paddle_setup import paddle

        for ending in ("json", "pdiparams"):
            self._checked(f"{name}.{ending}")
        tower: Callable[..., Any] = paddle.jit.load(str(self.folder / name))
        return tower

    def ratings_of(self, user_id: int) -> np.ndarray:
        """Returns `RATING`[ratings], all of one user's.

        Raises:
            ModelError: The model does not know them.
        """
        user = self.person_row(user_id) - NUM_ANONYMOUS
        return self.arrays.ratings[self.arrays.first_rating[user] : self.arrays.first_rating[user + 1]]

    def count_ratings(self) -> dict[int, int]:
        """Returns how many ratings of each movie, by id, the model was trained on."""
        ratings = self.arrays.ratings
        movie_ids, counts = np.unique(ratings["movie_id"][~ratings["held_out"]], return_counts=True)
        return dict(zip(movie_ids.tolist(), counts.tolist(), strict=True))

    def movie_index(self, movie_ids: np.ndarray) -> np.ndarray:
        """Returns int64[movies], the movie indices of some ids, `UNKNOWN` where training has not seen the movie."""
        known_ids = self.arrays.movie_ids
        place = np.minimum(np.searchsorted(known_ids, movie_ids), len(known_ids) - 1)
        return np.where(known_ids[place] == movie_ids, NUM_RESERVED + place, UNKNOWN)

    def person_row(self, user_id: int) -> int:
        """Returns a user's row of `people` and `user_vectors`.

        Raises:
            ModelError: The model does not know them.
        """
        user_ids = self.arrays.user_ids
        user = int(np.searchsorted(user_ids, user_id))
        if user == len(user_ids) or user_ids[user] != user_id:
            known = f"{counted(len(user_ids), 'user')}, with ids from {user_ids[0]} to {user_ids[-1]}"
            raise ModelError(f"no user {user_id} in the training data; there are {known}")
        return NUM_ANONYMOUS + user


def check_output(folder: Path) -> None:
    """Makes sure, before any work, that a model can be written to `folder`; leaves no trace.

    Raises:
        ModelError: It is a file, or it holds something that is not a model.
        FileError: It cannot be written to.
    """
    if folder.exists() and not _is_model_folder(folder):
        raise ModelError(f"{folder}: this is not a model folder, and stays as it is; choose another --output")
    check_folder_writable(folder)


def _is_model_folder(folder: Path) -> bool:
    """Tells an empty folder and one that `save_model` wrote, however damaged, from anything else."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    if not names or any(map(_SAVED_FOLDER.fullmatch, names)):
        return True
    try:
        return "format_version" in json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def save_model(
    folder: Path, model: "FusionModel", data: ModelData, training_curve: bytes, facts: dict[str, Any]
) -> str:
    """Writes a model and, when it is whole, makes it the current one of the model folder.

    Args:
        folder: The model folder; it may hold another model, and another process may be writing there too.
        model: The trained model, in evaluation mode.
        data: What goes with it.
        training_curve: A PNG.
        facts: JSON values for the manifest, such as `config` and `metrics`.

    Returns:
        The fingerprint.

    Raises:
        ModelError: The folder holds something that is not a model, or cannot be written; the model before still is.
    """
    check_output(folder)
    try:
        _remove_replaced(folder)
        with unfinished(folder / f"files-{uuid.uuid4().hex[:12]}") as saved:
            saved.mkdir(parents=True)
            _save_towers(saved, model)
            _save_data(saved, data)
            checksums = {path.name: _checksum(path) for path in sorted(saved.iterdir())}
            (saved / "training_curve.png").write_bytes(training_curve)
        manifest = {
            "format_version": FORMAT_VERSION,
            "folder": saved.name,
            "fingerprint": _fingerprint(checksums),
            **facts,
            "libraries": {library: version(library) for library in LIBRARIES},
            "files": checksums,
        }
        with unfinished(folder / f".{saved.name}.partial") as partial:
            _write_json(partial, manifest)
            os.replace(partial, folder / MANIFEST)
    except OSError as error:
        raise ModelError(f"{folder}: cannot write the model: {error.strerror or error}") from error
    return str(manifest["fingerprint"])


def load_model(folder: Path) -> SavedModel:
    """Reads the manifest of a model folder.

    Raises:
        ModelError: There is no model, it is damaged, or another version of this program made it. Whatever uses a
            file of the model raises it too, where that file is damaged or gone.
    """
    manifest = _read_manifest(folder)
    if (
        not _SAVED_FOLDER.fullmatch(str(manifest["folder"]))
        or _fingerprint(manifest["files"]) != manifest["fingerprint"]
    ):
        raise ModelError(f"{folder / MANIFEST}: damaged, its fingerprint is off", Step.TRAIN)
    return SavedModel(folder / manifest["folder"], manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = dict(json.loads((folder / MANIFEST).read_text("utf-8")))
        made = manifest["format_version"]
        manifest = {"folder": "", "files": {}, "fingerprint": "", **manifest}
    except FileNotFoundError:
        raise ModelError(f"{folder}: no model here", Step.TRAIN) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / MANIFEST}: damaged: {error!r}", Step.TRAIN) from error
    if made != FORMAT_VERSION:
        raise ModelError(f"{folder}: format {made}, this program reads format {FORMAT_VERSION}", Step.TRAIN)
    return manifest


def _save_data(saved: Path, data: ModelData) -> None:
    tokens = {name: vocabulary.tokens for name, vocabulary in data.vocabularies._asdict().items()}
    _write_json(saved / "vocabularies.json", tokens)
    (saved / "movies_origin.txt").write_bytes(data.movies_origin)
    for name, array in data.arrays._asdict().items():
        np.save(saved / f"{name}.npy", array)


def _save_towers(saved: Path, model: "FusionModel") -> None:
    from recommender.models.paddle_setup import paddle, writable_home

    InputSpec = paddle.static.InputSpec
    people = [InputSpec([None, 4], "int64", "people")]
    movies = [
        InputSpec([None], "int64", "movie_index"),
        InputSpec([None, None], "int64", "genre_index"),
        InputSpec([None, None], "int64", "word_index"),
    ]
    with writable_home():
        paddle.jit.save(model.user_tower, str(saved / "user_tower"), input_spec=people)
        paddle.jit.save(model.movie_tower, str(saved / "movie_tower"), input_spec=movies)


def _remove_replaced(folder: Path) -> None:
    """Removes models that were replaced, and what killed writers left, if nobody can be using it any more."""
    try:
        current = _read_manifest(folder)["folder"]
    except ModelError:
        return
    for path in folder.iterdir():
        is_old = time.time() - path.stat().st_mtime > ABANDONED_SECONDS
        if _SAVED_FOLDER.fullmatch(path.name) and path.name != current and is_old:
            shutil.rmtree(path, ignore_errors=True)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(checksums: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[:16]
