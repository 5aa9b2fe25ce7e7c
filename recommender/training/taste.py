"""Trains the taste model: configuration, batches with dropout, the loop, embeddings of movies without ratings."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg, norm
from tqdm import tqdm

from recommender.data.dataset import Dataset
from recommender.data.features import (
    DEMOGRAPHIC_SIZES,
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    PADDING,
    MovieFeatures,
    Vocabularies,
)
from recommender.inference.user_vectors import DEMOGRAPHIC_OFFSETS, MovieEmbeddings, TasteParameters, history_weights
from recommender.models.paddle_setup import paddle
from recommender.models.taste import TasteModel
from recommender.training.processes import TrainingError


@dataclass(frozen=True)
class TasteConfig:
    """Hyper-parameters of the taste model, chosen on validation rows of ml-1m."""

    min_steps: int = 90
    """Lower bound on steps, of which there is one per four users; more overfits small data."""
    max_steps: int = 420
    """Upper bound on steps, as their cost grows with the number of movies."""
    batch_size: int = 2048
    """Upper bound on users per step; the batch size is a twelfth of all users."""
    learning_rate: float = 0.005
    """AdamW's highest learning rate, in one cycle."""
    weight_decay: float = 0.5
    movie_dropout: float = 0.5
    """Share of a history's movies that are dropped in each step; without, the model copies its input."""
    history_dropout: float = 0.4
    """Share of the users whose whole history is dropped, which trains new users."""
    demographic_dropout: float = 0.1
    """Share of the genders, ages and occupations that are dropped."""
    content_l2: float = 3.0
    """L2 regularization of the regression on genres and words."""
    full_weight_ratings: int = 100
    """Number of ratings from which a movie has full weight in that regression."""
    seed: int = 0


class UserBatch(NamedTuple):
    """Users as the taste model reads them."""

    histories: csr_array
    """float32[users, movie indices], `history_weights`"""
    demographics: csr_array
    """float32[users, demographic indices], 1 at each stated one"""
    targets: csr_array
    """float32[users, movie indices]: 0.5, 1 and 1.5 for 3, 4 and 5 stars, else 0"""


def encode_histories(dataset: Dataset, num_movies: int) -> UserBatch:
    """Returns all users with their whole histories."""
    ratings = dataset.ratings
    user_row = ratings.profile_row - NUM_DEMOGRAPHIC_PROFILES
    cells = user_row, dataset.movies.movie_idx[ratings.movie_row]
    stars = csr_array((ratings.rating, cells), (dataset.num_users, num_movies))
    target = np.maximum(stars.data - 2, 0).astype(np.float32) / 2
    histories = csr_array((history_weights(stars.data), stars.indices, stars.indptr), stars.shape)
    targets = csr_array((target, stars.indices.copy(), stars.indptr.copy()), stars.shape)
    targets.eliminate_zeros()
    demographics = encode_demographics(dataset.profiles[NUM_DEMOGRAPHIC_PROFILES:, 1:])
    return UserBatch(histories, demographics, targets)


def encode_demographics(demographic_idx: np.ndarray) -> csr_array:
    """Returns float32[users, 33], 1 at each stated gender, age and occupation, for int64[users, 3]."""
    row, column = np.nonzero(demographic_idx)
    cells = row, DEMOGRAPHIC_OFFSETS[column] + demographic_idx[row, column]
    return csr_array((np.ones(len(row), np.float32), cells), (len(demographic_idx), sum(DEMOGRAPHIC_SIZES)))


def draw_batch(users: UserBatch, rows: np.ndarray, config: TasteConfig, random: np.random.Generator) -> UserBatch:
    """Returns some users with dropout of movies, whole histories and demographics; histories have unit length."""
    histories, demographics = users.histories[rows], users.demographics[rows]
    keeps_movie = random.random(histories.nnz) >= config.movie_dropout
    drops_history = random.random(len(rows)) < config.history_dropout
    user_of_cell = np.repeat(np.arange(len(rows)), np.diff(histories.indptr))
    histories.data = histories.data * (keeps_movie & ~drops_history[user_of_cell])
    demographics.data = demographics.data * (random.random(demographics.nnz) >= config.demographic_dropout)
    return UserBatch(normalize_rows(histories), demographics, users.targets[rows])


def normalize_rows(histories: csr_array) -> csr_array:
    """Scales each row to length 1, in place, and removes stored zeros."""
    histories.eliminate_zeros()
    histories.data /= np.repeat(norm(histories, axis=1), np.diff(histories.indptr))
    return histories


def taste_vectors(dataset: Dataset, vocabularies: Vocabularies, taste: TasteParameters) -> np.ndarray:
    """Returns float32[profiles, 200], the taste vectors of all profiles of a dataset."""
    histories = normalize_rows(encode_histories(dataset, vocabularies.movies.size).histories)
    vectors = encode_demographics(dataset.profiles[:, 1:]) @ taste.demographics
    vectors[NUM_DEMOGRAPHIC_PROFILES:] += histories @ taste.inputs.by_id
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])


def train_taste(dataset: Dataset, vocabularies: Vocabularies, config: TasteConfig) -> TasteParameters:
    """Trains a taste model. The same seed gives the same model on the same machine.

    Args:
        dataset: The training rows.
        vocabularies: The vocabularies that encoded the dataset.
        config: The hyper-parameters.

    Raises:
        TrainingError: The loss is not finite.
    """
    users = encode_histories(dataset, vocabularies.movies.size)
    model = fit_taste_model(users, config)
    inputs, outputs = model.input_embeddings.numpy(), model.output_embeddings.numpy()
    counts = np.bincount(users.histories.indices, minlength=vocabularies.movies.size)
    contents = fit_content(np.hstack([inputs, outputs]), dataset.movies, counts, vocabularies, config)
    input_contents, output_contents = np.split(contents, [inputs.shape[1]], axis=1)
    return TasteParameters(
        MovieEmbeddings(inputs, input_contents),
        MovieEmbeddings(outputs, output_contents),
        model.demographic_embeddings.numpy(),
    )


def fit_taste_model(users: UserBatch, config: TasteConfig) -> TasteModel:
    """Returns a model trained on all users.

    Raises:
        TrainingError: The loss is not finite.
    """
    paddle.seed(config.seed)
    random = np.random.default_rng(config.seed)
    num_users, num_movies = users.histories.shape
    model = TasteModel(num_movies, DEMOGRAPHIC_SIZES)
    num_steps = min(max(num_users // 4, config.min_steps), config.max_steps)
    batch_size = min(config.batch_size, -(-num_users // 12))
    schedule = paddle.optimizer.lr.OneCycleLR(config.learning_rate, num_steps, divide_factor=10)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters(), weight_decay=config.weight_decay)
    for _ in tqdm(range(num_steps), "taste model", unit="step", disable=None, leave=False):
        batch = draw_batch(users, random.choice(num_users, batch_size, replace=False), config, random)
        loss = model.loss(model(batch.histories, batch.demographics), batch.targets)
        if not np.isfinite(float(loss)):
            raise TrainingError("got NaN loss, training the taste model failed")
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
    return model


def fit_content(
    tables: np.ndarray, movies: MovieFeatures, counts: np.ndarray, vocabularies: Vocabularies, config: TasteConfig
) -> np.ndarray:
    """Regresses the embeddings of movies with ratings on genres and words, for movies without.

    Ridge regression, solved by conjugate gradients; the weight of a movie grows with its ratings.

    Args:
        tables: float32[movie indices, dim], the embeddings
        movies: The features of all movies.
        counts: int64[movie indices], the numbers of ratings
        vocabularies: The vocabularies that encoded the movies.
        config: The regularization.

    Returns:
        float32[genre indices + word indices, dim], see `MovieEmbeddings.by_content`.
    """
    known = movies.select(np.flatnonzero(movies.movie_idx >= NUM_RESERVED))
    content = encode_content(known, vocabularies)
    weights = np.minimum(counts[known.movie_idx] / config.full_weight_ratings, 1).astype(np.float32)
    weighted = diags_array(weights)
    gram = (content.T @ weighted @ content).tocsr()
    right = content.T @ (weighted @ tables[known.movie_idx])

    def normal_equations(flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(right.shape)
        return np.ravel(gram @ rows + config.content_l2 * rows)

    operator = LinearOperator((right.size, right.size), matvec=normal_equations, dtype=np.float32)
    solution, _ = cg(operator, right.ravel(), rtol=1e-3, maxiter=100)
    contents: np.ndarray = solution.reshape(right.shape).astype(np.float32)
    return contents


def encode_content(movies: MovieFeatures, vocabularies: Vocabularies) -> csr_array:
    """Returns float32[movies, genre indices + word indices], 1 at each genre and word of a movie."""
    num_genres = vocabularies.genres.size
    genres = np.argwhere(movies.genre_idx != PADDING)
    words = np.argwhere(movies.word_idx != PADDING)
    rows = np.concatenate([genres[:, 0], words[:, 0]])
    columns = np.concatenate([movies.genre_idx[*genres.T], num_genres + movies.word_idx[*words.T]])
    shape = len(movies.movie_idx), num_genres + vocabularies.words.size
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape)
