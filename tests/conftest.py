"""Shared by the test modules: a small model with its catalogue in Milvus, and the sample after the commands."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # Each worker has one core.

import pytest
from commands import folder, trained
from hypothesis import settings
from milvus_server import new_place, server
from small_model import Catalogue, create_catalogue, fill_workdir

from recommender.files import Workdir
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import SavedModel

__all__ = ["folder", "new_place", "server", "trained"]

settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=1000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory) -> Workdir:
    """The small model's folder after the three commands. Nobody opens or changes it; see `small_workdir`."""
    return fill_workdir(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def saved_model(small_template: Workdir) -> SavedModel:
    """The small model."""
    return SavedModel(small_template.model)


@pytest.fixture(scope="session")
def catalogue(saved_model: SavedModel) -> Catalogue:
    """The movies that `collection` and `small_workdir` hold, and their vectors, for comparisons with numpy."""
    return create_catalogue(saved_model)


@pytest.fixture(scope="session")
def collection(
    small_template: Workdir, saved_model: SavedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MovieCollection]:
    """The small model's movies in Milvus Lite."""
    folder = tmp_path_factory.mktemp("collection") / "movies.db"
    shutil.copytree(small_template.database, folder)
    with MilvusConnection(str(folder)) as connection:
        yield MovieCollection(connection, saved_model.fingerprint)


@pytest.fixture
def small_workdir(small_template: Workdir, tmp_path: Path) -> Workdir:
    """A copy of the small model's folder, with movies_origin.txt, movies_data.txt and the Milvus Lite database."""
    shutil.copytree(small_template.folder, tmp_path / "small")
    return Workdir(tmp_path / "small")
