"""The fusion model as one would write it in Paddle from its book: what `benchmarks/training.py` compares with."""

from collections.abc import Callable

import numpy as np

from recommender.data.dataset import Dataset
from recommender.data.features import DEMOGRAPHIC_SIZES, NUM_ANONYMOUS, NUM_RESERVED, Vocabularies
from recommender.models.paddle_setup import F, nn, paddle


class PlainModel(nn.Layer):
    """Padded titles through `nn.Conv1D`, `F.cosine_similarity`, both towers once a rating."""

    def __init__(self, num_users: int, vocabularies: Vocabularies) -> None:
        super().__init__()
        sizes = (NUM_RESERVED + num_users, *DEMOGRAPHIC_SIZES)
        widths = (32, 16, 16, 16)
        self.user = nn.LayerList([nn.Embedding(*both) for both in zip(sizes, widths, strict=True)])
        self.user_linear = nn.LayerList([nn.Linear(width, width) for width in widths])
        self.user_combine = nn.Linear(80, 200)
        self.movie = nn.Embedding(vocabularies.movies.size, 32)
        self.movie_linear = nn.Linear(32, 32)
        self.genre = nn.Embedding(vocabularies.genres.size, 32, padding_idx=0)
        self.word = nn.Embedding(vocabularies.words.size, 32, padding_idx=0)
        self.convolution = nn.Conv1D(32, 32, 3, padding=1)
        self.movie_combine = nn.Linear(96, 200)

    def forward(self, people, movie, genres, words):
        """Returns scores, float32[batch]; one row of each argument a rating."""
        branches = zip(self.user, self.user_linear, strict=True)
        parts = [linear(table(people[:, column])) for column, (table, linear) in enumerate(branches)]
        user = paddle.tanh(self.user_combine(paddle.concat(parts, axis=1)))
        title = paddle.tanh(self.convolution(self.word(words).transpose([0, 2, 1]))).sum(2)
        parts = [self.movie_linear(self.movie(movie)), self.genre(genres).sum(1), title]
        movie = paddle.tanh(self.movie_combine(paddle.concat(parts, axis=1)))
        return 5 * F.cosine_similarity(user, movie, axis=1)


def stepper(dataset: Dataset, vocabularies: Vocabularies) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step on some rows of the ratings."""
    model = PlainModel(len(dataset.people) - NUM_ANONYMOUS, vocabularies)
    optimizer = paddle.optimizer.Adam(0.001, parameters=model.parameters())

    def step(rows: np.ndarray) -> None:
        people = dataset.people[dataset.ratings.person_row[rows]]
        movies = dataset.movies.take(dataset.ratings.movie_row[rows])
        score = model(paddle.to_tensor(people), *map(paddle.to_tensor, movies))
        loss = F.mse_loss(score, paddle.to_tensor(dataset.ratings.rating[rows].astype(np.float32)))
        float(loss)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    return step
