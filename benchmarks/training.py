"""Training: how fast, and how soon how good.

    pip install -r requirements-benchmarks.txt
    python benchmarks/training.py --data-dir data/ml-1m

Speed: this project beside the same model written the plain way, in Paddle and in PyTorch, in ratings a second. Each
runs in a process of its own, in turns; a ratio is the median over turns, its spread the least and largest of a turn.
Quality: seconds until the validation RMSE passes some marks, beside the time that Surprise's SVD takes to fit, and
seconds that the taste takes, beside EASE and the ALS of implicit, whose lists `evaluate.py` judges.
"""

import argparse
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from baselines import ease_weights
from machine import PROJECT, THREADS, Cost, cost_of, print_machine, spread
from rankings import select
from rivals import als_scorer

from recommender.cli.arguments import Places, run
from recommender.data.dataset import Split, split_and_encode
from recommender.data.movielens import DEFAULT_DATA_DIR, MovieLens, held_out_rows, read_movielens
from recommender.errors import training
from recommender.evaluation.metrics import LIKED_FROM, rating_cells
from recommender.training.taste import TasteConfig, train_taste

CONFIG = training.TrainConfig().fit(900_228)  # As on ml-1m.
OURS = f"this project, batch {CONFIG.batch_size}"
PROGRAMS = {
    "plain Paddle, batch 256": 256,
    f"plain Paddle, batch {CONFIG.batch_size}": CONFIG.batch_size,
    f"plain PyTorch, batch {CONFIG.batch_size}": CONFIG.batch_size,
    f"PyTorch, towers once a distinct row, batch {CONFIG.batch_size}": CONFIG.batch_size,
    OURS: CONFIG.batch_size,
}
MARKS = (0.870, 0.862, 0.855, 0.850)
"""Validation RMSE; Surprise's SVD and SVD++ reach the first two."""
GOOD = 0.855
"""The mark that is looked for in what `train.py` prints."""
PARTS = ("speed", "process", "quality")


def stepper(name: str, split: Split) -> Callable[[np.ndarray], object]:
    """Returns a function that takes one step of a program on some rows."""
    if name.startswith("plain Paddle"):
        import plain_paddle

        return plain_paddle.stepper(split.train, split.vocabularies)
    if "PyTorch" in name:
        import plain_torch

        return plain_torch.stepper(split.train, split.vocabularies, distinct="distinct" in name)
    model = training.create_model(len(split.user_ids), split.vocabularies)
    optimizer = training.create_optimizer(model, CONFIG, num_steps=100_000)
    random = np.random.default_rng(0)

    def step(rows: np.ndarray) -> None:
        training.train_step(model, optimizer, training.draw_batch(split.train, rows, CONFIG, random))

    return step


def speed_of(name: str, split: Split, seconds: float) -> float:
    """Returns how many ratings a second a program takes, after a second of warming up."""
    step, batch = stepper(name, split), PROGRAMS[name]
    rows = np.random.default_rng(0).permutation(len(split.train.ratings.rating))
    started, done = time.perf_counter(), 0
    for limit in (1, seconds):
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < limit:
            step(rows[done % (len(rows) - batch) :][:batch])
            done += batch
    return done / (time.perf_counter() - started)


def print_speeds(data_dir: Path, threads: int, turns: int, seconds: float) -> None:
    """Runs every program in turns and prints their speeds."""
    speeds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(turns):
        for name in PROGRAMS:
            command = ["env", f"{THREADS}={threads}", sys.executable, __file__, "--data-dir", data_dir]
            command += ["--seconds", str(seconds), "--speed-of", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            speeds[name].append(float(done.stdout.split()[-1]))
    print(f"{f'{THREADS} {threads}':<52}{'ratings/s':>11}   this project is so many times as fast")
    for name, values in speeds.items():
        print(f"{name:<52}{statistics.median(values):>11,.0f}   {spread(speeds[OURS], values)}")
    print(flush=True)


def watch(folder: Path, data_dir: Path) -> tuple[Cost, float]:
    """Returns what a checkout's `train.py` takes, and after how many seconds it says that it is good."""
    good: list[float] = []

    def look(seconds: float, line: str) -> None:
        found = re.search(r"validation RMSE ([\d.]+)", line)
        if found and float(found[1]) <= GOOD:
            good.append(seconds)

    with tempfile.TemporaryDirectory() as place:
        cost = cost_of([folder / "train.py", "--data-dir", data_dir], Path(place), look)
    return cost, min(good, default=math.nan)


def print_processes(data_dir: Path, folders: list[Path], turns: int) -> None:
    """Prints what `train.py` takes, here and in other checkouts, in turns."""
    runs: dict[Path, list[tuple[Cost, float]]] = {folder: [] for folder in folders}
    for _ in range(turns):
        for folder in folders:
            runs[folder].append(watch(folder, data_dir))
    print(f"{'train.py':<34}{'seconds':>9}{'GB':>7}   {'times as long as here':<23}{f'to RMSE {GOOD}':>15}   times")
    first: tuple[list[float], list[float]] | None = None
    for folder, each in runs.items():
        whole, good = [cost.seconds for cost, _ in each], [seconds for _, seconds in each]
        first = first or (whole, good)
        gigabytes = statistics.median(cost.gigabytes for cost, _ in each)
        print(
            f"{folder.name:<34}{statistics.median(whole):>9.1f}{gigabytes:>7.2f}   {spread(whole, first[0]):<23}"
            f"{statistics.median(good):>13.1f} s   {spread(good, first[1])}"
        )
    print(flush=True)


def print_time_to_quality(data: MovieLens, split: Split) -> None:
    """Prints how soon training is how good."""
    from surprise import SVD, Dataset, Reader

    fitted = data.ratings[~held_out_rows(len(data.ratings))]
    trainset = Dataset.load_from_df(fitted, Reader(rating_scale=(1, 5))).build_full_trainset()
    started = time.perf_counter()
    SVD(random_state=0).fit(trainset)
    print(f"{'Surprise SVD fits in':<54}{time.perf_counter() - started:>8.1f} s")
    log: list[tuple[float, float]] = []
    started = time.perf_counter()

    def on_epoch(epoch: training.Epoch) -> None:
        log.append((time.perf_counter() - started, epoch.validation.rmse))

    training.train_model(split.train, split.vocabularies, CONFIG, on_epoch)
    for mark in MARKS:
        passed = [seconds for seconds, rmse in log if rmse <= mark]
        print(f"{f'validation RMSE {mark:.3f} after':<54}" + (f"{passed[0]:>8.1f} s" if passed else "   never"))
    print(f"{f'its best, {min(rmse for _, rmse in log):.4f}, and all epochs after':<54}{log[-1][0]:>8.1f} s")

    train, num_people, num_movies = split.train.ratings, len(split.train.people), len(data.movies)
    likes = rating_cells(select(train, train.rating >= LIKED_FROM), np.arange(num_people), num_movies)
    settings = {"factors": 256, "regularization": 60.0, "alpha": 1.0}
    fits: dict[str, Callable[[], object]] = {
        "the taste": lambda: train_taste(split.train, split.vocabularies, TasteConfig()),
        "EASE": lambda: ease_weights(likes.astype(np.float32)),
        "implicit ALS, as evaluate.py sets it": lambda: als_scorer(train, num_people, num_movies, **settings),
    }
    for name, fit in fits.items():
        started = time.perf_counter()
        fit()
        print(f"{f'{name} after':<54}{time.perf_counter() - started:>8.1f} s")


def measure(args: argparse.Namespace) -> None:
    """Prints what the options ask for."""
    data = read_movielens(args.data_dir)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    if args.speed_of:
        print(speed_of(args.speed_of, split, args.seconds))
        return
    print_machine("paddlepaddle", "torch", "scikit-surprise")
    if "speed" in args.only:
        for threads in args.threads:
            print_speeds(args.data_dir, threads, args.turns, args.seconds)
    if "process" in args.only:
        print_processes(args.data_dir.resolve(), [PROJECT, *args.against], args.turns)
    if "quality" in args.only:
        print_time_to_quality(data, split)


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA_DIR)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each program in each turn")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of OpenMP, a table each")
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER", help="another checkout")
    parser.add_argument("--speed-of", choices=PROGRAMS, help="print the speed of this program only")
    args = parser.parse_args()
    return run(lambda: measure(args), Places())


if __name__ == "__main__":
    sys.exit(main())
