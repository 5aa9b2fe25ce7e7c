"""How long questions take: whole processes, searches in process, everyone at once; on Milvus Lite or on a server.

    python train.py && python get_movies_data.py -f movies_origin.txt && python infer_milvus.py -i
    python benchmarks/search.py
    python benchmarks/search.py --uri http://127.0.0.1:19530
    python benchmarks/search.py --against ../older        which has taken the three steps itself

Everything is timed in turns: whole processes with one that only imports the libraries, searches with the bare pymilvus
call and with exact search by numpy over the same vectors.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import PROJECT, cost_of, print_machine, spread

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, MOVIES_DATA, Places, run
from recommender.data.features import read_movies_data
from recommender.data.movielens import Movie
from recommender.evaluation.metrics import exact_top_k
from recommender.index.collection import ALIAS, SEARCH_BATCH, MovieIndex, search_collection
from recommender.index.connection import Milvus
from recommender.inference.model_folder import SavedModel, load_model
from recommender.inference.recommend import WEIGHTS, Wish, known_of, person_of, recommend
from recommender.inference.user_vectors import vector_of

K = 10
MANY = 2_000
VISITORS = 10_000
IMPORTS = "import paddle, pymilvus, milvus_lite"


def write_ratings(path: Path, movies: Sequence[Movie], num_visitors: int, num_ratings: int) -> None:
    """Writes what some visitors rated, films and stars at random, as `--ratings` and `--users` take it."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "title", "year", "rating"] if num_visitors > 1 else ["title", "year", "rating"])
        for visitor in range(num_visitors):
            name = [f"visitor {visitor}"] if num_visitors > 1 else []
            for row in random.choice(len(movies), num_ratings, replace=False):
                writer.writerow([*name, movies[row].name, movies[row].year, random.integers(1, 6)])


def print_processes(movies: Sequence[Movie], against: Sequence[Path], turns: int) -> None:
    """Times whole commands in turns, in this folder and in other checkouts."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_ratings(folder / "one.csv", movies, 1, 100)
        write_ratings(folder / "many.csv", movies, VISITORS, 20)
        output = ["--output", folder / "answers.csv"]
        questions = {
            "-a 6 -g 0 -j 16": "-a 6 -g 0 -j 16".split(),
            "--user 42": "--user 42".split(),
            "--ratings FILE, 100 of them": ["--ratings", folder / "one.csv"],
            "-a 0 -g 1 -j 10 -i": "-a 0 -g 1 -j 10 -i".split(),
            "--users all -k 10": ["--users", "all", "-k", 10, *output],
            f"--users FILE -k 10, {VISITORS:,} with 20 ratings each": [
                "--users",
                folder / "many.csv",
                "-k",
                10,
                *output,
            ],
        }
        here: dict[str, list[float]] = {name: [] for name in (IMPORTS, "import pymilvus, milvus_lite")}
        here |= {name: [] for name in questions}
        there: dict[tuple[str, Path], list[float]] = {(name, other): [] for name in questions for other in against}
        for _ in range(turns):
            for name, values in here.items():
                command = [PROJECT / "infer_milvus.py", *questions[name]] if name in questions else ["-c", name]
                values.append(cost_of(command, Path.cwd()).seconds)
                for other in against if name in questions else ():
                    there[name, other].append(cost_of([other / "infer_milvus.py", *questions[name]], other).seconds)
    print(f"{'whole process: infer_milvus.py':<52}{'median':>8}   times as long as the first line")
    for name, values in here.items():
        print(f"{name:<52}{statistics.median(values):>6.2f} s   {spread(values, here[IMPORTS])}")
    for (name, other), values in there.items():
        print(
            f"{f'{other}: {name}':<52}{statistics.median(values):>6.2f} s   times as here: {spread(values, here[name])}"
        )


def questions_of(model: SavedModel, index: MovieIndex, user_ids: Sequence[int]) -> np.ndarray:
    """Returns float32[users, 400], what Milvus is asked for some users, by stars and picks both."""
    stars_weight, taste_weight = WEIGHTS["both"]
    people = [person_of(model, user_id) for user_id in user_ids]
    stars = model.arrays.user_vectors[[person.row for person in people]]
    tastes = np.array([vector_of(*known_of(model, index, person)) for person in people])
    return np.hstack([stars_weight * stars, taste_weight * tastes])


def print_searches(index: MovieIndex, questions: np.ndarray, vectors: np.ndarray) -> None:
    """Times single searches, in turns."""
    comedies = index.where(genres=["Comedy"], years=(1990, 1999), min_ratings=50)
    actions: dict[str, Callable[[np.ndarray], object]] = {
        "bare pymilvus": lambda question: search_collection(index.milvus, ALIAS, question, K),
        "MovieIndex.search": lambda question: index.search(question, K),
        "MovieIndex.search, --min-ratings, --genre, --year": lambda question: index.search(question, K, comedies),
        "numpy, exact": lambda question: exact_top_k(question, vectors, K),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for question in questions:
        for name, action in actions.items():
            started = time.perf_counter()
            action(question[None])
            times[name].append(1000 * (time.perf_counter() - started))
    print(f"\n{f'one search of {len(vectors):,} movies, top {K}':<52}{'p50':>8}{'p99':>9}   p50 of the first line")
    for name, values in times.items():
        p50, p99 = np.percentile(values, [50, 99])
        print(f"{name:<52}{p50:>5.2f} ms{p99:>6.2f} ms   {p50 / np.median(times['bare pymilvus']):.2f}")


def print_batches(
    model: SavedModel, index: MovieIndex, user_ids: Sequence[int], vectors: np.ndarray, turns: int
) -> None:
    """Times answers for many, in turns."""
    questions = questions_of(model, index, user_ids)
    starts = range(0, len(questions), SEARCH_BATCH)
    actions: dict[str, Callable[[], object]] = {
        "bare pymilvus": lambda: [
            search_collection(index.milvus, ALIAS, questions[start : start + SEARCH_BATCH], K) for start in starts
        ],
        "MovieIndex.search": lambda: index.search(questions, K),
        "recommend, without what they rated": lambda: list(
            recommend(model, index, [person_of(model, user_id) for user_id in user_ids], Wish("both", K))
        ),
        "numpy, exact": lambda: exact_top_k(questions, vectors, K),
    }
    speeds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(turns):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            speeds[name].append(len(questions) / (time.perf_counter() - started))
    print(f"\n{f'{len(questions):,} users at once, top {K}':<52}{'users/s':>8}   of the first line")
    for name, values in speeds.items():
        print(f"{name:<52}{statistics.median(values):>8,.0f}   {spread(values, speeds['bare pymilvus'])}")


def measure(args: argparse.Namespace) -> None:
    """Prints the tables."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    model = load_model(MODEL_FOLDER)
    movies = read_movies_data(MOVIES_DATA, model.vocabularies)
    if "://" not in args.uri:
        print_processes(movies, [folder.resolve() for folder in args.against], args.turns)
    with Milvus(args.uri, args.token) as milvus:
        index = MovieIndex(milvus, model.fingerprint)
        stored = index.fetch(movie.movie_id for movie in movies)
        vectors = np.array([stored[movie.movie_id].vector for movie in movies])
        user_ids = model.arrays.user_ids[:MANY].tolist()
        print_searches(index, questions_of(model, index, user_ids[: args.searches]), vectors)
        print_batches(model, index, user_ids, vectors, args.turns)


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", default=LITE_URI)
    parser.add_argument("--token", default=os.environ.get("RECOMMENDER_MILVUS_TOKEN", ""))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--searches", type=int, default=500)
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER", help="another checkout")
    args = parser.parse_args()
    return run(lambda: measure(args), Places(uri=args.uri))


if __name__ == "__main__":
    sys.exit(main())
