"""Step three: fills Milvus and recommends movies. The same as `movie-recommender recommend`."""

import sys

from recommender.cli import run


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run("recommend", argv)


if __name__ == "__main__":
    sys.exit(main())
