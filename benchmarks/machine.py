"""The machine block that every program prints first, and what whole processes cost."""

import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
THREADS = "OMP_NUM_THREADS"
USER_THREADS = os.environ.get(THREADS)
"""The variable as the user set it, before `prepare` makes it 1."""


def prepare() -> None:
    """Prepares the process as the scripts do theirs, with one thread by default; called before other imports."""
    sys.path.insert(0, str(PROJECT))
    from recommender.cli.process import prepare_process

    prepare_process()


def print_machine(*libraries: str) -> None:
    """Prints the processor, its cores, the threads, the versions of numpy and other libraries, and the commit."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True, cwd=PROJECT).stdout.strip()
    versions = ", ".join(f"{library} {version(library)}" for library in ("numpy", *libraries))
    print(f"{processor()}, {os.cpu_count()} cores, {THREADS} {USER_THREADS or 'not set'}")
    print(f"Python {platform.python_version()}, {versions}")
    print(f"commit {commit or 'unknown'}", flush=True)


def num_threads() -> int:
    """Returns the number of threads for libraries that do not read OMP_NUM_THREADS."""
    return int(os.environ.get(THREADS, "1"))


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return name[1] if name else platform.machine()


def describe_threads(threads: int | None) -> str:
    """Returns the number of threads of child processes in words."""
    return f"{THREADS} {threads or USER_THREADS or 'not set'}"


def child_environment(threads: int | None = None) -> dict[str, str]:
    """Returns the user's environment for a child process, or the same with a number of threads."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    chosen = str(threads) if threads else USER_THREADS
    return environment | ({THREADS: chosen} if chosen else {})


class Cost(NamedTuple):
    """What a whole process takes."""

    seconds: float
    gigabytes: float
    """Peak of the memory."""


def measure_process(
    command: Sequence[object],
    folder: Path,
    threads: int | None = None,
    on_line: Callable[[float, str], None] = lambda seconds, line: None,
) -> Cost:
    """Runs a script by this Python and returns its cost; where it fails, NaN, and its last error line is printed.

    Args:
        command: The script and its arguments.
        folder: The working folder.
        threads: OMP_NUM_THREADS, by default as the user set it.
        on_line: A function called with each line of output and the seconds since the start.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=folder,
            env=child_environment(threads),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            for line in process.stdout or ():
                on_line(time.perf_counter() - started, line)
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # An interrupted benchmark leaves no process behind.
            process.kill()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == 0:
            return Cost(seconds, usage.ru_maxrss / 1e6)
        errors.seek(0)
        reason = errors.read().strip().rpartition("\n")[2]
    print(f"failed: {' '.join(map(str, command))}: {reason}", file=sys.stderr)
    return Cost(math.nan, math.nan)


def format_ratios(values: Sequence[float], reference: Sequence[float]) -> str:
    """Returns the ratios of paired measurements: the median, and in brackets the lowest and the highest.

    Where a measurement is NaN, it is a dash.
    """
    ratios = [value / other for value, other in zip(values, reference, strict=True)]
    if any(map(math.isnan, ratios)):
        return "-"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
