"""A movie recommender: a two-tower model trained with PaddlePaddle, searched with Milvus."""

import logging
import os
import warnings

# Paddle and Milvus Lite tell the terminal of their inner life. What a user needs to know is raised.
logging.getLogger().addHandler(logging.NullHandler())
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")


class RecommenderError(Exception):
    """A failure that is no bug. Its message is one line that says what is wrong and what to do."""
