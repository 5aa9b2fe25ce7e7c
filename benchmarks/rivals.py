"""Models of others that ours are compared with, each with the settings among which `tune.py` chooses.

A model of lists takes a `Dataset` and settings and returns a `Ranking`; a model of ratings takes a `Split` and settings
and returns the predicted ratings of its test rows.
"""

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
from loader import liked
from scipy.linalg import inv
from scipy.sparse import csr_array, csr_matrix, diags_array, eye_array, hstack

from recommender.evaluation import Ranking, most_popular
from recommender.movielens.encoding import DEMOGRAPHIC_SIZES, NUM_DEMOGRAPHIC_PROFILES
from recommender.movielens.split import Dataset, Ratings, Split
from recommender.stars.posterior import PosteriorConfig, encode_features

SETTINGS = Path(__file__).parent / "settings.json"
"""The chosen settings of each data set and model, written by `tune.py`."""
WEIGHTS = {
    "liked": (0, 0, 0, 1, 1),
    "half": (0.5, 0.5, 0.5, 1, 1),
    "graded": (0.3, 0.4, 0.6, 1, 1.3),
    "steep": (0.1, 0.3, 0.6, 1, 1.4),
}
"""Weights of 1 to 5 stars by the name of a setting."""
MYFM_SEED = 0


class Rival(NamedTuple):
    """A model, and the settings from which one is chosen."""

    fit: Callable[..., Any]
    grid: list[dict[str, Any]]


def grid(**values: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns all combinations of some values by name."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def load_settings(name: str) -> dict[str, dict[str, Any]]:
    """Returns the chosen settings of each model on the data set of a name."""
    settings: dict[str, dict[str, Any]] = json.loads(SETTINGS.read_text())
    return {key.removeprefix(f"{name}: "): value for key, value in settings.items() if key.startswith(f"{name}: ")}


def save_settings(name: str, model: str, chosen: dict[str, Any]) -> None:
    """Writes the chosen settings of a model, a line for each model and data set."""
    settings = {**json.loads(SETTINGS.read_text()), f"{name}: {model}": chosen}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(settings.items())]
    SETTINGS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def interactions(dataset: Dataset, weights: str) -> csr_array:
    """Returns float32[profiles, movies], the weights of movies in histories, see `WEIGHTS`.

    Half stars are interpolated, but for `liked` and `half`, where they count as the whole stars below them.
    """
    profile_row, movie_row, rating = dataset.ratings
    stars = np.floor(rating) if weights in ("liked", "half") else rating
    values = np.interp(stars, (1, 2, 3, 4, 5), WEIGHTS[weights]).astype(np.float32)
    matrix = csr_array((values, (profile_row, movie_row)), (len(dataset.profiles), len(dataset.movies.movie_idx)))
    matrix.eliminate_zeros()
    return matrix


def autoencoder_weights(matrix: csr_array, diagonal: np.ndarray) -> np.ndarray:
    """Returns float32[movies, movies], each movie's best linear reconstruction from all others.

    Args:
        matrix: float32[users, movies]
        diagonal: float32[movies], the L2 regularization of each movie
    """
    num_users, num_movies = matrix.shape
    if num_users > num_movies:
        gram = (matrix.T @ matrix).toarray()
        inverse = inv(gram + np.diag(diagonal).astype(np.float32), check_finite=False)
    else:  # The Woodbury identity, which inverts a matrix of the users.
        scale = (1 / diagonal).astype(np.float32)
        scaled = matrix @ diags_array(scale)
        dual = np.eye(num_users, dtype=np.float32) + (matrix @ scaled.T).toarray()
        inverse = np.diag(scale) - scaled.T @ (inv(dual, check_finite=False) @ scaled)
    weights: np.ndarray = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def ease_weights(dataset: Dataset, weights: str, ridge: float) -> np.ndarray:
    """Returns float32[movies, movies], EASE: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019."""
    users = interactions(dataset, weights)[NUM_DEMOGRAPHIC_PROFILES:]
    return autoencoder_weights(users, np.full(users.shape[1], ridge))


def edlae_weights(dataset: Dataset, weights: str, exponent: float, ridge: float, dropout: float) -> np.ndarray:
    """Returns float32[movies, movies], EDLAE (Steck, Autoencoders that don't overfit towards the Identity, 2020).

    Args:
        dataset: The training rows.
        weights: A key of `WEIGHTS`.
        exponent: Rows are divided by their length to this power, times the mean length to this power.
        ridge: The L2 regularization.
        dropout: The regularization by popularity, as a share of a movie's squared interactions.
    """
    users = interactions(dataset, weights)[NUM_DEMOGRAPHIC_PROFILES:]
    lengths = np.sqrt(users.power(2).sum(1))
    scale = np.where(lengths > 0, np.maximum(lengths, 1e-9) ** -exponent, 0)
    scaled = csr_array(diags_array((scale * (lengths[lengths > 0] ** exponent).mean()).astype(np.float32)) @ users)
    return autoencoder_weights(scaled, ridge + dropout * scaled.power(2).sum(0))


def linear_ranking(dataset: Dataset, weights: str, matrix: np.ndarray) -> Ranking:
    """Returns the ranking by the histories of a dataset times a matrix of movies."""
    histories = interactions(dataset, weights)
    return lambda rows: histories[rows] @ matrix


def fit_ease(dataset: Dataset, weights: str, ridge: float) -> Ranking:
    """Returns the ranking by EASE."""
    return linear_ranking(dataset, weights, ease_weights(dataset, weights, ridge))


def fit_edlae(dataset: Dataset, weights: str, exponent: float, ridge: float, dropout: float) -> Ranking:
    """Returns the ranking by EDLAE."""
    return linear_ranking(dataset, weights, edlae_weights(dataset, weights, exponent, ridge, dropout))


def nearest(products: np.ndarray, lengths: np.ndarray, neighbours: int, shrinkage: float) -> np.ndarray:
    """Returns cosines, shrunk, of which each row keeps the largest; the diagonal is 0."""
    similarity = products / (np.outer(lengths, lengths) + shrinkage + 1e-9)
    np.fill_diagonal(similarity, 0)
    kept = min(neighbours, len(similarity) - 1)
    threshold = np.partition(similarity, -kept, axis=1)[:, -kept, None]
    return np.where(similarity >= threshold, similarity, 0)


def fit_nearest(dataset: Dataset, weights: str, neighbours: int, shrinkage: float) -> Ranking:
    """Returns the ranking by the movies nearest to those of the history."""
    matrix = interactions(dataset, weights)
    similarity = nearest((matrix.T @ matrix).toarray(), np.sqrt(matrix.power(2).sum(0)), neighbours, shrinkage)
    return linear_ranking(dataset, weights, similarity.T)


def fit_als(dataset: Dataset, **settings: float) -> Ranking:
    """Returns the ranking by implicit's alternating least squares; the weights are the ratings in stars.

    On validation rows of ml-1m that was better than 1 for liked movies or 0.5 for others, and an alpha of 0.3, 3 or 10
    was no better than 1.
    """
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    profile_row, movie_row, rating = dataset.ratings
    shape = len(dataset.profiles), len(dataset.movies.movie_idx)
    stars = csr_matrix((rating.astype(np.float32), (profile_row, movie_row)), shape)
    with threadpool_limits(1, "blas"):  # implicit's documentation asks for it.
        threads = int(machine.os.environ["OMP_NUM_THREADS"])
        als = AlternatingLeastSquares(**settings, random_state=0, num_threads=threads)
        als.fit(stars, show_progress=False)
    return lambda rows: als.user_factors[rows] @ als.item_factors.T


def fit_popularity(dataset: Dataset) -> Ranking:
    """Returns the ranking by the number of users who liked a movie."""
    return most_popular(dataset.ratings, len(dataset.movies.movie_idx))


def fit_group_popularity(dataset: Dataset) -> Ranking:
    """Returns the ranking by the number of users of the same gender and age who liked a movie."""
    likes = liked(dataset.ratings)
    group = np.ravel_multi_index(dataset.profiles[:, 1:3].T, DEMOGRAPHIC_SIZES[:2])
    counts = np.zeros((group.max() + 1, len(dataset.movies.movie_idx)))
    np.add.at(counts, (group[likes.profile_row], likes.movie_row), 1)
    return lambda rows: counts[group[rows]]


LIST_RIVALS = {
    "EDLAE": Rival(
        fit_edlae,
        grid(
            weights=["half", "graded", "steep"],
            exponent=[0.25, 0.5, 0.75, 1.0],
            ridge=[50, 100, 200, 300, 400, 800],
            dropout=[0.25, 0.5, 1.0, 2.0],
        ),
    ),
    "EASE": Rival(fit_ease, grid(weights=WEIGHTS, ridge=[50, 100, 200, 400, 800, 1600])),
    "implicit ALS": Rival(
        fit_als, grid(factors=[32, 64, 128, 256], regularization=[3.0, 10.0, 30.0, 60.0, 100.0], alpha=[1.0])
    ),
    "nearest movies": Rival(
        fit_nearest, grid(weights=["half", "graded", "steep"], neighbours=[20, 50, 100, 200], shrinkage=[0, 10, 100])
    ),
    "most popular": Rival(fit_popularity, [{}]),
}


def fit_myfm(split: Split, rank: int, num_draws: int) -> np.ndarray:
    """Returns the predictions of myFM, a Bayesian factorization machine: the mean of Gibbs samples, as a regression.

    Features of a rating are the user's and the movie's ids and what our sampler knows of both: demographics and movies
    rated, genres, title words and raters; no dates. Each kind has its own prior, as its documentation advises.
    """
    import myfm

    train, test = split.train.ratings, split.test
    shape = split.train.num_users, len(split.train.movies.movie_idx)
    rated = csr_array(
        (np.ones(len(train.rating), np.float32), (train.profile_row - NUM_DEMOGRAPHIC_PROFILES, train[1])), shape
    )
    blocks, group_sizes = [], []
    for features in encode_features(split.train, rated, PosteriorConfig.max_features):
        known = features[:, 1:]  # Without the column of ones.
        blocks.append(csr_matrix(hstack([eye_array(len(known.indptr) - 1), known]), dtype=np.float64))
        group_sizes += [known.shape[0], known.shape[1]]

    def relations(ratings: Ratings) -> list[Any]:
        rows = ratings.profile_row - NUM_DEMOGRAPHIC_PROFILES, ratings.movie_row
        return [myfm.RelationBlock(index.tolist(), block) for index, block in zip(rows, blocks, strict=True)]

    model = myfm.MyFMRegressor(rank=rank, random_seed=MYFM_SEED)
    model.fit(None, train.rating.astype(float), relations(train), n_iter=num_draws, group_shapes=group_sizes)
    return np.asarray(model.predict(None, relations(test)))


def fit_surprise(split: Split, algorithm: str, **settings: Any) -> np.ndarray:
    """Returns the predictions of an algorithm of the library Surprise."""
    import surprise

    train, test = split.train.ratings, split.test
    reader = surprise.Reader(rating_scale=(0.5 if (train.rating % 1).any() else 1, 5))
    rows = zip(*(column.tolist() for column in train), strict=True)
    trainset = surprise.Dataset(reader).construct_trainset([(*pair, float(rating), None) for *pair, rating in rows])
    model = getattr(surprise, algorithm)(**settings)
    model.fit(trainset)
    pairs = zip(test.profile_row.tolist(), test.movie_row.tolist(), strict=True)
    return np.array([model.predict(*pair).est for pair in pairs])


def fit_biases(split: Split) -> np.ndarray:
    """Returns the predictions of user and movie biases, by ten rounds of least squares with the damping of Surprise."""
    (profile_row, movie_row, rating), test = split.train.ratings, split.test
    num_profiles, num_movies = len(split.train.profiles), len(split.train.movies.movie_idx)
    above_mean, user_bias = rating - rating.mean(), np.zeros(num_profiles)
    for _ in range(10):
        sums = np.bincount(movie_row, above_mean - user_bias[profile_row], num_movies)
        movie_bias = sums / (np.bincount(movie_row, minlength=num_movies) + 10)
        sums = np.bincount(profile_row, above_mean - movie_bias[movie_row], num_profiles)
        user_bias = sums / (np.bincount(profile_row, minlength=num_profiles) + 15)
    return rating.mean() + user_bias[test.profile_row] + movie_bias[test.movie_row]


RATING_RIVALS = {
    "myFM": Rival(fit_myfm, grid(rank=[16, 32], num_draws=[300])),
    "Surprise SVD": Rival(
        fit_surprise,
        grid(algorithm=["SVD"], n_factors=[50, 100], n_epochs=[20, 40], reg_all=[0.02, 0.05, 0.1], random_state=[0]),
    ),
    "Surprise KNNBaseline": Rival(
        fit_surprise,
        grid(
            algorithm=["KNNBaseline"],
            k=[20, 40, 80],
            sim_options=[{"name": "pearson_baseline", "user_based": False, "shrinkage": 100}],
            bsl_options=[{"method": "als", "reg_i": 10, "reg_u": 15}],
            verbose=[False],
        ),
    ),
    "Surprise SVD++": Rival(
        fit_surprise,
        grid(algorithm=["SVDpp"], n_factors=[20], reg_all=[0.02, 0.05, 0.1], random_state=[0], cache_ratings=[True]),
    ),
    "user + movie bias": Rival(fit_biases, [{}]),
}
