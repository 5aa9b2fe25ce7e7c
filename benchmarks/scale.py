"""How the commands grow: training on more and more ratings, and indexing and searching a large catalogue.

    python benchmarks/scale.py train big               1, 3 and 10 million ratings of 100,000 invented movies
    python benchmarks/scale.py search big/10000000     indexes that catalogue in Milvus Lite, and searches it
    python benchmarks/scale.py search big/10000000 --movies 1000000 --uri http://127.0.0.1:19530

`train` trains one epoch each in a process of its own; the exponent says how time grows with ratings, 1 is linear.
`search` needs a model in the folder. With --movies it indexes as many invented movies instead, unknown to the model.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from generate import write_movies
from machine import print_machine

from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.command import run
from recommender.features import NUM_ANONYMOUS, read_movies_data
from recommender.movie_index import DEFAULT_URI, MovieIndex

PROJECT = Path(__file__).parent.parent
K = 10
QUERIES = 500


def timed(name: str, *args: object, folder: Path) -> tuple[float, float]:
    """Runs a script in a folder; returns seconds and peak memory in GB."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, PROJECT / name, *map(str, args)], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1e6


def train(args: argparse.Namespace) -> None:
    """Prints time and memory of `train.py` for each number of ratings."""
    print(f"{'ratings':>12}{'seconds':>10}{'GB':>8}   exponent since the row before")
    before = None
    for count in args.ratings:
        folder = (args.folder / str(count)).resolve()
        sizes = ["--movies", args.movies or 100_000, "--users", 60_000, "--ratings", count]
        timed("benchmarks/generate.py", folder, *sizes, folder=PROJECT)
        seconds, memory = timed("train.py", "--data-dir", folder, "--epochs", 1, folder=folder)
        exponent = np.log(seconds / before[1]) / np.log(count / before[0]) if before else np.nan
        print(f"{count:>12,}{seconds:>10.0f}{memory:>8.2f}   {exponent:.2f}", flush=True)
        before = count, seconds


def search(args: argparse.Namespace) -> None:
    """Prints how fast a catalogue is indexed and searched, and how much of the exact answer is found."""
    folder, catalogue = args.folder.resolve(), Path("movies_origin.txt")
    uri = args.uri if "://" in args.uri else str(folder / args.uri)
    if not args.keep:
        if args.movies:
            catalogue = Path("many_movies.txt")
            write_movies(folder / catalogue, args.movies, np.random.default_rng(1))
        timed("get_movies_data.py", "-f", catalogue, folder=folder)
        index_options = ["--index", args.index] if args.index else []
        seconds, memory = timed("infer_milvus.py", "-i", "--uri", uri, *index_options, folder=folder)
        print(f"{args.uri}: -i, whole process, {seconds:.0f} s, {memory:.2f} GB", flush=True)

    model = load_model(folder / MODEL_FOLDER)
    index = MovieIndex(uri, create=False)
    count = index.open(model.fingerprint, model.user_vectors.shape[1])
    movie_ids = np.array([movie.movie_id for movie in read_movies_data(folder / "movies_data.txt", model.vocabularies)])
    vectors = np.concatenate([index.vectors_of(part.tolist()) for part in np.array_split(movie_ids, -(-count // 5000))])
    users = np.random.default_rng(0).choice(model.user_vectors[NUM_ANONYMOUS:], QUERIES, replace=False)
    times, shares = [], []
    for query in users:
        started = time.perf_counter()
        hits = index.search(query[None], K)[0]
        times.append(1000 * (time.perf_counter() - started))
        least = np.partition(vectors @ query, -K)[-K]
        shares.append(np.mean([hit.similarity >= least - 1e-6 for hit in hits]))
    index.close()
    p50, p99 = np.percentile(times, [50, 99])
    print(f"{count:,} movies, one search: p50 {p50:.1f} ms, p99 {p99:.1f} ms, recall@{K} {np.mean(shares):.4f}")


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "search"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratings", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--movies", type=int)
    parser.add_argument("--uri", default=DEFAULT_URI)
    parser.add_argument("--index", help="as infer_milvus.py's")
    parser.add_argument("--keep", action="store_true", help="search what is indexed already")
    args = parser.parse_args()
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    (train if args.what == "train" else search)(args)


if __name__ == "__main__":
    sys.exit(run(main))
