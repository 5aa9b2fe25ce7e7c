"""Trains the taste model: the configuration, one step, the loop, and what genres and words say of unknown movies."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg, norm
from tqdm import tqdm

from recommender.data.dataset import Dataset
from recommender.data.features import (
    DEMOGRAPHIC_SIZES,
    NUM_ANONYMOUS,
    NUM_RESERVED,
    PADDING,
    MovieFeatures,
    Vocabularies,
)
from recommender.inference.user_vectors import DEMOGRAPHIC_STARTS, Taste, weights_of
from recommender.models.paddle_setup import paddle
from recommender.models.two_tower import TasteModel
from recommender.training.two_tower import TrainingError


@dataclass(frozen=True)
class TasteConfig:
    """What decides the outcome of training; chosen on validation rows of ml-1m."""

    least_steps: int = 90
    """On small data: with more it learns them by heart. There is one for every four people."""
    steps: int = 420
    """At most, as the work of each grows with the number of films."""
    people: int = 2048
    """A step, at most; a twelfth of everyone is enough."""
    learning_rate: float = 0.005
    """AdamW's, at its highest; it rises and falls in one cycle."""
    weight_decay: float = 0.5
    film_dropout: float = 0.5
    """Share of a person's films that are dropped in each step: a model that sees them all would copy its input."""
    hidden_history_share: float = 0.4
    """Share of the people of whom it is told no film at all, so that it learns new people."""
    hidden_share: float = 0.1
    """Share of the genders, ages and occupations that it is not told."""
    content_l2: float = 3.0
    """L2 regularisation of what genres and words say of a movie."""
    known_from: int = 100
    """Ratings. Movies with fewer weigh less when that is learnt."""
    seed: int = 0


class People(NamedTuple):
    """Some people, as the taste model reads them."""

    histories: csr_array
    """float32[people, movie indices], rows of length 1, or empty"""
    demographics: csr_array
    """float32[people, demographic indices]"""
    targets: csr_array
    """float32[people, movie indices]"""


def encode_histories(dataset: Dataset, num_movies: int) -> tuple[csr_array, csr_array]:
    """Returns float32[users, movie indices] twice: how much each film counts that a user rated, and what is aimed at.

    The aim of a film with 3, 4 and 5 stars is 0.5, 1 and 1.5, of any other 0.
    """
    person_row, movie_row, rating = dataset.ratings
    places = person_row - NUM_ANONYMOUS, dataset.movies.movie_index[movie_row]
    stars = csr_array((rating, places), (len(dataset.people) - NUM_ANONYMOUS, num_movies))
    aims = np.maximum(stars.data - 2, 0).astype(np.float32) / 2
    histories = csr_array((weights_of(stars.data), stars.indices, stars.indptr), stars.shape)
    targets = csr_array((aims, stars.indices.copy(), stars.indptr.copy()), stars.shape)
    targets.eliminate_zeros()
    return histories, targets


def draw_people(everyone: People, rows: np.ndarray, config: TasteConfig, random: np.random.Generator) -> People:
    """Looks up some people, of whom some films, histories and demographics are hidden."""
    histories, demographics = everyone.histories[rows], everyone.demographics[rows]
    shown = random.random(histories.nnz) >= config.film_dropout
    hidden_people = random.random(len(rows)) < config.hidden_history_share
    row_of = np.repeat(np.arange(len(rows)), np.diff(histories.indptr))
    histories.data = histories.data * (shown & ~hidden_people[row_of])
    demographics.data = demographics.data * (random.random(demographics.nnz) >= config.hidden_share)
    return People(unit_rows(histories), demographics, everyone.targets[rows])


def unit_rows(histories: csr_array) -> csr_array:
    """Returns the rows scaled to length 1, zeros left out."""
    histories.eliminate_zeros()
    histories.data /= np.repeat(norm(histories, axis=1), np.diff(histories.indptr))
    return histories


def embed_tastes(dataset: Dataset, vocabularies: Vocabularies, taste: Taste) -> np.ndarray:
    """Returns float32[people, 200], everybody's taste vector, rows as in `dataset.people`, all at once."""
    histories = unit_rows(encode_histories(dataset, vocabularies.movies.size)[0])
    tastes = demographic_columns(dataset.people[:, 1:]) @ taste.demographics
    tastes[NUM_ANONYMOUS:] += histories @ taste.history
    return np.hstack([tastes, np.ones((len(tastes), 1), np.float32)])


def train_taste(dataset: Dataset, vocabularies: Vocabularies, config: TasteConfig) -> Taste:
    """Trains a taste model. The same seed gives the same model on the same machine.

    Args:
        dataset: The training rows.
        vocabularies: What it was encoded with.
        config: How to train.

    Raises:
        TrainingError: The loss is not a number.
    """
    histories, targets = encode_histories(dataset, vocabularies.movies.size)
    everyone = People(histories, demographic_columns(dataset.people[NUM_ANONYMOUS:, 1:]), targets)
    history, target, demographics = learn_tables(everyone, config)
    counts = np.bincount(histories.indices, minlength=vocabularies.movies.size)
    contents = fit_content(np.hstack([history, target]), dataset.movies, counts, vocabularies, config)
    width = history.shape[1]
    return Taste(history, target, contents[:, :width], contents[:, width:], demographics)


def learn_tables(everyone: People, config: TasteConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trains a taste model and returns its tables; see `Taste`.

    Returns:
        `history`, `target` and `demographics`.

    Raises:
        TrainingError: The loss is not a number.
    """
    paddle.seed(config.seed)
    random = np.random.default_rng(config.seed)
    num_people, num_movies = everyone.histories.shape
    model = TasteModel(num_movies, DEMOGRAPHIC_SIZES)
    num_steps = min(max(num_people // 4, config.least_steps), config.steps)
    step_size = min(config.people, -(-num_people // 12))
    rate = paddle.optimizer.lr.OneCycleLR(config.learning_rate, num_steps, divide_factor=10)
    optimizer = paddle.optimizer.AdamW(rate, parameters=model.parameters(), weight_decay=config.weight_decay)
    for _ in tqdm(range(num_steps), "taste", unit="step", disable=None, leave=False):
        rows = random.choice(num_people, step_size, replace=False)
        people = draw_people(everyone, rows, config, random)
        loss = model.loss(model(people.histories, people.demographics), people.targets)
        if not np.isfinite(float(loss)):
            raise TrainingError("got NaN loss, training the taste failed")
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        rate.step()
    return model.history.numpy(), model.target.numpy(), model.demographics.numpy()


def fit_content(
    tables: np.ndarray, movies: MovieFeatures, counts: np.ndarray, vocabularies: Vocabularies, config: TasteConfig
) -> np.ndarray:
    """Learns to tell a known movie's rows from its genres and words, for the movies that are not known.

    Ridge regression; each movie weighs as many ratings as it has, up to `known_from`.

    Args:
        tables: float32[movie indices, width]
        movies: All movies.
        counts: int64[movie indices], how many ratings each has.
        vocabularies: What the movies were encoded with.
        config: How to regularise.

    Returns:
        float32[genres + words, width], see `Taste`.
    """
    known = movies.take(np.flatnonzero(movies.movie_index >= NUM_RESERVED))
    content = content_of(known, vocabularies)
    weights = diags_array(np.minimum(counts[known.movie_index] / config.known_from, 1).astype(np.float32))
    gram = (content.T @ weights @ content).tocsr()
    right = content.T @ (weights @ tables[known.movie_index])

    def normal_equations(flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(right.shape)
        return np.ravel(gram @ rows + config.content_l2 * rows)

    operator = LinearOperator((right.size, right.size), matvec=normal_equations, dtype=np.float32)
    solution, _ = cg(operator, right.ravel(), rtol=1e-3, maxiter=100)
    contents: np.ndarray = solution.reshape(right.shape).astype(np.float32)
    return contents


def content_of(movies: MovieFeatures, vocabularies: Vocabularies) -> csr_array:
    """Returns float32[movies, genre and word indices], 1 at each movie's genres and, behind these, its words."""
    num_genres = vocabularies.genres.size
    genres = np.argwhere(movies.genre_index != PADDING)
    words = np.argwhere(movies.word_index != PADDING)
    rows = np.concatenate([genres[:, 0], words[:, 0]])
    columns = np.concatenate([movies.genre_index[*genres.T], num_genres + movies.word_index[*words.T]])
    shape = len(movies.movie_index), num_genres + vocabularies.words.size
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape)


def demographic_columns(demographics: np.ndarray) -> csr_array:
    """Returns float32[people, 33], 1 at what is known of their gender, age and occupation, given int64[people, 3]."""
    row, column = np.nonzero(demographics)
    places = row, DEMOGRAPHIC_STARTS[column] + demographics[row, column]
    return csr_array((np.ones(len(row), np.float32), places), (len(demographics), sum(DEMOGRAPHIC_SIZES)))
