"""What training costs: train.py as a whole beside another checkout, its stages, ratings per second.

    python benchmarks/training.py process data/ml-1m --against ../older --turns 3
    python benchmarks/training.py stages data/ml-1m
    python benchmarks/training.py speed data/ml-1m

`process` runs train.py in turns: here, here with --targets ratings, and in the other checkout. "CPU s" and GB are the
processor time and the peak memory of the whole process; a ratio is of CPU seconds to those of the other checkout, the
median over turns, with the lowest and the highest in brackets. `stages` prints the CPU seconds of each stage, and the
validation RMSE of the posterior mean on the way; compare.py has the times of other models. `speed` prints training
steps in ratings per second beside the same model written the plain way, see speed.py.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import machine
from blocks import Table
from loader import Stars, parser, test_split
from machine import Checkout, Cost, format_ratios, measure_process, median_cost

from recommender.evaluation import rating_metrics
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES
from recommender.movielens.releases import read_movielens
from recommender.picks.closed_form import TasteConfig
from recommender.picks.taste_training import train_taste
from recommender.stars.fusion import embed_movies, embed_profiles
from recommender.stars.fusion_training import FusionConfig, train_fusion
from recommender.stars.posterior import sample_posterior

SUBJECTS = ("process", "stages", "speed")
PROGRAMS = {
    "plain Paddle, batch 256": ("paddle", 256),
    "plain Paddle, batch 8120": ("paddle", 8120),
    "plain PyTorch, batch 8120": ("torch", 8120),
    "this project, batch 8120": ("project", 8120),
}
"""Programs of speed.py with their batch sizes."""


def print_processes(data_dir: Path, against: Sequence[Path], turns: int) -> None:
    """Times train.py in turns."""
    here = Checkout(machine.PROJECT)
    runs: dict[str, tuple[Checkout, list[str]]] = {
        "here": (here, []),
        "here, --targets ratings": (here, ["--targets", "ratings"]),
    }
    runs |= {root.name: (Checkout(root.resolve()), []) for root in against}
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, (checkout, options) in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                command = checkout.train(Path(folder), "--data-dir", data_dir.resolve(), *options)
                costs[name].append(measure_process(command, Path(folder)))
    last = list(runs)[-1]
    columns = {"seconds": ".1f", "CPU s": ".1f", "GB": ".2f", "RMSE": ".4f", f"CPU s / {last}": ""}
    table = Table(f"{data_dir.name}: train.py as a whole, {turns} turns", columns)
    for name, own in costs.items():
        rmse = re.findall(r"^this model +([\d.]+)", own[0].output, re.MULTILINE)
        ratios = format_ratios([cost.cpu_seconds for cost in own], [cost.cpu_seconds for cost in costs[last]])
        table.add(name, *median_cost(own), float(rmse[0]), ratios.rjust(24))


def print_stages(data_dir: Path) -> None:
    """Prints the CPU seconds of each stage of training."""
    table = Table(f"{data_dir.name}: stages of training", {"CPU s": ".1f", "RMSE": ".4f"})
    started = time.process_time()

    def lap(name: str, rmse: float = float("nan")) -> None:
        nonlocal started
        table.add(name, time.process_time() - started, rmse)
        started = time.process_time()

    split = test_split(read_movielens(data_dir))
    lap("read and split")
    config = FusionConfig.for_ratings(len(split.train.ratings.rating))
    posterior = sample_posterior(split.train, config.posterior)
    predicted = posterior.predict(split.test.profile_row - NUM_DEMOGRAPHIC_PROFILES, split.test.movie_row)
    lap("posterior mean, test RMSE", rating_metrics(predicted, split.test.rating).rmse)
    model, _ = train_fusion(split.train, split.vocabularies, config, posterior)
    users = embed_profiles(model.user_tower, split.train.profiles)
    stars = Stars(users, embed_movies(model.movie_tower, split.train.movies), 0)
    lap("towers, test RMSE", rating_metrics(stars.predict(split.test), split.test.rating).rmse)
    train_taste(split.train, split.vocabularies, TasteConfig())
    lap("taste model")


def print_speeds(data_dir: Path, turns: int) -> None:
    """Runs each program of speed.py in turns and prints its speed."""
    speeds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(turns):
        for name, (program, batch_size) in PROGRAMS.items():
            command = [sys.executable, Path(__file__).parent / "speed.py", program, data_dir, str(batch_size)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            speeds[name].append(float(output.split()[-1]))
    own = list(speeds)[-1]
    table = Table(f"{data_dir.name}: training steps, {turns} turns", {"ratings/s": ",.0f", "this project / it": ""})
    for name, values in speeds.items():
        table.add(name, statistics.median(values), format_ratios(speeds[own], values).rjust(24))


def main() -> None:
    """Prints the tables of one subject."""
    options = parser(__doc__, 0, SUBJECTS)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER", help="another checkout")
    args = options.parse_args()
    for data_dir in args.data_dirs:
        if args.subject == "process":
            print_processes(data_dir, args.against, args.turns)
        elif args.subject == "stages":
            print_stages(data_dir)
        else:
            print_speeds(data_dir, args.turns)


if __name__ == "__main__":
    main()
