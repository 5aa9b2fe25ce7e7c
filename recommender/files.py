"""Reads files with one kind of error; writes files atomically, also with several writers at once."""

import errno
import io
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from recommender.errors import RecommenderError, Step

STANDARD_STREAM = Path("-")
MAX_STREAM_BYTES = 1 << 28
"""Upper bound on what is read from a pipe or a device."""


class FileError(RecommenderError):
    """A file that cannot be read or written. The message names it."""


def read_bytes(path: Path, remedy: str = "", fix_step: Step | None = None) -> bytes:
    """Returns a file's content; `-` is standard input.

    Args:
        path: The file.
        remedy: The advice for a file that cannot be read.
        fix_step: The pipeline step that writes the file.

    Raises:
        FileError: The file cannot be read, or is an endless stream.
    """
    if path == STANDARD_STREAM and sys.stdin is None:
        raise FileError("standard input is closed; name a file")
    try:
        if path != STANDARD_STREAM and path.is_file():
            return path.read_bytes()
        with sys.stdin.buffer if path == STANDARD_STREAM else path.open("rb") as stream:
            content = stream.read(MAX_STREAM_BYTES + 1)
    except OSError as error:
        separator = "; " if remedy else ""
        raise FileError(f"{path}: cannot read it: {error.strerror}{separator}{remedy}", fix_step) from error
    if len(content) > MAX_STREAM_BYTES:
        raise FileError(f"{path}: more than {MAX_STREAM_BYTES >> 20} MB from a stream; save it to a file first")
    return content


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file for writing; it replaces `path` when the block ends without an error.

    Each writer has its own temporary file in the same folder, so the last of several writers wins. A symbolic link
    stays one. Pipes, devices and standard output (`-`) are written directly.

    Raises:
        FileError: The file cannot be written; the file that was there before is unchanged.
    """
    if path == STANDARD_STREAM:
        yield sys.stdout
        return
    try:
        target = path if path.exists() and not path.is_file() else resolve_links(path)
        partial = target if target.exists() and not target.is_file() else _partial_path(target)
    except OSError as error:
        raise _write_error(path, error) from error
    with remove_on_failure(partial if partial != target else None):
        with _open_for_writing(partial, path) as file:
            yield file
            file.flush()
            if partial != target:
                os.fsync(file.fileno())
        if partial != target:
            with _write_errors(path):
                publish(partial, target)


def resolve_links(path: Path) -> Path:
    """Returns the absolute path of what a symbolic link leads to, which need not exist.

    Raises:
        OSError: The links are a loop, which `Path.resolve` reports in another way in each version of Python.
    """
    with suppress(FileNotFoundError):
        path.stat()
    return path.resolve()


def publish(partial: Path, target: Path) -> None:
    """Renames a finished file to its final name, durably, with the permissions of the file that it replaces."""
    with suppress(FileNotFoundError):
        partial.chmod(stat.S_IMODE(target.stat().st_mode))
    os.replace(partial, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a loss of power, where the platform can sync a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raises where `atomic_write` could not write a file; changes nothing.

    Raises:
        FileError: The file cannot be written.
    """
    with _write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path != STANDARD_STREAM and (path.is_file() or not path.exists()):
            tempfile.TemporaryFile(dir=resolve_links(path).parent).close()


def check_folder_writable(folder: Path) -> None:
    """Raises where a folder can neither be written to nor created; changes nothing.

    Raises:
        FileError: The folder cannot be written to.
    """
    with _write_errors(folder):
        absolute = folder.absolute()
        existing = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
        tempfile.TemporaryFile(dir=existing).close()


@contextmanager
def defer_signals() -> Iterator[None]:
    """Delays INT, TERM and HUP until the block has ended, so that several renames become one step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {
        number: signal.signal(number, lambda received_number, _: received.append(received_number)) for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def remove_on_failure(path: Path | None) -> Iterator[None]:
    """Removes a file or folder if the block that creates it ends with an exception."""
    try:
        yield
    except BaseException:
        if path is not None:
            remove(path)
        raise


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there and can be removed."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


class _RawFile(io.FileIO):
    """A file whose write errors name the path that the caller gave; errors of other files pass unchanged."""

    def __init__(self, path: Path, mode: str, shown_path: Path) -> None:
        self._shown_path = shown_path
        super().__init__(path, mode)

    def write(self, data: Any) -> int:
        with _write_errors(self._shown_path):
            return super().write(data)


def _open_for_writing(path: Path, shown_path: Path) -> TextIO:
    with _write_errors(shown_path):
        raw = _RawFile(path, "w", shown_path)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", newline="")


def _partial_path(target: Path) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.partial"


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> FileError:
    return FileError(f"{path}: cannot write it: {error.strerror or error}; choose another place")
