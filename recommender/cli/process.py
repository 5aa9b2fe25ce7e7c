"""How a script's process starts, ends and reports failures. Imports little, so that it is in force at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from recommender.errors import RecommenderError, Step

RESEND_SECONDS = 0.01
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by INT, TERM and HUP."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_received: list[int] = []
"""Signals that have interrupted the work. Paddle and some libraries replace the exception by one of their own."""


def prepare_process() -> None:
    """Sets the number of threads, signal handlers and the encoding of standard output.

    A script calls it before it imports anything else. One thread is the default, as more are slower on some machines;
    numpy and Paddle read the variable when they are loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _handle_signals(_exit_at_once)  # Nothing needs cleaning up while modules are being imported.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # For letters that the terminal's encoding lacks.
    if sys.stderr is None:  # Closed: messages would be printed on standard output.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        os.getcwd()
    except FileNotFoundError:
        sys.exit("error: the current folder was deleted; change to another one")


def run_main(main: Callable[[], int]) -> NoReturn:
    """Runs a script's main function and exits with its exit code; signals interrupt it as an exception."""
    sys.unraisablehook = _resend_swallowed_signal
    _handle_signals(_raise_interrupted)
    try:
        code = main()
    except Interrupted as error:
        code = _report_interruption(error.number)
    if sys.stdout:
        sys.stdout.flush()
    os._exit(code)  # Not sys.exit: while Python and Paddle shut down, signals end a process without a word.


def run_and_report(work: Callable[[], None], command: Callable[[Step], str]) -> int:
    """Runs a script's work and returns its exit code; an expected failure prints one line, `error: ...`.

    Args:
        work: The work.
        command: Renders the pipeline step that fixes a failure as a command.
    """
    if sys.stdout is None:
        return _report("standard output is closed; redirect it, to /dev/null if nobody reads it", 1)
    try:
        work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _report_interruption(_received[0] if _received else signal.SIGINT)
    except BrokenPipeError:  # The reader, `head` perhaps, has what it wants.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if _received:
            return _report_interruption(_received[0])
        if isinstance(error, RecommenderError):
            return _report(error.format_message(command), 1)
        if isinstance(error, OSError):
            return _report(str(error), 1)
        raise
    return 0


def _report_interruption(number: int) -> int:
    return _report(_interruption(number), 128 + number)


def _report(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _interruption(number: int) -> str:
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}.get(signal.Signals(number), "hung up")
    return f"{word}; nothing is left half-written"


def _handle_signals(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # As under nohup.
            signal.signal(number, handler)


def _exit_at_once(number: int, _: FrameType | None) -> None:
    os.write(2, f"error: {_interruption(number)}\n".encode())
    os._exit(128 + number)


def _raise_interrupted(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise Interrupted(number)


def _resend_swallowed_signal(unraisable: Any) -> None:
    """Raises a signal again, a moment later, that came while Python ran a destructor, where exceptions are lost."""
    if isinstance(unraisable.exc_value, Interrupted):
        threading.Timer(RESEND_SECONDS, signal.raise_signal, [unraisable.exc_value.number]).start()
    else:
        sys.__unraisablehook__(unraisable)
