"""Queries: the time of whole processes, of single searches and of many users at once, on Milvus Lite or a server.

    python train.py && python get_movies_data.py -f movies_origin.txt && python infer_milvus.py -i
    python benchmarks/search.py
    python benchmarks/search.py --uri http://127.0.0.1:19530
    python benchmarks/search.py --against ../older --data-dir data/ml-1m

Whole processes are timed in turns with two that only import libraries; other checkouts (--against) take the three steps
in a temporary folder first, with one epoch. OMP_NUM_THREADS is as it is set where the benchmark is started, or each
number of --threads: this project takes one thread where it is not set, versions up to 0ed157d all cores.
Searches are timed in this process, in turns with the bare pymilvus call and with an exact comparison in numpy.

A ratio is the median over turns, with the lowest and the highest of a turn in brackets.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from machine import PROJECT, describe_threads, format_ratios, measure_process, print_machine
from tables import Table

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, MOVIES_DATA, PipelinePaths, number_arg, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.catalogue import Movie
from recommender.movielens.catalogue import read_movies_data
from recommender.movielens.releases import DEFAULT_DATA_DIR
from recommender.errors import RecommenderError
from recommender.milvus.collection import ALIAS, SEARCH_BATCH, MovieCollection, search_collection
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import MovieFilter
from recommender.store import SavedModel, load_model
from recommender.lists import Query, compute_vectors, recommend
from recommender.users import UserProfile
from recommender.scoring import exact_top_k

K = 10
NUM_USERS = 2_000
"""Number of users who are searched for at once."""
NUM_NEW_USERS = 10_000
"""Number of users in the file for `--users`."""
FILTER = MovieFilter(("Comedy",), first_year=1990, last_year=1999, min_ratings=50)
ALL_IMPORTS, QUERY_IMPORTS = "import paddle, pymilvus, milvus_lite", "import pymilvus, milvus_lite"
BARE = "bare pymilvus"
"""The row that other rows are compared with."""


def write_ratings(path: Path, movies: Sequence[Movie], num_users: int, num_ratings: int) -> None:
    """Writes random ratings of new users, as `--ratings` (one user) and `--users` (several) take them."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "title", "year", "rating"] if num_users > 1 else ["title", "year", "rating"])
        for user in range(num_users):
            name = [f"new user {user}"] if num_users > 1 else []
            for row in random.choice(len(movies), num_ratings, replace=False):
                stars = random.integers(1, 6)
                writer.writerow([*name, movies[row].name, movies[row].year, stars])


def create_queries(folder: Path, movies: Sequence[Movie]) -> dict[str, list[object]]:
    """Returns options of infer_milvus.py by a description, and writes the files that they name."""
    one, many, output = folder / "one.csv", folder / "many.csv", ["--output", folder / "recommendations.csv"]
    write_ratings(one, movies, 1, 100)
    write_ratings(many, movies, NUM_NEW_USERS, 20)
    return {
        "-a 6 -g 0 -j 16": ["-a", 6, "-g", 0, "-j", 16],
        "--user 42": ["--user", 42],
        "--ratings FILE, 100 ratings": ["--ratings", one],
        "-a 0 -g 1 -j 10 -i": ["-a", 0, "-g", 1, "-j", 10, "-i"],
        "--users all -k 10": ["--users", "all", "-k", 10, *output],
        f"--users FILE -k 10, {NUM_NEW_USERS:,} users, 20 ratings each": ["--users", many, "-k", 10, *output],
    }


def take_three_steps(checkout: Path, data_dir: Path, folder: Path) -> None:
    """Trains a checkout's model for one epoch, encodes the movies and inserts them, in a folder.

    Raises:
        RecommenderError: A step failed.
    """
    steps: tuple[list[object], ...] = (
        ["train.py", "--data-dir", data_dir.resolve(), "--epochs", 1],
        ["get_movies_data.py", "-f", "movies_origin.txt"],
        ["infer_milvus.py", "-a", 0, "-g", 1, "-j", 10, "-i"],
    )
    for script, *options in steps:
        cost = measure_process([checkout / str(script), *options], folder)
        if np.isnan(cost.seconds):
            raise RecommenderError(f"{checkout}: {script} failed")


def print_processes(
    queries: Mapping[str, Sequence[object]], folders: Mapping[Path, Path], threads: int | None, turns: int
) -> None:
    """Times whole processes in turns.

    Args:
        queries: Options of infer_milvus.py by a description.
        folders: The working folders of this project, which is the first, and of other checkouts.
        threads: OMP_NUM_THREADS, by default as the user set it.
        turns: The number of turns.
    """
    imports: dict[str, list[float]] = {ALL_IMPORTS: [], QUERY_IMPORTS: []}
    runs: dict[tuple[Path, str], list[float]] = {(checkout, name): [] for checkout in folders for name in queries}
    for _ in range(turns):
        for code, seconds in imports.items():
            seconds.append(measure_process(["-c", code], Path.cwd(), threads).seconds)
        for name, options in queries.items():
            for checkout, folder in folders.items():
                command = [checkout / "infer_milvus.py", *options]
                runs[checkout, name].append(measure_process(command, folder, threads).seconds)
    columns = {"seconds": ".2f", "times as long as the first row": ""}
    table = Table(f"infer_milvus.py as a whole, {describe_threads(threads)}", columns)
    for code, seconds in imports.items():
        table.add(code, statistics.median(seconds), format_ratios(seconds, imports[ALL_IMPORTS]))
    for name in queries:
        seconds = runs[PROJECT, name]
        table.add(name, statistics.median(seconds), format_ratios(seconds, imports[ALL_IMPORTS]))
    for checkout in list(folders)[1:]:
        title = f"infer_milvus.py of {checkout.name}, {describe_threads(threads)}"
        table = Table(title, {"seconds": ".2f", "times as long as here": ""})
        for name in queries:
            seconds = runs[checkout, name]
            table.add(name, statistics.median(seconds), format_ratios(seconds, runs[PROJECT, name]))


def query_vectors(model: SavedModel, collection: MovieCollection, user_ids: Sequence[int]) -> np.ndarray:
    """Returns float32[users, 400], the query vectors of users of the training data, ranked by `both`."""
    users = [compute_vectors(model, collection, UserProfile.from_user(model, user_id)) for user_id in user_ids]
    return np.array([user.query("both") for user in users])


def print_searches(collection: MovieCollection, queries: np.ndarray, vectors: np.ndarray) -> None:
    """Times single searches, in turns."""
    expression = collection.build_filter(FILTER)
    actions: dict[str, Callable[[np.ndarray], object]] = {
        BARE: lambda query: search_collection(collection.connection, ALIAS, query, K),
        "MovieCollection.search": lambda query: collection.search(query, K),
        "MovieCollection.search, genre, years, ratings": lambda query: collection.search(query, K, expression),
        "numpy, exact": lambda query: exact_top_k(query, vectors, K),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for query in queries:
        for name, action in actions.items():
            started = time.perf_counter()
            action(query[None])
            times[name].append(1000 * (time.perf_counter() - started))
    columns = {"p50, ms": ".2f", "p99, ms": ".2f", "p50 / that of the first row": ".2f"}
    table = Table(f"One search of {len(vectors):,} movies, top {K}", columns)
    for name, values in times.items():
        p50, p99 = np.percentile(values, [50, 99])
        table.add(name, p50, p99, p50 / np.median(times[BARE]))


def print_batches(
    model: SavedModel, collection: MovieCollection, user_ids: Sequence[int], vectors: np.ndarray, turns: int
) -> None:
    """Times recommendations for many users, in turns."""
    queries = query_vectors(model, collection, user_ids)
    batches = [queries[start : start + SEARCH_BATCH] for start in range(0, len(queries), SEARCH_BATCH)]
    actions: dict[str, Callable[[], object]] = {
        BARE: lambda: [search_collection(collection.connection, ALIAS, batch, K) for batch in batches],
        "MovieCollection.search": lambda: collection.search(queries, K),
        "recommend, without the movies that they rated": lambda: list(
            recommend(model, collection, [UserProfile.from_user(model, one) for one in user_ids], Query("both", K))
        ),
        "numpy, exact": lambda: exact_top_k(queries, vectors, K),
    }
    speeds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(turns):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            speeds[name].append(len(queries) / (time.perf_counter() - started))
    columns = {"users/s": ",.0f", "speed / that of the first row": ""}
    table = Table(f"{len(queries):,} users at once, top {K}", columns)
    for name, values in speeds.items():
        table.add(name, statistics.median(values), format_ratios(values, speeds[BARE]))


def measure(args: argparse.Namespace) -> None:
    """Prints the tables."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    model = load_model(MODEL_FOLDER)
    movies = read_movies_data(MOVIES_DATA, model.fingerprint)[0]
    if "://" not in args.uri:
        with tempfile.TemporaryDirectory() as place:
            folders = {PROJECT: Path.cwd()}
            for checkout in args.against:
                folder = Path(tempfile.mkdtemp(dir=place))
                take_three_steps(checkout.resolve(), args.data_dir, folder)
                folders[checkout.resolve()] = folder
            queries = create_queries(Path(place), movies)
            for threads in args.threads or [None]:
                print_processes(queries, folders, threads, args.turns)
    with MilvusConnection(args.uri, args.token) as connection:
        collection = MovieCollection(connection, model.fingerprint)
        stored = collection.fetch(movie.movie_id for movie in movies)
        vectors = np.array([stored[movie.movie_id].vector for movie in movies])
        user_ids = model.user_ids[:NUM_USERS].tolist()
        print_searches(collection, query_vectors(model, collection, user_ids[: args.searches]), vectors)
        print_batches(model, collection, user_ids, vectors, args.turns)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--uri", default=LITE_URI, help="the searches only, where it is a server (default: %(default)s)")
    add("--token", default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""))
    add("--turns", type=number_arg(int, 1), default=5)
    add("--searches", type=number_arg(int, 1), default=500, help="single searches (default: %(default)s)")
    add("--threads", type=number_arg(int, 1), nargs="+", help="threads of whole processes, tables for each")
    add("--against", type=path_arg, action="append", default=[], metavar="FOLDER", help="another checkout")
    add("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR, help="training data of other checkouts")
    args = parser.parse_args(argv)
    return run_and_report(lambda: measure(args), PipelinePaths(uri=args.uri).command)


if __name__ == "__main__":
    run_main(main)
