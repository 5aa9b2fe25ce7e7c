"""The commands as processes, and `movie-recommender`: exit codes, missing packages, streams, locks."""

import contextlib
import fcntl
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from importlib import metadata

import pytest
from commands import MINE, NOTICE, PROJECT, SAMPLE, ask, fail, run_process, succeed

from recommender import cli
from recommender.api import Recommender


def installed_program(*args, cwd):
    """Runs `movie-recommender` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["/usr/bin/movie-recommender", *map(str, args)])
        return cli.main()


def test_installed_program(trained, tmp_path, capsys):
    """Its remedies name itself, and not the scripts, which are not installed."""
    assert installed_program(cwd=tmp_path) == 0
    assert installed_program("--help", cwd=tmp_path) == 0
    assert capsys.readouterr().out.count("\n  recommend   fill Milvus and recommend movies") == 2
    assert installed_program("serve", cwd=tmp_path) == 2
    assert capsys.readouterr().err == "error: there is no command 'serve'; choose one of: train, encode, recommend\n"
    assert installed_program("recommend", "--workdir", "my films", cwd=tmp_path) == 1
    error = capsys.readouterr().err
    assert error.endswith("no model here; run: movie-recommender train --workdir 'my films'\n")
    assert installed_program("recommend", "--workdir", trained, "--uri", "none.db", cwd=tmp_path) == 1
    assert f"; run: movie-recommender recommend -i --workdir {trained}\n" in capsys.readouterr().err
    assert installed_program("recommend", "--workdir", trained, "--like", "alien", "-k", 1, cwd=tmp_path) == 0
    assert "likes Alien (1979)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        installed_program("recommend", "--rating", cwd=tmp_path)
    expected = "error: there is no option --rating; did you mean --ratings?; see movie-recommender recommend --help\n"
    assert capsys.readouterr().err == expected


def test_without_looking_for_modules_beside_the_script(trained):
    """`PYTHONSAFEPATH`, which some distributions set: the package is found where it is installed."""
    try:
        metadata.version("movie-recommender")
        installed = {}
    except metadata.PackageNotFoundError:
        installed = {"PYTHONPATH": str(PROJECT)}
    done = succeed("recommend", "--like", "alien", cwd=trained, run=run_process, PYTHONSAFEPATH="1", **installed)
    assert "likes Alien (1979)" in done.stdout


WITHOUT_PACKAGES = """
import json, sys
from importlib.machinery import PathFinder

hidden, commands = json.loads(sys.argv[1])

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
from recommender.cli import run
print([run(command, options) for command, *options in commands], file=sys.stderr)
"""
"""Runs some commands where Python does not find some packages, as if they were not installed; prints the exit codes."""


def run_without(packages, *commands, cwd):
    argv = [sys.executable, "-c", WITHOUT_PACKAGES, json.dumps([packages, commands])]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True)
    return done.stdout, done.stderr.splitlines()


def test_packages_that_are_not_installed(trained):
    """Without those of training a query works; what needs them says in one line what to install."""
    query = ("recommend", "--ratings", str(MINE), "--why")
    needing = (("train", "--data-dir", str(SAMPLE)), ("recommend", "-i"), ("recommend", "--movie", "1"))
    stdout, lines = run_without(["paddle", "scipy", "matplotlib"], query, *needing, cwd=trained)
    assert "The Matrix +" in stdout
    remedy = "is not installed; in the project's folder, run: . .venv/bin/activate, or: pip install '.[train]'"
    *notes, train, insert, predict, codes = lines
    assert train in (f"error: paddle {remedy}", f"error: scipy {remedy}")
    assert (insert, predict, codes) == (f"error: paddle {remedy}", f"error: paddle {remedy}", "[0, 1, 1, 1]")
    assert not [note for note in notes if "error" in note]
    stdout, lines = run_without(["pymilvus"], ("recommend",), cwd=trained)
    assert (stdout, lines) == ("", [f"error: pymilvus {remedy}", "[1]"])


def test_reader_that_has_seen_enough(trained):
    """A closed pipe ends the command with exit code 0, without a word."""
    command = shlex.join([sys.executable, str(PROJECT / "infer_milvus.py"), "-k", "200"])
    script = f"{command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=trained, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("Only ")] in ([NOTICE], [])


def test_terminal_that_lacks_letters(trained, tmp_path):
    """They are escaped in a table; JSON remains valid and complete."""
    (tmp_path / "one.txt").write_text("Amélie\n", "utf-8")
    query = ["--workdir", str(trained), "--among", str(tmp_path / "one.txt"), "-k", "1"]
    [row] = ask(*query, cwd=trained)
    printed = []
    for form in ("table", "json"):
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with contextlib.redirect_stdout(terminal):
            assert cli.run("recommend", [*query, "--format", form]) == 0
        printed.append(terminal.buffer.getvalue().decode("ascii"))
    assert "Am\\xe9lie" in printed[0]
    assert json.loads(printed[1]) == [row]


def test_interrupt(trained, tmp_path):
    """While it reads a file that does not end."""
    os.mkfifo(tmp_path / "films.csv")
    command = [sys.executable, PROJECT / "infer_milvus.py", "--ratings", tmp_path / "films.csv"]
    with (
        subprocess.Popen(command, cwd=trained, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        (tmp_path / "films.csv").open("w"),  # Waits until the command has opened it for reading.
    ):
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "error: interrupted; nothing is left half-written\n")


def test_open_recommender_holds_milvus_lite(trained):
    """Another process says which one it is; after `close` the lock is free."""
    with Recommender.open(trained):
        error = fail("recommend", "--wait", 0, cwd=trained, run=run_process)
        assert f"process {os.getpid()} has it open; close that program" in error
        assert "docker" not in error
    with (trained / "recommender_demo.db" / "LOCK").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_bugs_are_not_hidden(trained):
    """What is no expected failure keeps its traceback: here an argument that is no string."""
    with pytest.raises(TypeError):
        cli.run("recommend", ["--user", object()])
