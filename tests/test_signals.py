"""INT, TERM and HUP at random moments of each command: everything is as before, or everything is new.

Two data sets are trained in turn into the same places, so that each run would change whatever it writes.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import SAMPLE, TRIALS, load_everything, run_script, start_script, succeed

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, MOVIES_DATA, MOVIES_ORIGIN
from recommender.cli.process import SIGNALS
from recommender.store import load_model

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
FIRST_GUESS = {"train.py": 2.5, "get_movies_data.py": 0.3, "infer_milvus.py -i": 2.0, "infer_milvus.py --users": 0.7}
"""Seconds that a command takes; a run that ends before its signal corrects it."""
ALL_USERS = Path("all.csv")
TRAIN = ("train.py", "--epochs", 1, "--batch-size", 1000, "--data-dir")
QUERY = ("infer_milvus.py", "-k", 300, "--min-ratings", 0, "--format", "csv", "--model")


class Command(NamedTuple):
    """A command, and what it reads and writes in its folder."""

    args: tuple[object, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


COMMANDS = {
    "train.py": Command(TRAIN, (), (MODEL_FOLDER, MOVIES_ORIGIN)),
    "get_movies_data.py": Command(
        ("get_movies_data.py", "-f", MOVIES_ORIGIN), (MODEL_FOLDER, MOVIES_ORIGIN), (MOVIES_DATA,)
    ),
    "infer_milvus.py -i": Command(("infer_milvus.py", "-i"), (MODEL_FOLDER, MOVIES_DATA), (Path(LITE_URI),)),
    "infer_milvus.py --users": Command(
        ("infer_milvus.py", "--users", "all", "-k", 2, "--output", ALL_USERS),
        (MODEL_FOLDER, Path(LITE_URI)),
        (ALL_USERS,),
    ),
}


class World(NamedTuple):
    """A data set, and a folder after all commands on it."""

    data_dir: Path
    folder: Path
    answer: str = ""
    """The answer to `QUERY`."""
    errors: Mapping[str, list[str]] = {}
    """Lines that a command prints on standard error where no signal stops it, by its name."""

    def args(self, name: str) -> tuple[object, ...]:
        """Returns a command for this data set."""
        args = COMMANDS[name].args
        return (*args, self.data_dir) if args is TRAIN else args

    def wrote(self, folder: Path, output: Path) -> bool:
        """Returns whether an output in a folder is that of this data set."""
        if output == MODEL_FOLDER:
            return load_model(folder / output).catalogue == load_model(self.folder / output).catalogue
        if output == Path(LITE_URI):
            done = run_script(*QUERY, self.folder / MODEL_FOLDER, cwd=folder)
            return (done.returncode, done.stdout) == (0, self.answer)
        return (folder / output).read_bytes() == (self.folder / output).read_bytes()


def write_other_data(folder: Path) -> Path:
    """Writes a second data set, derived from the sample: two movies of three, with other ids and titles."""
    folder.mkdir()
    for name in ("users.dat", "notice.txt"):
        shutil.copy(SAMPLE / name, folder)
    movies = [line.split(b"::", 1) for line in (SAMPLE / "movies.dat").read_bytes().splitlines()]
    new_ids = {movie_id: b"%d" % (7000 + row) for row, (movie_id, _) in enumerate(movies) if row % 3}
    lines = [b"%b::Other %b\n" % (new_ids[movie_id], rest) for movie_id, rest in movies if movie_id in new_ids]
    (folder / "movies.dat").write_bytes(b"".join(lines))
    ratings = [line.split(b"::", 2) for line in (SAMPLE / "ratings.dat").read_bytes().splitlines()]
    lines = [b"%b::%b::%b\n" % (user, new_ids[movie], rest) for user, movie, rest in ratings if movie in new_ids]
    (folder / "ratings.dat").write_bytes(b"".join(lines))
    return folder


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Two data sets, and the folders after all commands on them."""
    other = write_other_data(tmp_path_factory.mktemp("data") / "other")
    return [run_all(World(data_dir, tmp_path_factory.mktemp("world"))) for data_dir in (SAMPLE, other)]


def run_all(world: World) -> World:
    """Runs all commands in the folder of a world."""
    errors = {name: succeed(*world.args(name), cwd=world.folder).stderr.splitlines() for name in COMMANDS}
    return world._replace(answer=succeed(*QUERY, MODEL_FOLDER, cwd=world.folder).stdout, errors=errors)


def copy(source: Path, target: Path) -> None:
    """Copies a file or a folder over whatever is there."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def versions(folder: Path) -> set[Path]:
    return set((folder / MODEL_FOLDER).glob("files-*"))


def wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Waits until a script handles all signals; before its first line, Python itself answers them."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and status.exists():
        caught = int(re.search(r"^SigCgt:\s+(\w+)$", status.read_text(), re.MULTILINE)[1], 16)
        if all(caught >> (number - 1) & 1 for number in SIGNALS):
            return
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("name", "trials"),
    [(name, 1) for name in COMMANDS] + [pytest.param(name, TRIALS, marks=pytest.mark.server) for name in COMMANDS],
)
def test_signals_at_random_moments(worlds, tmp_path, name, trials):
    command, seconds = COMMANDS[name], FIRST_GUESS[name]
    folder = Path(shutil.copytree(worlds[0].folder, tmp_path / "folder"))
    files = {path.name for path in folder.iterdir()}
    random = np.random.default_rng(trials)
    current = num_stopped = 0
    while num_stopped < trials:
        old, new = worlds[current], worlds[1 - current]
        for path in command.inputs:
            copy(new.folder / path, folder / path)
        versions_before, model_before = versions(folder), load_model(folder / MODEL_FOLDER)
        number, delay = SIGNALS[random.integers(len(SIGNALS))], random.uniform(0, seconds)
        with start_script(*new.args(name), cwd=folder) as process:
            wait_for_handlers(process)
            started = time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay)
                seconds = time.monotonic() - started
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        moment = f"{number!r} after {delay:.3f} s: {errors}"
        is_new = [new.wrote(folder, path) for path in command.outputs]
        is_old = [old.wrote(folder, path) for path in command.outputs]
        assert all(is_new) or all(is_old), moment
        assert all(new.wrote(folder, path) for path in command.inputs), moment
        assert {path.name for path in folder.iterdir()} == files, moment
        assert not list(folder.rglob("*.partial")), moment
        model = load_model(folder / MODEL_FOLDER)
        load_everything(model)
        assert (model.fingerprint == model_before.fingerprint) == (name != "train.py" or all(is_old)), moment
        assert versions(folder) == versions_before | {model.folder}, moment
        if process.returncode == 0:
            assert all(is_new), moment
            assert errors.splitlines() == new.errors[name], moment
        else:
            num_stopped += 1
            *others, last = errors.splitlines()
            assert process.returncode == 128 + number, moment
            assert last == f"error: {WORDS[number]}; nothing is left half-written", moment
            assert set(others) <= set(new.errors[name]), moment
        current = 1 - current if all(is_new) else current
