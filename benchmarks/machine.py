"""What a benchmark ran on."""

import os
import platform
import subprocess
from importlib.metadata import version


def print_machine(*libraries: str) -> None:
    """Prints the cores, the versions of some libraries, and the commit."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=os.path.dirname(__file__)
    )
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    print(f"{os.cpu_count()} cores ({platform.machine()}), {versions}, commit {git.stdout.strip()}\n")
