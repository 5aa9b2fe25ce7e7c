"""A movie recommender: a two-tower model trained with PaddlePaddle, searched with Milvus."""

from collections.abc import Callable
from enum import Enum


class Step(Enum):
    """The three steps of the pipeline, as commands in the project's folder."""

    TRAIN = "python train.py"
    ENCODE = "python get_movies_data.py -f movies_origin.txt"
    INDEX = "python infer_milvus.py -i"


class RecommenderError(Exception):
    """A failure that is no bug. Its message is one line that says what is wrong and what to do.

    Args:
        message: What is wrong and, unless a step says it, what to do.
        redo: The step of the pipeline that puts it right.
    """

    def __init__(self, message: str, redo: Step | None = None) -> None:
        super().__init__(message)
        self.redo = redo

    def __str__(self) -> str:
        return self.told(lambda step: step.value)

    def told(self, command: Callable[[Step], str]) -> str:
        """Returns the message, the step written as `command` says."""
        message = str(self.args[0])
        return f"{message}; run: {command(self.redo)}" if self.redo else message


def counted(number: int, noun: str) -> str:
    """Returns `1 movie`, `2,345 movies`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
