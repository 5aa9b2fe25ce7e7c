"""Runs the three commands in this process and in processes of their own; the sample, trained once per test run."""

import contextlib
import fcntl
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recommender import cli

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "data" / "sample"
MINE = SAMPLE / "my_ratings.csv"
NUM_MOVIES = 211
"""Number of movies in the sample."""
NOTICE = (SAMPLE / "notice.txt").read_text("utf-8").strip()
SCRIPTS = {"train": "train.py", "encode": "get_movies_data.py", "recommend": "infer_milvus.py"}
Done = subprocess.CompletedProcess[str]


def run(command: str, *args: object, cwd: Path, stdout: io.StringIO | None = None, **environment: str) -> Done:
    """Runs a command in this process, as if in `cwd` with these environment variables."""
    argv = [str(arg) for arg in args]
    logging.getLogger("recommender").handlers.clear()  # They write to the standard error of the call before.
    with (
        contextlib.chdir(cwd),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(stdout or io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            code = cli.run(command, argv)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return subprocess.CompletedProcess([command, *argv], code, output.getvalue(), stderr.getvalue())


def run_process(command: str, *args: object, cwd: Path, python: tuple[str, ...] = (), **environment: str) -> Done:
    """Runs a script in a process of its own; `python` are options of the interpreter."""
    argv = [sys.executable, *python, str(PROJECT / SCRIPTS[command]), *map(str, args)]
    return subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600)


def succeed(command: str, *args: object, cwd: Path, run: Callable[..., Done] = run, **environment: str) -> Done:
    """Runs a command that must succeed without a traceback or noise of libraries."""
    done = run(command, *args, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    return done


def fail(
    command: str, *args: object, cwd: Path, code: int = 1, run: Callable[..., Done] = run, **environment: str
) -> str:
    """Runs a command that must fail with one line, and returns that line without `error: `."""
    done = run(command, *args, cwd=cwd, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    *notes, error = done.stderr.splitlines()
    assert error.startswith("error: "), done.stderr
    assert not [note for note in notes if "error" in note or "Traceback" in note], done.stderr
    return error.removeprefix("error: ")


def ask(*args: object, cwd: Path, **environment: str) -> list[dict[str, Any]]:
    """Returns the rows of a list."""
    rows: list[dict[str, Any]] = json.loads(
        succeed("recommend", *args, "--format", "json", cwd=cwd, **environment).stdout
    )
    return rows


def ids(rows: Any) -> list[int]:
    """Returns the movie ids of the rows of a list."""
    return [row["movie_id"] for row in rows]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder after the three commands on the sample. Tests read it; those that write take a copy.

    It is trained once, also by several workers of pytest-xdist, and each gets a copy, as Lite locks its folder.
    """
    folder = tmp_path_factory.mktemp("trained") / "work"
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "trained-for-all"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            partial = shared.with_suffix(".partial")
            partial.mkdir()
            done = succeed("train", "--data-dir", SAMPLE, "--epochs", 1, cwd=partial)
            assert done.stderr == "", "progress bars belong on a terminal"
            (partial / "train.stdout").write_text(done.stdout)
            succeed("encode", cwd=partial)
            succeed("recommend", "-i", cwd=partial)
            partial.rename(shared)
    return Path(shutil.copytree(shared, folder))


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained folder, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))
