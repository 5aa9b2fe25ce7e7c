"""Step two: encodes the catalogue for the model. The same as `movie-recommender encode`."""

import sys

from recommender.cli import run


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run("encode", argv)


if __name__ == "__main__":
    sys.exit(main())
