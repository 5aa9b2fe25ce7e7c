"""Disks that are full or read-only: each command says so in one line, and what was there before still is."""

import shutil
import subprocess
import time

import pytest
from conftest import SAMPLE, fail, run_process, start_script, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.store import load_model

pytestmark = pytest.mark.server


@pytest.fixture
def disk(trained, tmp_path):
    """A disk of 24 MB of its own that holds the folder `trained`. Only this process and its children see it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


COMMANDS = {
    "train.py": ("train.py", "--data-dir", SAMPLE, "--epochs", 1, "--seed", 3),
    "get_movies_data.py": ("get_movies_data.py", "-f", "movies_origin.txt"),
    "infer_milvus.py -i": ("infer_milvus.py", "-i"),
    "infer_milvus.py --users": ("infer_milvus.py", "--users", "all", "--output", "all.csv"),
}
ADVICE_THAT_DOES_NOT_HELP = ("delete", "run: ", "docker")


@pytest.mark.parametrize(
    ("name", "num_bytes_free"),
    [(name, 0) for name in COMMANDS] + [("train.py", 100_000), ("infer_milvus.py -i", 100_000)],
)
def test_full_disk(disk, name, num_bytes_free):
    (disk / "all.csv").write_text("as before")
    expected = succeed("infer_milvus.py", cwd=disk).stdout
    before = {
        path: path.read_bytes() for path in (disk / "movies_origin.txt", disk / "movies_data.txt", disk / "all.csv")
    }
    fingerprint = load_model(disk / MODEL_FOLDER).fingerprint
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            ballast.truncate(max(0, ballast.tell() - num_bytes_free))
    command = COMMANDS[name]
    error = fail(*command, cwd=disk, run=run_process)
    assert "No space left on device" in error
    assert not [advice for advice in ADVICE_THAT_DOES_NOT_HELP if advice in error], error
    (disk / "ballast").unlink()
    assert {path: path.read_bytes() for path in before} == before
    assert load_model(disk / MODEL_FOLDER).fingerprint == fingerprint
    assert succeed("infer_milvus.py", cwd=disk).stdout == expected
    assert not list(disk.rglob("*.partial"))
    succeed(*command, cwd=disk)


@pytest.mark.parametrize("name", [*COMMANDS, "infer_milvus.py"])
def test_read_only_disk(disk, name):
    """Milvus Lite writes also for a query."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    error = fail(*COMMANDS.get(name, (name,)), cwd=disk, run=run_process)
    assert "Read-only file system" in error
    assert not [advice for advice in ADVICE_THAT_DOES_NOT_HELP if advice in error], error


def test_a_hundred_thousand_movies(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    lines = (f"{10_001 + row}::Film {row} ({1900 + row % 100})::Drama|War\n" for row in range(100_000))
    (folder / "many.txt").write_text("".join(lines))
    succeed("get_movies_data.py", "-f", "many.txt", cwd=folder)
    stdout = succeed("infer_milvus.py", "-i", "--min-ratings", 0, "--year", "1950-", cwd=folder).stdout
    assert "rows in collection recommender_demo: 100000\n" in stdout
    assert len(stdout.splitlines()) == 2 + 1 + 5


def test_waits_for_milvus_lite(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    first = start_script("infer_milvus.py", "--users", "all", "--output", "all.csv", cwd=folder)
    assert any(line.startswith("Milvus Lite opened.") for line in first.stderr)
    second = start_script("infer_milvus.py", "--wait", 60, cwd=folder)
    time.sleep(0.1)
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
