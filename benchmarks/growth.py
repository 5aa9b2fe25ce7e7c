"""What training costs on data of any size, part by part: seconds, and the most memory so far.

    python benchmarks/generate.py big --movies 100000 --users 60000 --ratings 10000000
    python benchmarks/growth.py data/ml-1m big

Each folder is looked at in a process of its own. The steps are some of an epoch, in batches as `train.py` makes them.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import print_machine

from recommender.data.dataset import split_and_encode
from recommender.data.movielens import held_out_rows, read_movielens
from recommender.training.taste import TasteConfig, train_taste
from recommender.training.two_tower import (
    TrainConfig,
    average_weights,
    create_model,
    create_optimizer,
    draw_batch,
    start_from_ratings,
    train_step,
)

STEPS = 12


def measure(folder: Path) -> None:
    """Prints what each part takes."""
    started = time.perf_counter()

    def tell(part: str) -> None:
        nonlocal started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{part:<44}{time.perf_counter() - started:>8.1f} s{memory:>7.2f} GB", flush=True)
        started = time.perf_counter()

    data = read_movielens(folder)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    num_ratings = len(split.train.ratings.rating)
    tell(f"{folder}: {num_ratings:,} ratings read")
    config = TrainConfig().fit(num_ratings)
    model, averaged = (create_model(len(split.user_ids), split.vocabularies) for _ in range(2))
    start_from_ratings(model, split.train, np.arange(num_ratings))
    tell("spectral start")
    optimizer, random = create_optimizer(model, config, 10 * STEPS), np.random.default_rng(0)
    rows = random.permutation(num_ratings)[: STEPS * config.batch_size].reshape(STEPS, -1)
    for batch in rows:
        train_step(model, optimizer, draw_batch(split.train, batch, config, random))
        average_weights(averaged, model, config.newest_share)
    speed = rows.size / (time.perf_counter() - started)
    tell(f"{STEPS} steps of {config.batch_size:,}: {speed:,.0f} ratings/s")
    train_taste(split.train, split.vocabularies, TasteConfig(steps=STEPS, least_steps=STEPS))
    tell(f"{STEPS} of {TasteConfig().steps} steps of the taste")


def main() -> None:
    """Measures every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    folders = parser.parse_args().folder
    if len(folders) == 1:
        measure(folders[0])
        return
    print_machine("paddlepaddle")
    for folder in folders:
        subprocess.run([sys.executable, __file__, folder], check=True)


if __name__ == "__main__":
    main()
