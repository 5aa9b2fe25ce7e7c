"""Options that the scripts share: the paths of a pipeline, argparse types, checks."""

import argparse
import os
import re
import shlex
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recommender.movielens.encoding import AGE_CODES, AGE_LABELS
from recommender.errors import Step
from recommender.files import STANDARD_STREAM

MODEL_FOLDER = Path("recommender_system.inference.model")
MOVIES_ORIGIN = Path("movies_origin.txt")
MOVIES_DATA = Path("movies_data.txt")
LITE_URI = "recommender_demo.db"


@dataclass(frozen=True)
class PipelinePaths:
    """The files that one step of the pipeline hands to the next, and the address of Milvus."""

    model: Path = MODEL_FOLDER
    movies_origin: Path = MOVIES_ORIGIN
    movies_data: Path = MOVIES_DATA
    uri: str = LITE_URI
    """Without a password."""
    tls_ca: Path | None = None

    def command(self, step: Step) -> str:
        """Returns the shell command of a step with these paths."""
        options: list[tuple[str, object]]
        match step:
            case Step.TRAIN:
                words = ["python train.py"]
                options = [("--output", self.model), ("--movies-origin", self.movies_origin)]
            case Step.ENCODE:
                words = [f"python get_movies_data.py {_option('-f', self.movies_origin)}"]
                options = [("--model", self.model), ("--output", self.movies_data)]
            case Step.INDEX:
                words = ["python infer_milvus.py -i"]
                options = [("--model", self.model), ("--movies-data", self.movies_data)]
                options += [("--uri", self.uri), ("--tls-ca", self.tls_ca)]
        defaults = vars(PipelinePaths()).values()
        return " ".join(words + [_option(name, value) for name, value in options if value not in defaults])


def _option(name: str, value: object) -> str:
    """Returns an option with its value, quoted for a shell; a value like `-m` is not taken for an option."""
    text = shlex.quote(str(value))
    if not str(value).startswith("-"):
        return f"{name} {text}"
    return f"{name}={text}" if name.startswith("--") else f"{name}{text}"


def create_parser(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """Creates a parser that prints both texts unchanged and takes no abbreviated options."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def refuse_overwriting(
    parser: argparse.ArgumentParser, output: Path | None, inputs: Sequence[Path | None], option: str = "--output"
) -> None:
    """Exits with 2 where an output is one of the inputs, or in one that is a folder, under whatever name.

    Who works in the folder of a model may write there.
    """
    if output is None or output == STANDARD_STREAM:
        return
    reason = "which this command reads or a later step needs"
    for path in filter(None, inputs):
        if output.exists() and path.exists() and path.samefile(output):
            parser.error(f"{option} {output} would overwrite {path}, {reason}")
        folder = real_path(path)
        if not path.is_file() and folder != Path.cwd() and real_path(output).is_relative_to(folder):
            parser.error(f"{option} {output} would write into {path}, {reason}")


def real_path(path: Path) -> Path:
    """Returns the absolute path without symbolic links; loops of links stay."""
    return Path(os.path.realpath(path))


def path_arg(text: str) -> Path:
    """Argparse type of a file or folder; `~` is the home folder."""
    return Path(os.path.expanduser(text))  # Path's own method fails where there is no such user.


def text_arg(argument: str) -> str:
    """Argparse type of typed text: UTF-8 whatever the locale, with invalid bytes replaced."""
    return os.fsencode(argument).decode("utf-8", "replace")


def number_arg(kind: type[int] | type[float], minimum: float, maximum: float = 2**31 - 1) -> Callable[[str], float]:
    """Returns an argparse type of numbers from `minimum` to `maximum`."""

    def parse(text: str) -> float:
        what = "a whole number" if kind is int else "a number"
        error = argparse.ArgumentTypeError(f"{text!r} is not {what} from {minimum:g} to {maximum:.10g}")
        if not text.isascii() or "_" in text:
            raise error
        try:
            value = kind(text)
        except ValueError:
            raise error from None
        if not minimum <= value <= maximum:
            raise error
        return value

    return parse


def label_arg(what: str, labels: Sequence[str]) -> Callable[[str], int]:
    """Returns an argparse type that turns an index, a label, or the beginning of a label's word into an index."""

    def parse(text: str) -> int:
        missing_blank = re.search(r"-[a-z]$", text)
        if missing_blank:
            raise argparse.ArgumentTypeError(f"no {what} {text!r}; a blank is missing before {missing_blank[0]}")
        wanted = text.strip().casefold()
        folded = [label.casefold() for label in labels]
        exact = [index for index, label in enumerate(folded) if wanted in (str(index), label, *label.split("/"))]
        prefix = [index for index, label in enumerate(folded) if label.startswith(wanted)]
        word = [index for index, label in enumerate(folded) if re.search(rf"\b{re.escape(wanted)}", label)]
        found = exact or prefix or word
        if wanted and len(found) == 1:
            return found[0]
        options = ", ".join(f"{index} {labels[index]}" for index in found or range(len(labels)))
        problem = f"several {what}s match" if wanted and found else f"no {what}"
        raise argparse.ArgumentTypeError(f"{problem} {text!r}; choose one of: {options}")

    return parse


def age_arg(text: str) -> int:
    """Argparse type of an age group, or of an age in years where that is no group's number."""
    if re.fullmatch("[0-9]{1,3}", text) and int(text) >= len(AGE_LABELS):
        return bisect(AGE_CODES, int(text)) - 1
    return label_arg("age", AGE_LABELS)(text)


def years_arg(text: str) -> tuple[int | None, int | None]:
    """Argparse type of `1994`, `1990-1999`, `1990-` and `-1960`: first and last year, None for an open end."""
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    years = [year for year in (first, last) if year]
    if not years or years != sorted(years) or not all(re.fullmatch("[0-9]{4}", year) for year in years):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of years; write 1994, 1990-1999, 1990- or -1960")
    return (int(first) if first else None, int(last) if last else None)
