"""Prints the training speed of one program in ratings per second; `training.py` runs it for its table of speeds.

    python benchmarks/speed.py torch --data-dir data/ml-1m

A process holds one framework only: PyTorch that is loaded after Paddle shares an OpenMP runtime with it, which was
started with all cores whatever OMP_NUM_THREADS says.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from machine import num_threads

from recommender.cli.arguments import PipelinePaths, number_arg, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.split import Split, held_out_rows, split_and_encode
from recommender.movielens.releases import DEFAULT_DATA_DIR, read_movielens

PROGRAMS = ("paddle", "torch", "torch-distinct", "project")
WARM_UP_SECONDS = 1
Step = Callable[[np.ndarray], object]
"""Takes one step on some rows of the training ratings."""


def create_step(program: str, split: Split, batch_size: int) -> Step:
    """Returns the step of a program."""
    if program == "paddle":
        import plain_paddle

        return plain_paddle.create_step(split.train, split.vocabularies)
    if program == "project":
        return create_project_step(split, batch_size)
    import plain_torch
    import torch

    assert torch.get_num_threads() == num_threads(), f"{torch.get_num_threads()} threads instead of {num_threads()}"
    return plain_torch.create_step(split.train, split.vocabularies, distinct=program == "torch-distinct")


def create_project_step(split: Split, batch_size: int) -> Step:
    """Returns the step of this project."""
    from recommender.stars.fusion import FusionModel
    from recommender.stars.fusion_training import TrainConfig, create_optimizer, draw_batch, train_step

    config = TrainConfig(batch_size=batch_size)
    model = FusionModel(split.train.num_users, split.vocabularies)
    optimizer, _ = create_optimizer(model, config, num_steps=100_000)
    random = np.random.default_rng(0)
    return lambda rows: train_step(model, optimizer, draw_batch(split.train, rows, config, random))


def measure_speed(step: Step, num_ratings: int, batch_size: int, seconds: float) -> float:
    """Returns ratings per second after warming up."""
    rows = np.random.default_rng(0).permutation(num_ratings)
    batch_size = min(batch_size, num_ratings)
    for limit in (WARM_UP_SECONDS, seconds):
        num_done, elapsed, started = 0, 0.0, time.perf_counter()
        while elapsed < limit:
            first = num_done % (num_ratings - batch_size + 1)
            step(rows[first : first + batch_size])
            num_done += batch_size
            elapsed = time.perf_counter() - started
    return num_done / elapsed


def print_speed(args: argparse.Namespace) -> None:
    """Prints the speed."""
    data = read_movielens(args.data_dir)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    step = create_step(args.program, split, args.batch_size)
    print(measure_speed(step, len(split.train.ratings.rating), args.batch_size, args.seconds))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR)
    parser.add_argument("--batch-size", type=number_arg(int, 1), default=8120, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=number_arg(float, 0.1), default=4.0, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    return run_and_report(lambda: print_speed(args), PipelinePaths().command)


if __name__ == "__main__":
    run_main(main)
