"""Imported first by every program here: one thread, the project on the path; then the costs of whole processes."""

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before numpy and Paddle load.
os.environ.setdefault("TQDM_DISABLE", "1")
sys.path.insert(0, str(PROJECT))


def describe_machine() -> str:
    """Returns processor, cores, threads and commit: the second line of every block."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, cwd=PROJECT).stdout.strip() or "unknown"
    threads = os.environ["OMP_NUM_THREADS"]
    return f"{name[1] if name else platform.machine()}, {os.cpu_count()} cores, threads: {threads}, commit {commit}"


class Cost(NamedTuple):
    """What a whole process takes."""

    seconds: float
    cpu_seconds: float
    """Of the process and its children."""
    gigabytes: float
    """Peak of the memory."""
    output: str


def measure_process(command: Sequence[object], folder: Path) -> Cost:
    """Runs a script by this Python in a folder and returns its cost.

    Raises:
        RuntimeError: It failed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([sys.executable, *map(str, command)], cwd=folder, stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # An interrupted benchmark leaves no process behind.
            process.kill()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"failed: {' '.join(map(str, command))}\n{errors.read()}")
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6, output.read())


def median_cost(costs: Sequence[Cost]) -> tuple[float, float, float]:
    """Returns the medians of seconds, CPU seconds and gigabytes."""
    seconds, cpu_seconds, gigabytes, _ = zip(*costs, strict=True)
    return statistics.median(seconds), statistics.median(cpu_seconds), statistics.median(gigabytes)


def format_ratios(values: Sequence[float], reference: Sequence[float]) -> str:
    """Returns the ratios of paired measurements: the median, and in brackets the lowest and the highest."""
    ratios = [value / base for value, base in zip(values, reference, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


class Checkout(NamedTuple):
    """This project or an older version of it, whose commands name their files in another way."""

    root: Path

    @property
    def name(self) -> str:
        """The name of its rows."""
        return "here" if self.root == PROJECT else self.root.name

    def train(self, workdir: Path, *options: object) -> list[object]:
        """Returns the command of step one in a working folder."""
        old = ["--output", workdir / "model", "--movies-origin", workdir / "movies_origin.txt"]
        return [self.root / "train.py", *(["--workdir", workdir] if self._has_workdir else old), *options]

    def encode(self, workdir: Path) -> list[object]:
        """Returns the command of step two."""
        files = ["-f", workdir / "movies_origin.txt"]
        old = ["--model", workdir / "model", "--output", workdir / "movies_data.txt"]
        return [self.root / "get_movies_data.py", *files, *(["--workdir", workdir] if self._has_workdir else old)]

    def query(self, workdir: Path, *options: object) -> list[object]:
        """Returns the command of step three."""
        old = ["--model", workdir / "model", "--movies-data", workdir / "movies_data.txt", "--uri", workdir / "m.db"]
        return [self.root / "infer_milvus.py", *(["--workdir", workdir] if self._has_workdir else old), *options]

    @property
    def _has_workdir(self) -> bool:
        return "--workdir" in "".join(path.read_text() for path in self.root.glob("recommender/cli/*.py"))
