"""Step one: trains on MovieLens and writes the model and the catalogue. The same as `movie-recommender train`."""

import sys

from recommender.cli import run

if __name__ == "__main__":
    sys.exit(run("train"))
