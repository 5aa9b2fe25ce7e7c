"""What a benchmark ran on, and what whole processes cost."""

import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parent.parent
THREADS = "OMP_NUM_THREADS"
OWN_THREADS = os.environ.get(THREADS)
"""As it is before Paddle, which is to be imported after this, makes it 1."""


def print_machine(*libraries: str) -> None:
    """Prints the processor, its cores, the threads, the versions of some libraries, and the commit."""
    describe = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(describe, capture_output=True, text=True, cwd=Path(__file__).parent)
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    print(f"{processor()}, {os.cpu_count()} cores, {THREADS} {OWN_THREADS or 'not set'}")
    print(f"{versions}, commit {git.stdout.strip()}\n", flush=True)


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return name[1] if name else platform.machine()


class Cost(NamedTuple):
    """What a whole process takes."""

    seconds: float
    gigabytes: float
    """At most, of memory."""


def cost_of(
    command: Sequence[object], folder: Path, on_line: Callable[[float, str], None] = lambda seconds, line: None
) -> Cost:
    """Runs a command, a script and its arguments, in a folder by this Python; not a number where it fails.

    Args:
        command: What to run.
        folder: Where.
        on_line: Is told each line that it prints, and after how many seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    if OWN_THREADS:
        environment[THREADS] = OWN_THREADS
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout or ():
        on_line(time.perf_counter() - started, line)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    return Cost(seconds, usage.ru_maxrss / 1e6) if status == 0 else Cost(math.nan, math.nan)


def spread(values: Sequence[float], least: Sequence[float]) -> str:
    """Returns how many times as large values are, in turns: the median, and from which to which."""
    ratios = [value / one for value, one in zip(values, least, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
