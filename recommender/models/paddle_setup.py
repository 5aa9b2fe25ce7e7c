"""Paddle, imported in one place: quiet, on all cores, without handlers of its own, at home where there is no home."""

import ctypes
import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h; bytes."""

logging.getLogger().addHandler(logging.NullHandler())  # Else Paddle gives the root logger a handler of its own.
os.environ.setdefault("GLOG_minloglevel", "2")
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")


@contextmanager
def writable_home() -> Iterator[None]:
    """Gives libraries that make folders in ~/.cache or ~/.config a temporary home if they cannot.

    Source: `paddle.dataset.common` and `paddle.jit.dy2static.utils` of Paddle 3.3 fail there, Matplotlib complains.
    """
    if _has_cache():
        yield
        return
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            del os.environ["HOME"]
            if home is not None:
                os.environ["HOME"] = home


def _has_cache() -> bool:
    try:
        cache = Path("~/.cache").expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except (OSError, RuntimeError):
        return False
    return True


@contextmanager
def own_signals() -> Iterator[None]:
    """Lets SIGTERM wait while Paddle 3.3 takes it over, until it is given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    handler = signal.getsignal(signal.SIGTERM)
    yield
    paddle.disable_signal_handler()
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def own_threads() -> Iterator[None]:
    """Lets Paddle use all of this process' cores, or as many as OMP_NUM_THREADS says; it would use one.

    Paddle 3.3 complains of more when it is imported. Its libraries read the variable when they first need it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.pop("OMP_NUM_THREADS", str(cores))
    yield
    os.environ["OMP_NUM_THREADS"] = threads


def keep_memory() -> None:
    """Lets this process keep freed memory and use it again, where the C library is glibc.

    It would give large blocks back to the system and get them anew, page by page, which takes a third of the time of a
    training step on tables of 165,000 rows.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


with writable_home(), own_signals(), own_threads():
    import paddle
    import paddle.nn.functional as F
    from paddle import distributed, nn
keep_memory()

__all__ = ["F", "distributed", "nn", "paddle", "writable_home"]
