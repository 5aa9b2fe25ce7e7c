"""Training speed: this project against the same model written the plain way, side by side, in ratings a second.

    python benchmarks/training.py --data-dir data/ml-1m

The plain program is what one writes from PaddlePaddle's book: padded titles through `nn.Conv1D`, `F.cosine_similarity`,
both towers once a rating, batches of 256. Both train on the same ratings, in turns; the ratio is that of the medians,
its spread the least and the largest ratio of a turn.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import paddle
import paddle.nn.functional as F
from paddle import nn

from recommender import training
from recommender.features import DEMOGRAPHIC_SIZES, NUM_ANONYMOUS
from recommender.movielens import held_out_rows, read_movielens

PLAIN_BATCH = 256


class PlainModel(nn.Layer):
    """The fusion model as one would write it from the book."""

    def __init__(self, vocabularies) -> None:
        super().__init__()
        sizes = (vocabularies.users.size, *DEMOGRAPHIC_SIZES)
        widths = (32, 16, 16, 16)
        self.user = nn.LayerList([nn.Embedding(*both) for both in zip(sizes, widths, strict=True)])
        self.user_linear = nn.LayerList([nn.Linear(width, width) for width in widths])
        self.user_combine = nn.Linear(80, 200)
        self.movie = nn.Embedding(vocabularies.movies.size, 32)
        self.movie_linear = nn.Linear(32, 32)
        self.genre = nn.Embedding(vocabularies.genres.size, 32, padding_idx=0)
        self.word = nn.Embedding(vocabularies.words.size, 32, padding_idx=0)
        self.convolution = nn.Conv1D(32, 32, 3, padding=1)
        self.movie_combine = nn.Linear(96, 200)

    def forward(self, people, movie, genres, words):
        """Returns scores, float32[batch]; one row of each argument a rating."""
        parts = [linear(table(people[:, i])) for i, (table, linear) in enumerate(zip(self.user, self.user_linear))]  # noqa: B905
        user = paddle.tanh(self.user_combine(paddle.concat(parts, axis=1)))
        title = paddle.tanh(self.convolution(self.word(words).transpose([0, 2, 1]))).sum(2)
        parts = [self.movie_linear(self.movie(movie)), self.genre(genres).sum(1), title]
        movie = paddle.tanh(self.movie_combine(paddle.concat(parts, axis=1)))
        return 5 * F.cosine_similarity(user, movie, axis=1)


def plain_stepper(dataset, vocabularies) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step of the plain program on some rows."""
    model = PlainModel(vocabularies)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters())

    def step(rows: np.ndarray) -> None:
        people = dataset.people[dataset.ratings.user_row[rows] + NUM_ANONYMOUS]
        movies = dataset.movies.take(dataset.ratings.movie_row[rows])
        score = model(paddle.to_tensor(people), *map(paddle.to_tensor, movies))
        loss = F.mse_loss(score, paddle.to_tensor(dataset.ratings.rating[rows].astype(np.float32)))
        float(loss)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    return step


def our_stepper(dataset, vocabularies, config) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step of `recommender.training` on some rows."""
    model = training.create_model(vocabularies, config.id_dropout)
    optimizer = training.create_optimizer(model, config, num_steps=10_000)
    random = np.random.default_rng(0)
    return lambda rows: training.train_step(model, optimizer, dataset, rows, config, random)


def ratings_a_second(step: Callable[[np.ndarray], None], rows: np.ndarray, batch: int, seconds: float) -> float:
    """Takes steps for some seconds and returns how many ratings a second they took."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step(rows[done % (len(rows) - batch) :][:batch])
        done += batch
    return done / (time.perf_counter() - started)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data/ml-1m"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each program in each turn")
    args = parser.parse_args()

    data = read_movielens(args.data_dir)
    dataset, _, vocabularies = training.split_and_encode(data, held_out_rows(len(data.ratings)))
    rows = np.random.default_rng(0).permutation(len(dataset.ratings.rating))
    config = training.TrainConfig()
    programs = {
        f"plain Paddle, batch {PLAIN_BATCH}": (plain_stepper(dataset, vocabularies), PLAIN_BATCH),
        f"train.py, batch {config.batch_size}": (our_stepper(dataset, vocabularies, config), config.batch_size),
    }
    for step, batch in programs.values():
        ratings_a_second(step, rows, batch, 1)
    speeds = {name: [] for name in programs}
    for _ in range(args.turns):
        for name, (step, batch) in programs.items():
            speeds[name].append(ratings_a_second(step, rows, batch, args.seconds))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{os.cpu_count()} cores ({platform.machine()}), paddlepaddle {paddle.__version__}, commit {commit}")
    for name, values in speeds.items():
        print(f"{name:<28}{statistics.median(values):>12,.0f} ratings/s")
    plain, ours = speeds.values()
    ratios = [b / a for a, b in zip(plain, ours, strict=True)]
    print(f"ratio {statistics.median(ours) / statistics.median(plain):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
