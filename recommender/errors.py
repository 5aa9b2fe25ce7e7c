"""What every module raises for an expected failure, and the pipeline step that fixes it."""

from collections.abc import Callable
from enum import Enum


class Step(Enum):
    """The three steps of the pipeline, as commands of the scripts and of the installed program."""

    TRAIN = ("python train.py", "movie-recommender train")
    ENCODE = ("python get_movies_data.py", "movie-recommender encode")
    INDEX = ("python infer_milvus.py -i", "movie-recommender recommend -i")


class RecommenderError(Exception):
    """An expected failure. Its message is one line: what is wrong, and what to do about it.

    Args:
        message: The problem and, unless `fix_step` states it, the remedy.
        fix_step: The pipeline step that fixes the problem.
    """

    def __init__(self, message: str, fix_step: Step | None = None) -> None:
        super().__init__(message)
        self.fix_step = fix_step
        self.command: Callable[[Step], str] = lambda step: step.value[0]
        """Returns the command that runs a step; who knows the working folder sets it to `Workdir.command`."""

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}; run: {self.command(self.fix_step)}" if self.fix_step else message


class DataError(RecommenderError):
    """A data file is missing or malformed. The message names the file, the line and the remedy."""


class UsageError(RecommenderError, ValueError):
    """An argument is wrong. The message names it and what is allowed; a command exits with 2."""


def one_line(text: str) -> str:
    """Returns a text as a terminal can show it: no line ends, no escape sequences."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def pluralize(number: int, noun: str) -> str:
    """Returns `1 movie`, `2,345 movies`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
