"""The fusion model in Paddle as its book would have it, which `benchmarks/training.py` compares with."""

from collections.abc import Callable

import numpy as np

from recommender.movielens.split import Dataset
from recommender.movielens.encoding import DEMOGRAPHIC_SIZES, NUM_RESERVED, Vocabularies
from recommender.paddle_setup import F, nn, paddle


class PlainModel(nn.Layer):
    """Padded titles through `nn.Conv1D`, `F.cosine_similarity`, both towers once per rating."""

    def __init__(self, num_users: int, vocabularies: Vocabularies) -> None:
        super().__init__()
        sizes = (NUM_RESERVED + num_users, *DEMOGRAPHIC_SIZES)
        widths = (32, 16, 16, 16)
        self.user = nn.LayerList([nn.Embedding(*shape) for shape in zip(sizes, widths, strict=True)])
        self.user_linear = nn.LayerList([nn.Linear(width, width) for width in widths])
        self.user_combine = nn.Linear(80, 200)
        self.movie = nn.Embedding(vocabularies.movies.size, 32)
        self.movie_linear = nn.Linear(32, 32)
        self.genre = nn.Embedding(vocabularies.genres.size, 32, padding_idx=0)
        self.word = nn.Embedding(vocabularies.words.size, 32, padding_idx=0)
        self.convolution = nn.Conv1D(32, 32, 3, padding=1)
        self.movie_combine = nn.Linear(96, 200)

    def forward(
        self, profiles: paddle.Tensor, movie_idx: paddle.Tensor, genre_idx: paddle.Tensor, word_idx: paddle.Tensor
    ) -> paddle.Tensor:
        """Returns predicted ratings, float32[batch]; each argument has one row per rating."""
        branches = zip(self.user, self.user_linear, strict=True)
        parts = [linear(table(profiles[:, column])) for column, (table, linear) in enumerate(branches)]
        user = paddle.tanh(self.user_combine(paddle.concat(parts, axis=1)))
        title = paddle.tanh(self.convolution(self.word(word_idx).transpose([0, 2, 1]))).sum(2)
        parts = [self.movie_linear(self.movie(movie_idx)), self.genre(genre_idx).sum(1), title]
        movie = paddle.tanh(self.movie_combine(paddle.concat(parts, axis=1)))
        return 5 * F.cosine_similarity(user, movie, axis=1)


def create_step(dataset: Dataset, vocabularies: Vocabularies) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step on some rows of the ratings."""
    model = PlainModel(dataset.num_users, vocabularies)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters())

    def step(rows: np.ndarray) -> None:
        ratings = dataset.ratings.select(rows)
        movies = map(paddle.to_tensor, dataset.movies.select(ratings.movie_row))
        predicted = model(paddle.to_tensor(dataset.profiles[ratings.profile_row]), *movies)
        loss = F.mse_loss(predicted, paddle.to_tensor(ratings.rating.astype(np.float32)))
        float(loss)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    return step
