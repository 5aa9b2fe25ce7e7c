"""Trained models of others, which `evaluate.py` compares with: ALS of the library implicit, and CollabFNet."""

import copy
import itertools

import numpy as np
from machine import num_threads
from scipy.sparse import csr_matrix

from recommender.data.dataset import Ratings
from recommender.evaluation.metrics import Ranking, evaluate_rankings, rating_metrics
from recommender.models.paddle_setup import F, nn, paddle

ALS_GRID = {"factors": (64, 128, 256), "regularization": (30.0, 60.0, 100.0), "alpha": (1.0,)}
"""The weights are the ratings in stars. On validation rows that was better than 1 for liked movies or 0.5 for others,
and an alpha of 0.3, 3 or 10 was no better than 1."""
COLLAB_DECAYS = (0.0, 1e-5, 1e-4)
COLLAB_EPOCHS = 20
COLLAB_PATIENCE = 2
COLLAB_BATCH = 4096


def fit_als(train: Ratings, num_profiles: int, num_movies: int, **settings: float) -> Ranking:
    """Returns the ranking by implicit's alternating least squares with some settings."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    cells = train.profile_row, train.movie_row
    weights = csr_matrix((train.rating.astype(np.float32), cells), (num_profiles, num_movies))
    with threadpool_limits(1, "blas"):  # implicit's documentation asks for it.
        als = AlternatingLeastSquares(**settings, random_state=0, num_threads=num_threads())
        als.fit(weights, show_progress=False)
    return lambda rows: als.user_factors[rows] @ als.item_factors.T


def tune_als(train: Ratings, num_profiles: int, num_movies: int) -> tuple[Ranking, str]:
    """Chooses the settings of ALS on a tenth of the training rows.

    Returns:
        The ranking of a model with these settings, fitted to all training rows, and a note on them.
    """
    is_validation = np.random.default_rng(0).random(len(train.rating)) < 0.1
    fitted, validation = train.select(~is_validation), train.select(is_validation)
    grid = [dict(zip(ALS_GRID, values, strict=True)) for values in itertools.product(*ALS_GRID.values())]
    rankings = {str(settings): fit_als(fitted, num_profiles, num_movies, **settings) for settings in grid}
    metrics = evaluate_rankings(rankings, fitted, validation, num_movies)
    best = max(grid, key=lambda settings: metrics[str(settings)].ndcg)
    chosen = ", ".join(f"{name} {value}" for name, value in best.items())
    note = f"implicit ALS with {chosen}: best of {len(grid)}, validation NDCG@10 {metrics[str(best)].ndcg:.4f}"
    return fit_als(train, num_profiles, num_movies, **best), note


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


def collab_predictions(train: Ratings, test: Ratings, num_profiles: int, num_movies: int) -> tuple[np.ndarray, str]:
    """Chooses weight decay and epoch of CollabFNet on a hundredth of the training rows.

    Returns:
        float32[test ratings], the predicted ratings, and a note on the choice.
    """
    is_validation = np.random.default_rng(0).random(len(train.rating)) < 0.01
    fitted, validation = train.select(~is_validation), train.select(is_validation)
    trained = [train_collab(fitted, validation, num_profiles, num_movies, decay) for decay in COLLAB_DECAYS]
    best, model = min(trained, key=lambda pair: pair[0])
    return predict(model, test), f"CollabFNet: best of {len(trained)} weight decays, validation RMSE {best:.4f}"


def train_collab(
    train: Ratings, validation: Ratings, num_profiles: int, num_movies: int, decay: float
) -> tuple[float, CollabFNet]:
    """Trains with Adam and early stopping; returns the lowest validation RMSE and the model of that epoch."""
    paddle.seed(0)
    random = np.random.default_rng(0)
    model = CollabFNet(num_profiles, num_movies)
    penalty = paddle.regularizer.L2Decay(decay)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters(), weight_decay=penalty)
    best, best_model, num_worse = np.inf, model, 0
    for _ in range(COLLAB_EPOCHS):
        model.train()
        order = random.permutation(len(train.rating))
        for start in range(0, len(order), COLLAB_BATCH):
            batch = train.select(order[start : start + COLLAB_BATCH])
            predicted = model(paddle.to_tensor(batch.profile_row), paddle.to_tensor(batch.movie_row))
            F.mse_loss(predicted, paddle.to_tensor(batch.rating.astype(np.float32))).backward()
            optimizer.step()
            optimizer.clear_grad()
        rmse = rating_metrics(predict(model, validation), validation.rating).rmse
        num_worse += 1
        if rmse < best:
            best, best_model, num_worse = rmse, copy.deepcopy(model), 0
        if num_worse == COLLAB_PATIENCE:
            break
    return best, best_model


@paddle.no_grad()
def predict(model: CollabFNet, ratings: Ratings) -> np.ndarray:
    """Returns float32[ratings], predicted ratings."""
    model.eval()
    predicted: np.ndarray = model(paddle.to_tensor(ratings.profile_row), paddle.to_tensor(ratings.movie_row)).numpy()
    return predicted
