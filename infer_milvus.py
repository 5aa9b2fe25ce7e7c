"""Step three: fills Milvus and recommends movies. The same as `movie-recommender recommend`."""

import sys

from recommender.cli import run

if __name__ == "__main__":
    sys.exit(run("recommend"))
