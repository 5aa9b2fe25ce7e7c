"""Files are read with one kind of error, and written whole or not at all, also by two writers at once."""

import errno
import os
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from recommender.cli import process
from recommender.errors import RecommenderError, Step

STANDARD_STREAM = Path("-")


class FileError(RecommenderError):
    """A file that cannot be read or written. The message names it."""


def read_bytes(path: Path, remedy: str = "", redo: Step | None = None) -> bytes:
    """Returns a file's bytes; `-` is standard input.

    Args:
        path: The file.
        remedy: What to do if it cannot be read.
        redo: The step that makes the file.

    Raises:
        FileError: It cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == STANDARD_STREAM else path.read_bytes()
    except OSError as error:
        separator = "; " if remedy else ""
        raise FileError(f"{path}: cannot read it: {error.strerror}{separator}{remedy}", redo) from error


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file for writing; it appears under its name only when it is whole.

    Each writer has a temporary neighbour of its own, so of two the last to finish wins. A link stays a link to the
    file that is written. What is no regular file, a pipe or `/dev/null`, is written to as it is, and so is standard
    output, `-`.

    Raises:
        FileError: It cannot be written; what was there before still is.
    """
    try:
        if path == STANDARD_STREAM:
            yield sys.stdout
        elif path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as file:
                yield file
        else:
            target = path.resolve()
            with unfinished(target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.partial") as partial:
                with partial.open("x", encoding="utf-8", newline="") as file:
                    yield file
                with suppress(FileNotFoundError):
                    partial.chmod(stat.S_IMODE(target.stat().st_mode))
                os.replace(partial, target)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise _cannot_write(path, error) from error


def check_writable(path: Path) -> None:
    """Makes sure, before any work, that `written_whole` can write a file; leaves no trace.

    Raises:
        FileError: It cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path != STANDARD_STREAM and (path.is_file() or not path.exists()):
            tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_folder_writable(folder: Path) -> None:
    """Makes sure, before any work, that a folder can be written to, or made; leaves no trace.

    Raises:
        FileError: It cannot.
    """
    absolute = folder.absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(path: Path, error: OSError) -> FileError:
    return FileError(f"{path}: cannot write it: {error.strerror or error}; choose another place")


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Removes a file or folder unless the block that makes it ends well, also where Ctrl-C or SIGTERM ends it."""
    process.UNFINISHED.add(str(path))
    try:
        yield path
    except BaseException:
        process.remove(str(path))
        raise
    finally:
        process.UNFINISHED.discard(str(path))
