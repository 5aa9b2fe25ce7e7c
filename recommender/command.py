"""What the three scripts share: their parser, a type for numbers, and what becomes of failures."""

import argparse
import os
import sys
from collections.abc import Callable

from recommender import RecommenderError


def create_parser(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """Creates a parser whose help shows both texts as they are."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def number(kind: type[int] | type[float], least: float, most: float = 2**31 - 1) -> Callable[[str], float]:
    """Makes an argparse type for numbers from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            if not text.isascii() or "_" in text or not least <= (value := kind(text)) <= most:
                raise ValueError
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {least:g} to {most:.10g}") from None
        return value

    return parse


def run(work: Callable[[], None]) -> int:
    """Does a command's work and returns its exit code; an expected failure is one line, `error: ...`."""
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # The reader, `head` perhaps, has seen enough; nor is there a place for what is buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RecommenderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was there before still is", file=sys.stderr)
        return 130
    return 0
