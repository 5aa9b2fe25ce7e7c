"""Training: how fast, how soon how good, and where the time goes.

    pip install -r requirements-benchmarks.txt
    python benchmarks/training.py --data-dir data/ml-1m

Speed: this project beside the same model written the plain way, in Paddle and in PyTorch, in ratings a second. Each
runs in a process of its own, in turns; a ratio is that of the medians, its spread the least and largest of a turn.
Quality: seconds until the validation RMSE passes that of Surprise's SVD and SVD++, beside the time SVD takes to fit.
"""

import argparse
import cProfile
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import print_machine

from recommender import training
from recommender.command import run
from recommender.movielens import DEFAULT_DATA_DIR, MovieLens, held_out_rows, read_movielens

DEFAULTS = training.TrainConfig()
PROGRAMS = {
    "plain Paddle, batch 256": 256,
    f"plain PyTorch, batch {DEFAULTS.batch_size}": DEFAULTS.batch_size,
    f"PyTorch, towers once a distinct row, batch {DEFAULTS.batch_size}": DEFAULTS.batch_size,
    f"train.py, batch {DEFAULTS.batch_size}": DEFAULTS.batch_size,
}
QUALITIES = {"Surprise's SVD": 0.870, "SVD++": 0.862}
PARTS = {
    "numpy: draw and number the distinct rows": ("hide", "unique", "take"),
    "forward": ("forward",),
    "backward": ("backward",),
    "Adam": ("step",),
}


def stepper(name: str, split: training.Split) -> Callable[[np.ndarray], object]:
    """Returns a function that takes one step of a program on some rows."""
    if name.startswith("plain Paddle"):
        import plain_paddle

        return plain_paddle.stepper(split.train, split.vocabularies)
    if "PyTorch" in name:
        import plain_torch

        return plain_torch.stepper(split.train, split.vocabularies, distinct="distinct" in name)
    model = training.create_model(split.vocabularies, DEFAULTS.id_dropout)
    optimizer = training.create_optimizer(model, DEFAULTS, num_steps=10_000)
    random = np.random.default_rng(0)
    return lambda rows: training.train_step(model, optimizer, split.train, rows, DEFAULTS, random)


def take_steps(step: Callable[[np.ndarray], object], num_ratings: int, batch: int, seconds: float) -> float:
    """Takes steps for some seconds and returns how many ratings a second they took."""
    rows = np.random.default_rng(0).permutation(num_ratings)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step(rows[done % (num_ratings - batch) :][:batch])
        done += batch
    return done / (time.perf_counter() - started)


def print_speeds(args: argparse.Namespace) -> None:
    """Runs every program in turns and prints their speeds."""
    speeds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(args.turns):
        for name in PROGRAMS:
            command = [sys.executable, __file__, "--data-dir", args.data_dir, "--seconds", str(args.seconds)]
            done = subprocess.run([*command, "--only", name], check=True, capture_output=True, text=True)
            speeds[name].append(float(done.stdout.split()[-1]))
    *others, ours = speeds
    print(f"{'':<58}{'ratings/s':>12}   train.py / it")
    for name in others:
        ratios = [b / a for a, b in zip(speeds[name], speeds[ours], strict=True)]
        ratio = statistics.median(speeds[ours]) / statistics.median(speeds[name])
        spread = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<58}{statistics.median(speeds[name]):>12,.0f}   {spread}")
    print(f"{ours:<58}{statistics.median(speeds[ours]):>12,.0f}")


def print_time_to_quality(data: MovieLens, split: training.Split) -> None:
    """Trains twice, in the default number of epochs and in few, and times how soon it is how good."""
    from surprise import SVD, Dataset, Reader

    fitted = data.ratings[~held_out_rows(len(data.ratings))]
    trainset = Dataset.load_from_df(fitted, Reader(rating_scale=(1, 5))).build_full_trainset()
    started = time.perf_counter()
    SVD(random_state=0).fit(trainset)
    print(f"\n{'Surprise SVD fits in':<46}{time.perf_counter() - started:>7.1f} s")
    for epochs in (DEFAULTS.epochs, 5):
        started, log = time.perf_counter(), []
        config = training.TrainConfig(epochs=epochs)
        training.train_model(
            split.train,
            split.vocabularies,
            config,
            lambda epoch, log=log, started=started: log.append((epoch.validation.rmse, time.perf_counter() - started)),
        )
        for name, rmse in QUALITIES.items():
            passed = [seconds for reached, seconds in log if reached <= rmse]
            when = f"{passed[0]:>7.1f} s" if passed else "  never"
            print(f"{f'train.py --epochs {epochs}, as good as {name}':<46}{when}   (validation RMSE {rmse})")
        rmse, seconds = min(log)
        print(f"{f'train.py --epochs {epochs}, its best':<46}{seconds:>7.1f} s   (validation RMSE {rmse:.4f})")


def print_profile(split: training.Split) -> None:
    """Prints which parts of a step take which share of the time."""
    step = stepper(list(PROGRAMS)[-1], split)
    take_steps(step, len(split.train.ratings.rating), DEFAULTS.batch_size, seconds=2)
    profiler = cProfile.Profile()
    profiler.runcall(take_steps, step, len(split.train.ratings.rating), DEFAULTS.batch_size, seconds=10)
    spent: dict[str, float] = {}
    for (file, _, function), (_, _, _, seconds, _) in pstats.Stats(profiler).stats.items():
        if "<frozen" not in file:
            spent[function] = max(spent.get(function, 0), seconds)
    total = spent["train_step"]
    shares = {name: sum(spent[part] for part in parts) / total for name, parts in PARTS.items()}
    print("\nWhere the time of a step goes")
    for name, share in {**shares, "the rest": 1 - sum(shares.values())}.items():
        print(f"{name:<44}{share:>6.0%}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA_DIR)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each program in each turn")
    parser.add_argument("--only", choices=PROGRAMS, help="print the speed of this program only")
    args = parser.parse_args()
    data = read_movielens(args.data_dir)
    split = training.split_and_encode(data, held_out_rows(len(data.ratings)))
    if args.only:
        step, batch = stepper(args.only, split), PROGRAMS[args.only]
        take_steps(step, len(split.train.ratings.rating), batch, seconds=1)
        print(take_steps(step, len(split.train.ratings.rating), batch, args.seconds))
        return
    print_machine("paddlepaddle", "torch", "scikit-surprise")
    print_speeds(args)
    print_time_to_quality(data, split)
    print_profile(split)


if __name__ == "__main__":
    sys.exit(run(main))
