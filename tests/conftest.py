"""What several test modules share: the sample data, small invented data sets, and a model trained once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "data" / "sample"


def run_script(name: str, *args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the three scripts as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, PROJECT / name, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the three commands on the sample. Tests read it; those that write take a copy."""
    folder = tmp_path_factory.mktemp("trained")
    done = succeed("train.py", "--data-dir", SAMPLE, "--epochs", 6, cwd=folder)
    (folder / "train.stdout").write_text(done.stdout)
    assert done.stderr == "", "progress bars belong on a terminal"
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    succeed("infer_milvus.py", "-a", 0, "-g", 1, "-j", 10, "-i", cwd=folder)
    return folder
