"""How long questions take: whole processes, searches in process, everyone at once; on Milvus Lite or on a server.

    python train.py && python get_movies_data.py -f movies_origin.txt && python infer_milvus.py -i
    python benchmarks/search.py
    python benchmarks/search.py --uri http://127.0.0.1:19530

Whole processes are timed in turns with one that only imports the libraries. Searches are timed in turns with the bare
pymilvus call, and with exact search by numpy and by faiss over the same vectors.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import print_machine

from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.command import run
from recommender.evaluation import exact_top_k
from recommender.features import NUM_ANONYMOUS, read_movies_data
from recommender.movie_index import ALIAS, DEFAULT_URI, HIT_FIELDS, SEARCH_BATCH, MovieIndex

PROJECT = Path(__file__).parent.parent
K = 10


def seconds(action: Callable[[], object]) -> float:
    """Returns how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def print_processes(turns: int) -> None:
    """Times whole commands, and prints how many times as long as the imports they take."""
    script = str(PROJECT / "infer_milvus.py")
    commands = {
        "import paddle, pymilvus, milvus_lite": ["-c", "import paddle, pymilvus, milvus_lite"],
        "import pymilvus, milvus_lite": ["-c", "import pymilvus, milvus_lite"],
        "infer_milvus.py -a 6 -g 0 -j 16": [script, "-a", "6", "-g", "0", "-j", "16"],
        "infer_milvus.py -a 0 -g 1 -j 10 -i": [script, "-a", "0", "-g", "1", "-j", "10", "-i"],
        "infer_milvus.py --users all -k 10": [script, "--users", "all", "-k", "10", "--output", "recommendations.csv"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            call = [sys.executable, *command]
            times[name].append(seconds(lambda call=call: subprocess.run(call, check=True, capture_output=True)))
    floor = times["import paddle, pymilvus, milvus_lite"]
    print(f"{'whole processes':<44}{'median':>8}   of the imports of the first line")
    for name, values in times.items():
        ratios = [value / least for value, least in zip(values, floor, strict=True)]
        print(
            f"{name:<44}{statistics.median(values):>6.2f} s   {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def bare_search(index: MovieIndex, queries: np.ndarray) -> object:
    """Calls pymilvus as one would without this project."""
    return index._client.search(
        ALIAS,
        queries,
        limit=K,
        output_fields=HIT_FIELDS,
        search_params={"metric_type": "IP"},
        anns_field="vector",
        consistency_level="Bounded",
    )


def print_searches(index: MovieIndex, queries: np.ndarray, vectors: np.ndarray) -> None:
    """Times single searches, in turns."""
    import faiss

    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    comedies = index.where(genres=["Comedy"], years=(1990, 1999), min_ratings=50)
    actions: dict[str, Callable[[np.ndarray], object]] = {
        "bare pymilvus": lambda query: bare_search(index, query),
        "MovieIndex.search": lambda query: index.search(query, K),
        "MovieIndex.search, --min-ratings 50": lambda query: index.search(query, K, "num_ratings >= 50"),
        "MovieIndex.search, --genre and --year too": lambda query: index.search(query, K, comedies),
        "numpy, exact": lambda query: exact_top_k(query, vectors, K),
        "faiss, exact": lambda query: exact.search(query, K),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for query in queries:
        for name, action in actions.items():
            times[name].append(1000 * seconds(lambda action=action, query=query: action(query[None])))
    print(f"\n{f'one search of {len(vectors):,} movies, top {K}':<44}{'p50':>8}{'p99':>9}   p50 of the first line")
    for name, values in times.items():
        p50, p99 = np.percentile(values, [50, 99])
        print(f"{name:<44}{p50:>5.2f} ms{p99:>6.2f} ms   {p50 / np.median(times['bare pymilvus']):.2f}")


def print_batches(index: MovieIndex, queries: np.ndarray, vectors: np.ndarray, turns: int) -> None:
    """Times searches for many, in turns."""

    def bare() -> None:
        for start in range(0, len(queries), SEARCH_BATCH):
            bare_search(index, queries[start : start + SEARCH_BATCH])

    actions: dict[str, Callable[[], object]] = {
        "bare pymilvus": bare,
        "MovieIndex.search": lambda: index.search(queries, K),
        "numpy, exact": lambda: exact_top_k(queries, vectors, K),
    }
    speeds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(turns):
        for name, action in actions.items():
            speeds[name].append(len(queries) / seconds(action))
    print(f"\n{f'{len(queries):,} users at once, top {K}':<44}{'median':>8}")
    for name, values in speeds.items():
        print(f"{name:<44}{statistics.median(values):>8,.0f} users/s   ({min(values):,.0f} to {max(values):,.0f})")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", default=DEFAULT_URI)
    parser.add_argument("--token", default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--searches", type=int, default=500)
    args = parser.parse_args()
    model = load_model(MODEL_FOLDER)
    print_machine("paddlepaddle", "pymilvus", "milvus-lite", "faiss-cpu")
    if args.uri == DEFAULT_URI:
        print_processes(args.turns)
    index = MovieIndex(args.uri, args.token, create=False)
    index.open(model.fingerprint, model.user_vectors.shape[1])
    movie_ids = [movie.movie_id for movie in read_movies_data(Path("movies_data.txt"), model.vocabularies)]
    vectors = index.vectors_of(movie_ids)
    users = model.user_vectors[NUM_ANONYMOUS:]
    print_searches(index, users[: args.searches], vectors)
    print_batches(index, users[:2000], vectors, args.turns)
    index.close()


if __name__ == "__main__":
    sys.exit(run(main))
