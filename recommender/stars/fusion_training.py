"""Trains the fusion model: configuration, batches with dropout of ids, one step, the loop, several processes."""

import io
import math
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from recommender.errors import RecommenderError
from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    MovieFeatures,
    Vocabularies,
    demographic_profile_row,
)
from recommender.movielens.split import Dataset
from recommender.stars.fusion import EMBEDDING_STD, ID_DIM, FusionModel
from recommender.stars.paddle_setup import F, distributed, paddle
from recommender.stars.posterior import ML1M_RATINGS, PosteriorConfig, PosteriorMean, sample_posterior

JOIN_SECONDS = 120
"""Time that the processes of `paddle.distributed.launch` have to find each other."""
MAX_PAIRS = 1 << 17
"""Upper bound on the pairs of a step."""


@dataclass(frozen=True)
class FusionConfig:
    """Hyper-parameters of the fusion model, chosen on validation rows of ml-100k, ml-1m and ml-latest-small.

    The values here are those for ml-1m, see `for_ratings`.
    """

    targets: str = "posterior"
    """What the towers learn: `posterior`, the posterior mean of rated and of random pairs, or `ratings`, the ratings
    themselves, as in the original."""
    epochs: int = 4
    batch_size: int = 5456
    """Ratings per step; with targets `posterior` as many random pairs come on top."""
    learning_rate: float = 0.006
    """Adam's initial learning rate."""
    final_learning_rate: float = 0.05
    """Share of the learning rate to which it falls linearly."""
    l2: float = 0.0
    """L2 regularization of the id and word embeddings."""
    ema_alpha: float = 0.01
    """EMA coefficient (1 - decay) of the weights; the averaged weights are the model."""
    user_id_dropout: float = 0.1
    """Share of the ratings whose user is replaced by a demographic profile, which trains the unknown user."""
    demographic_dropout: float = 0.1
    """Share of these profiles' genders, ages and occupations that are replaced by "unknown"."""
    movie_id_dropout: float = 0.03
    """Share of the pairs whose movie id is replaced by "unknown"."""
    seed: int = 0
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    """The sampler, whose mean is the target and the start of the id embeddings."""

    @classmethod
    def for_ratings(cls, num_ratings: int, targets: str = "posterior", seed: int = 0, **settings: Any) -> Self:
        """Returns the configuration for a number of training ratings; `settings` replace these rules.

        All data get about 660 steps, in 8 epochs where they are small and 4 for ml-1m, until batches are at their
        largest; then 2 epochs. Training on the ratings themselves takes 8 epochs of 110 steps, on large data 4 epochs,
        and needs regularization, which falls with the square root of the data.
        """
        num_ratings = max(1, num_ratings)
        size = num_ratings / ML1M_RATINGS
        if targets == "posterior":
            sampler = PosteriorConfig.for_ratings(num_ratings, seed=seed)
            epochs = round(min(8, max(2, 4 / size**0.3)))
            batch_size = min(MAX_PAIRS // 2, math.ceil(num_ratings * epochs / 660))
            config = cls(targets, epochs, batch_size, seed=seed, posterior=sampler)
        else:
            # The sampler only initializes the id embeddings. The learning rate falls to 30 %; at 0 small data overfit.
            sampler = PosteriorConfig.for_ratings(num_ratings, seed=seed, num_sweeps=6, burn_in=2)
            epochs = round(min(8, max(4, 8 * (2e6 / num_ratings) ** 0.42)))
            batch_size = min(MAX_PAIRS, math.ceil(num_ratings / min(110, 1700 / num_ratings**0.2)))
            rate = min(0.01, cls.learning_rate * max(1, 1 / size) ** 0.22)
            config = cls(targets, epochs, batch_size, rate, 0.3, l2=3e-4 / size**0.5, seed=seed, posterior=sampler)
        return replace(config, **settings)


class Batch(NamedTuple):
    """Pairs with their distinct profiles and movies, so that each tower runs once per distinct row."""

    profiles: np.ndarray
    """int64[distinct profiles, 4]"""
    movies: MovieFeatures
    """Features of the distinct movies."""
    profile_row: np.ndarray
    """int64[pairs], rows of `profiles`"""
    movie_row: np.ndarray
    """int64[pairs], rows of `movies`"""
    target: np.ndarray
    """float32[pairs], stars"""


def draw_batch(
    dataset: Dataset, rows: np.ndarray, posterior: PosteriorMean, config: FusionConfig, random: Generator
) -> Batch:
    """Returns a batch of some ratings, with dropout of user ids, demographics and movie ids.

    With targets `posterior` there are as many random pairs again, of the user of one rating and the movie of another.
    Targets are then the posterior mean, but the true rating where the user id is dropped: what age, gender and job say
    of a rating is in the ratings, not in the mean for a user whose ratings are known.
    """
    profile_row, movie_row, target = dataset.ratings.select(rows)
    dropped = np.flatnonzero(random.random(len(rows)) < config.user_id_dropout)
    if config.targets == "posterior":
        profile_pick, movie_pick = random.integers(len(dataset.ratings.rating), size=(2, len(rows)))
        profile_row = np.append(profile_row, dataset.ratings.profile_row[profile_pick])
        movie_row = np.append(movie_row, dataset.ratings.movie_row[movie_pick])
        mean = posterior.predict(profile_row - NUM_DEMOGRAPHIC_PROFILES, movie_row)
        mean[dropped] = target[dropped]
        target = mean
    demographics = dataset.profiles[profile_row[dropped], 1:]
    kept = random.random(demographics.shape) >= config.demographic_dropout
    profile_row[dropped] = demographic_profile_row(*(demographics * kept).T)
    profiles, profile_row = np.unique(profile_row, return_inverse=True)

    without_id = random.random(len(movie_row)) < config.movie_id_dropout
    num_movies = len(dataset.movies.movie_idx)
    movies, movie_row = np.unique(movie_row + num_movies * without_id, return_inverse=True)
    features = dataset.movies.select(movies % num_movies)
    features.movie_idx[movies >= num_movies] = UNKNOWN
    return Batch(dataset.profiles[profiles], features, profile_row, movie_row, target.astype(np.float32))


def train_step(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, batch: Batch) -> float:
    """Takes one step of gradient descent and returns the mean squared error, in stars squared.

    Raises:
        RecommenderError: The loss is not finite.
    """
    *inputs, target = paddle.utils.map_structure(paddle.to_tensor, batch)
    loss = F.mse_loss(model(*inputs), target)
    if not np.isfinite(float(loss)):
        raise RecommenderError("got NaN loss, training failed; try a smaller --learning-rate")
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return float(loss)


def create_optimizer(
    model: FusionModel, config: FusionConfig, num_steps: int
) -> tuple[paddle.optimizer.Optimizer, paddle.optimizer.lr.LRScheduler]:
    """Returns Adam and its schedule, which falls to `final_learning_rate` over `num_steps` steps."""
    user, movie = model.user_tower, model.movie_tower
    for table in (user.id_branch.embedding, movie.id_branch.embedding, movie.word_embedding):
        table.weight.regularizer = paddle.regularizer.L2Decay(config.l2)
    last = config.final_learning_rate * config.learning_rate
    schedule = paddle.optimizer.lr.PolynomialDecay(config.learning_rate, num_steps, end_lr=last)
    return paddle.optimizer.Adam(schedule, parameters=model.parameters()), schedule


def init_ids(model: FusionModel, dataset: Dataset, posterior: PosteriorMean) -> None:
    """Initializes the embeddings of known ids with the factors of the posterior mean, centred, largest first."""
    users = model.user_tower, dataset.profiles[NUM_DEMOGRAPHIC_PROFILES:, 0], posterior.user_factors
    movies = model.movie_tower, dataset.movies.movie_idx, posterior.movie_factors
    for tower, idx, factors in (users, movies):
        known = idx >= NUM_RESERVED
        centred = factors[known, :ID_DIM] - factors[known, :ID_DIM].mean(0)
        weights = tower.id_branch.embedding.weight.numpy()
        weights[idx[known], : centred.shape[1]] = EMBEDDING_STD * centred / max(float(centred.std()), 1e-9)
        tower.id_branch.embedding.weight.set_value(weights)


def train_fusion(
    dataset: Dataset, vocabularies: Vocabularies, config: FusionConfig, posterior: PosteriorMean | None = None
) -> tuple[FusionModel, list[float]]:
    """Samples the posterior mean and trains a fusion model; the averaged weights of the last step are the model.

    The same seed gives the same model on the same machine. Under `paddle.distributed.launch` every process samples the
    same posterior mean and takes its share of every batch, and all end with the same model.

    Args:
        dataset: The training rows.
        vocabularies: The vocabularies that encoded the dataset.
        config: The hyper-parameters.
        posterior: The posterior mean; by default it is sampled.

    Returns:
        The model, and the mean squared error of each step, in stars squared.

    Raises:
        RecommenderError: The loss is not finite, or there are too few ratings.
    """
    rank, num_processes = process_rank(), distributed.get_world_size()
    num_ratings = len(dataset.ratings.rating)
    if num_ratings < max(2, num_processes):
        raise RecommenderError("too few ratings to learn from; train on at least some hundreds")
    if posterior is None:
        posterior = sample_posterior(dataset, config.posterior)

    paddle.seed(config.seed)
    shuffler, random = np.random.default_rng(config.seed), np.random.default_rng((config.seed, rank))
    model, averaged = (FusionModel(dataset.num_users, vocabularies) for _ in range(2))
    init_ids(model, dataset, posterior)
    batch_size = max(num_processes, min(config.batch_size, num_ratings))
    starts = range(0, num_ratings - num_processes + 1, batch_size)  # Every process has a row in the last batch too.
    optimizer, schedule = create_optimizer(model, config, config.epochs * len(starts))
    parallel = paddle.DataParallel(model) if num_processes > 1 else model
    losses: list[float] = []
    for number in range(1, config.epochs + 1):
        order = shuffler.permutation(num_ratings)
        for start in tqdm(starts, f"towers, epoch {number}/{config.epochs}", disable=None):
            rows = np.sort(order[start : start + batch_size][rank::num_processes])  # Neighbours are faster to gather.
            batch = draw_batch(dataset, rows, posterior, config, random)
            losses.append(train_step(parallel, optimizer, batch))
            schedule.step()
            # The mean of all steps at first, then an exponential moving average.
            update_ema(averaged, model, max(1 / len(losses), config.ema_alpha))
    averaged.eval()
    return averaged, losses


@paddle.no_grad()
def update_ema(averaged: FusionModel, model: FusionModel, alpha: float) -> None:
    """Moves each averaged weight by `alpha` of its distance to the model's weight."""
    for mean, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, alpha)


def plot_training_curve(losses: Sequence[float]) -> bytes:
    """Returns a PNG of the towers' loss per step."""
    from matplotlib.figure import Figure  # Only here: benchmarks and queries do without it.

    figure = Figure(figsize=(6, 4), layout="tight")
    axes = figure.subplots()
    axes.semilogy(losses)
    axes.set(xlabel="step", ylabel="mean squared error (stars²)")
    image = io.BytesIO()
    figure.savefig(image, dpi=120)
    return image.getvalue()


def init_device(device: str) -> int:
    """Selects `cpu` or `gpu`, joins the processes of `paddle.distributed.launch`, if any, and returns the rank.

    Raises:
        RecommenderError: This build of Paddle has no GPU support.
    """
    if device == "gpu" and not paddle.is_compiled_with_cuda():
        raise RecommenderError("this paddlepaddle has no GPU support; install paddlepaddle-gpu or use --device cpu")
    paddle.set_device(device)
    if distributed.get_world_size() > 1:
        watchdog = threading.Timer(JOIN_SECONDS, _give_up)  # Paddle waits for ever, in C++.
        watchdog.start()
        distributed.init_parallel_env()
        distributed.barrier()
        watchdog.cancel()
    return process_rank()


def _give_up() -> None:
    print("error: the other processes of this launch do not answer; start all of them", file=sys.stderr, flush=True)
    os._exit(1)


def process_rank() -> int:
    """Returns this process' number: 0 does what is done once, and is the only one without `distributed.launch`."""
    return int(distributed.get_rank()) if distributed.get_world_size() > 1 else 0


def barrier() -> None:
    """Waits for all processes of `paddle.distributed.launch`."""
    if distributed.get_world_size() > 1:
        distributed.barrier()
