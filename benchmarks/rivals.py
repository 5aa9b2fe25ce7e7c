"""Models of others that the project is compared with, each with the settings among which `tune.py` chooses.

Ranking models take a data set and return the scores of all movies for some profiles; rating models return the predicted
ratings of the test rows. Settings are chosen on a tenth of the training rows, as the project's own were.
"""

import copy
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import num_threads
from rankings import liked, profile_matrix
from scipy.linalg import inv
from scipy.sparse import csr_array, csr_matrix, diags_array

from recommender.movielens.split import Dataset, Ratings, Split
from recommender.movielens.encoding import DEMOGRAPHIC_SIZES
from recommender.errors import RecommenderError
from recommender.evaluation.baselines import baseline_predictions, damped_mean
from recommender.evaluation.evaluate import most_popular
from recommender.evaluation.metrics import Ranking
from recommender.paddle_setup import F, nn, paddle

SETTINGS = Path(__file__).parent / "settings.json"
"""The chosen settings by data set and model, written by `tune.py`."""
WEIGHTS = {
    "liked": (0, 0, 0, 1, 1),
    "half": (0.5, 0.5, 0.5, 1, 1),
    "graded": (0.3, 0.4, 0.6, 1, 1.3),
    "steep": (0.1, 0.3, 0.6, 1, 1.4),
}
"""Weights of 1 to 5 stars by the name of a setting."""
QDRANT_NEIGHBOURS = 20
COLLAB_EPOCHS = 20
COLLAB_PATIENCE = 2
COLLAB_BATCH = 4096


class Rival(NamedTuple):
    """A model, and the settings from which one is chosen."""

    fit: Callable[..., Any]
    """Takes a `Dataset` and settings and returns a `Ranking`; or a `Split` and settings, and returns float[test]."""
    grid: list[dict[str, Any]]


def grid(**values: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns all combinations of some values by name."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def interactions(dataset: Dataset, weights: str) -> csr_array:
    """Returns float32[profiles, movies], the weights of movies in histories, see `WEIGHTS`.

    Half stars are interpolated, but for `liked` and `half`, where they count as the whole stars below them.
    """
    ratings = dataset.ratings
    stars = np.floor(ratings.rating) if weights in ("liked", "half") else ratings.rating
    values = np.interp(stars, (1, 2, 3, 4, 5), WEIGHTS[weights]).astype(np.float32)
    matrix = profile_matrix(ratings._replace(rating=values), *dataset_shape(dataset))
    matrix.eliminate_zeros()
    return matrix


def dataset_shape(dataset: Dataset) -> tuple[int, int]:
    """Returns the numbers of profiles and movies."""
    return len(dataset.profiles), len(dataset.movies.movie_idx)


def fit_popularity(dataset: Dataset) -> Ranking:
    """Returns the ranking by the number of users who liked a movie."""
    return most_popular(dataset.ratings, dataset_shape(dataset)[1])


def fit_group_popularity(dataset: Dataset) -> Ranking:
    """Returns the ranking by the number of users of the same gender and age who liked a movie."""
    likes = liked(dataset.ratings)
    group = np.ravel_multi_index(dataset.profiles[:, 1:3].T, DEMOGRAPHIC_SIZES[:2])
    counts = np.zeros((group.max() + 1, dataset_shape(dataset)[1]))
    np.add.at(counts, (group[likes.profile_row], likes.movie_row), 1)
    return lambda rows: counts[group[rows]]


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
    matrix = user_interactions(dataset, weights)
    return autoencoder_weights(matrix, np.full(matrix.shape[1], ridge))


def edlae_weights(dataset: Dataset, weights: str, exponent: float, ridge: float, dropout: float) -> np.ndarray:
    """Returns float32[movies, movies], EDLAE (Steck, Autoencoders that don't overfit towards the Identity, 2020).

    Args:
        dataset: The training rows.
        weights: See `interactions`.
        exponent: Rows are divided by their length to this power, times the mean length to this power.
        ridge: The L2 regularization.
        dropout: The regularization by popularity, as a share of a movie's squared interactions.
    """
    matrix = user_interactions(dataset, weights)
    lengths = np.sqrt(matrix.power(2).sum(1))
    scale = np.where(lengths > 0, np.maximum(lengths, 1e-9) ** -exponent, 0)
    scaled = csr_array(diags_array((scale * (lengths[lengths > 0] ** exponent).mean()).astype(np.float32)) @ matrix)
    return autoencoder_weights(scaled, ridge + dropout * scaled.power(2).sum(0))


def user_interactions(dataset: Dataset, weights: str) -> csr_array:
    """Returns float32[users, movies], the `interactions` of the training users, who are the last profiles."""
    return interactions(dataset, weights)[len(dataset.profiles) - dataset.num_users :]


def linear_ranking(dataset: Dataset, weights: str, matrix: np.ndarray) -> Ranking:
    """Returns the ranking by histories times a matrix of movies; movies without ratings come last."""
    histories = interactions(dataset, weights)
    has_ratings = np.bincount(dataset.ratings.movie_row, minlength=len(matrix)) > 0
    return lambda rows: np.where(has_ratings, histories[rows] @ matrix, -np.inf)


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


def fit_item_knn(dataset: Dataset, weights: str, neighbours: int, shrinkage: float) -> Ranking:
    """Returns the ranking by the movies nearest to those of the history."""
    matrix = interactions(dataset, weights)
    similarity = nearest((matrix.T @ matrix).toarray(), np.sqrt(matrix.power(2).sum(0)), neighbours, shrinkage)
    return linear_ranking(dataset, weights, similarity.T)


def fit_user_knn(dataset: Dataset, weights: str, neighbours: int, shrinkage: float) -> Ranking:
    """Returns the ranking by the histories of the nearest users."""
    users = user_interactions(dataset, weights)
    first = len(dataset.profiles) - dataset.num_users
    similarity = nearest((users @ users.T).toarray(), np.sqrt(users.power(2).sum(1)), neighbours, shrinkage)
    return lambda rows: similarity[rows - first] @ users


def fit_als(dataset: Dataset, **settings: float) -> Ranking:
    """Returns the ranking by implicit's alternating least squares; the weights are the ratings in stars.

    On validation rows of ml-1m that was better than 1 for liked movies or 0.5 for others, and an alpha of 0.3, 3 or 10
    was no better than 1.
    """
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    weights = csr_matrix(profile_matrix(dataset.ratings, *dataset_shape(dataset)))
    with threadpool_limits(1, "blas"):  # implicit's documentation asks for it.
        als = AlternatingLeastSquares(**settings, random_state=0, num_threads=num_threads())
        als.fit(weights, show_progress=False)
    return lambda rows: als.user_factors[rows] @ als.item_factors.T


def fit_qdrant(dataset: Dataset) -> Ranking:
    """Returns the ranking of Qdrant's tutorial on collaborative filtering.

    Users are sparse vectors of standardized ratings; a movie's score is the sum of the ratings of the 20 users nearest
    by inner product.
    """
    ratings = dataset.ratings
    standardized = ((ratings.rating - ratings.rating.mean()) / ratings.rating.std()).astype(np.float32)
    matrix = profile_matrix(ratings._replace(rating=standardized), *dataset_shape(dataset))

    def score(rows: np.ndarray) -> np.ndarray:
        products = (matrix[rows] @ matrix.T).toarray()
        products[np.arange(len(rows)), rows] = -np.inf
        users = np.argpartition(-products, QDRANT_NEIGHBOURS, axis=1)[:, :QDRANT_NEIGHBOURS]
        return np.stack([matrix[nearest_users].sum(0) for nearest_users in users])

    return score


RANKING_RIVALS = {
    "most popular": Rival(fit_popularity, [{}]),
    "most popular by gender and age": Rival(fit_group_popularity, [{}]),
    "Qdrant's tutorial": Rival(fit_qdrant, [{}]),
    "user kNN": Rival(
        fit_user_knn, grid(weights=["half", "graded", "steep"], neighbours=[30, 60, 120, 240], shrinkage=[0, 10, 100])
    ),
    "item kNN": Rival(
        fit_item_knn, grid(weights=["half", "graded", "steep"], neighbours=[20, 50, 100, 200], shrinkage=[0, 10, 100])
    ),
    "implicit ALS": Rival(
        fit_als, grid(factors=[32, 64, 128, 256], regularization=[3.0, 10.0, 30.0, 60.0, 100.0], alpha=[1.0])
    ),
    "EASE": Rival(fit_ease, grid(weights=WEIGHTS, ridge=[50, 100, 200, 400, 800, 1600])),
    "EDLAE": Rival(
        fit_edlae,
        grid(
            weights=["half", "graded", "steep"],
            exponent=[0.25, 0.5, 0.75],
            ridge=[50, 100, 200, 400, 800],
            dropout=[0.5, 1.0, 2.0],
        ),
    ),
}


def applicable_rivals(train: Dataset) -> list[tuple[str, Rival]]:
    """Returns the ranking models that a data set has what they need for."""
    has_demographics = bool(train.profiles[-train.num_users :, 1:].any())
    return [pair for pair in RANKING_RIVALS.items() if has_demographics or "gender" not in pair[0]]


def fit_bias(split: Split) -> np.ndarray:
    """Returns the predictions by user and movie biases."""
    return baseline_predictions(split.train.ratings, split.test)["user + movie bias"]


def fit_surprise(split: Split, algorithm: str, **settings: Any) -> np.ndarray:
    """Returns the predictions of an algorithm of the library Surprise."""
    import surprise

    fitted = list(zip(*(column.tolist() for column in split.train.ratings), strict=True))
    reader = surprise.Reader(rating_scale=(0.5 if (split.train.ratings.rating % 1).any() else 1, 5))
    trainset = surprise.Dataset(reader)
    trainset = trainset.construct_trainset([(user, movie, float(rating), None) for user, movie, rating in fitted])
    model = getattr(surprise, algorithm)(**settings)
    model.fit(trainset)
    pairs = zip(split.test.profile_row.tolist(), split.test.movie_row.tolist(), strict=True)
    return np.array([model.predict(user, movie).est for user, movie in pairs])


class CollabFNet(nn.Layer):
    """User and movie embedding, concatenated; one hidden layer; the predicted rating.

    Source: the article on embeddings, whose code this follows in widths and dropout. The article's training never calls
    the optimizer's step; this one does, in batches, and stops early.
    """

    def __init__(self, num_profiles: int, num_movies: int, width: int = 100, num_hidden: int = 10) -> None:
        super().__init__()
        self.user, self.movie = nn.Embedding(num_profiles, width), nn.Embedding(num_movies, width)
        self.hidden, self.out = nn.Linear(2 * width, num_hidden), nn.Linear(num_hidden, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, profile_row: paddle.Tensor, movie_row: paddle.Tensor) -> paddle.Tensor:
        """Returns predicted ratings, float32[ratings]."""
        both = F.relu(paddle.concat([self.user(profile_row), self.movie(movie_row)], axis=1))
        return self.out(F.relu(self.hidden(self.dropout(both)))).squeeze(1)


def fit_collab(split: Split, decay: float) -> np.ndarray:
    """Returns the predictions of CollabFNet, stopped early on a hundredth of the training rows."""
    train, shape = split.train.ratings, dataset_shape(split.train)
    is_validation = np.random.default_rng(0).random(len(train.rating)) < 0.01
    fitted, validation = train.select(~is_validation), train.select(is_validation)
    paddle.seed(0)
    random = np.random.default_rng(0)
    model = CollabFNet(*shape)
    penalty = paddle.regularizer.L2Decay(decay)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters(), weight_decay=penalty)
    best, best_model, num_worse = np.inf, model, 0
    for _ in range(COLLAB_EPOCHS):
        model.train()
        order = random.permutation(len(fitted.rating))
        for start in range(0, len(order), COLLAB_BATCH):
            batch = fitted.select(order[start : start + COLLAB_BATCH])
            predicted = model(paddle.to_tensor(batch.profile_row), paddle.to_tensor(batch.movie_row))
            F.mse_loss(predicted, paddle.to_tensor(batch.rating.astype(np.float32))).backward()
            optimizer.step()
            optimizer.clear_grad()
        error = np.mean((predict(model, validation) - validation.rating) ** 2)
        num_worse += 1
        if error < best:
            best, best_model, num_worse = error, copy.deepcopy(model), 0
        if num_worse == COLLAB_PATIENCE:
            break
    return predict(best_model, split.test)


@paddle.no_grad()
def predict(model: CollabFNet, ratings: Ratings) -> np.ndarray:
    """Returns float32[ratings], predicted ratings."""
    model.eval()
    predicted: np.ndarray = model(paddle.to_tensor(ratings.profile_row), paddle.to_tensor(ratings.movie_row)).numpy()
    return predicted


BASELINE_OPTIONS = {"method": "als", "reg_i": 10, "reg_u": 15}
RATING_RIVALS = {
    "user + movie bias": Rival(fit_bias, [{}]),
    "CollabFNet": Rival(fit_collab, grid(decay=[0.0, 1e-5, 1e-4])),
    "Surprise SVD": Rival(
        fit_surprise,
        grid(algorithm=["SVD"], n_factors=[50, 100], n_epochs=[20, 40], reg_all=[0.02, 0.05, 0.1], random_state=[0]),
    ),
    "Surprise KNNBaseline, movies": Rival(
        fit_surprise,
        grid(
            algorithm=["KNNBaseline"],
            k=[20, 40, 80],
            sim_options=[
                {"name": name, "user_based": False, "shrinkage": shrinkage}
                for name, shrinkage in (("msd", 0), ("pearson_baseline", 100))
            ],
            bsl_options=[BASELINE_OPTIONS],
            verbose=[False],
        ),
    ),
    "Surprise SVD++": Rival(
        fit_surprise,
        grid(algorithm=["SVDpp"], n_factors=[20], reg_all=[0.02, 0.05, 0.1], random_state=[0], cache_ratings=[True]),
    ),
}


def load_settings(name: str) -> dict[str, dict[str, Any]]:
    """Returns the chosen settings of each model on the data set of a name."""
    chosen: dict[str, dict[str, dict[str, Any]]] = json.loads(SETTINGS.read_text())
    if name not in chosen:
        raise RecommenderError(f"{SETTINGS}: no settings for {name}; run: python benchmarks/tune.py rivals FOLDER")
    return chosen[name]


def demographic_predictions(train: Ratings, test: Ratings, demographics: np.ndarray) -> dict[str, np.ndarray]:
    """Predicts the ratings of new users in two simple ways.

    Args:
        train: The training ratings.
        test: Ratings of other users.
        demographics: int64[profiles, 3], gender, age and occupation index

    Returns:
        float64[test ratings] for `movie mean` and `movie mean + demographics`: the damped mean of a movie, and that
        plus the damped offset of its ratings by the same gender, then by the same age, then by the same occupation.
    """
    mean = train.rating.mean()
    num_movies = max(train.movie_row.max(), test.movie_row.max()) + 1
    movie_bias = damped_mean(train.rating - mean, train.movie_row, num_movies, damping=5)
    residual = train.rating - mean - movie_bias[train.movie_row]
    movie_mean = mean + movie_bias[test.movie_row]
    total = movie_mean.copy()
    for column in demographics.T:
        num_levels = column.max() + 1
        group = train.movie_row * num_levels + column[train.profile_row]
        offset = damped_mean(residual, group, num_movies * num_levels, damping=40)
        residual = residual - offset[group]
        total += offset[test.movie_row * num_levels + column[test.profile_row]]
    return {"movie mean": movie_mean, "movie mean + demographics": total}
