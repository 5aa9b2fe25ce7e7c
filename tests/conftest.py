"""Shared by the test modules: running the scripts, the sample data, a trained model, places for a collection."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # Each worker has one core.

import pytest
from hypothesis import settings
from milvus_lite.server_manager import server_manager_instance as lite_servers
from milvus_server import Server

import get_movies_data
import infer_milvus
import train
from recommender.store import SavedModel

settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=1000)
settings.load_profile("default")
TRIALS = int(os.environ.get("TRIALS", "12"))
"""Number of repetitions, in `make test-server`, of what depends on the moment."""

for number in (signal.SIGINT, signal.SIGHUP):  # A background job ignores the one, nohup the other.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "data" / "sample"
SCRIPTS = {"train.py": train, "get_movies_data.py": get_movies_data, "infer_milvus.py": infer_milvus}


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
        finally:
            lite_servers.release_all()  # As at the end of a process: another one may open the folder.
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


def milvus_environment(options: dict[str, Any]) -> dict[str, str]:
    """Returns the environment variables that stand for arguments of `MilvusConnection`."""
    return {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in options.items()}


def load_everything(model: SavedModel) -> None:
    """Loads and verifies all files of a model, which no single query does."""
    from recommender.stars.embed import load_tower

    arrays = ("user_ids", "profiles", "profile_vectors", "histories", "user_prior")
    for name in (*arrays, "taste", "movies", "vocabularies"):
        getattr(model, name)
    for name in ("user_tower", "movie_tower"):
        load_tower(model.tower_path(name))


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
    """A real Milvus server with a password and TLS."""
    with Server(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=pytest.mark.server)])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """Returns a function that makes room for a collection, on Lite and on a server: `MilvusConnection` arguments."""
    if request.param == "lite":
        return lambda: {"uri": str(tmp_path_factory.mktemp("lite") / "movies.db")}
    return request.getfixturevalue("server").new_place


@pytest.fixture(scope="module")
def served(trained: Path, new_place: Callable[[], dict[str, Any]]) -> tuple[Path, dict[str, str]]:
    """The folder `trained`, and the environment in which its scripts find a collection, on Lite and on a server."""
    environment = milvus_environment(new_place())
    succeed("infer_milvus.py", "-i", cwd=trained, **environment)
    return trained, environment
