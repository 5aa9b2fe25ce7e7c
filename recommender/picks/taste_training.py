"""Trains the taste model: a closed form, a few steps of gradient descent, then movies without ratings.

The model is a linear denoising autoencoder over rating histories, with demographics as side input. A user's vector is
the sum of the input embeddings of the movies in their history and of their demographics; the taste score of a movie is
the inner product with its output embedding. On MovieLens 1M hidden layers or a softmax over all movies are worse.

Source: H. Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020; the low rank is that of YouTube's
candidate generation (Covington, Adams, Sargin, RecSys 2016).
"""

from typing import Any

import numpy as np
from numpy.random import Generator
from scipy.sparse import csr_array, diags_array, eye_array, hstack
from scipy.sparse.linalg import LinearOperator, cg
from tqdm import tqdm

from recommender.movielens.encoding import NUM_RESERVED, PADDING, MovieFeatures, Vocabularies
from recommender.movielens.split import Dataset
from recommender.picks.closed_form import TasteConfig, low_rank_autoencoder, scale_features, squared_norms
from recommender.picks.taste import (
    DEMOGRAPHIC_OFFSETS,
    EVERYONE,
    MovieEmbeddings,
    TasteParameters,
    anyone_share,
    history_weights,
    shrinkage,
)
from recommender.stars.paddle_setup import Tensor, paddle
from recommender.stars.posterior import one_hot

MIN_VARIANCE = 1e-7
"""Variance of a principal axis, relative to the largest, below which it is rounding."""


def encode_histories(dataset: Dataset, num_movies: int) -> tuple[csr_array, csr_array]:
    """Encodes what is known of all profiles; those of demographics have no history.

    Args:
        dataset: The profiles and their ratings.
        num_movies: The number of movie indices.

    Returns:
        float32[profiles, movie indices], `history_weights`, and float32[profiles, 34], 1 at each known gender, age and
        occupation and, for all, at `EVERYONE`.
    """
    ratings, demographic_idx = dataset.ratings, dataset.profiles[:, 1:]
    cells = ratings.profile_row, dataset.movies.movie_idx[ratings.movie_row]
    histories = csr_array((history_weights(ratings.rating), cells), (len(demographic_idx), num_movies))
    known = np.where(demographic_idx > 0, DEMOGRAPHIC_OFFSETS + demographic_idx, PADDING)
    everyone = np.full((len(known), 1), EVERYONE)
    return histories, one_hot(np.hstack([known, everyone]))


def drop_out(histories: csr_array, demographics: csr_array, config: TasteConfig, random: Generator) -> csr_array:
    """Returns the features of users with dropout, see `scale_features`."""
    histories, demographics = histories.copy(), demographics.copy()
    keeps_movie = random.random(histories.nnz) >= config.movie_dropout
    drops_history = random.random(histories.shape[0]) < config.history_dropout
    histories.data *= keeps_movie & ~np.repeat(drops_history, np.diff(histories.indptr))
    drops_label = random.random(demographics.nnz) < config.demographic_dropout
    demographics.data *= ~drops_label | (demographics.indices == EVERYONE)
    histories.eliminate_zeros()
    return scale_features(histories, demographics)


class SparseMatmul(paddle.autograd.PyLayer):
    """The product of a constant sparse matrix and a dense parameter.

    Paddle 3.3.1 has no CPU kernel for it, and its `geometric.send_ue_recv` takes thirty times as long as scipy.
    """

    @staticmethod
    def forward(ctx: Any, dense: Tensor, sparse: csr_array) -> Tensor:
        """Returns `sparse @ dense`."""
        ctx.sparse = sparse
        return paddle.to_tensor(sparse @ dense.numpy())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Returns the gradient of `dense`."""
        return paddle.to_tensor(ctx.sparse.T @ grad.numpy())


def squared_error(inputs: Tensor, outputs: Tensor, features: csr_array, targets: csr_array) -> Tensor:
    """Returns the squared error over all movies, as a mean over users; most targets are 0.

    The sum of all squared scores is the trace of (UᵀU)(VᵀV), U being the users' and V the movies' vectors. So the loss
    is exact, and its cost grows with users + movies rather than users x movies.

    Args:
        inputs: float32[features, 200]
        outputs: float32[movies, 200], V
        features: float32[batch, features], see `scale_features`
        targets: float32[batch, movies]
    """
    users = SparseMatmul.apply(inputs, features)  # [batch, 200]
    squared_scores = (users.T @ users * (outputs.T @ outputs)).sum()
    target_scores = (users * SparseMatmul.apply(outputs, targets)).sum()
    return (squared_scores - 2 * target_scores + float((targets.data**2).sum())) / len(users)


def taste_vectors(dataset: Dataset, vocabularies: Vocabularies, taste: TasteParameters) -> np.ndarray:
    """Returns float32[profiles, 200], the taste vectors of all profiles of a dataset, less `anyone_share`."""
    histories, demographics = encode_histories(dataset, vocabularies.movies.size)
    features = scale_features(histories, demographics)
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
    """
    random = np.random.default_rng(config.seed)
    histories, demographics = encode_histories(dataset, vocabularies.movies.size)
    rated = np.flatnonzero(np.diff(histories.indptr))  # Others would train that one picks nothing.
    histories, demographics = histories[rated], demographics[rated]
    num_users, num_movies = histories.shape

    # A closed form, then a few steps of gradient descent.
    tables = low_rank_autoencoder(histories, demographics, config)
    inputs, outputs = parameters = [paddle.create_parameter(table.shape, "float32") for table in tables]
    inputs.set_value(tables[0])
    outputs.set_value(tables[1])
    batch_size = min(config.batch_size, -(-num_users // 3))
    schedule = paddle.optimizer.lr.OneCycleLR(config.learning_rate, max(config.num_steps, 1), divide_factor=10)
    optimizer = paddle.optimizer.Adam(schedule, parameters=parameters)
    for _ in tqdm(range(config.num_steps), "taste model", unit="step", disable=None, leave=False):
        batch = random.choice(num_users, batch_size, replace=False)
        features = drop_out(histories[batch], demographics[batch], config, random)
        squared_error(inputs, outputs, features, histories[batch]).backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
    vectors = scale_features(histories, demographics) @ inputs.numpy()
    rotated, outputs, variances = rotate_to_principal_axes(vectors, inputs.numpy(), outputs.numpy())
    inputs, demographic_inputs = np.split(rotated, [num_movies])

    # Movies without ratings.
    counts = np.bincount(histories.indices, minlength=num_movies)
    contents = fit_content(np.hstack([inputs, outputs]), dataset.movies, counts, vocabularies, config)
    input_contents, output_contents = np.split(contents, 2, axis=1)
    movie_tables = MovieEmbeddings(inputs, input_contents), MovieEmbeddings(outputs, output_contents)
    return TasteParameters(*movie_tables, demographic_inputs, variances)


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
    known = movies.select(movies.movie_idx >= NUM_RESERVED)
    genres = one_hot(known.genre_idx, vocabularies.genres.size)
    content = hstack([genres, one_hot(known.word_idx, vocabularies.words.size)], "csr")
    weights = diags_array(np.minimum(counts[known.movie_idx] / config.full_weight_ratings, 1).astype(np.float32))
    gram = content.T @ weights @ content + config.content_l2 * eye_array(content.shape[1], dtype=np.float32)
    right = content.T @ (weights @ tables[known.movie_idx])

    def normal_equations(flat: np.ndarray) -> np.ndarray:
        return np.ravel(gram @ flat.reshape(right.shape))

    operator = LinearOperator((right.size, right.size), matvec=normal_equations, dtype=np.float32)
    solution, _ = cg(operator, right.ravel(), rtol=1e-3, maxiter=100)
    return solution.reshape(right.shape)
