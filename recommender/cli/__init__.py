"""Where the commands start: `movie-recommender train|encode|recommend` and the three scripts of the same steps.

A command is a module here with `parse_args(argv)`, which returns options that have a `workdir`, and `execute(options)`.
It is imported when it runs, so that a missing package and a number of threads are dealt with first.
"""

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from recommender.errors import RecommenderError, UsageError, one_line

USAGE = """\
usage: movie-recommender COMMAND [OPTIONS]

  train       train the models on MovieLens (train.py)
  encode      encode the catalogue for the model (get_movies_data.py)
  recommend   fill Milvus and recommend movies (infer_milvus.py)

For the options of a command: movie-recommender COMMAND --help"""


def main() -> int:
    """Runs `movie-recommender COMMAND ...` and returns its exit code."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(USAGE)
        return 0
    if command not in ("train", "encode", "recommend"):
        return _fail(f"there is no command {command!r}; choose one of: train, encode, recommend", 2)
    sys.argv[0] = f"movie-recommender {command}"  # Help texts and remedies begin with it.
    return run(command, arguments)


def run(command: str, argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; an expected failure prints one line, `error: ...`.

    Args:
        command: `train`, `encode` or `recommend`.
        argv: The arguments; None are those of the process.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before numpy and Paddle load; two were slower on some machines.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # For letters that the terminal's encoding lacks.
    try:
        # To search for garbage among the 100,000 objects of the packages would take a quarter of a query's time.
        gc.disable()
        module = import_module(f"recommender.cli.{command}_command")
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)
        options = module.parse_args(argv)
        module.execute(options)
        sys.stdout.flush()
    except RecommenderError as error:
        error.command = options.workdir.command
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except ModuleNotFoundError as error:
        remedy = "in the project's folder, run: . .venv/bin/activate, or: pip install '.[train]'"
        return _fail(f"{error.name} is not installed; {remedy}", 1)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing is left half-written", 130)
    except BrokenPipeError:  # The reader, `head` perhaps, has what it wants.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # No space left on the device, for example.
        return _fail(str(error), 1)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code
