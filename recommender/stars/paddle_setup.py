"""Imports Paddle quietly: no logging, no signal handlers, no warning about threads, and a writable HOME."""

import ctypes
import logging
import os
import tempfile
import warnings
from contextlib import suppress

logging.getLogger().addHandler(logging.NullHandler())  # Otherwise Paddle adds a handler to the root logger.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ["FLAGS_enable_pir_api"] = "1"  # noqa: SIM112  With 0 in the environment, `paddle.jit.save` fails.
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")


cache = os.path.expanduser("~/.cache")
with suppress(OSError):
    os.makedirs(cache, exist_ok=True)
if not os.access(cache, os.W_OK):  # Paddle 3.3 fails there.
    os.environ["HOME"] = tempfile.gettempdir()

threads = os.environ.pop("OMP_NUM_THREADS", "1")  # Paddle 3.3 warns about more than one.
import paddle
import paddle.nn.functional as F
from paddle import Tensor, distributed, nn

os.environ["OMP_NUM_THREADS"] = threads
paddle.disable_signal_handler()
with suppress(AttributeError, OSError, TypeError):
    # glibc: reuse freed memory. Otherwise steps of 65,536 ratings map tensors anew, page by page: 1.5 times as slow.
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-4, 0)  # M_MMAP_MAX
    mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD

__all__ = ["F", "Tensor", "distributed", "nn", "paddle"]
