"""Training: its speed, whole processes, and the time until a quality is reached.

    pip install -r requirements-benchmarks.txt
    python benchmarks/training.py --data-dir data/ml-1m
    python benchmarks/training.py --only speed --threads 1 2
    python benchmarks/training.py --only process --against ../older --against ../oldest

Speed: this project beside the same model written the plain way, in Paddle and in PyTorch. Each program runs in a
process of its own, in turns, with one thread or with each number of --threads.
Process: train.py as a whole, here and in other checkouts, in turns, with OMP_NUM_THREADS as it is set where the
benchmark is started, or with each number of --threads. This project then takes one thread, versions up to 0ed157d all
cores.
Quality: seconds until the validation RMSE passes some marks, beside the time that Surprise's SVD takes to fit; seconds
that the taste model takes, beside EASE, EDLAE and implicit's ALS, whose lists evaluate.py evaluates.

A ratio is the median over turns, with the lowest and the highest of a turn in brackets.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from machine import PROJECT, child_environment, describe_threads, format_ratios, measure_process, print_machine
from ours import test_split
from rivals import RANKING_RIVALS, load_settings
from tables import Table

from recommender.cli.arguments import PipelinePaths, number_arg, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.split import Split, held_out_rows
from recommender.movielens.releases import MovieLens
from recommender.movielens.releases import DEFAULT_DATA_DIR, read_movielens
from recommender.picks.taste_training import TasteConfig, train_taste
from recommender.stars.fusion_training import Epoch, TrainConfig, train_model

CONFIG = TrainConfig()
THIS_PROJECT = f"this project, batch {CONFIG.batch_size}"
PROGRAMS = {
    "plain Paddle, batch 256": ("paddle", 256),
    f"plain Paddle, batch {CONFIG.batch_size}": ("paddle", CONFIG.batch_size),
    f"plain PyTorch, batch {CONFIG.batch_size}": ("torch", CONFIG.batch_size),
    f"PyTorch, towers per distinct row, batch {CONFIG.batch_size}": ("torch-distinct", CONFIG.batch_size),
    THIS_PROJECT: ("project", CONFIG.batch_size),
}
"""Programs of speed.py with their batch sizes."""
RMSE_MARKS = (0.870, 0.862, 0.855, 0.850)
"""Surprise's SVD and SVD++ reach the first two."""
PROCESS_MARK = 0.855
"""Validation RMSE whose time is read from the output of train.py."""
LIST_RIVALS = ("EASE", "EDLAE", "implicit ALS")
PARTS = ("speed", "process", "quality")


def print_speeds(data_dir: Path, threads: int, turns: int, seconds: float) -> None:
    """Runs each program in turns and prints its speed."""
    speeds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(turns):
        for name, (program, batch_size) in PROGRAMS.items():
            options = ["--data-dir", data_dir, "--batch-size", str(batch_size), "--seconds", str(seconds)]
            command = [sys.executable, PROJECT / "benchmarks/speed.py", program, *options]
            environment = child_environment(threads)
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            speeds[name].append(float(output.split()[-1]))
    table = Table(f"Speed, {describe_threads(threads)}", {"ratings/s": ",.0f", "this project, times as fast": ""})
    for name, values in speeds.items():
        table.add(name, statistics.median(values), format_ratios(speeds[THIS_PROJECT], values))


class Run(NamedTuple):
    """One run of train.py."""

    seconds: float
    mark_seconds: float
    """Seconds until it prints `PROCESS_MARK`, NaN if never."""
    gigabytes: float


def run_training(checkout: Path, data_dir: Path, epochs: int | None, threads: int | None) -> Run:
    """Runs a checkout's train.py in an empty folder."""
    reached: list[float] = []

    def on_line(seconds: float, line: str) -> None:
        found = re.search(r"^epoch .*validation RMSE ([\d.]+)", line)
        if found and float(found[1]) <= PROCESS_MARK:
            reached.append(seconds)

    options = ["--epochs", epochs] if epochs else []
    with tempfile.TemporaryDirectory() as folder:
        command = [checkout / "train.py", "--data-dir", data_dir, *options]
        cost = measure_process(command, Path(folder), threads, on_line)
    return Run(cost.seconds, min(reached, default=math.nan), cost.gigabytes)


def print_processes(
    data_dir: Path, checkouts: Sequence[Path], epochs: int | None, threads: int | None, turns: int
) -> None:
    """Prints the cost of train.py in several checkouts, in turns; ratios are to the first."""
    runs: dict[Path, list[Run]] = {checkout: [] for checkout in checkouts}
    for _ in range(turns):
        for checkout, done in runs.items():
            done.append(run_training(checkout, data_dir, epochs, threads))
    title = f"train.py as a whole, {describe_threads(threads)}"
    mark = f"s to RMSE {PROCESS_MARK}"
    columns = {"seconds": ".1f", "times as long as here": "", mark: ".1f", "times as long": "", "GB": ".2f"}
    table = Table(title, columns, name_width=24)
    first_seconds, first_mark_seconds, _ = zip(*runs[checkouts[0]], strict=True)
    for checkout, done in runs.items():
        seconds, mark_seconds, gigabytes = zip(*done, strict=True)
        table.add(
            "here" if checkout == PROJECT else checkout.name,
            statistics.median(seconds),
            format_ratios(seconds, first_seconds),
            statistics.median(mark_seconds),
            format_ratios(mark_seconds, first_mark_seconds),
            statistics.median(gigabytes),
        )


def print_time_to_quality(data: MovieLens, split: Split, epochs: int | None) -> None:
    """Prints the seconds until the validation RMSE passes some marks."""
    settings = {"epochs": epochs} if epochs else {}
    config = TrainConfig.for_ratings(len(split.train.ratings.rating), **settings)
    log: list[tuple[float, float]] = []
    started = time.perf_counter()

    def on_epoch(epoch: Epoch) -> None:
        log.append((time.perf_counter() - started, epoch.validation.rmse))

    train_model(split.train, split.vocabularies, config, on_epoch)
    table = Table("Time to a quality, in this process", {"seconds": ".1f"})
    for mark in RMSE_MARKS:
        table.add(
            f"validation RMSE {mark:.3f}", min((seconds for seconds, rmse in log if rmse <= mark), default=math.nan)
        )
    table.add(f"all {len(log)} epochs, validation RMSE {min(rmse for _, rmse in log):.4f}", log[-1][0])
    table.add("Surprise SVD, one fit", time_surprise(data))


def time_surprise(data: MovieLens) -> float:
    """Returns the seconds that Surprise's SVD takes to fit the training rows."""
    from surprise import SVD, Dataset, Reader

    fitted = data.ratings[~held_out_rows(len(data.ratings))][["user_id", "movie_id", "rating"]]
    trainset = Dataset.load_from_df(fitted, Reader(rating_scale=(1, 5))).build_full_trainset()
    return time_call(lambda: SVD(random_state=0).fit(trainset))


def print_list_models(name: str, split: Split) -> None:
    """Prints the seconds that models of lists take to fit, others with the settings that tune.py chose."""
    settings = load_settings(name)
    table = Table("Time to fit a model of lists, in this process", {"seconds": ".1f"})
    table.add("taste model", time_call(lambda: train_taste(split.train, split.vocabularies, TasteConfig())))
    for rival in LIST_RIVALS:
        table.add(
            rival, time_call(lambda fit=RANKING_RIVALS[rival].fit, chosen=settings[rival]: fit(split.train, **chosen))
        )


def time_call(function: Callable[[], object]) -> float:
    """Returns the seconds that a function takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def measure(args: argparse.Namespace) -> None:
    """Prints the tables that the options ask for."""
    print_machine("paddlepaddle", "torch", "scikit-surprise", "implicit")
    if "speed" in args.only:
        for threads in args.threads or [1]:
            print_speeds(args.data_dir, threads, args.turns, args.seconds)
    if "process" in args.only:
        checkouts = [PROJECT, *(checkout.resolve() for checkout in args.against)]
        for threads in args.threads or [None]:
            print_processes(args.data_dir.resolve(), checkouts, args.epochs, threads, args.turns)
    if "quality" in args.only:
        data = read_movielens(args.data_dir)
        split = test_split(data)
        print_time_to_quality(data, split, args.epochs)
        print_list_models(args.data_dir.name, split)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR)
    add("--only", nargs="+", choices=PARTS, default=PARTS)
    add("--turns", type=number_arg(int, 1), default=5)
    add("--seconds", type=number_arg(float, 0.1), default=4.0, help="per program and turn (default: %(default)s)")
    add("--epochs", type=number_arg(int, 1), help="of train.py and of the time to a quality (default: theirs)")
    add("--threads", type=number_arg(int, 1), nargs="+", help="numbers of threads, one table each; see above")
    add("--against", type=path_arg, action="append", default=[], metavar="FOLDER", help="another checkout")
    args = parser.parse_args(argv)
    return run_and_report(lambda: measure(args), PipelinePaths().command)


if __name__ == "__main__":
    run_main(main)
