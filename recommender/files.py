"""Files: read with one kind of error, written whole or not at all; the folder that a pipeline works in."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from recommender.errors import RecommenderError, Step

PathArg = str | os.PathLike[str]
STANDARD_STREAM = Path("-")
MAX_BYTES = 1 << 28
"""Upper bound on what is read into memory: more than any export or catalogue has."""


class FileError(RecommenderError):
    """A file that cannot be read or written. The message names it."""


def read_bytes(path: Path, remedy: str = "", fix_step: Step | None = None) -> bytes:
    """Returns a file's content; `-` is standard input.

    Args:
        path: The file.
        remedy: The advice for a file that cannot be read.
        fix_step: The pipeline step that writes the file.

    Raises:
        FileError: The file cannot be read, or has more than `MAX_BYTES`.
    """
    try:
        with sys.stdin.buffer if path == STANDARD_STREAM else path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileError(
            "; ".join(filter(None, [f"{path}: cannot read it: {error.strerror}", remedy])), fix_step
        ) from error
    if len(content) > MAX_BYTES:
        raise FileError(f"{path}: it has more than {MAX_BYTES >> 20} MB; is this the right file?")
    return content


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file for writing; it replaces `path` when the block ends without an error.

    Standard output (`-`), pipes and devices are written directly.

    Raises:
        FileError: The file cannot be written; the file that was there before is unchanged.
    """
    if path == STANDARD_STREAM:
        yield sys.stdout
        return
    target = Path(os.path.realpath(path))  # A symbolic link stays one.
    is_special = target.exists() and not target.is_file()
    partial = target if is_special else target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        if not is_special:
            os.replace(partial, target)
    except OSError as error:
        raise FileError(f"{path}: cannot write it: {error.strerror or error}") from error
    finally:
        if not is_special:
            partial.unlink(missing_ok=True)


class Workdir:
    """The folder that the three steps share; `~` is the home folder."""

    def __init__(self, folder: str | Path = ".") -> None:
        self.folder = Path(os.path.expanduser(folder))  # Path's own method fails where there is no such user.
        self.model = self.folder / "recommender_system.inference.model"
        """The model folder, written by step one."""
        self.movies_origin = self.folder / "movies_origin.txt"
        """The catalogue, written by step one."""
        self.movies_data = self.folder / "movies_data.txt"
        """The encoded catalogue, written by step two."""
        self.database = self.folder / "recommender_demo.db"
        """The folder of Milvus Lite, written by step three."""

    def command(self, step: Step) -> str:
        """Returns the shell command that runs a step in this folder: of the scripts, or of the installed program."""
        script, program = step.value
        command = program if sys.argv[0].startswith("movie-recommender") else script
        return command if self.folder == Path() else f"{command} --workdir {shlex.quote(str(self.folder))}"
