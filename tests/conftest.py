"""What several test modules share: the sample data, small invented data sets, and a model trained once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from milvus_server import Server

from recommender.inference.model_folder import Arrays, SavedModel

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # Each worker has one core.
settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=1000)
settings.load_profile("default")
TRIALS = int(os.environ.get("TRIALS", "12"))
"""How often what depends on the moment is tried in `make test-server`."""

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "data" / "sample"


def start_script(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts one of the three scripts as a user does, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-u", PROJECT / name, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the three scripts to its end."""
    with start_script(name, *args, cwd=cwd, **environment) as process:
        stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def succeed(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that must succeed without a traceback or library noise."""
    done = run_script(name, *args, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done


def fail(name: str, *args: object, cwd: Path, code: int = 1, **environment: str) -> str:
    """Runs a script that must fail with one clear error, and returns that error."""
    done = run_script(name, *args, cwd=cwd, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1, done.stderr
    return errors[0]


def use_all(model: SavedModel) -> None:
    """Reads all of a model, as no single question does."""
    for name in Arrays._fields:
        getattr(model.arrays, name)
    for name in ("user_tower", "movie_tower"):
        model.load_tower(name)
    assert len(model.vocabularies) == 3
    assert model.movies_origin


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the three commands on the sample. Tests read it; those that write take a copy."""
    folder = tmp_path_factory.mktemp("trained")
    done = succeed("train.py", "--data-dir", SAMPLE, "--epochs", 3, cwd=folder)
    (folder / "train.stdout").write_text(done.stdout)
    assert done.stderr == "", "progress bars belong on a terminal"
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    succeed("infer_milvus.py", "-a", 0, "-g", 1, "-j", 10, "-i", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Milvus server that asks for a password and speaks TLS."""
    with Server(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=pytest.mark.server)])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """Returns a function that makes room for an index, on Milvus Lite and on a server: arguments of `MovieIndex`."""
    if request.param == "lite":
        return lambda: {"uri": str(tmp_path_factory.mktemp("lite") / "movies.db")}
    return request.getfixturevalue("server").new_place


@pytest.fixture(scope="module")
def served(trained: Path, new_place: Callable[[], dict[str, Any]]) -> tuple[Path, dict[str, str]]:
    """The folder `trained`, and the environment with which its scripts find an index: on Lite, on a server."""
    environment = {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in new_place().items()}
    succeed("infer_milvus.py", "-i", cwd=trained, **environment)
    return trained, environment
