import os
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
import pytest
from hypothesis import settings
settings.register_profile("default", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("default")
from commands import folder, trained  # noqa
from milvus_server import server, new_place  # noqa
