"""How long a question takes, on a saved model and a filled Milvus Lite folder.

    python train.py && python get_movies_data.py -f movies_origin.txt && python infer_milvus.py -i
    python benchmarks/search.py

Whole processes are timed in turns against one that only imports pymilvus and Milvus Lite; searches run in process.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.movie_index import MovieIndex

PROJECT = Path(__file__).parent.parent
TURNS = 7
SEARCHES = 200


def seconds(action: Callable[[], object]) -> float:
    """Returns how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def whole_processes() -> None:
    """Prints the wall time of whole commands."""
    script = str(PROJECT / "infer_milvus.py")
    commands = {
        "import pymilvus, milvus_lite": ["-c", "import pymilvus, milvus_lite"],
        "infer_milvus.py -a 6 -g 0 -j 16": [script, "-a", "6", "-g", "0", "-j", "16"],
        "infer_milvus.py -a 0 -g 1 -j 10 -i": [script, "-a", "0", "-g", "1", "-j", "10", "-i"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TURNS):
        for name, command in commands.items():
            run = [sys.executable, *command]
            times[name].append(seconds(lambda run=run: subprocess.run(run, check=True, capture_output=True)))
    for name, values in times.items():
        print(f"{name:<40}{statistics.median(values):>8.2f} s   ({min(values):.2f} to {max(values):.2f})")


def searches() -> None:
    """Prints the time of single searches in process."""
    model = load_model(MODEL_FOLDER)
    index = MovieIndex()
    index.open(model.fingerprint)
    for name, where in {
        "top 10": "",
        "top 10, --min-ratings 50": index.where(min_ratings=50),
        "top 10, --genre Comedy": index.where(genres=["Comedy"], min_ratings=50),
        "top 10, --year 1990-1999": index.where(years=(1990, 1999), min_ratings=50),
        "top 10, --genre and --year": index.where(genres=["Comedy"], years=(1990, 1999), min_ratings=50),
    }.items():
        times = sorted(
            1000 * seconds(lambda row=row, where=where: index.search(model.user_vectors[[row]], 10, where))
            for row in range(SEARCHES)
        )
        print(f"{name:<40}{times[SEARCHES // 2]:>8.1f} ms  (p99 {times[SEARCHES * 99 // 100]:.1f})")
    index.close()


if __name__ == "__main__":
    whole_processes()
    searches()
