"""Ctrl-C and SIGTERM at any moment: one line, exit code 130 or 143, and all as it was."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, TRIALS, start_script, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.inference.model_folder import load_model

COMMANDS = {
    "train.py": ("train.py", "--data-dir", SAMPLE, "--epochs", 1, "--batch-size", 1000, "--seed", 7),
    "get_movies_data.py": ("get_movies_data.py", "-f", "movies_origin.txt"),
    "infer_milvus.py -i": ("infer_milvus.py", "-i"),
    "infer_milvus.py --users": ("infer_milvus.py", "--users", "all", "--output", "all.csv"),
}
PYTHON_STARTS = 0.1
"""Seconds until a script's first line runs; before that, Python itself answers a signal."""


@pytest.mark.parametrize(
    ("command", "times"),
    [
        ("train.py", 2),
        ("infer_milvus.py -i", 2),
        *(pytest.param(command, TRIALS, marks=pytest.mark.server) for command in COMMANDS),
    ],
)
def test_signals_at_random_moments(trained, tmp_path, command, times):
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    command = COMMANDS[command]
    (folder / "all.csv").write_text("as before")
    expected = succeed("infer_milvus.py", cwd=folder).stdout
    files = [folder / name for name in ("movies_origin.txt", "movies_data.txt", "all.csv", "movies.db")]
    before = [path.exists() and path.read_bytes() for path in files]
    fingerprint = load_model(folder / MODEL_FOLDER).fingerprint
    names = {path.name for path in folder.iterdir()}
    started = time.monotonic()
    succeed(*command, cwd=shutil.copytree(folder, tmp_path / "whole"))
    seconds = time.monotonic() - started
    random = np.random.default_rng(times)
    stopped = 0
    for delay in random.uniform(PYTHON_STARTS, seconds, times):
        number = random.choice([signal.SIGINT, signal.SIGTERM])
        process = start_script(*command, cwd=folder)
        time.sleep(delay)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        if process.returncode == 0:  # It was done before the signal came.
            subprocess.run(["cp", "-r", f"{trained}/.", folder], check=True)
            (folder / "all.csv").write_text("as before")
            succeed("infer_milvus.py", "-i", cwd=folder)
            continue
        stopped += 1
        assert process.returncode == 128 + number, f"after {delay:.3f} s: {errors}"
        assert [line for line in errors.splitlines() if line.startswith("error: ")] == errors.splitlines()[-1:]
        assert [path.exists() and path.read_bytes() for path in files] == before
        assert load_model(folder / MODEL_FOLDER).fingerprint == fingerprint
        assert {path.name for path in folder.iterdir()} == names
    assert stopped
    assert succeed("infer_milvus.py", cwd=folder).stdout == expected
