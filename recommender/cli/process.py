"""How a command's process begins and ends. Imports next to nothing, to be in force while the rest is being loaded."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn

UNFINISHED: set[str] = set()
"""Files and folders in the making: what goes when the process ends before its time."""


def start() -> None:
    """Makes this process a command; the first thing that a script does when it is run, and never done by a library.

    From now on Ctrl-C and SIGTERM end it with one line: not by an exception, which some library, busy with something
    else, would print or swallow. SIGTERM waits until all is loaded, see `recommender.models.paddle_setup`. A module that is
    missing, a closed stream and a terminal that cannot show a letter are no tracebacks either.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.excepthook = _explain
    _open_streams()


def finish(main: Callable[[], int]) -> NoReturn:
    """Runs a command, of which all is loaded, and ends the process; a signal then can no longer make it seem undone."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _stop(number: int, _: FrameType | None) -> None:
    for path in UNFINISHED:
        remove(path)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    new_line = "\n" if os.isatty(2) else ""  # A progress bar may stand there.
    os.write(2, f"{new_line}error: {word}; nothing of what was there before is lost\n".encode())
    os._exit(128 + number)


def remove(path: str) -> None:
    """Removes a file or folder, or as much of it as can be."""
    if os.path.isdir(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)


def _explain(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError):
        remedy = "enter the environment: . .venv/bin/activate, or make one: pip install -r requirements.txt"
        print(f"error: Python has no module {error.name!r}; {remedy}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def _open_streams() -> None:
    """Gives closed streams a place, or the next file that is opened would become one; shows odd letters escaped."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
