"""How the commands grow: training on more and more ratings, and indexing and searching a large catalogue.

    python benchmarks/scale.py train big               1, 3 and 10 million ratings of 100,000 invented movies
    python benchmarks/scale.py search big/10000000     indexes that catalogue in Milvus Lite, and searches it
    python benchmarks/scale.py search big/10000000 --movies 1000000 --uri http://127.0.0.1:19530

`train` trains one epoch each in a process of its own; the exponent says how time grows with ratings, 1 is linear.
`search` needs a model in the folder. With --movies it indexes as many invented movies instead, unknown to the model.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from generate import write_movies
from machine import PROJECT, cost_of, print_machine
from search import questions_of

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, MOVIES_DATA, Places, run
from recommender.data.features import read_movies_data
from recommender.index.build import embed_catalogue
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus
from recommender.inference.model_folder import load_model

K = 10
QUERIES = 500
MOVIES, USERS = 100_000, 60_000
UNKNOWN_TO_ALL = 1_000_000_000
"""No model has learnt ids from here on."""


def train(args: argparse.Namespace) -> None:
    """Prints time and memory of `train.py` for each number of ratings, here and in other checkouts."""
    print(f"{'ratings':>12}{'seconds':>10}{'GB':>8}{'exponent':>10}   of")
    before: dict[Path, tuple[float, int]] = {}
    for count in args.ratings:
        folder = (args.folder / str(count)).resolve()
        if not (folder / "ratings.dat").exists():
            sizes = ["--movies", args.movies or MOVIES, "--users", USERS, "--ratings", count]
            cost_of([PROJECT / "benchmarks/generate.py", folder, *sizes], PROJECT)
        for checkout in (PROJECT, *args.against):
            command = [checkout.resolve() / "train.py", "--data-dir", folder, "--epochs", 1]
            seconds, gigabytes = cost_of([*command, "--output", f"{checkout.name}.model"], folder)
            last, last_count = before.get(checkout, (np.nan, 1))
            exponent = np.log(seconds / last) / np.log(count / last_count)
            print(f"{count:>12,}{seconds:>10.0f}{gigabytes:>8.2f}{exponent:>10.2f}   {checkout}", flush=True)
            before[checkout] = seconds, count


def search(args: argparse.Namespace) -> None:
    """Prints how fast a catalogue is indexed and searched, and how much of the exact answer is found."""
    folder, catalogue = args.folder.resolve(), Path("movies_origin.txt")
    uri = args.uri if "://" in args.uri else str(folder / args.uri)
    if not args.keep:
        if args.movies:
            catalogue = Path("many_movies.txt")
            write_movies(folder / catalogue, args.movies, np.random.default_rng(1), first_id=UNKNOWN_TO_ALL)
        cost_of([PROJECT / "get_movies_data.py", "-f", catalogue, "--model", args.model], folder)
        options = ["--model", args.model, "--uri", uri] + (["--index", args.index] if args.index else [])
        seconds, gigabytes = cost_of([PROJECT / "infer_milvus.py", "-i", *options], folder)
        print(f"{args.uri}: -i, whole process, {seconds:.0f} s, {gigabytes:.2f} GB", flush=True)

    model = load_model(folder / args.model)
    movies = read_movies_data(folder / MOVIES_DATA, model.vocabularies)
    vectors = embed_catalogue(model, movies).vectors
    user_ids = np.random.default_rng(0).choice(model.arrays.user_ids, QUERIES, replace=False).tolist()
    with Milvus(uri) as milvus:
        index = MovieIndex(milvus, model.fingerprint)
        times, shares = [], []
        for question in questions_of(model, index, user_ids):
            started = time.perf_counter()
            hits = index.search(question[None], K)[0]
            times.append(1000 * (time.perf_counter() - started))
            least = np.partition(vectors @ question, -K)[-K]
            shares.append(np.mean([hit.product >= least - 1e-4 for hit in hits]))
    p50, p99 = np.percentile(times, [50, 99])
    print(f"{len(movies):,} movies, one search: p50 {p50:.1f} ms, p99 {p99:.1f} ms, recall@{K} {np.mean(shares):.4f}")


def measure(args: argparse.Namespace) -> None:
    """Runs one of the two."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    if args.what == "train":
        train(args)
    else:
        search(args)


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "search"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratings", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--movies", type=int)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="of search, in the folder")
    parser.add_argument("--uri", default=LITE_URI)
    parser.add_argument("--index", help="as infer_milvus.py's")
    parser.add_argument("--keep", action="store_true", help="search what is indexed already")
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER", help="another checkout")
    args = parser.parse_args()
    return run(lambda: measure(args), Places(uri=args.uri))


if __name__ == "__main__":
    sys.exit(main())
