"""The whole pipeline on invented ratings of ml-32m's shape: time and peak memory of steps, queries, searches.

    python benchmarks/scale.py big                      32 million ratings of 200,948 users and 87,585 movies
    python benchmarks/scale.py big --share 0.1          a tenth of all three
    python benchmarks/scale.py big --uri http://127.0.0.1:19530

FOLDER keeps the data, which generate.py writes, and is the working folder. "recall@10" of single searches is the share
of the exact ten best that Milvus returns; "in numpy" is the exact comparison with all vectors.
"""

import argparse
import time
from pathlib import Path

import machine
import numpy as np
from blocks import Table
from generate import write_data
from machine import Checkout, measure_process
from search import write_ratings

from recommender.embed import embed_catalogue
from recommender.files import Workdir
from recommender.lists import Query, encode_users
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import SavedModel
from recommender.users import UserProfile

NUM_MOVIES, NUM_USERS, NUM_RATINGS = 87_585, 200_948, 32_000_204
NUM_SEARCHES, K = 300, 10


def main() -> None:
    """Writes the data, takes the steps and prints what they cost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("folder", type=Path)
    add("--share", type=float, default=1, help="of the numbers of movies, users and ratings (default: %(default)s)")
    add("--uri", help="a server (default: Milvus Lite in FOLDER)")
    args = options.parse_args()
    folder, checkout = args.folder.resolve(), Checkout(machine.PROJECT)
    sizes = [int(args.share * number) for number in (NUM_MOVIES, NUM_USERS, NUM_RATINGS)]
    data = folder / "data"
    if not (data / "ratings.csv").exists():
        write_data(data, *sizes)
    uri = ["--uri", args.uri] if args.uri else []
    user = ["--user", 42, *uri]
    steps = {
        "train.py": checkout.train(folder, "--data-dir", data),
        "get_movies_data.py": checkout.encode(folder),
        "infer_milvus.py -i": checkout.query(folder, "-i", *user),
    }
    queries = {
        "--user 42": checkout.query(folder, *user),
        "--user 42 --why": checkout.query(folder, *user, "--why"),
        "--like id:1": checkout.query(folder, "--like", "id:1", *uri),
        "--ratings FILE": checkout.query(folder, "--ratings", folder / "ratings.csv", *uri),
    }
    columns = {"seconds": ".1f", "CPU s": ".1f", "GB": ".2f"}
    table = Table("{:,} movies, {:,} users, {:,} ratings: whole commands".format(*sizes), columns)
    for name, command in steps.items():
        table.add(name, *measure_process(command, folder)[:3])
    workdir = Workdir(folder)
    model = SavedModel(workdir.model)
    write_ratings(folder / "ratings.csv", list(model.movies.values()))
    for name, command in queries.items():
        table.add(name, *measure_process(command, folder)[:3])

    movies, vectors, _ = embed_catalogue(model, workdir.movies_data)
    user_ids = np.random.default_rng(0).choice(model.user_ids, NUM_SEARCHES, replace=False)
    times: dict[str, list[float]] = {"Milvus": [], "in numpy": []}
    recalls = []
    with MilvusConnection(args.uri or str(workdir.database)) as connection:
        collection = MovieCollection(connection, model.fingerprint)
        profiles = [UserProfile.from_user(model, user_id) for user_id in user_ids.tolist()]
        users = encode_users(model, collection, profiles, Query("both", K))
        for question in (user.query("both") for user in users):
            started = time.perf_counter()
            [hits] = collection.search(question[None], K)
            times["Milvus"].append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            values = vectors @ question
            threshold = np.partition(values, -K)[-K]
            times["in numpy"].append(1000 * (time.perf_counter() - started))
            recalls.append(np.mean([product >= threshold - 1e-4 for product in hits.values()]))
    title = f"{NUM_SEARCHES} single searches of {len(movies):,} movies, vectors of {vectors.shape[1]}"
    table = Table(title, {"p50, ms": ".1f", "p99, ms": ".1f", "recall@10": ".4f"})
    table.add("Milvus", *np.percentile(times["Milvus"], [50, 99]), float(np.mean(recalls)))
    table.add("in numpy", *np.percentile(times["in numpy"], [50, 99]), 1.0)


if __name__ == "__main__":
    main()
