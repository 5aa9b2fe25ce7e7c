"""The model folder: all that inference needs, written whole or not at all, checked when it is read.

    manifest.json         format version, configuration, metrics, library versions, checksums, fingerprint
    user_tower.*          Paddle inference programs: `paddle.jit.load(folder + "/user_tower")` needs none of
    movie_tower.*         this package's code
    vocabularies.json     words, genres, movie ids and user ids, in the order of their indices
    people.npy            what the user tower reads of everyone a question can be asked for, see `encode_people`
    user_vectors.npy      what it answers, so that a query needs no Paddle: float32[people, 200]
    ratings.npy           `RATING` records, sorted by user
    training_curve.png

Nothing in it is pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recommender import RecommenderError
from recommender.features import NUM_RESERVED, Vocabularies, Vocabulary

if TYPE_CHECKING:
    from recommender.model import FusionModel

MODEL_FOLDER = Path("recommender_system.inference.model")
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
LIBRARIES = ("paddlepaddle", "numpy")
TRAIN_COMMAND = "python train.py"
RATING = np.dtype([("user_id", "<i4"), ("movie_id", "<i4"), ("rating", "i1"), ("held_out", "?")])
"""One rating; `held_out` says that it is a test row, which training did not see."""


class ModelError(RecommenderError):
    """The model folder is missing, damaged, or cannot be written. The message names the remedy."""


@dataclass(frozen=True)
class SavedModel:
    """A model folder that was read and checked."""

    folder: Path
    manifest: dict[str, Any]
    vocabularies: Vocabularies
    people: np.ndarray
    """int64[people, 4], see `encode_people`"""
    user_vectors: np.ndarray
    """float32[people, 200], unit length, rows as in `people`"""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the model's answers."""
        return str(self.manifest["fingerprint"])

    def load_tower(self, name: str) -> Callable[..., Any]:
        """Loads `user_tower`, which takes rows of `people`, or `movie_tower`, which takes `MovieFeatures`."""
        import paddle

        tower: Callable[..., Any] = paddle.jit.load(str(self.folder / name))
        return tower

    def ratings(self) -> np.ndarray:
        """Returns `RATING`[ratings], sorted by user: all there is, training and test rows."""
        ratings: np.ndarray = np.load(self.folder / "ratings.npy", mmap_mode="r", allow_pickle=False)
        return ratings

    def ratings_of(self, user_ids: Sequence[int]) -> list[np.ndarray]:
        """Returns `RATING`[ratings] of each of some users."""
        ratings = self.ratings()
        bounds = np.searchsorted(ratings["user_id"], np.array([user_ids, np.add(user_ids, 1)]))
        return [ratings[first:last] for first, last in bounds.T]

    def user_row(self, user_id: int) -> int:
        """Returns a user's row of `people` and `user_vectors`.

        Raises:
            ModelError: The model does not know them.
        """
        if user_id not in self._row_of_user:
            known = self.vocabularies.users.tokens
            raise ModelError(f"no user {user_id} in the training data; {len(known)} ids from {known[0]} to {known[-1]}")
        return self._row_of_user[user_id]

    @cached_property
    def _row_of_user(self) -> dict[int, int]:
        indices = self.people[:, 0].tolist()
        tokens = self.vocabularies.users.tokens
        return {tokens[index - NUM_RESERVED]: row for row, index in enumerate(indices) if index >= NUM_RESERVED}


def check_output(folder: Path) -> None:
    """Makes sure, before any work, that a model can be written to `folder`.

    Raises:
        ModelError: It is a file, it holds something that is not a model, or it cannot be written to.
    """
    _finish_replacement(folder)
    partial, _ = _neighbours(folder)
    try:
        if folder.exists() and not (folder / MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ModelError(f"{folder}: this is not a model folder, and stays as it is; choose another --output")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        partial.rmdir()
    except OSError as error:
        raise ModelError(f"{folder}: cannot write here: {error.strerror}; choose another --output") from error


def save_model(
    folder: Path,
    model: "FusionModel",
    vocabularies: Vocabularies,
    people: np.ndarray,
    user_vectors: np.ndarray,
    ratings: np.ndarray,
    draw_curve: Callable[[Path], None],
    **facts: Any,
) -> str:
    """Writes the model folder beside its final place, then moves it there; the old one is whole until then.

    Args:
        folder: The model folder; an older model in it is replaced.
        model: The trained model, in evaluation mode.
        vocabularies: What it was trained with.
        people: int64[people, 4], see `encode_people`.
        user_vectors: float32[people, 200], unit length.
        ratings: `RATING`[ratings], in any order.
        draw_curve: Writes training_curve.png to the path it is given.
        **facts: JSON values for the manifest, such as `config` and `metrics`.

    Returns:
        The fingerprint.

    Raises:
        ModelError: It cannot be written.
    """
    check_output(folder)
    partial, previous = _neighbours(folder)
    try:
        partial.mkdir()
        _save_towers(partial, model)
        tokens = {name: vocabulary.tokens for name, vocabulary in vocabularies._asdict().items()}
        _write_json(partial / "vocabularies.json", tokens)
        np.save(partial / "people.npy", people)
        np.save(partial / "user_vectors.npy", user_vectors)
        np.save(partial / "ratings.npy", np.sort(ratings, order=["user_id", "movie_id"]))
        checksums = {path.name: _checksum(path) for path in sorted(partial.iterdir())}
        draw_curve(partial / "training_curve.png")
        manifest = {
            "format_version": FORMAT_VERSION,
            "fingerprint": _fingerprint(checksums),
            **facts,
            "libraries": {library: version(library) for library in LIBRARIES},
            "files": checksums,
        }
        _write_json(partial / MANIFEST, manifest)
        if folder.exists():
            os.replace(folder, previous)
        os.replace(partial, folder)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot write the model: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(manifest["fingerprint"])


def load_model(folder: Path) -> SavedModel:
    """Reads a model folder and checks every file's checksum.

    Raises:
        ModelError: There is none, it is damaged, or a newer version of this program made it.
    """
    _finish_replacement(folder)
    remedy = f"make it anew: {TRAIN_COMMAND}"
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: no model here; make one: {TRAIN_COMMAND}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / MANIFEST}: cannot read it: {error}; {remedy}") from error
    try:
        if manifest["format_version"] > FORMAT_VERSION:
            made, known = manifest["format_version"], FORMAT_VERSION
            raise ModelError(f"{folder}: format {made}, this program knows up to {known}; update it, or {remedy}")
        for name, expected in manifest["files"].items():
            if Path(name).name != name or _checksum(folder / name) != expected:
                raise ModelError(f"{folder / name}: damaged, its checksum is off; {remedy}")
        if _fingerprint(manifest["files"]) != manifest["fingerprint"]:
            raise ModelError(f"{folder / MANIFEST}: damaged, its fingerprint is off; {remedy}")
        tokens = json.loads((folder / "vocabularies.json").read_text("utf-8"))
        vocabularies = Vocabularies(**{name: Vocabulary(listed) for name, listed in tokens.items()})
        people, user_vectors = (
            np.load(folder / name, allow_pickle=False) for name in ("people.npy", "user_vectors.npy")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder}: damaged: {error}; {remedy}") from error
    return SavedModel(folder, manifest, vocabularies, people, user_vectors)


def _neighbours(folder: Path) -> tuple[Path, Path]:
    """Returns where a folder is written before it is whole, and where the old one waits to be removed."""
    return folder.parent / f"{folder.name}.partial", folder.parent / f"{folder.name}.previous"


def _finish_replacement(folder: Path) -> None:
    """Puts the old model back if a writer was killed between its two renames."""
    _, previous = _neighbours(folder)
    if not folder.exists() and (previous / MANIFEST).is_file():
        os.replace(previous, folder)
    shutil.rmtree(previous, ignore_errors=True)


def _save_towers(folder: Path, model: "FusionModel") -> None:
    import paddle
    from paddle.static import InputSpec

    people = [InputSpec([None, 4], "int64", "people")]
    movies = [
        InputSpec([None], "int64", "movie_index"),
        InputSpec([None, None], "int64", "genre_index"),
        InputSpec([None, None], "int64", "word_index"),
    ]
    paddle.jit.save(model.user_tower, str(folder / "user_tower"), input_spec=people)
    paddle.jit.save(model.movie_tower, str(folder / "movie_tower"), input_spec=movies)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(checksums: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[:16]
