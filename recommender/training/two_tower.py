"""Trains the fusion model: the configuration, one step, the loop with validation and early stopping."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from recommender.data.dataset import Dataset
from recommender.data.features import (
    DEMOGRAPHIC_SIZES,
    NUM_ANONYMOUS,
    NUM_RESERVED,
    MovieFeatures,
    Vocabularies,
    anonymous_row,
)
from recommender.errors import RecommenderError
from recommender.evaluation.metrics import RatingMetrics, Ratings, predict_scores, rating_metrics
from recommender.models.paddle_setup import F, distributed, paddle
from recommender.models.two_tower import EMBEDDING_STD, FusionModel
from recommender.training.svd_init import spectral_start


class TrainingError(RecommenderError):
    """Training cannot go on."""


@dataclass(frozen=True)
class TrainConfig:
    """What decides the outcome of training; chosen on validation rows of ml-1m."""

    epochs: int = 7
    batch_size: int = 1 << 17
    """At most; see `fit`."""
    learning_rate: float = 0.006
    """Adam's, at the start; it falls linearly to zero over the epochs."""
    l2: float = 3e-4
    """L2 regularisation of the id and word embeddings."""
    newest_share: float = 0.01
    """How much the weights after a step count in the mean of those after all steps, which is the model."""
    anonymous_share: float = 0.1
    """Share of the ratings whose user the model is not told, so that it learns an unknown user."""
    hidden_share: float = 0.1
    """Share of the anonymous users' genders, ages and occupations that it is not told either."""
    unknown_movie_share: float = 0.03
    """Share of the ratings whose movie's id it is not told, so that it learns an unknown movie."""
    validation_share: float = 0.01
    """Share of the training rows that only choose the best epoch."""
    patience: int = 2
    """Stop after so many epochs in a row without a better validation RMSE."""
    most_steps: int = 200
    """An epoch of few ratings."""
    seed: int = 0

    def num_validation(self, num_ratings: int) -> int:
        """Returns how many of the ratings do not teach, but choose the best epoch."""
        return max(1, int(num_ratings * self.validation_share))

    def fit(self, num_ratings: int) -> "TrainConfig":
        """Returns this configuration with batches that are small enough for so many ratings.

        Batches grow a little faster than the data: n ratings are learnt in 1700 / n^0.2 steps an epoch, 110 on ml-1m.
        So the towers, which run once a distinct person and movie in a batch, and Adam, which updates all rows of all
        tables in every step, cost little more a rating where there are many of them.

        Raises:
            TrainingError: There are too few.
        """
        num_train = num_ratings - self.num_validation(num_ratings)
        if num_train <= 0:
            raise TrainingError("too few ratings to learn from; train on at least some hundreds")
        num_steps = min(self.most_steps, 1700 / num_train**0.2)
        return replace(self, batch_size=min(self.batch_size, math.ceil(num_train / num_steps)))


class Batch(NamedTuple):
    """Some ratings, as the model reads them: each tower runs once a distinct person and movie."""

    people: np.ndarray
    """int64[distinct people, 4]"""
    movies: MovieFeatures
    """Of the distinct movies."""
    person_row: np.ndarray
    """int64[ratings], each rating's row of `people`"""
    movie_row: np.ndarray
    """int64[ratings], each rating's row of `movies`"""
    rating: np.ndarray
    """float32[ratings], stars"""


class Epoch(NamedTuple):
    """One line of the training log. Losses are mean squared errors, in stars squared."""

    number: int
    train_loss: float
    validation_loss: float
    validation: RatingMetrics


class Trained(NamedTuple):
    """The model of the best epoch, and how it came about."""

    model: FusionModel
    best: Epoch
    epochs: list[Epoch]


def set_device(device: str) -> int:
    """Chooses where to train, `cpu` or `gpu`, and joins the other processes of `paddle.distributed.launch`, if any.

    Returns:
        This process' rank; the one of rank 0 is to do what needs doing once, and then calls `wait_for_all`.

    Raises:
        TrainingError: This Paddle cannot use a GPU.
    """
    if device == "gpu" and not paddle.is_compiled_with_cuda():
        raise TrainingError("this paddlepaddle has no GPU support; install paddlepaddle-gpu or use --device cpu")
    paddle.set_device(device)
    if distributed.get_world_size() > 1:
        distributed.init_parallel_env()
    return int(distributed.get_rank())


def wait_for_all() -> None:
    """Waits until all processes are here: what the first one has downloaded, the others can read."""
    if distributed.get_world_size() > 1:
        distributed.barrier()


def create_model(num_users: int, vocabularies: Vocabularies) -> FusionModel:
    """Creates an untrained model with room for some users and everything in the vocabularies."""
    return FusionModel(
        num_users=NUM_RESERVED + num_users,
        demographic_sizes=DEMOGRAPHIC_SIZES,
        num_movies=vocabularies.movies.size,
        num_genres=vocabularies.genres.size,
        num_words=vocabularies.words.size,
    )


@paddle.no_grad()
def embed_people(user_tower: Callable[..., paddle.Tensor], people: np.ndarray, batch_size: int = 1 << 14) -> np.ndarray:
    """Returns float32[people, 200], unit length: what a user tower, live or loaded, makes of the rows of `people`."""
    batches = [people[start : start + batch_size] for start in range(0, len(people), batch_size)]
    return np.concatenate([user_tower(paddle.to_tensor(batch)).numpy() for batch in batches])


@paddle.no_grad()
def embed_movies(
    movie_tower: Callable[..., paddle.Tensor], movies: MovieFeatures, batch_size: int = 1 << 14
) -> np.ndarray:
    """Returns float32[movies, 200], unit length: what a movie tower, live or loaded, makes of the features."""
    rows = range(len(movies.movie_index))
    batches = [movies.take(np.array(rows[start : start + batch_size])) for start in rows[::batch_size]]
    return np.concatenate([movie_tower(*map(paddle.to_tensor, batch)).numpy() for batch in batches])


def hide_people(
    person_row: np.ndarray, people: np.ndarray, config: TrainConfig, random: np.random.Generator
) -> np.ndarray:
    """Returns int64[ratings], each rating's row of `people`: the user, or now and then someone less known.

    An anonymous person has the user's gender, age and occupation, each hidden now and then.
    """
    anonymous = np.flatnonzero(random.random(len(person_row)) < config.anonymous_share)
    demographics = people[person_row[anonymous], 1:]
    shown = random.random(demographics.shape) >= config.hidden_share
    person_row = person_row.copy()
    person_row[anonymous] = anonymous_row(*(demographics * shown).T)
    return person_row


def draw_batch(dataset: Dataset, rows: np.ndarray, config: TrainConfig, random: np.random.Generator) -> Batch:
    """Looks up some ratings' people and movies, of which some are hidden, and numbers the distinct ones."""
    person_row = hide_people(dataset.ratings.person_row[rows], dataset.people, config, random)
    people, person_row = np.unique(person_row, return_inverse=True)
    movie_row = dataset.ratings.movie_row[rows]
    is_hidden = random.random(len(rows)) < config.unknown_movie_share
    shown, shown_row = np.unique(movie_row[~is_hidden], return_inverse=True)
    hidden, hidden_row = np.unique(movie_row[is_hidden], return_inverse=True)
    distinct_row = np.empty(len(rows), np.int64)
    distinct_row[~is_hidden] = shown_row
    distinct_row[is_hidden] = len(shown) + hidden_row
    parts = zip(dataset.movies.take(shown), dataset.hidden_movies.take(hidden), strict=True)
    return Batch(
        dataset.people[people],
        MovieFeatures(*map(np.concatenate, parts)),
        person_row,
        distinct_row,
        dataset.ratings.rating[rows].astype(np.float32),
    )


def train_step(model: FusionModel, optimizer: paddle.optimizer.Optimizer, batch: Batch) -> float:
    """Takes one step.

    Returns:
        The loss, in stars squared.

    Raises:
        TrainingError: The loss is not a number.
    """
    score = model(
        paddle.to_tensor(batch.people), tuple(map(paddle.to_tensor, batch.movies)), batch.person_row, batch.movie_row
    )
    loss = F.mse_loss(score, paddle.to_tensor(batch.rating))
    value = float(loss)
    if not np.isfinite(value):
        raise TrainingError("got NaN loss, training failed; try a smaller --learning-rate")
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    optimizer._learning_rate.step()
    return value


def validate(model: FusionModel, dataset: Dataset, rows: np.ndarray) -> RatingMetrics:
    """Judges a model on some rows of the ratings; everyone is themselves there, nothing is hidden."""
    person_row, movie_row, rating = (column[rows] for column in dataset.ratings)
    user_vectors = embed_people(model.user_tower, dataset.people)
    movie_vectors = embed_movies(model.movie_tower, dataset.movies)
    return rating_metrics(predict_scores(user_vectors, movie_vectors, person_row, movie_row), rating)


def create_optimizer(model: FusionModel, config: TrainConfig, num_steps: int) -> paddle.optimizer.Optimizer:
    """Creates Adam, whose learning rate falls to zero over `num_steps` steps of `train_step`."""
    user, movie = model.user_tower, model.movie_tower
    large = [table.weight for table in (user.branches[0][0], movie.id_branch[0], movie.word_embedding)]
    names = {weight.name for weight in large}
    rest = [weight for weight in model.parameters() if weight.name not in names]
    return paddle.optimizer.Adam(
        paddle.optimizer.lr.PolynomialDecay(config.learning_rate, num_steps, end_lr=0.0),
        parameters=[{"params": large, "weight_decay": paddle.regularizer.L2Decay(config.l2)}, {"params": rest}],
    )


def start_from_ratings(model: FusionModel, dataset: Dataset, rows: np.ndarray) -> None:
    """Gives the ids that have ratings among some rows embeddings that tell them apart, see `spectral_start`."""
    person_row, movie_row, rating = (column[rows] for column in dataset.ratings)
    indices = dataset.people[person_row, 0], dataset.movies.movie_index[movie_row]
    tables = model.user_tower.branches[0][0].weight, model.movie_tower.id_branch[0].weight
    starts = spectral_start(Ratings(*indices, rating), *(len(table) for table in tables))
    for table, index, start in zip(tables, indices, starts, strict=True):
        weights, known = table.numpy(), np.unique(index)
        weights[known, : start.shape[1]] = EMBEDDING_STD * start[known]
        table.set_value(weights)


@paddle.no_grad()
def average_weights(averaged: FusionModel, model: FusionModel, newest_share: float) -> None:
    """Moves a mean of all the weights that a model has had towards those that it has."""
    for mean, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, newest_share)


def train_model(
    dataset: Dataset,
    vocabularies: Vocabularies,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Trains a model and returns it as it was after its best epoch.

    The same seed gives the same model on the same machine. Under `paddle.distributed.launch` each process takes its
    share of every batch, and all end with the same model.

    Args:
        dataset: The training rows; a part of them is set aside for validation.
        vocabularies: What the dataset was encoded with.
        config: How to train; batches are no larger than `TrainConfig.fit` allows.
        on_epoch: Called after every epoch.

    Raises:
        TrainingError: The loss is not a number, or there are too few ratings.
    """
    paddle.seed(config.seed)
    rank, num_ranks = distributed.get_rank(), distributed.get_world_size()
    shuffler, random = np.random.default_rng(config.seed), np.random.default_rng((config.seed, rank))
    order = shuffler.permutation(len(dataset.ratings.rating))
    num_validation = config.num_validation(len(order))
    validation_rows, train_rows = order[:num_validation], order[num_validation:]
    batch_size = max(num_ranks, config.fit(len(order)).batch_size)
    starts = range(0, len(train_rows) - num_ranks + 1, batch_size)  # Everyone has a row in the last batch too.

    model, averaged = (create_model(len(dataset.people) - NUM_ANONYMOUS, vocabularies) for _ in range(2))
    start_from_ratings(model, dataset, train_rows)
    newest_share = 1.0
    optimizer = create_optimizer(model, config, config.epochs * len(starts))
    parallel = paddle.DataParallel(model) if num_ranks > 1 else model
    epochs: list[Epoch] = []
    best = None
    best_weights: dict[str, np.ndarray] = {}
    for number in range(1, config.epochs + 1):
        shuffler.shuffle(train_rows)
        loss = 0.0
        quiet = True if rank else None
        for start in tqdm(starts, f"epoch {number}/{config.epochs}", unit="batch", disable=quiet, leave=False):
            rows = np.sort(train_rows[start : start + batch_size][rank::num_ranks])  # Near one another in memory.
            batch = draw_batch(dataset, rows, config, random)
            loss += train_step(parallel, optimizer, batch) * len(rows) * num_ranks
            average_weights(averaged, model, newest_share)
            newest_share = max(newest_share / (1 + newest_share), config.newest_share)
        validation = _agree(validate(averaged, dataset, validation_rows))
        epoch = Epoch(number, loss / len(train_rows), validation.rmse**2, validation)
        epochs.append(epoch)
        if best is None or epoch.validation.rmse < best.validation.rmse:
            best_weights = {name: weight.numpy().copy() for name, weight in averaged.state_dict().items()}
            best = epoch
        on_epoch(epoch)
        if number - best.number >= config.patience:
            break
    assert best is not None
    averaged.set_state_dict(best_weights)
    averaged.eval()
    return Trained(averaged, best, epochs)


def _agree(metrics: RatingMetrics) -> RatingMetrics:
    """Returns the mean over all processes: they must not differ, by a rounding error even, in when to stop."""
    if distributed.get_world_size() > 1:
        mean = paddle.to_tensor(metrics, dtype="float64")
        distributed.all_reduce(mean)
        metrics = RatingMetrics(*(mean / distributed.get_world_size()).tolist())
    return metrics
