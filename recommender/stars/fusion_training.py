"""Trains the fusion model: configuration, batches with dropout of ids, one step, the loop with early stopping."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recommender.movielens.split import Dataset
from recommender.movielens.encoding import MovieFeatures, Vocabularies, demographic_profile_row
from recommender.evaluation.metrics import RatingMetrics, rating_metrics
from recommender.stars.embed import embed_movies, embed_profiles
from recommender.paddle_setup import F, distributed, paddle
from recommender.stars.fusion import EMBEDDING_STD, FusionModel
from recommender.scoring import predict_ratings
from recommender.stars.processes import TrainingError, mean_over_processes
from recommender.stars.svd_init import svd_init

MAX_STEPS_PER_EPOCH = 110
MAX_LEARNING_RATE = 0.01
MAX_BATCH_SIZE = 1 << 17
ML1M_RATINGS = 891_226
"""Number of ml-1m's ratings that training takes steps on."""


@dataclass(frozen=True)
class TrainConfig:
    """Hyper-parameters of the fusion model, chosen on validation rows of ml-100k, ml-1m and ml-latest-small.

    Those that depend on the size of the data have the values for ml-1m here, see `for_ratings`.
    """

    epochs: int = 8
    """Upper bound; see `patience`."""
    batch_size: int = 8120
    learning_rate: float = 0.006
    """Adam's initial learning rate."""
    final_learning_rate: float = 0.3
    """Share of the learning rate to which it falls linearly; at 0 the model overfits small data."""
    l2: float = 3e-4
    """L2 regularization of the id and word embeddings."""
    ema_alpha: float = 0.01
    """EMA coefficient (1 - decay) of the weights; the averaged weights are the model."""
    user_id_dropout: float = 0.1
    """Share of the ratings whose user is replaced by a demographic profile, which trains the unknown user."""
    demographic_dropout: float = 0.1
    """Share of these profiles' genders, ages and occupations that are replaced by "unknown"."""
    movie_id_dropout: float = 0.03
    """Share of the ratings whose movie id is replaced by "unknown"."""
    validation_share: float = 0.01
    """Share of the training rows that are held back, to see when training should stop."""
    patience: int = 8
    """Number of epochs without a better validation RMSE after which training stops. The default number of epochs ends
    before: the 900 validation rows of small data are too few to choose between epochs (RMSE up to 0.02 higher)."""
    seed: int = 0

    @classmethod
    def for_ratings(cls, num_ratings: int, **settings: Any) -> "TrainConfig":
        """Returns the configuration for a number of training ratings.

        An epoch has 110 steps, and 1700 / n^0.2 on more data than ml-1m's: batches grow a little faster than the data,
        so that the cost of a step that does not depend on its ratings stays small per rating. On more than 2 million
        ratings there are fewer epochs, 4 from 8 million on, as each has more ratings per embedding. Small data have a
        higher learning rate, and the regularization falls with the square root of the data.

        Args:
            num_ratings: The number of training ratings, validation rows included.
            settings: Fields that are set in place of these rules.
        """
        num_train = max(1, num_ratings - cls().num_validation(num_ratings))
        num_steps = min(MAX_STEPS_PER_EPOCH, 1700 / num_train**0.2)
        rules = {
            "epochs": round(min(8.0, max(4.0, 8 * (2e6 / num_train) ** 0.42))),
            "batch_size": min(MAX_BATCH_SIZE, math.ceil(num_train / num_steps)),
            "learning_rate": min(MAX_LEARNING_RATE, cls.learning_rate * max(1.0, ML1M_RATINGS / num_train) ** 0.22),
            "l2": cls.l2 * (ML1M_RATINGS / num_train) ** 0.5,
        }
        return cls(**{**rules, **settings})

    def num_validation(self, num_ratings: int) -> int:
        """Returns the number of validation rows among the training rows."""
        return max(1, int(num_ratings * self.validation_share))


class Batch(NamedTuple):
    """Ratings with their distinct profiles and movies, so that each tower runs once per distinct row."""

    profiles: np.ndarray
    """int64[distinct profiles, 4]"""
    movies: MovieFeatures
    """Features of the distinct movies."""
    profile_row: np.ndarray
    """int64[ratings], rows of `profiles`"""
    movie_row: np.ndarray
    """int64[ratings], rows of `movies`"""
    rating: np.ndarray
    """float32[ratings], stars"""


class Epoch(NamedTuple):
    """One line of the training log; losses are mean squared errors, in stars squared."""

    number: int
    train_loss: float
    validation_loss: float
    validation: RatingMetrics


class TrainResult(NamedTuple):
    """The model, the epoch after which it was like this, and the training log."""

    model: FusionModel
    chosen: Epoch
    epochs: list[Epoch]


def drop_user_ids(
    profile_row: np.ndarray, profiles: np.ndarray, config: TrainConfig, random: np.random.Generator
) -> np.ndarray:
    """Returns int64[ratings]: the user's row or, with probability `user_id_dropout`, a demographic profile's.

    The demographic profile has the user's gender, age and occupation, each "unknown" with `demographic_dropout`.
    """
    dropped = np.flatnonzero(random.random(len(profile_row)) < config.user_id_dropout)
    demographics = profiles[profile_row[dropped], 1:]
    kept = random.random(demographics.shape) >= config.demographic_dropout
    profile_row = profile_row.copy()
    profile_row[dropped] = demographic_profile_row(*(demographics * kept).T)
    return profile_row


def draw_batch(dataset: Dataset, rows: np.ndarray, config: TrainConfig, random: np.random.Generator) -> Batch:
    """Returns some ratings as a batch, with dropout of user ids, demographics and movie ids."""
    ratings = dataset.ratings.select(rows)
    profiles, profile_row = np.unique(
        drop_user_ids(ratings.profile_row, dataset.profiles, config, random), return_inverse=True
    )
    without_id = random.random(len(rows)) < config.movie_id_dropout
    with_id, with_id_row = np.unique(ratings.movie_row[~without_id], return_inverse=True)
    no_id, no_id_row = np.unique(ratings.movie_row[without_id], return_inverse=True)
    movie_row = np.empty(len(rows), np.int64)
    movie_row[~without_id] = with_id_row
    movie_row[without_id] = len(with_id) + no_id_row
    features = dataset.movies.select(with_id), dataset.movies.select(no_id).without_ids()
    return Batch(
        dataset.profiles[profiles],
        MovieFeatures(*map(np.concatenate, zip(*features, strict=True))),
        profile_row,
        movie_row,
        ratings.rating.astype(np.float32),
    )


def train_step(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, batch: Batch) -> float:
    """Takes one step of gradient descent.

    Returns:
        The mean squared error, in stars squared.

    Raises:
        TrainingError: The loss is not finite.
    """
    movies = tuple(map(paddle.to_tensor, batch.movies))
    rows = map(paddle.to_tensor, (batch.profile_row, batch.movie_row))
    predicted = model(paddle.to_tensor(batch.profiles), movies, *rows)
    loss = F.mse_loss(predicted, paddle.to_tensor(batch.rating))
    value = float(loss)
    if not np.isfinite(value):
        raise TrainingError("got NaN loss, training failed; try a smaller --learning-rate")
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return value


def validate(model: FusionModel, dataset: Dataset, rows: np.ndarray) -> RatingMetrics:
    """Evaluates a model on some rows of the ratings, without dropout."""
    ratings = dataset.ratings.select(rows)
    user_vectors = embed_profiles(model.user_tower, dataset.profiles)
    movie_vectors = embed_movies(model.movie_tower, dataset.movies)
    predicted = predict_ratings(user_vectors, movie_vectors, ratings.profile_row, ratings.movie_row)
    return mean_over_processes(rating_metrics(predicted, ratings.rating))


def create_optimizer(
    model: FusionModel, config: TrainConfig, num_steps: int
) -> tuple[paddle.optimizer.Optimizer, paddle.optimizer.lr.LRScheduler]:
    """Returns Adam and its schedule, which falls to `final_learning_rate` over `num_steps` steps."""
    user, movie = model.user_tower, model.movie_tower
    large = [table.weight for table in (user.id_branch.embedding, movie.id_branch.embedding, movie.word_embedding)]
    names = {weight.name for weight in large}
    rest = [weight for weight in model.parameters() if weight.name not in names]
    last = config.final_learning_rate * config.learning_rate
    schedule = paddle.optimizer.lr.PolynomialDecay(config.learning_rate, num_steps, end_lr=last)
    regularized = {"params": large, "weight_decay": paddle.regularizer.L2Decay(config.l2)}
    return paddle.optimizer.Adam(schedule, parameters=[regularized, {"params": rest}]), schedule


def init_from_svd(model: FusionModel, dataset: Dataset, rows: np.ndarray) -> None:
    """Initializes the id embeddings of the users and movies that occur in some rows, see `svd_init`."""
    ratings = dataset.ratings.select(rows)
    indices = dataset.profiles[ratings.profile_row, 0], dataset.movies.movie_idx[ratings.movie_row]
    tables = model.user_tower.id_branch.embedding.weight, model.movie_tower.id_branch.embedding.weight
    factors = svd_init(*indices, ratings.rating, *map(len, tables))
    for table, index, values in zip(tables, indices, factors, strict=True):
        weights, present = table.numpy(), np.unique(index)
        weights[present, : values.shape[1]] = EMBEDDING_STD * values[present]
        table.set_value(weights)


@paddle.no_grad()
def update_ema(averaged: FusionModel, model: FusionModel, alpha: float) -> None:
    """Moves each averaged weight by `alpha` of its distance to the model's weight."""
    for mean, weight in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, alpha)


class _Trainer:
    """The state of a training: models, optimizer, schedule, EMA coefficient, random generators."""

    def __init__(self, dataset: Dataset, vocabularies: Vocabularies, config: TrainConfig) -> None:
        paddle.seed(config.seed)
        self.rank, self.num_processes = distributed.get_rank(), distributed.get_world_size()
        self.shuffler = np.random.default_rng(config.seed)
        self.random = np.random.default_rng((config.seed, self.rank))
        order = self.shuffler.permutation(len(dataset.ratings.rating))
        num_validation = config.num_validation(len(order))
        self.validation_rows, self.train_rows = order[:num_validation], order[num_validation:]
        if len(self.train_rows) == 0:
            raise TrainingError("too few ratings to learn from; train on at least some hundreds")
        self.batch_size = max(self.num_processes, min(config.batch_size, len(self.train_rows)))
        # Every process has a row in the last batch too.
        self.starts = range(0, len(self.train_rows) - self.num_processes + 1, self.batch_size)
        self.dataset, self.config = dataset, config
        self.model, self.averaged = (FusionModel(dataset.num_users, vocabularies) for _ in range(2))
        init_from_svd(self.model, dataset, self.train_rows)
        self.alpha = 1.0
        self.optimizer, self.schedule = create_optimizer(self.model, config, config.epochs * len(self.starts))
        self.parallel = paddle.DataParallel(self.model) if self.num_processes > 1 else self.model

    def run_epoch(self, number: int) -> Epoch:
        """Trains for one epoch and validates the averaged weights."""
        self.shuffler.shuffle(self.train_rows)
        loss = 0.0
        progress = {"desc": f"epoch {number}/{self.config.epochs}", "unit": "batch", "leave": False}
        for start in tqdm(self.starts, **progress, disable=True if self.rank else None):
            batch_rows = self.train_rows[start : start + self.batch_size][self.rank :: self.num_processes]
            rows = np.sort(batch_rows)  # Neighbours in memory are faster to gather.
            batch = draw_batch(self.dataset, rows, self.config, self.random)
            loss += train_step(self.parallel, self.optimizer, batch) * len(rows) * self.num_processes
            self.schedule.step()
            update_ema(self.averaged, self.model, self.alpha)
            self.alpha = max(self.alpha / (1 + self.alpha), self.config.ema_alpha)
        validation = validate(self.averaged, self.dataset, self.validation_rows)
        return Epoch(number, loss / len(self.train_rows), validation.rmse**2, validation)


def train_model(
    dataset: Dataset,
    vocabularies: Vocabularies,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainResult:
    """Trains a fusion model and returns it as it is after the last epoch or, stopped early, as it was after the best.

    The same seed gives the same model on the same machine. Under `paddle.distributed.launch` each process takes its
    share of every batch, and all end with the same model.

    Args:
        dataset: The training rows, of which `validation_share` are held back.
        vocabularies: The vocabularies that encoded the dataset.
        config: The hyper-parameters.
        on_epoch: A function called after every epoch.

    Raises:
        TrainingError: The loss is not finite, or there are too few ratings.
    """
    trainer = _Trainer(dataset, vocabularies, config)
    epochs: list[Epoch] = []
    best_weights: dict[str, np.ndarray] = {}
    for number in range(1, config.epochs + 1):
        epochs.append(trainer.run_epoch(number))
        best = min(epochs, key=lambda epoch: epoch.validation.rmse)
        if best.number == number:
            best_weights = {name: weight.numpy().copy() for name, weight in trainer.averaged.state_dict().items()}
        on_epoch(epochs[-1])
        if number - best.number >= config.patience:
            break
    chosen = epochs[-1]
    if len(epochs) < config.epochs:
        chosen = best
        trainer.averaged.set_state_dict(best_weights)
    trainer.averaged.eval()
    return TrainResult(trainer.averaged, chosen, epochs)
