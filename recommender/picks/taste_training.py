"""Trains the taste model: a closed form, a few steps of gradient descent, then movies without ratings."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack
from scipy.sparse.linalg import LinearOperator, cg
from tqdm import tqdm

from recommender.errors import RecommenderError
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, NUM_RESERVED, PADDING, MovieFeatures, Vocabularies
from recommender.movielens.split import Dataset
from recommender.picks.closed_form import Dropout, low_rank_autoencoder, scale_features, squared_norms
from recommender.picks.taste import (
    DEMOGRAPHIC_OFFSETS,
    EVERYONE,
    MovieEmbeddings,
    TasteParameters,
    anyone_share,
    history_weights,
    shrinkage,
)
from recommender.stars.paddle_setup import nn, paddle

MIN_VARIANCE = 1e-7
"""Variance of a principal axis, relative to the largest, below which it is rounding."""


@dataclass(frozen=True)
class TasteConfig:
    """Hyper-parameters of the taste model, chosen on validation rows of ml-100k, ml-1m and ml-latest-small."""

    ridge: float = 0.7
    """L2 regularization of the start in closed form."""
    num_steps: int = 30
    """Steps of gradient descent from there."""
    batch_size: int = 2048
    """Users per step, or a third of all users if that is fewer."""
    learning_rate: float = 0.001
    """Adam's highest learning rate, in one cycle."""
    movie_dropout: float = 0.55
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


class SparseMatmul(paddle.autograd.PyLayer):
    """The product of a constant sparse matrix and a dense parameter.

    Paddle 3.3.1 has no CPU kernel for it, and its `geometric.send_ue_recv` takes thirty times as long as scipy.
    """

    @staticmethod
    def forward(ctx: Any, dense: paddle.Tensor, sparse: csr_array) -> paddle.Tensor:
        """Returns `sparse @ dense`."""
        ctx.sparse = sparse
        return paddle.to_tensor(sparse @ dense.numpy())

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> paddle.Tensor:
        """Returns the gradient of `dense`."""
        return paddle.to_tensor(ctx.sparse.T @ grad.numpy())


class TasteModel(nn.Layer):
    """A linear denoising autoencoder over rating histories, with demographics as side input.

    A user's vector is the sum of the input embeddings of the movies in their history and of their demographics. The
    taste score of a movie is the inner product with its output embedding.

    Source: H. Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020; the low rank is that of
    YouTube's candidate generation (Covington, Adams, Sargin, RecSys 2016). On MovieLens 1M hidden layers or a softmax
    over all movies are worse.

    Args:
        inputs: float32[features, 200], initial embeddings of movies and, behind them, demographics
        outputs: float32[movies, 200], initial output embeddings
    """

    def __init__(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        super().__init__()
        self.input_embeddings = self.create_parameter(inputs.shape)
        self.output_embeddings = self.create_parameter(outputs.shape)
        self.input_embeddings.set_value(inputs)  # `nn.initializer.Assign` makes a Python list of all numbers.
        self.output_embeddings.set_value(outputs)

    def forward(self, features: csr_array) -> paddle.Tensor:
        """Returns taste vectors, float32[batch, 200].

        Args:
            features: float32[batch, features], see `scale_features`
        """
        return SparseMatmul.apply(self.input_embeddings, features)

    def loss(self, users: paddle.Tensor, targets: csr_array) -> paddle.Tensor:
        """Returns the squared error over all movies, as a mean over users; most `targets` are 0.

        The sum of all squared scores is the trace of (UᵀU)(VᵀV), U being the users' and V the movies' vectors. So the
        loss is exact, and its cost grows with users + movies rather than users x movies.

        Args:
            users: float32[batch, 200], from `forward`
            targets: float32[batch, movies]
        """
        gram = self.output_embeddings.T @ self.output_embeddings  # [200, 200]
        squared_scores = (users.T @ users * gram).sum()
        target_scores = (users * SparseMatmul.apply(self.output_embeddings, targets)).sum()
        return (squared_scores - 2 * target_scores + float((targets.data**2).sum())) / len(users)


class Users(NamedTuple):
    """Users as the taste model reads them."""

    histories: csr_array
    """float32[users, movie indices], `history_weights`; they are also the targets"""
    demographics: csr_array
    """float32[users, 34], 1 at each known gender, age and occupation and, for all, at `EVERYONE`"""

    def select(self, rows: np.ndarray) -> "Users":
        """Returns some of the users."""
        return Users(self.histories[rows], self.demographics[rows])


def encode_users(dataset: Dataset, num_movies: int) -> Users:
    """Returns all users with their whole histories."""
    ratings = dataset.ratings
    cells = ratings.profile_row - NUM_DEMOGRAPHIC_PROFILES, dataset.movies.movie_idx[ratings.movie_row]
    histories = csr_array((history_weights(ratings.rating), cells), (dataset.num_users, num_movies))
    return Users(histories, encode_demographics(dataset.profiles[NUM_DEMOGRAPHIC_PROFILES:, 1:]))


def encode_demographics(demographic_idx: np.ndarray) -> csr_array:
    """Returns float32[users, 34] for int64[users, 3], see `Users.demographics`."""
    labels = np.zeros((len(demographic_idx), EVERYONE + 1), np.float32)
    np.put_along_axis(labels, DEMOGRAPHIC_OFFSETS + demographic_idx, demographic_idx > 0, axis=1)
    labels[:, EVERYONE] = 1
    return csr_array(labels)


def drop_out(users: Users, dropout: Dropout, random: np.random.Generator) -> csr_array:
    """Returns the features of users with dropout, see `scale_features`."""
    histories, demographics = users.histories.copy(), users.demographics.copy()
    keeps_movie = random.random(histories.nnz) >= dropout.movies
    drops_history = random.random(histories.shape[0]) < dropout.histories
    histories.data *= keeps_movie & ~np.repeat(drops_history, np.diff(histories.indptr))
    drops_label = random.random(demographics.nnz) < dropout.demographics
    demographics.data *= ~drops_label | (demographics.indices == EVERYONE)
    histories.eliminate_zeros()
    return scale_features(histories, demographics)


def taste_vectors(dataset: Dataset, vocabularies: Vocabularies, taste: TasteParameters) -> np.ndarray:
    """Returns float32[profiles, 200], the taste vectors of all profiles of a dataset, less `anyone_share`."""
    users = encode_users(dataset, vocabularies.movies.size)
    nobody = csr_array((NUM_DEMOGRAPHIC_PROFILES, users.histories.shape[1]), dtype=np.float32)
    histories = vstack([nobody, users.histories], "csr")
    features = scale_features(histories, encode_demographics(dataset.profiles[:, 1:]))
    vectors = features @ np.concatenate([taste.inputs.by_id, taste.demographics])
    squared_norm = squared_norms(histories)
    shrunken = vectors * shrinkage(taste.variances, squared_norm)
    return shrunken - anyone_share(squared_norm)[:, None] * shrunken[0]  # Profile 0 is unknown in all.


def train_taste(dataset: Dataset, vocabularies: Vocabularies, config: TasteConfig) -> TasteParameters:
    """Trains a taste model. The same seed gives the same model on the same machine.

    Args:
        dataset: The training rows.
        vocabularies: The vocabularies that encoded the dataset.
        config: The hyper-parameters.

    Raises:
        RecommenderError: The loss is not finite.
    """
    random = np.random.default_rng(config.seed)
    users = encode_users(dataset, vocabularies.movies.size)
    users = users.select(np.flatnonzero(np.diff(users.histories.indptr)))  # Others would train that one picks nothing.
    num_users, num_movies = users.histories.shape

    # A closed form, then a few steps of gradient descent.
    dropout = Dropout(config.movie_dropout, config.history_dropout, config.demographic_dropout)
    model = TasteModel(*low_rank_autoencoder(*users, dropout, config.ridge))
    batch_size = min(config.batch_size, -(-num_users // 3))
    schedule = paddle.optimizer.lr.OneCycleLR(config.learning_rate, max(config.num_steps, 1), divide_factor=10)
    optimizer = paddle.optimizer.Adam(schedule, parameters=model.parameters())
    for _ in tqdm(range(config.num_steps), "taste model", unit="step", disable=None, leave=False):
        batch = users.select(random.choice(num_users, batch_size, replace=False))
        loss = model.loss(model(drop_out(batch, dropout, random)), batch.histories)
        if not np.isfinite(float(loss)):
            raise RecommenderError("got NaN loss, training the taste model failed")
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
    tables = [table.numpy() for table in (model.input_embeddings, model.output_embeddings)]
    all_inputs, outputs, variances = rotate_to_principal_axes(scale_features(*users) @ tables[0], *tables)
    inputs, demographics = np.split(all_inputs, [num_movies])

    # Movies without ratings.
    counts = np.bincount(users.histories.indices, minlength=num_movies)
    contents = fit_content(np.hstack([inputs, outputs]), dataset.movies, counts, vocabularies, config)
    input_contents, output_contents = np.split(contents, 2, axis=1)
    movie_tables = MovieEmbeddings(inputs, input_contents), MovieEmbeddings(outputs, output_contents)
    return TasteParameters(*movie_tables, demographics, variances)


def rotate_to_principal_axes(vectors: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rotates embeddings, so that their components are orthogonal in the users' scores; scores stay as they are.

    Args:
        vectors: float32[users, 200], taste vectors by the input embeddings
        inputs: float32[features, 200]
        outputs: float32[movies, 200]

    Returns:
        Both embeddings and variances, float32[200], the mean squares of the users' rotated vectors, largest first.
        The columns of the output embeddings are orthonormal; those without variance are 0.
    """
    basis, triangle = np.linalg.qr(outputs)
    values, axes = np.linalg.eigh(triangle @ (vectors.T @ vectors / len(vectors)) @ triangle.T)
    largest_first = np.flatnonzero(values > MIN_VARIANCE * values.max())[::-1]
    values, axes = values[largest_first], axes[:, largest_first]
    padding = ((0, 0), (0, outputs.shape[1] - len(values)))
    return np.pad(inputs @ triangle.T @ axes, padding), np.pad(basis @ axes, padding), np.pad(values, padding[1])


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
    weights = diags_array(np.minimum(counts[known.movie_idx] / config.full_weight_ratings, 1).astype(np.float32))
    gram = (content.T @ weights @ content).tocsr()
    right = content.T @ (weights @ tables[known.movie_idx])

    def normal_equations(flat: np.ndarray) -> np.ndarray:
        rows = flat.reshape(right.shape)
        return np.ravel(gram @ rows + config.content_l2 * rows)

    operator = LinearOperator((right.size, right.size), matvec=normal_equations, dtype=np.float32)
    solution, _ = cg(operator, right.ravel(), rtol=1e-3, maxiter=100)
    return solution.reshape(right.shape).astype(np.float32)


def encode_content(movies: MovieFeatures, vocabularies: Vocabularies) -> csr_array:
    """Returns float32[movies, genre indices + word indices], 1 at each genre and word of a movie."""
    num_genres = vocabularies.genres.size
    columns = np.hstack([movies.genre_idx, np.where(movies.word_idx == PADDING, PADDING, num_genres + movies.word_idx)])
    cells = np.nonzero(columns != PADDING)
    shape = len(columns), num_genres + vocabularies.words.size
    return csr_array((np.ones(len(cells[0]), np.float32), (cells[0], columns[cells])), shape)
