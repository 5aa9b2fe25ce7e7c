"""Rivals that are trained: ALS of the library `implicit`, and the network of an article on embeddings."""

import copy
import itertools

import numpy as np
from rankings import Scorer, judge_all, select
from scipy.sparse import csr_matrix

from recommender.evaluation.metrics import Ratings, rating_metrics
from recommender.models.paddle_setup import F, nn, paddle

ALS_GRID = {"factors": (64, 128, 256), "regularization": (30.0, 60.0, 100.0), "alpha": (1.0,)}
"""Weights are the ratings in stars: on validation rows that was better than 1 for liked films or 0.5 for others, and an
alpha of 0.3, 3 or 10 was no better than 1."""
COLLAB_DECAYS = (0.0, 1e-5, 1e-4)
COLLAB_EPOCHS = 20
COLLAB_BATCH = 4096


def als_scorer(train: Ratings, num_people: int, num_movies: int, **settings: float) -> Scorer:
    """Returns the scores of implicit's alternating least squares with some settings."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    places = train.person_row, train.movie_row
    weights = csr_matrix((train.rating.astype(np.float32), places), (num_people, num_movies))
    with threadpool_limits(1, "blas"):  # As it asks for.
        als = AlternatingLeastSquares(**settings, random_state=0)
        als.fit(weights, show_progress=False)
    return lambda people: als.user_factors[people] @ als.item_factors.T


def tuned_als(train: Ratings, num_people: int, num_movies: int) -> Scorer:
    """Chooses the settings of ALS on a tenth of the training rows, and returns the scores of all of them."""
    is_validation = np.random.default_rng(0).random(len(train.rating)) < 0.1
    teach, validation = select(train, ~is_validation), select(train, is_validation)
    grid = [dict(zip(ALS_GRID, values, strict=True)) for values in itertools.product(*ALS_GRID.values())]
    scorers = {str(one): als_scorer(teach, num_people, num_movies, **one) for one in grid}
    judged = judge_all(scorers, teach, validation, num_movies)
    ndcg = [judged[str(one)].ndcg for one in grid]
    best = grid[int(np.argmax(ndcg))]
    print(f"ALS: best of {len(grid)} settings on validation rows: {best}, NDCG@10 {max(ndcg):.4f}", flush=True)
    return als_scorer(train, num_people, num_movies, **best)


class CollabFNet(nn.Layer):
    """User and movie embedding, concatenated; a hidden layer; a number.

    Source: the article on embeddings, whose code this follows in widths and dropout. Its training forgets to step; ours
    is in batches, and stops early.
    """

    def __init__(self, num_people: int, num_movies: int, width: int = 100, num_hidden: int = 10) -> None:
        super().__init__()
        self.user, self.movie = nn.Embedding(num_people, width), nn.Embedding(num_movies, width)
        self.hidden, self.out = nn.Linear(2 * width, num_hidden), nn.Linear(num_hidden, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, person_row: paddle.Tensor, movie_row: paddle.Tensor) -> paddle.Tensor:
        """Returns predicted stars, float32[ratings]."""
        both = F.relu(paddle.concat([self.user(person_row), self.movie(movie_row)], axis=1))
        return self.out(F.relu(self.hidden(self.dropout(both)))).squeeze(1)


def collab_predictions(train: Ratings, test: Ratings, num_people: int, num_movies: int) -> np.ndarray:
    """Returns float32[test ratings], those of the best weight decay and epoch on a hundredth of the training rows."""
    is_validation = np.random.default_rng(0).random(len(train.rating)) < 0.01
    teach, validation = select(train, ~is_validation), select(train, is_validation)
    trained = [train_collab(teach, validation, num_people, num_movies, decay) for decay in COLLAB_DECAYS]
    best, model = min(trained, key=lambda one: one[0])
    print(f"CollabFNet: validation RMSE {best:.4f}, the best of {len(trained)} weight decays", flush=True)
    return predict(model, test)


def train_collab(
    teach: Ratings, validation: Ratings, num_people: int, num_movies: int, decay: float
) -> tuple[float, CollabFNet]:
    """Trains by Adam until the validation RMSE is no better; returns that and the model of the best epoch."""
    paddle.seed(0)
    random = np.random.default_rng(0)
    model = CollabFNet(num_people, num_movies)
    penalty = paddle.regularizer.L2Decay(decay)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters(), weight_decay=penalty)
    best, kept, worse = np.inf, model, 0
    for _ in range(COLLAB_EPOCHS):
        model.train()
        order = random.permutation(len(teach.rating))
        for start in range(0, len(order), COLLAB_BATCH):
            part = select(teach, order[start : start + COLLAB_BATCH])
            predicted = model(paddle.to_tensor(part.person_row), paddle.to_tensor(part.movie_row))
            F.mse_loss(predicted, paddle.to_tensor(part.rating.astype(np.float32))).backward()
            optimizer.step()
            optimizer.clear_grad()
        rmse = rating_metrics(predict(model, validation), validation.rating).rmse
        worse += 1
        if rmse < best:
            best, kept, worse = rmse, copy.deepcopy(model), 0
        if worse == 2:
            break
    return best, kept


@paddle.no_grad()
def predict(model: CollabFNet, ratings: Ratings) -> np.ndarray:
    """Returns float32[ratings], predicted stars."""
    model.eval()
    predicted: np.ndarray = model(paddle.to_tensor(ratings.person_row), paddle.to_tensor(ratings.movie_row)).numpy()
    return predicted
