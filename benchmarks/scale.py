"""The cost of whole commands on large data: training on more and more ratings, inserting and searching many movies.

    python benchmarks/scale.py train big               1, 3 and 10 million ratings of 100,000 invented movies
    python benchmarks/scale.py search big/10000000     inserts that catalogue into Milvus Lite and searches it
    python benchmarks/scale.py search big/10000000 --movies 1000000 --uri http://127.0.0.1:19530

`train` trains one epoch on each number of ratings; time grows with ratings to the power of the exponent, 1 is linear.
`search` needs a model in the folder. With --movies it inserts as many invented movies instead, unknown to the model.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from generate import write_movies
from machine import PROJECT, describe_threads, measure_process, print_machine
from search import query_vectors
from tables import Table

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, MOVIES_DATA, MOVIES_ORIGIN, PipelinePaths, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.catalogue import read_movies_data
from recommender.errors import RecommenderError
from recommender.milvus.build import INDEX_PARAMS, embed_catalogue
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import load_model

K = 10
NUM_QUERIES = 500
NUM_MOVIES, NUM_USERS = 100_000, 60_000
FIRST_UNKNOWN_ID = 1_000_000_000
"""No model knows ids from here on."""


def measure_training(args: argparse.Namespace) -> None:
    """Prints time and memory of train.py for each number of ratings, here and in other checkouts."""
    columns = {"seconds": ".0f", "GB": ".2f", "exponent": ".2f"}
    table = Table(f"train.py --epochs 1, {describe_threads(args.threads)}", columns)
    previous: dict[Path, tuple[float, int]] = {}
    for count in args.ratings:
        folder = (args.folder / str(count)).resolve()
        if not (folder / "ratings.dat").exists():
            sizes = ["--movies", args.movies or NUM_MOVIES, "--users", NUM_USERS, "--ratings", count]
            run_step([PROJECT / "benchmarks/generate.py", folder, *sizes], PROJECT)
        for checkout in (PROJECT, *args.against):
            command = [checkout.resolve() / "train.py", "--data-dir", folder, "--epochs", 1]
            output = ["--output", f"{checkout.resolve().name}.model"]
            seconds, gigabytes = measure_process([*command, *output], folder, args.threads)
            exponent = np.nan
            if checkout in previous:
                exponent = np.log(seconds / previous[checkout][0]) / np.log(count / previous[checkout][1])
            name = "here" if checkout == PROJECT else checkout.name
            table.add(f"{count:,} ratings, {name}", seconds, gigabytes, float(exponent))
            previous[checkout] = seconds, count


def run_step(command: Sequence[object], folder: Path) -> None:
    """Runs a script.

    Raises:
        RecommenderError: It failed.
    """
    if np.isnan(measure_process(command, folder).seconds):
        raise RecommenderError(f"{command[0]} failed")


def insert_movies(args: argparse.Namespace, folder: Path, uri: str) -> None:
    """Encodes a catalogue, inserts it, and prints time and memory of `-i`."""
    catalogue = MOVIES_ORIGIN
    if args.movies:
        catalogue = Path("many_movies.txt")
        write_movies(folder / catalogue, args.movies, np.random.default_rng(1), FIRST_UNKNOWN_ID)
    run_step([PROJECT / "get_movies_data.py", "-f", catalogue, "--model", args.model], folder)
    options = ["--model", args.model, "--uri", uri] + (["--index", args.index] if args.index else [])
    cost = measure_process([PROJECT / "infer_milvus.py", "-i", *options], folder, args.threads)
    table = Table(f"infer_milvus.py -i as a whole, {describe_threads(args.threads)}", {"seconds": ".0f", "GB": ".2f"})
    table.add(args.uri, *cost)


def measure_search(args: argparse.Namespace) -> None:
    """Prints the cost of inserting a catalogue, the time of a search, and the share of the exact results found."""
    folder = args.folder.resolve()
    uri = args.uri if "://" in args.uri else str(folder / args.uri)
    if not args.keep:
        insert_movies(args, folder, uri)
    model = load_model(folder / args.model)
    movies = read_movies_data(folder / MOVIES_DATA, model.fingerprint)[0]
    vectors = embed_catalogue(model, movies).vectors
    num_queries = min(NUM_QUERIES, len(model.user_ids))
    user_ids = np.random.default_rng(0).choice(model.user_ids, num_queries, replace=False).tolist()
    times, recalls = [], []
    with MilvusConnection(uri) as connection:
        collection = MovieCollection(connection, model.fingerprint)
        for query in query_vectors(model, collection, user_ids):
            started = time.perf_counter()
            [hits] = collection.search(query[None], K)
            times.append(1000 * (time.perf_counter() - started))
            threshold = np.partition(vectors @ query, -K)[-K]
            recalls.append(np.mean([hit.product >= threshold - 1e-4 for hit in hits]))
    columns = {"p50, ms": ".1f", "p99, ms": ".1f", f"recall@{K}": ".4f"}
    table = Table(f"{num_queries} searches of {len(movies):,} movies, one by one", columns)
    table.add(args.uri, *np.percentile(times, [50, 99]), np.mean(recalls))


def measure(args: argparse.Namespace) -> None:
    """Prints the tables of one subject."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    if args.subject == "train":
        measure_training(args)
    else:
        measure_search(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("subject", choices=["train", "search"])
    add("folder", type=path_arg)
    add("--ratings", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    add("--movies", type=int, help=f"number of invented movies (default for train: {NUM_MOVIES:,})")
    add("--model", type=path_arg, default=MODEL_FOLDER, help="model to search with, in the folder")
    add("--uri", default=LITE_URI)
    add("--index", choices=INDEX_PARAMS, help="as of infer_milvus.py")
    add("--keep", action="store_true", help="search the collection that is there")
    add("--threads", type=int, help="OMP_NUM_THREADS of the commands (default: as it is set here)")
    add("--against", type=path_arg, action="append", default=[], metavar="FOLDER", help="another checkout, for train")
    args = parser.parse_args(argv)
    return run_and_report(lambda: measure(args), PipelinePaths(uri=args.uri).command)


if __name__ == "__main__":
    run_main(main)
