"""Trains the fusion model: the configuration, one step, the loop with validation and early stopping."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
import pandas as pd
from paddle import distributed
from tqdm import tqdm

from recommender import RecommenderError
from recommender.evaluation import RatingMetrics, Ratings, predict_scores, rating_metrics
from recommender.features import (
    DEMOGRAPHIC_SIZES,
    NUM_ANONYMOUS,
    UNKNOWN,
    MovieFeatures,
    Vocabularies,
    anonymous_row,
    build_vocabularies,
    encode_movies,
    encode_people,
)
from recommender.model import FusionModel
from recommender.movielens import MovieLens


class TrainingError(RecommenderError):
    """Training cannot go on."""


@dataclass(frozen=True)
class TrainConfig:
    """What decides the outcome of training; chosen on validation rows of ml-1m."""

    epochs: int = 14
    batch_size: int = 3072
    learning_rate: float = 0.003
    """Adam's, at the start; it falls linearly to zero over the epochs."""
    l2: float = 1.8e-4
    """L2 regularisation of the id and word embeddings."""
    id_dropout: float = 0.15
    """Dropout of the id embeddings."""
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
    min_steps: int = 100
    """Least steps an epoch: on small data the batches shrink."""
    seed: int = 0


class Dataset(NamedTuple):
    """Ratings to learn from, and what the towers read about each person and movie."""

    ratings: Ratings
    """`user_row` counts the users, without the anonymous people; `movie_row` the movies."""
    people: np.ndarray
    """int64[people, 4], see `encode_people`"""
    movies: MovieFeatures


class Split(NamedTuple):
    """A data set, split and encoded."""

    train: Dataset
    test: Ratings
    vocabularies: Vocabularies


class Epoch(NamedTuple):
    """One line of the training log. Losses are mean squared errors, in stars squared."""

    number: int
    train_loss: float
    validation_loss: float
    validation: RatingMetrics


@dataclass
class TrainingResult:
    """The model of the best epoch, and how it came about."""

    model: FusionModel
    best: Epoch | None = None
    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False


def set_device(device: str) -> int:
    """Chooses where to train, `cpu` or `gpu`, and joins the other processes of `paddle.distributed.launch`, if any.

    Returns:
        This process' rank; the one of rank 0 is to do what needs doing once.

    Raises:
        TrainingError: This Paddle cannot use a GPU.
    """
    if device == "gpu" and not paddle.is_compiled_with_cuda():
        raise TrainingError("this paddlepaddle has no GPU support; install paddlepaddle-gpu or use --device cpu")
    paddle.set_device(device)
    if distributed.get_world_size() > 1:
        distributed.init_parallel_env()
    return int(distributed.get_rank())


def split_and_encode(data: MovieLens, held_out: np.ndarray) -> Split:
    """Encodes a data set for training.

    Args:
        data: What `read_movielens` read.
        held_out: bool[ratings], True for the test rows; a movie without other rows is an unknown movie.
    """
    rated = data.ratings.movie_id[~held_out].unique().tolist()
    vocabularies = build_vocabularies(data.users, data.movies, rated)
    ratings = Ratings(
        pd.Index([user.user_id for user in data.users]).get_indexer(pd.Index(data.ratings.user_id)),
        pd.Index([movie.movie_id for movie in data.movies]).get_indexer(pd.Index(data.ratings.movie_id)),
        data.ratings.rating.to_numpy(),
    )
    train, test = (Ratings(*(column[rows] for column in ratings)) for rows in (~held_out, held_out))
    people, movies = encode_people(data.users, vocabularies), encode_movies(data.movies, vocabularies)
    return Split(Dataset(train, people, movies), test, vocabularies)


def create_model(vocabularies: Vocabularies, id_dropout: float = 0.0) -> FusionModel:
    """Creates an untrained model with room for everything in the vocabularies."""
    return FusionModel(
        num_users=vocabularies.users.size,
        demographic_sizes=DEMOGRAPHIC_SIZES,
        num_movies=vocabularies.movies.size,
        num_genres=vocabularies.genres.size,
        num_words=vocabularies.words.size,
        id_dropout=id_dropout,
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


def hide(dataset: Dataset, user_row: np.ndarray, config: TrainConfig, random: np.random.Generator) -> np.ndarray:
    """Returns int64[ratings], each rating's row of `people`: the user, or now and then someone less known.

    An anonymous person has the user's gender, age and occupation, each hidden now and then.
    """
    person_row = user_row + NUM_ANONYMOUS
    anonymous = np.flatnonzero(random.random(len(person_row)) < config.anonymous_share)
    demographics = dataset.people[person_row[anonymous], 1:]
    shown = random.random(demographics.shape) >= config.hidden_share
    person_row[anonymous] = anonymous_row(*(demographics * shown).T)
    return person_row


def train_step(
    model: FusionModel,
    optimizer: paddle.optimizer.Optimizer,
    dataset: Dataset,
    rows: np.ndarray,
    config: TrainConfig,
    random: np.random.Generator,
) -> float:
    """Takes one step on some rows of the ratings.

    Returns:
        The loss, in stars squared.

    Raises:
        TrainingError: The loss is not a number.
    """
    people, person_row = np.unique(hide(dataset, dataset.ratings.user_row[rows], config, random), return_inverse=True)
    num_movies = len(dataset.movies.movie_index)
    unknown = random.random(len(rows)) < config.unknown_movie_share
    # A movie whose id is hidden is a movie of its own, numbered behind the others.
    movies, movie_row = np.unique(dataset.ratings.movie_row[rows] + num_movies * unknown, return_inverse=True)
    features = dataset.movies.take(movies % num_movies)
    features = features._replace(movie_index=np.where(movies < num_movies, features.movie_index, UNKNOWN))
    score = model(
        paddle.to_tensor(dataset.people[people]),
        tuple(map(paddle.to_tensor, features)),
        paddle.to_tensor(person_row),
        paddle.to_tensor(movie_row),
    )
    loss = F.mse_loss(score, paddle.to_tensor(dataset.ratings.rating[rows].astype(np.float32)))
    if not np.isfinite(value := float(loss)):
        raise TrainingError("got NaN loss, training failed.")
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    optimizer._learning_rate.step()
    return value


def validate(model: FusionModel, dataset: Dataset, rows: np.ndarray) -> RatingMetrics:
    """Judges a model on some rows of the ratings; everyone is themselves there, nothing is hidden."""
    user_row, movie_row, rating = (column[rows] for column in dataset.ratings)
    user_vectors = embed_people(model.user_tower, dataset.people)
    movie_vectors = embed_movies(model.movie_tower, dataset.movies)
    return rating_metrics(predict_scores(user_vectors, movie_vectors, user_row + NUM_ANONYMOUS, movie_row), rating)


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


def train_model(
    dataset: Dataset,
    vocabularies: Vocabularies,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainingResult:
    """Trains a model and returns it as it was after its best epoch.

    Ctrl-C ends training early. The same seed gives the same model on the same machine. Under
    `paddle.distributed.launch` each process takes its share of every batch, and all end with the same model.

    Args:
        dataset: The training rows; a part of them is set aside for validation.
        vocabularies: What the dataset was encoded with.
        config: How to train.
        on_epoch: Called after every epoch.

    Raises:
        TrainingError: The loss is not a number, or there are too few ratings.
    """
    paddle.seed(config.seed)
    rank, num_ranks = distributed.get_rank(), distributed.get_world_size()
    shuffler, random = np.random.default_rng(config.seed), np.random.default_rng((config.seed, rank))
    model = create_model(vocabularies, config.id_dropout)
    order = shuffler.permutation(len(dataset.ratings.rating))
    num_validation = max(1, int(len(order) * config.validation_share))
    validation_rows, train_rows = order[:num_validation], order[num_validation:]
    if len(train_rows) == 0:
        raise TrainingError("too few ratings to learn from; train on at least some hundreds")
    batch_size = max(num_ranks, min(config.batch_size, len(train_rows) // config.min_steps))
    starts = range(0, len(train_rows) - num_ranks + 1, batch_size)  # Everyone has a row in the last batch too.
    optimizer = create_optimizer(model, config, config.epochs * len(starts))

    parallel = paddle.DataParallel(model) if num_ranks > 1 else model
    result = TrainingResult(model)
    best_weights: dict[str, np.ndarray] = {}
    try:
        for number in range(1, config.epochs + 1):
            model.train()
            shuffler.shuffle(train_rows)
            loss = 0.0
            quiet = True if rank else None
            for start in tqdm(starts, f"epoch {number}/{config.epochs}", unit="batch", disable=quiet, leave=False):
                rows = train_rows[start : start + batch_size][rank::num_ranks]
                loss += train_step(parallel, optimizer, dataset, rows, config, random) * len(rows) * num_ranks
            model.eval()
            validation = _agree(validate(model, dataset, validation_rows))
            epoch = Epoch(number, loss / len(train_rows), validation.rmse**2, validation)
            result.epochs.append(epoch)
            if result.best is None or epoch.validation.rmse < result.best.validation.rmse:
                best_weights = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
                result.best = epoch
            on_epoch(epoch)
            if number - result.best.number >= config.patience:
                break
    except KeyboardInterrupt:
        if result.best is None:
            raise
        result.interrupted = True
    model.set_state_dict(best_weights)
    model.eval()
    return result


def _agree(metrics: RatingMetrics) -> RatingMetrics:
    """Returns the mean over all processes: they must not differ, by a rounding error even, in when to stop."""
    if distributed.get_world_size() > 1:
        mean = paddle.to_tensor(metrics, dtype="float64")
        distributed.all_reduce(mean)
        metrics = RatingMetrics(*(mean / distributed.get_world_size()).tolist())
    return metrics


def plot_training_curve(epochs: list[Epoch], path: Path) -> None:
    """Draws the losses of every epoch as a PNG."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4))).subplots()
    numbers = [epoch.number for epoch in epochs]
    axes.plot(numbers, [epoch.train_loss for epoch in epochs], "o-", label="train")
    axes.plot(numbers, [epoch.validation_loss for epoch in epochs], "o-", label="validation")
    axes.set(xlabel="epoch", ylabel="mean squared error (stars²)", title="Training")
    axes.set_xticks(numbers)
    axes.legend()
    figure.savefig(path, dpi=120)
