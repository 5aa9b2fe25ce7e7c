"""The cost of training on data of any size, part by part.

    python benchmarks/generate.py big --movies 100000 --users 60000 --ratings 10000000
    python benchmarks/growth.py data/ml-1m big

Each folder is measured in a process of its own. Steps are some of an epoch, in batches as train.py makes them; GB is
the peak of the process so far.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from machine import child_environment, print_machine
from tables import Table

from recommender.cli.arguments import PipelinePaths, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.split import held_out_rows, split_and_encode
from recommender.movielens.releases import read_movielens
from recommender.stars.fusion import FusionModel
from recommender.picks.taste_training import TasteConfig, train_taste
from recommender.stars.fusion_training import (
    TrainConfig,
    create_optimizer,
    draw_batch,
    init_from_svd,
    train_step,
    update_ema,
)

NUM_STEPS = 12


class Stopwatch:
    """Adds a row to a table for each part."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._started = time.perf_counter()

    def lap(self, part: str) -> float:
        """Prints what the part took and returns its seconds; the next part begins."""
        seconds = time.perf_counter() - self._started
        self._table.add(part, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
        self._started = time.perf_counter()
        return seconds


def measure(folder: Path) -> None:
    """Prints what each part takes."""
    watch = Stopwatch(Table(str(folder), {"seconds": ".1f", "GB": ".2f"}))
    data = read_movielens(folder)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    num_ratings = len(split.train.ratings.rating)
    watch.lap(f"read, {num_ratings:,} ratings for training")
    config = TrainConfig.for_ratings(num_ratings)
    model, averaged = (FusionModel(split.train.num_users, split.vocabularies) for _ in range(2))
    init_from_svd(model, split.train, np.arange(num_ratings))
    watch.lap("models, initialized from an SVD")
    optimizer, _ = create_optimizer(model, config, 10 * NUM_STEPS)
    random = np.random.default_rng(0)
    rows = random.permutation(num_ratings)[: NUM_STEPS * config.batch_size]
    batches = np.array_split(rows, NUM_STEPS)
    for batch in batches:
        train_step(model, optimizer, draw_batch(split.train, np.sort(batch), config, random))
        update_ema(averaged, model, config.ema_alpha)
    seconds = watch.lap(f"{NUM_STEPS} steps of {len(batches[0]):,} ratings")
    train_taste(split.train, split.vocabularies, TasteConfig())
    watch.lap("taste model")
    print(f"{len(rows) / seconds:,.0f} ratings per second", flush=True)


def measure_all(folders: Sequence[Path]) -> None:
    """Measures one folder in this process, or each of several in a process of its own."""
    if len(folders) == 1:
        measure(folders[0])
        return
    print_machine("paddlepaddle")
    for folder in folders:
        subprocess.run([sys.executable, __file__, folder], check=True, env=child_environment())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=path_arg, nargs="+")
    args = parser.parse_args(argv)
    return run_and_report(lambda: measure_all(args.folder), PipelinePaths().command)


if __name__ == "__main__":
    run_main(main)
