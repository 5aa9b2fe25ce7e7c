"""Step two: encodes the catalogue for the model. The same as `movie-recommender encode`."""

import sys

from recommender.cli import run

if __name__ == "__main__":
    sys.exit(run("encode"))
