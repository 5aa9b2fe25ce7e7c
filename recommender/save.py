"""Writes a trained model into a model folder; see `inference.model_folder` for its layout."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recommender.movielens.split import RatingHistories
from recommender.movielens.encoding import Vocabularies
from recommender.movielens.catalogue import parse_movies
from recommender.files import check_folder_writable, defer_signals, publish, remove, sync_folder
from recommender.store import (
    CATALOGUE,
    CURVE,
    FORMAT_VERSION,
    MANIFEST,
    TITLES,
    VERSION_NAME,
    ModelError,
    compute_fingerprint,
    file_checksum,
    read_manifest,
)
from recommender.films.matching import Title
from recommender.users import TasteParameters, UserPrior

STALE_AFTER_SECONDS = 3600.0
"""Age from which a version that is not current is removed; until then another process may write or read it."""


class ServingArrays(NamedTuple):
    """The arrays of a model that are loaded at query time."""

    user_ids: np.ndarray
    """int64[users], sorted"""
    profiles: np.ndarray
    """int64[profiles, 4], see `encode_profiles`; the users are the last rows"""
    profile_vectors: np.ndarray
    """float32[profiles, 200], the user tower's rating vectors, of unit length"""
    histories: RatingHistories
    user_prior: UserPrior
    taste: TasteParameters


class ModelData(NamedTuple):
    """A trained model without its towers."""

    vocabularies: Vocabularies
    catalogue: bytes
    """The movies of the training data, in the format of `format_movies`."""
    arrays: ServingArrays
    training_curve: bytes
    """A PNG."""


def check_output(folder: Path) -> None:
    """Raises where `save_model` could not write a model; changes nothing.

    Raises:
        ModelError: The path is a file, or a folder that holds something else than a model.
        FileError: The folder cannot be written to.
    """
    if folder.exists() and not _is_model_folder(folder):
        raise ModelError(f"{folder}: this is not a model folder, and stays as it is; choose another --output")
    check_folder_writable(folder)


def save_model(
    folder: Path, data: ModelData, save_towers: Callable[[Path], None], metadata: dict[str, Any], movies_origin: Path
) -> str:
    """Writes a new version of a model and, when it is complete, makes it current, together with movies_origin.txt.

    Args:
        folder: The model folder; other processes may read it or write another version.
        data: The model.
        save_towers: A function that writes both towers into a folder.
        metadata: JSON values for the manifest, such as `config` and `metrics`.
        movies_origin: The file that receives the catalogue.

    Returns:
        The fingerprint.

    Raises:
        ModelError: The folder cannot be written, or holds something else; the version before stays current.
    """
    check_output(folder)
    version = folder / f"files-{uuid.uuid4().hex[:12]}"
    manifest_path, catalogue_path = folder / MANIFEST, movies_origin.resolve()
    partial_manifest, partial_catalogue = (
        path.with_name(f".{path.name}.{version.name}.partial") for path in (manifest_path, catalogue_path)
    )
    is_current = False
    try:
        _prune_old_versions(folder)
        version.mkdir(parents=True)
        save_towers(version)
        checksums = _save_data(version, data)
        manifest = {
            "format_version": FORMAT_VERSION,
            "folder": version.name,
            "fingerprint": compute_fingerprint(checksums),
            **metadata,
            "files": checksums,
        }
        _write(partial_manifest, _to_json(manifest))
        _write(partial_catalogue, data.catalogue)
        with defer_signals():
            publish(partial_manifest, manifest_path)
            is_current = True
            publish(partial_catalogue, catalogue_path)
    except OSError as error:
        raise ModelError(f"{folder}: cannot write the model: {error.strerror or error}") from error
    finally:
        remove(partial_manifest)
        remove(partial_catalogue)
        if not is_current:
            remove(version)
    return str(manifest["fingerprint"])


def _is_model_folder(folder: Path) -> bool:
    """Returns whether a folder is empty or was written by `save_model`, however damaged."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    if not names or any(map(VERSION_NAME.fullmatch, names)):
        return True
    try:
        return "format_version" in json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _save_data(version: Path, data: ModelData) -> dict[str, str]:
    """Writes all files but the towers; returns the checksums of all, towers included."""
    tokens = {name: vocabulary.tokens for name, vocabulary in data.vocabularies._asdict().items()}
    _write(version / "vocabularies.json", _to_json(tokens))
    _write(version / CATALOGUE, data.catalogue)
    _write(version / TITLES, json.dumps(_titles(data), ensure_ascii=False).encode())
    for name, array in _flatten("", data.arrays):
        np.save(version / f"{name}.npy", array)
    checksums = {path.name: file_checksum(path) for path in sorted(version.iterdir())}
    _write(version / CURVE, data.training_curve)
    for path in version.iterdir():
        with path.open("rb+") as file:  # Windows syncs files that are open for writing only.
            os.fsync(file.fileno())
    sync_folder(version)
    return checksums


def _titles(data: ModelData) -> list[Title]:
    """Returns the titles of the catalogue with names and numbers of training ratings."""
    ratings = data.arrays.histories.ratings
    movie_ids, counts = np.unique(ratings["movie_id"][~ratings["held_out"]], return_counts=True)
    num_ratings = dict(zip(movie_ids.tolist(), counts.tolist(), strict=True))
    movies = parse_movies(data.catalogue, CATALOGUE)
    return [Title(movie.movie_id, movie.title, num_ratings.get(movie.movie_id, 0)).with_names() for movie in movies]


def _flatten(prefix: str, values: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the arrays of nested named tuples with their dotted names, such as `taste.inputs.by_id`."""
    for name, value in values._asdict().items():
        if isinstance(value, np.ndarray):
            yield prefix + name, value
        else:
            yield from _flatten(f"{prefix}{name}.", value)


def _prune_old_versions(folder: Path) -> None:
    """Removes replaced versions and what killed writers left, once no process can be using it."""
    with suppress(ModelError, FileNotFoundError):
        current = read_manifest(folder)["folder"]
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # Another training may remove or rename it meanwhile.
                is_stale = time.time() - path.stat().st_mtime > STALE_AFTER_SECONDS
                if path.name not in (current, MANIFEST) and is_stale:
                    _remove_version(path)


def _remove_version(path: Path) -> None:
    if VERSION_NAME.fullmatch(path.name):
        shutil.rmtree(path, ignore_errors=True)
    elif path.name.endswith(".partial"):
        path.unlink()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _to_json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
