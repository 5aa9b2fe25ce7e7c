"""The posterior mean rating of every user for every movie, by Gibbs sampling. Numpy and scipy, no Paddle.

A rating is the global mean, a bias of the user, a bias of the movie, the inner product of 32 numbers of both, and
noise. A sweep draws all of these from their posterior given the rest; the mean over the sweeps predicts far better than
any of them. What is known of a user (gender, age, job, which movies they rated) and of a movie (genres, words, who
rated it) shifts the normal distribution that their numbers come from. Some users rate more consistently than others,
and some movies divide their audience: both have a reliability, which scales the precision of their ratings' noise.

Sources: R. Salakhutdinov, A. Mnih, Bayesian probabilistic matrix factorization using Markov chain Monte Carlo (ICML
2008), the sampler; J. Simm et al., Macau (MLSP 2017), the regression on features; Y. Koren, Factorization meets the
neighborhood (KDD 2008, SVD++), the movies rated as features; B. Lakshminarayanan et al., Robust Bayesian matrix
factorisation (AISTATS 2011), noise that differs between users and movies; J. Tropp et al., Practical sketching
algorithms for low-rank matrix approximation (SIMAX 2017), the mean of many samples in little memory.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import Generator
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, hstack
from tqdm import tqdm

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, PADDING
from recommender.movielens.split import Dataset

ML1M_RATINGS = 900_228
"""Number of ml-1m's training ratings, for which the settings are as they stand."""
ROW_BLOCK = 1 << 13
"""Users or movies whose precision matrices are in memory at once."""
VALIDATION_SHARE = 0.005
"""Share of the ratings that the sampler does not see, for the RMSE that its progress bar shows."""


@dataclass(frozen=True)
class PosteriorConfig:
    """Settings of the sampler, chosen on validation rows of ml-100k, ml-1m and ml-latest-small."""

    num_factors: int = 32
    """Numbers per user and movie, besides the bias."""
    ridge: float = 3.0
    """Prior precision of the regression on features, relative to that of the numbers."""
    reliability_freedom: float = 10.0
    """Degrees of freedom of the prior of a user's or a movie's reliability: the more, the nearer these are to 1."""
    num_sweeps: int = 90
    burn_in: int = 8
    """First sweeps, which do not count for the mean."""
    max_features: int = 10_000
    """Upper bound on the movies, the users and the words that are features; the most frequent stay."""
    sketch_size: int = 120
    """Columns of the sketch of the mean."""
    rank: int = 40
    """Columns of the factors of the mean."""
    seed: int = 0

    @classmethod
    def for_ratings(cls, num_ratings: int, **settings: Any) -> Self:
        """Returns the configuration for a number of training ratings; `settings` replace these rules.

        Small data have more sweeps, which cost little there. Large data have fewer, and fewer features: 20 sweeps and
        4,000 of each kind for ml-32m.
        """
        num_sweeps = round(min(150, max(20, cls.num_sweeps * (ML1M_RATINGS / num_ratings) ** 0.45)))
        max_features = 4_000 if num_ratings > 3_000_000 else cls.max_features
        return cls(**{"num_sweeps": num_sweeps, "max_features": max_features, **settings})


class PosteriorMean(NamedTuple):
    """The mean rating of every user for every movie, as the product of two matrices, within the stars there are."""

    user_factors: np.ndarray
    """float32[users, rank]"""
    movie_factors: np.ndarray
    """float32[movies, rank]"""
    lowest: float
    highest: float
    """Stars of the training data."""

    def predict(self, user_row: np.ndarray, movie_row: np.ndarray) -> np.ndarray:
        """Returns float32[pairs], mean ratings in stars."""
        stars: np.ndarray = np.einsum("nk,nk->n", self.user_factors[user_row], self.movie_factors[movie_row])
        return stars.clip(self.lowest, self.highest)


class Side:
    """Users or movies: the latent numbers of each, and the normal distribution that these come from.

    The distribution of row i has the mean Wᵀ xᵢ, with xᵢ the features, and a precision matrix that all rows share.
    """

    def __init__(self, features: csr_array, ratings: csr_array, config: PosteriorConfig, random: Generator) -> None:
        self.features, self.ratings, self.config, self.random = features, ratings, config, random
        self.is_rated = ones_like(ratings)
        self.size = config.num_factors + 1  # The last column is the bias.
        self.latent = random.normal(0, 0.1, (features.shape[0], self.size)).astype(np.float32)
        self.expected = np.zeros_like(self.latent)  # The means that they were last drawn around.
        self.reliability = np.ones((features.shape[0], 1), np.float32)  # Precision of a row's ratings, relative to all.
        self.precision = 10 * np.eye(self.size)
        self.has_few_columns = features.shape[1] < features.shape[0]
        gram = (features.T @ features if self.has_few_columns else features @ features.T).toarray()
        gram[np.diag_indices_from(gram)] += config.ridge
        self.gram = cho_factor(gram, overwrite_a=True, check_finite=False)

    def sample_prior(self) -> None:
        """Draws W and the precision given the latent numbers.

        W is drawn by perturbation: a draw from its prior, moved by a ridge regression on what that does not explain.
        """
        (num_rows, num_columns), random = self.features.shape, self.random
        ridge = self.config.ridge
        root = np.linalg.cholesky(np.linalg.inv(self.precision)).T.astype(np.float32)  # Covariance = rootᵀ root.
        weights = random.standard_normal((num_columns, self.size), np.float32) @ root / np.float32(ridge**0.5)
        noise = random.standard_normal((num_rows, self.size), np.float32) @ root
        residual = self.latent - self.features @ weights - noise
        if self.has_few_columns:
            weights += cho_solve(self.gram, self.features.T @ residual, check_finite=False)
        else:
            weights += self.features.T @ cho_solve(self.gram, residual, check_finite=False)
        self.mean = self.features @ weights
        rest = self.latent - self.mean
        scatter = np.eye(self.size) + rest.T @ rest + ridge * (weights.T @ weights)
        # A draw from the Wishart distribution, by Bartlett's decomposition.
        lower = np.tril(random.standard_normal(scatter.shape), -1)
        freedom = num_rows + num_columns + self.size - np.arange(self.size)
        lower[np.diag_indices_from(lower)] = np.sqrt(random.chisquare(freedom))
        root = np.linalg.cholesky(np.linalg.inv(scatter)) @ lower
        self.precision = root @ root.T

    def sample_latent(self, other: "Side", noise_precision: float) -> float:
        """Draws all latent numbers and reliabilities given those of the other side.

        A rating r of row i and column j has the noise precision alpha ωᵢ ωⱼ, with ω the reliabilities. Row i has the
        precision P + alpha ωᵢ Σ ωⱼ d dᵀ and the mean (P + alpha ωᵢ Σ ωⱼ d dᵀ)⁻¹ (P Wᵀ xᵢ + alpha ωᵢ Σ ωⱼ (r - b) d).
        The sums are over its ratings, b is the bias and d = [numbers, 1] of the other side.

        Returns:
            The sum of squared errors of the ratings, each times its ωᵢ ωⱼ.
        """
        bias, weights = other.latent[:, -1:], other.reliability
        design = np.concatenate([other.latent[:, :-1], np.ones_like(bias)], axis=1)  # [others, size]
        scaled = np.sqrt(weights) * design
        moments = self.ratings @ (weights * design) - self.is_rated @ (weights * bias * design)  # Σ ω (r - b) d
        squares = self.ratings.power(2) @ weights - 2 * (self.ratings @ (weights * bias))  # Σ ω r (r - 2 b)
        errors = (squares + self.is_rated @ (weights * bias**2))[:, 0]
        prior, alpha = self.precision.astype(np.float32), np.float32(noise_precision) * self.reliability
        ends = self.ratings.indptr.tolist()
        for start in range(0, len(moments), ROW_BLOCK):
            block = slice(start, start + ROW_BLOCK)
            right = self.mean[block] @ prior + alpha[block] * moments[block]
            scatter = np.empty((len(right), self.size, self.size), np.float32)  # Σ ω d dᵀ
            for i, sums in enumerate(scatter, start):  # Faster than a sparse product of all rows, in less memory.
                rated = scaled[self.ratings.indices[ends[i] : ends[i + 1]]]
                np.matmul(rated.T, rated, out=sums)
            self.expected[block], latent = sample_normal(prior + alpha[block, :, None] * scatter, right, self.random)
            self.latent[block] = latent
            errors[block] += np.einsum("ni,nij,nj->n", latent, scatter, latent)
        errors -= 2 * np.einsum("ni,ni->n", self.latent, moments)
        freedom = self.config.reliability_freedom
        drawn = self.random.gamma((freedom + np.diff(self.ratings.indptr)) / 2) / (freedom + noise_precision * errors)
        self.reliability = 2 * drawn[:, None].astype(np.float32)
        return float(errors @ self.reliability[:, 0].astype(float))


def sample_normal(precision: np.ndarray, right: np.ndarray, random: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means precision⁻¹ right of normal distributions, and a draw from each, both float32[rows, size].

    With precision = L Lᵀ the mean is L⁻ᵀ L⁻¹ right, and a draw is L⁻ᵀ (L⁻¹ right + standard normal): two triangular
    systems, of all rows at once.

    Args:
        precision: float32[rows, size, size]
        right: float32[rows, size]
        random: The source of the noise.
    """
    lower = np.linalg.cholesky(precision)
    both = np.stack([right, random.standard_normal(right.shape, np.float32)], axis=1)  # [rows, 2, size]
    for i in range(right.shape[1]):
        known = np.einsum("nj,nj->n", lower[:, i, :i], both[:, 0, :i])
        both[:, 0, i] = (both[:, 0, i] - known) / lower[:, i, i]
    for i in reversed(range(right.shape[1])):
        known = np.einsum("nj,ncj->nc", lower[:, i + 1 :, i], both[:, :, i + 1 :])
        both[:, :, i] = (both[:, :, i] - known) / lower[:, i, i, None]
    return both[:, 0], both.sum(1)


class MeanSketch:
    """The mean of many matrices U Vᵀ, kept as its products with two random matrices, however many there are."""

    def __init__(self, shape: tuple[int, int], size: int, random: Generator) -> None:
        self.right = random.standard_normal((shape[1], size), np.float32)
        self.left = random.standard_normal((shape[0], 2 * size), np.float32)
        self.range = np.zeros((shape[0], size), np.float32)
        self.corange = np.zeros((shape[1], 2 * size), np.float32)
        self.count = 0

    def add(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Adds the matrix rows @ columns.T."""
        self.range += rows @ (columns.T @ self.right)
        self.corange += columns @ (rows.T @ self.left)
        self.count += 1

    def factors(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32[rows, rank] and float32[columns, rank] whose product is nearly the mean."""
        basis, _ = np.linalg.qr(self.range)  # The mean is nearly basis @ inner.
        inner, *_ = np.linalg.lstsq(self.left.T @ basis, self.corange.T / self.count, rcond=None)
        left, values, right = np.linalg.svd(inner, full_matrices=False)
        root = np.sqrt(values[:rank])
        return basis @ left[:, :rank] * root, right[:rank].T * root


def sample_posterior(dataset: Dataset, config: PosteriorConfig) -> PosteriorMean:
    """Samples from the posterior of all ratings and returns its mean. The same seed gives the same mean.

    Args:
        dataset: The training rows, of which `VALIDATION_SHARE` are held back for the progress bar.
        config: The settings.
    """
    random = np.random.default_rng(config.seed)
    stars = dataset.ratings.rating
    held_back = random.permutation(len(stars)) < max(1, VALIDATION_SHARE * len(stars))
    seen, unseen = dataset.ratings.select(~held_back), dataset.ratings.select(held_back)
    global_mean = np.float32(seen.rating.mean())
    cells = seen.profile_row - NUM_DEMOGRAPHIC_PROFILES, seen.movie_row
    shape = dataset.num_users, len(dataset.movies.movie_idx)
    ratings = csr_array((seen.rating.astype(np.float32) - global_mean, cells), shape)
    user_features, movie_features = encode_features(dataset, ratings, config.max_features)
    users = Side(user_features, ratings, config, random)
    movies = Side(movie_features, ratings.T.tocsr(), config, random)
    sketch = MeanSketch(shape, config.sketch_size, random)
    predicted, noise_precision = np.zeros(len(unseen.rating), np.float32), 1.5
    progress = tqdm(range(config.num_sweeps), "posterior mean", unit="sweep", disable=None)
    for sweep in progress:
        users.sample_prior()
        users.sample_latent(movies, noise_precision)
        expected = [rating_factors(users.expected, movies.latent, global_mean)]
        movies.sample_prior()
        error = movies.sample_latent(users, noise_precision)
        expected.append(rating_factors(users.latent, movies.expected, global_mean))
        noise_precision = random.gamma(1 + ratings.nnz / 2, 1 / (1 + error / 2))
        if sweep >= min(config.burn_in, config.num_sweeps - 1):
            for user_rows, movie_rows in expected:
                sketch.add(user_rows, movie_rows)
                unseen_users = user_rows[unseen.profile_row - NUM_DEMOGRAPHIC_PROFILES]
                predicted += np.einsum("nk,nk->n", unseen_users, movie_rows[unseen.movie_row])
            rmse = np.sqrt(np.mean((predicted / sketch.count - unseen.rating) ** 2))
            progress.set_postfix_str(f"validation RMSE {rmse:.4f}", refresh=False)
    return PosteriorMean(*sketch.factors(config.rank), float(stars.min()), float(stars.max()))


def rating_factors(users: np.ndarray, movies: np.ndarray, global_mean: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Returns [numbers, bias, 1] of each user and [numbers, 1, mean + bias] of each movie: factors of the ratings."""
    user_one, movie_one = np.ones_like(users[:, :1]), np.ones_like(movies[:, :1])
    movie_rows = np.concatenate([movies[:, :-1], movie_one, global_mean + movies[:, -1:]], axis=1)
    return np.concatenate([users, user_one], axis=1), movie_rows


def encode_features(dataset: Dataset, ratings: csr_array, max_features: int) -> tuple[csr_array, csr_array]:
    """Returns float32[users, features] and float32[movies, features].

    Each group of features of a row (movies rated, users who rated, genres, words) has length 1, as in SVD++.
    """
    is_rated, profiles = ones_like(ratings), dataset.profiles[NUM_DEMOGRAPHIC_PROFILES:]
    words, raters = one_hot(dataset.movies.word_idx), csr_array(is_rated.T)
    users = [one_hot(profiles[:, [column]]) for column in (1, 2, 3)] + [most_frequent(is_rated, max_features)]
    movies = [one_hot(dataset.movies.genre_idx), *(most_frequent(group, max_features) for group in (words, raters))]
    return join_groups(users), join_groups(movies)


def join_groups(groups: list[csr_array]) -> csr_array:
    """Returns a column of ones and the groups side by side, each divided by the root of its row's number of entries."""
    counts = [np.maximum(np.diff(group.indptr), 1).astype(np.float32) for group in groups]
    scaled = [group.multiply(count[:, None] ** -0.5) for group, count in zip(groups, counts, strict=True)]
    return csr_array(hstack([np.ones((len(counts[0]), 1), np.float32), *scaled], "csr"))


def ones_like(matrix: csr_array) -> csr_array:
    """Returns 1 at each entry of a matrix."""
    return csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), matrix.shape)


def one_hot(indices: np.ndarray, num_values: int = 0) -> csr_array:
    """Returns float32[rows, values], 1 at each index of a row but 0; by default of as many values as there are."""
    rows, columns = np.nonzero(indices != PADDING)
    shape = len(indices), num_values or int(indices.max()) + 1
    return csr_array((np.ones(len(rows), np.float32), (rows, indices[rows, columns])), shape)


def most_frequent(matrix: csr_array, max_columns: int) -> csr_array:
    """Returns the columns with the most entries, and with two at least."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    columns = np.argsort(-counts, kind="stable")[: min(max_columns, np.count_nonzero(counts > 1))]
    return matrix[:, np.sort(columns)]
