"""Step one: trains on MovieLens and writes the model and the catalogue. The same as `movie-recommender train`."""

import sys

from recommender.cli import run


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run("train", argv)


if __name__ == "__main__":
    sys.exit(main())
