"""What the three scripts share: the paths of a pipeline, what becomes of failures, types for options."""

import argparse
import os
import re
import shlex
import sys
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recommender.data.movielens import AGE_CODES, AGE_LABELS
from recommender.errors import RecommenderError, Step

MODEL_FOLDER = Path("recommender_system.inference.model")
MOVIES_ORIGIN = Path("movies_origin.txt")
MOVIES_DATA = Path("movies_data.txt")
LITE_URI = "recommender_demo.db"


@dataclass(frozen=True)
class Places:
    """Where a pipeline keeps what one step hands to the next."""

    model: Path = MODEL_FOLDER
    movies_origin: Path = MOVIES_ORIGIN
    movies_data: Path = MOVIES_DATA
    uri: str = LITE_URI
    """Without a password."""
    tls_ca: Path | None = None

    def command(self, step: Step) -> str:
        """Returns the command that takes a step here, to be pasted into a shell."""
        options: list[tuple[str, object]]
        match step:
            case Step.TRAIN:
                words = ["python train.py"]
                options = [("--output", self.model), ("--movies-origin", self.movies_origin)]
            case Step.ENCODE:
                words = ["python get_movies_data.py -f", shlex.quote(str(self.movies_origin))]
                options = [("--model", self.model), ("--output", self.movies_data)]
            case Step.INDEX:
                words = ["python infer_milvus.py -i"]
                options = [("--model", self.model), ("--movies-data", self.movies_data)]
                options += [("--uri", self.uri), ("--tls-ca", self.tls_ca)]
        defaults = vars(Places()).values()
        words += [f"{name} {shlex.quote(str(value))}" for name, value in options if value not in defaults]
        return " ".join(words)


def run(work: Callable[[], None], places: Places) -> int:
    """Does a command's work and returns its exit code; an expected failure is one line, `error: ...`.

    Args:
        work: What to do.
        places: Of the call, for the commands that a message names.
    """
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # The reader, `head` perhaps, has seen enough; nor is there a place for what is buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RecommenderError as error:
        print(f"error: {error.told(places.command)}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def create_parser(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """Creates a parser whose help shows both texts as they are."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def path(text: str) -> Path:
    """Is an argparse type for a file or folder; `~` is the home folder."""
    return Path(text).expanduser()


def plain_text(argument: str) -> str:
    """Is an argparse type for what people type: UTF-8, whatever the locale, without bytes that are none."""
    return os.fsencode(argument).decode("utf-8", "replace")


def number(kind: type[int] | type[float], least: float, most: float = 2**31 - 1) -> Callable[[str], float]:
    """Makes an argparse type for numbers from `least` to `most`."""

    def parse(text: str) -> float:
        what = "a whole number" if kind is int else "a number"
        wrong = argparse.ArgumentTypeError(f"{text!r} is not {what} from {least:g} to {most:.10g}")
        if not text.isascii() or "_" in text:
            raise wrong
        try:
            value = kind(text)
        except ValueError:
            raise wrong from None
        if not least <= value <= most:
            raise wrong
        return value

    return parse


def choice(what: str, labels: Sequence[str]) -> Callable[[str], int]:
    """Makes an argparse type that turns a number, a label, or the beginning of a word of one, into an index."""

    def parse(text: str) -> int:
        glued = re.search(r"-[a-z]$", text)
        if glued:
            raise argparse.ArgumentTypeError(f"no {what} {text!r}; a blank is missing before {glued[0]}")
        wanted = text.strip().casefold()
        known = list(map(str.casefold, labels))
        exact = [index for index, label in enumerate(known) if wanted in (str(index), label, *label.split("/"))]
        begun = [index for index, label in enumerate(known) if label.startswith(wanted)]
        inside = [index for index, label in enumerate(known) if re.search(rf"\b{re.escape(wanted)}", label)]
        found = exact or begun or inside
        if wanted and len(found) == 1:
            return found[0]
        options = ", ".join(f"{index} {labels[index]}" for index in found or range(len(labels)))
        problem = f"more than one {what} fits" if wanted and found else f"no {what}"
        raise argparse.ArgumentTypeError(f"{problem} {text!r}; choose one of: {options}")

    return parse


def age(text: str) -> int:
    """Is an argparse type for an age group, and for an age in years where that is no group's number."""
    if re.fullmatch("[0-9]{1,3}", text) and int(text) >= len(AGE_LABELS):
        return bisect(AGE_CODES, int(text)) - 1
    return choice("age", AGE_LABELS)(text)


def span_of_years(text: str) -> tuple[int | None, int | None]:
    """Is an argparse type for `1994`, `1990-1999`, `1990-` and `-1960`."""
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    years = [year for year in (first, last) if year]
    if not years or years != sorted(years) or not all(re.fullmatch("[0-9]{4}", year) for year in years):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of years; write 1994, 1990-1999, 1990- or -1960")
    return (int(first) if first else None, int(last) if last else None)
