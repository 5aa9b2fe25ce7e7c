"""Hyper-parameters of the taste model, and its start: a linear autoencoder with zero diagonal, cut to low rank."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import inv
from scipy.sparse import csr_array, diags_array, hstack
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from recommender.movielens.encoding import EMBEDDING_DIM
from recommender.picks.taste import PRIOR_WEIGHT, history_scale

MAX_USERS = 20_000
MAX_MOVIES = 4_000
"""Upper bounds on the users and the movies, most rated first, of the autoencoder in full rank."""
MOVIES_PER_FACTOR = 8
"""Lower bound on movies per factor: a catalogue of a few hundred movies has fewer than 200 factors."""
POWER_ITERATIONS = 6
EPS = 1e-12


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


def low_rank_autoencoder(
    histories: csr_array, demographics: csr_array, config: TasteConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Returns input and output embeddings whose inner products approximate a linear autoencoder.

    Source: H. Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020 (EDLAE). Demographics are
    more input features, as in O. Jeunen et al., Closed-form models for collaborative filtering with side-information,
    RecSys 2020.

    Args:
        histories: float32[users, movies], see `history_weights`; they are also the targets
        demographics: float32[users, demographics], 1 at each known one; the last column is 1 for every user
        config: The L2 regularization, and the dropout, of which the closed form has the expected value.

    Returns:
        float32[movies + demographics, 200] and float32[movies, 200].
    """
    num_users, num_movies = histories.shape
    counts = np.bincount(histories.indices, minlength=num_movies)
    order = np.argsort(-counts, kind="stable")
    most_rated, rarely_rated = order[:MAX_MOVIES], order[MAX_MOVIES:]
    known = histories[:, most_rated]

    # The autoencoder in full rank, of a sample of users spread evenly.
    size = min(num_users, MAX_USERS)
    sample = np.arange(size) * num_users // size
    weights = autoencoder_weights(known[sample], demographics[sample], config)  # B

    # Its output embeddings V are the leading right singular vectors of the scores F B, scaled; its inputs are B V.
    features = scale_features(known, demographics)
    scores = aslinearoperator(features[sample]) @ aslinearoperator(weights)
    num_factors = min(EMBEDDING_DIM, -(-len(most_rated) // MOVIES_PER_FACTOR))
    factors = right_factors(scores, num_factors)
    factors = np.pad(factors, ((0, 0), (0, EMBEDDING_DIM - factors.shape[1])))  # [movies, 200]
    projected = weights @ factors / np.maximum((factors**2).sum(0), EPS)  # [movies + demographics, 200]
    inputs = np.zeros((num_movies + demographics.shape[1], EMBEDDING_DIM), np.float32)
    inputs[most_rated], inputs[num_movies:] = np.split(projected, [len(most_rated)])

    # Rarely rated movies get outputs by a ridge regression of their raters on the users' vectors, and no inputs.
    vectors = features @ projected  # [users, 200]
    gram = vectors.T @ vectors + config.ridge * np.eye(EMBEDDING_DIM, dtype=np.float32)
    outputs = np.empty((num_movies, EMBEDDING_DIM), np.float32)
    outputs[most_rated] = factors
    outputs[rarely_rated] = np.linalg.solve(gram, (histories[:, rarely_rated].T @ vectors).T).T
    return inputs, outputs


def autoencoder_weights(histories: csr_array, demographics: csr_array, config: TasteConfig) -> np.ndarray:
    """Returns float32[movies + demographics, movies], the autoencoder in full rank.

    It is B, the least-squares solution of F B = Y under dropout and with zeros on its diagonal, with F the features
    and Y the histories: B = P (Fᵀ Y - diag(g)), P = (Fᵀ F + Λ)⁻¹, where g makes diag(B) zero. In expectation, dropout
    scales features by the share that is kept, and adds their variance to Λ. The arguments are those of
    `low_rank_autoencoder`.
    """
    num_movies = histories.shape[1]
    kept = np.full(num_movies + demographics.shape[1], 1 - config.demographic_dropout, np.float32)
    kept[:num_movies], kept[-1] = 1 - config.movie_dropout, 1

    # Fᵀ F and Fᵀ Y, as the mean over users that keep their history and users that lose it whole.
    features = scale_features(histories, demographics, kept[0] * squared_norms(histories))
    without_history = scale_features(csr_array(histories.shape, dtype=np.float32), demographics)
    gram, right = np.zeros((len(kept), len(kept)), np.float32), np.zeros((len(kept), num_movies), np.float32)
    for share, rows in ((1 - config.history_dropout, features), (config.history_dropout, without_history)):
        kept_rows = rows @ diags_array(kept)
        weighted = np.float32(share) * kept_rows.T
        gram += (weighted @ kept_rows).toarray()
        right += (weighted @ histories).toarray()

    # Λ is the ridge and, for a feature that is kept with probability p, its variance: (1 / p - 1) of its square.
    gram[np.diag_indices_from(gram)] += config.ridge + (1 / kept - 1) * np.diag(gram)
    inverse = inv(gram, check_finite=False)  # P
    weights = inverse @ right  # B without the constraint

    # A movie must not predict itself: subtract from column j that multiple of P's column j which makes B_jj zero.
    diagonal = np.arange(num_movies)
    weights -= inverse[:, :num_movies] * (weights[diagonal, diagonal] / inverse[diagonal, diagonal])
    return weights


def right_factors(matrix: csr_array | LinearOperator, num_factors: int) -> np.ndarray:
    """Returns float[columns, factors], V√S of the truncated singular value decomposition, largest factors first.

    Source: Halko, Martinsson, Tropp, Finding structure with randomness (2011), algorithm 4.4. Unlike ARPACK, which
    `scipy.sparse.linalg.svds` calls, it accepts a matrix of zeros.
    """
    basis = np.random.default_rng(0).normal(size=(matrix.shape[1], num_factors)).astype(matrix.dtype)
    for _ in range(POWER_ITERATIONS):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    _, values, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    return basis @ right.T * np.sqrt(values)


def scale_features(histories: csr_array, demographics: csr_array, squared_norm: np.ndarray | None = None) -> csr_array:
    """Returns float32[users, movies + demographics], each history with demographics, scaled by `history_scale`.

    Args:
        histories: float32[users, movies], see `history_weights`
        demographics: float32[users, demographics], 1 at each known one
        squared_norm: float32[users], in place of the squared length of the histories
    """
    squared_norm = squared_norms(histories) if squared_norm is None else squared_norm
    features = hstack([histories, np.float32(PRIOR_WEIGHT) * demographics], "csr")
    return csr_array(diags_array(history_scale(squared_norm)) @ features)


def squared_norms(histories: csr_array) -> np.ndarray:
    """Returns float32[users], the sum of the squared weights of each history."""
    return histories.power(2).sum(1)
