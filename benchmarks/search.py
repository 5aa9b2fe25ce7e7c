"""What queries cost: infer_milvus.py as a whole, in turns with another checkout.

    python benchmarks/search.py data/ml-1m --against ../older

Each checkout trains (one epoch), encodes and inserts in a temporary folder first; `--workdir` and `--old-workdir` name
folders where that is done (for an older checkout: model/, movies_data.txt and m.db in it), which are copied. "CPU s" is
the processor time of the process, and with Milvus Lite of its database; a ratio is the median over turns, with the
lowest and the highest in brackets. The first rows are imports alone.
"""

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

import machine
import numpy as np
from machine import Checkout, Cost, format_ratios, measure_process, median_cost
from tables import Table

from recommender.movielens.catalogue import Movie
from recommender.movielens.releases import read_movielens

IMPORTS = ("import pymilvus, milvus_lite", "import paddle")
NUM_RATINGS = 100


def write_ratings(path: Path, movies: list[Movie]) -> None:
    """Writes random ratings of a new user."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "year", "rating"])
        for row in random.choice(len(movies), NUM_RATINGS, replace=False):
            writer.writerow([movies[row].name, movies[row].year, random.integers(1, 6)])


def prepare(checkout: Checkout, data_dir: Path, folder: Path, filled: Path | None) -> None:
    """Takes the three steps in a folder, or copies one where they were taken."""
    if filled:
        shutil.copytree(filled, folder)
        return
    folder.mkdir()
    for command in (
        checkout.train(folder, "--data-dir", data_dir.resolve(), "--epochs", 1),
        checkout.encode(folder),
        checkout.query(folder, "--like", "alien", "-i"),
    ):
        measure_process(command, folder)


def main() -> None:
    """Prints the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("data_dir", type=Path)
    add("--against", type=Path, metavar="FOLDER", help="another checkout")
    add("--workdir", type=Path, help="a filled working folder")
    add("--old-workdir", type=Path, help="that of the other checkout")
    add("--turns", type=int, default=5)
    args = options.parse_args()
    movies = read_movielens(args.data_dir).movies
    has_users = (args.data_dir / "users.dat").exists() or (args.data_dir / "u.user").exists()
    with tempfile.TemporaryDirectory() as place:
        here = Checkout(machine.PROJECT)
        folders = {here: Path(place, "here")}
        prepare(here, args.data_dir, folders[here], args.workdir)
        if args.against:
            other = Checkout(args.against.resolve())
            folders[other] = Path(place, "other")
            prepare(other, args.data_dir, folders[other], args.old_workdir)
        ratings, output = Path(place, "ratings.csv"), Path(place, "all.csv")
        write_ratings(ratings, movies)
        queries: dict[str, list[object]] = {
            **({"-a 6 -g 0 -j 16": ["-a", 6, "-g", 0, "-j", 16]} if has_users else {}),
            "--like alien": ["--like", "alien"],
            "--like alien --by picks": ["--like", "alien", "--by", "picks"],
            "--user 42": ["--user", 42],
            f"--ratings FILE, {NUM_RATINGS} ratings": ["--ratings", ratings],
            f"--ratings FILE --why, {NUM_RATINGS} ratings": ["--ratings", ratings, "--why"],
            "--user 42 -i": ["--user", 42, "-i"],
            "--users all -k 10": ["--users", "all", "-k", 10, "--output", output],
        }
        imports: dict[str, list[Cost]] = {code: [] for code in IMPORTS}
        costs: dict[tuple[Checkout, str], list[Cost]] = {(own, name): [] for own in folders for name in queries}
        for _ in range(args.turns):
            for code in IMPORTS:
                imports[code].append(measure_process(["-c", code], Path(place)))
            for name, arguments in queries.items():
                for checkout, folder in folders.items():
                    costs[checkout, name].append(measure_process(checkout.query(folder, *arguments), Path(place)))

        columns = {"seconds": ".2f", "CPU s": ".2f", "GB": ".2f"}
        if args.against:
            columns |= {"CPU s / other": "", "seconds / other": ""}
        table = Table(f"{args.data_dir.name}: infer_milvus.py as a whole, {args.turns} turns", columns)
        for code in IMPORTS:
            table.add(code, *median_cost(imports[code]), *["-"] * (2 if args.against else 0))
        for name in queries:
            row: list[float | str] = [*median_cost(costs[here, name])]
            if args.against:
                for field in ("cpu_seconds", "seconds"):
                    values = [[getattr(cost, field) for cost in costs[own, name]] for own in (here, other)]
                    row.append(format_ratios(*values).rjust(24))
            table.add(name, *row)


if __name__ == "__main__":
    main()
