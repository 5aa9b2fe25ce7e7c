"""Imports Paddle with its logging silenced, its signal handlers removed and a writable HOME."""

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

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Options of glibc's mallopt."""

logging.getLogger().addHandler(logging.NullHandler())  # Otherwise Paddle adds a handler to the root logger.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ["FLAGS_enable_pir_api"] = "1"  # noqa: SIM112  With 0 in the environment, `paddle.jit.save` fails.
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")


@contextmanager
def writable_home() -> Iterator[None]:
    """Sets HOME to a temporary folder where ~/.cache cannot be written.

    Source: `paddle.dataset.common` and `paddle.jit.dy2static.utils` of Paddle 3.3 fail there; Matplotlib warns.
    """
    if _has_writable_cache():
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


def _has_writable_cache() -> bool:
    try:
        cache = Path("~/.cache").expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except (OSError, RuntimeError):
        return False
    return True


@contextmanager
def preserve_sigterm() -> Iterator[None]:
    """Restores the SIGTERM handler that Paddle 3.3 replaces when it is imported; signals wait meanwhile."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    handler = signal.getsignal(signal.SIGTERM)
    yield
    paddle.disable_signal_handler()
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def preserve_num_threads() -> Iterator[None]:
    """Keeps the user's OMP_NUM_THREADS, 1 by default, from Paddle 3.3's warning about more than one thread."""
    threads = os.environ.pop("OMP_NUM_THREADS", "1")
    yield
    os.environ["OMP_NUM_THREADS"] = threads


def keep_freed_memory() -> None:
    """Makes glibc's malloc reuse freed memory rather than return it to the system.

    Otherwise each step on large tables maps its tensors anew, page by page; `benchmarks/growth.py` measures it.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


with writable_home(), preserve_sigterm(), preserve_num_threads():
    import paddle
    import paddle.nn.functional as F
    from paddle import distributed, nn
keep_freed_memory()

__all__ = ["F", "distributed", "nn", "paddle", "writable_home"]
