"""Shared by the test modules: a small model with its catalogue in Milvus, and running the commands."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # Each worker has one core.

import pytest
from hypothesis import settings
from milvus_server import new_place, server
from small_model import Catalogue, create_catalogue, fill_workdir

import get_movies_data
import infer_milvus
import train
from recommender.files import Workdir
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import SavedModel

__all__ = ["new_place", "server"]

settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=1000)
settings.load_profile("default")

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "data" / "sample"
SCRIPTS = {"train.py": train, "get_movies_data.py": get_movies_data, "infer_milvus.py": infer_milvus}


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


def start_script(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts a script in a process of its own, for tests of the process."""
    return subprocess.Popen(
        [sys.executable, "-u", PROJECT / name, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end in a process of its own."""
    with start_script(name, *args, cwd=cwd, **environment) as process:
        stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_script(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Calls a script's main function in this process, as if run in `cwd` with these environment variables."""
    argv = [str(arg) for arg in args]
    with (
        contextlib.chdir(cwd),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        for variable, value in environment.items():
            patch.setenv(variable, value)
        try:
            code = SCRIPTS[name].main(argv)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return subprocess.CompletedProcess([name, *argv], code, stdout.getvalue(), stderr.getvalue())


def succeed(
    name: str, *args: object, cwd: Path, run: Callable[..., Any] = run_script, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script that must succeed without a traceback or library noise."""
    done = run(name, *args, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done


def fail(
    name: str, *args: object, cwd: Path, code: int = 1, run: Callable[..., Any] = run_script, **environment: str
) -> str:
    """Runs a script that must fail with one clear error, and returns that error."""
    done = run(name, *args, cwd=cwd, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1, done.stderr
    return errors[0]
