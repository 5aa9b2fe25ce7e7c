"""The fusion model, a user tower, a movie tower, and five times the cosine of their vectors; and the taste model.

Source of the first: milvus-io/bootcamp `demo/recommender_system`, after chapter 5 of PaddlePaddle's book: every width,
activation and the window of three words. Each tower says where this port departs from it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recommender.data.features import VECTOR_SIZE
from recommender.evaluation.metrics import MAX_SCORE, predict_scores
from recommender.models.paddle_setup import nn, paddle

ID_WIDTH = 32
DEMOGRAPHIC_WIDTH = 16
WINDOW = 3
EMBEDDING_STD = 0.05
FIRST_BIAS = 0.1
TASTE_STD = 0.01
TINY = 1e-12
"""A length of 0 is taken for the root of it."""


def _embedding(size: int, width: int, padding_index: int | None = None) -> nn.Embedding:
    initial = paddle.ParamAttr(initializer=nn.initializer.Normal(std=EMBEDDING_STD))
    return nn.Embedding(size, width, padding_idx=padding_index, weight_attr=initial)


def _branch(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(_embedding(size, width), nn.Linear(width, width))


def _combine(width: int) -> nn.Linear:
    """The last layer of a tower. What its biases have in common makes the first scores those of the mean, or so."""
    bias = paddle.ParamAttr(initializer=nn.initializer.Constant(FIRST_BIAS))
    return nn.Linear(width, VECTOR_SIZE, bias_attr=bias)


def _unit_length(vectors: paddle.Tensor) -> paddle.Tensor:
    """Scales each row to length 1; several times faster on a CPU than `F.normalize` (Paddle 3.3)."""
    return vectors * paddle.rsqrt(paddle.square(vectors).sum(-1, keepdim=True) + TINY)


class UserTower(nn.Layer):
    """Turns people into unit vectors: four embeddings, each through a linear layer, concatenated, linear, tanh."""

    def __init__(self, num_users: int, demographic_sizes: Sequence[int]) -> None:
        super().__init__()
        demographics = [_branch(size, DEMOGRAPHIC_WIDTH) for size in demographic_sizes]
        self.branches = nn.LayerList([_branch(num_users, ID_WIDTH), *demographics])
        self.combine = _combine(ID_WIDTH + DEMOGRAPHIC_WIDTH * len(demographics))

    def forward(self, people: paddle.Tensor) -> paddle.Tensor:
        """Returns user vectors, float32[batch, 200].

        Args:
            people: int64[batch, 4], columns user, gender, age and occupation index.
        """
        return _unit_length(self.unscaled(people))

    def unscaled(self, people: paddle.Tensor) -> paddle.Tensor:
        """Returns what `forward` does, before it is scaled to unit length."""
        parts = [branch(people[:, column]) for column, branch in enumerate(self.branches)]
        # float32[batch, 32], then three of float32[batch, 16]
        return paddle.tanh(self.combine(paddle.concat(parts, axis=1)))


class MovieTower(nn.Layer):
    """Turns movies into unit vectors: id, genres and title, concatenated, linear, tanh.

    Genre embeddings are summed. The title is a convolution over windows of three words, tanh, summed over the words
    (as the original's code does; its articles say maximum, which measured slightly worse). The convolution is written
    as one linear layer over the windows of real words only, because `nn.Conv1D` over padded titles is several times
    slower on a CPU.
    """

    def __init__(self, num_movies: int, num_genres: int, num_words: int) -> None:
        super().__init__()
        self.id_branch = _branch(num_movies, ID_WIDTH)
        self.genre_embedding = _embedding(num_genres, ID_WIDTH, padding_index=0)
        self.word_embedding = _embedding(num_words, ID_WIDTH, padding_index=0)
        self.convolution = nn.Linear(WINDOW * ID_WIDTH, ID_WIDTH)
        self.combine = _combine(3 * ID_WIDTH)

    def forward(
        self, movie_index: paddle.Tensor, genre_index: paddle.Tensor, word_index: paddle.Tensor
    ) -> paddle.Tensor:
        """Returns movie vectors, float32[batch, 200].

        Args:
            movie_index: int64[batch]
            genre_index: int64[batch, genres], padded with 0
            word_index: int64[batch, words], padded with 0 behind at least one word
        """
        return _unit_length(self.unscaled(movie_index, genre_index, word_index))

    def unscaled(
        self, movie_index: paddle.Tensor, genre_index: paddle.Tensor, word_index: paddle.Tensor
    ) -> paddle.Tensor:
        """Returns what `forward` does, before it is scaled to unit length."""
        parts = [
            self.id_branch(movie_index),
            self.genre_embedding(genre_index).sum(1),
            self._title(word_index),
        ]  # three of float32[batch, 32]
        return paddle.tanh(self.combine(paddle.concat(parts, axis=1)))

    def _title(self, word_index: paddle.Tensor) -> paddle.Tensor:
        edge = paddle.zeros_like(word_index[:, :1])
        words = paddle.concat([edge, word_index, edge], axis=1)  # int64[batch, words + 2]
        places = paddle.nonzero(words.flatten())  # int64[words in all, 1]
        windows = paddle.gather(words.flatten(), (places + paddle.arange(-1, 2)).flatten())  # three a word
        convolved = paddle.tanh(self.convolution(self.word_embedding(windows).reshape([-1, WINDOW * ID_WIDTH])))
        return paddle.geometric.segment_sum(convolved, places.flatten() // words.shape[1])


class FusionModel(nn.Layer):
    """Both towers, and the score in stars of a person for a movie."""

    def __init__(
        self, num_users: int, demographic_sizes: Sequence[int], num_movies: int, num_genres: int, num_words: int
    ) -> None:
        super().__init__()
        self.user_tower = UserTower(num_users, demographic_sizes)
        self.movie_tower = MovieTower(num_movies, num_genres, num_words)
        with paddle.no_grad():  # Both read ids alike at first: embeddings that agree give vectors that agree.
            self.movie_tower.id_branch[-1].weight[:] = self.user_tower.branches[0][-1].weight
            self.movie_tower.combine.weight[:ID_WIDTH] = self.user_tower.combine.weight[:ID_WIDTH]

    def forward(
        self,
        people: paddle.Tensor,
        movies: tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor],
        person_row: np.ndarray,
        movie_row: np.ndarray,
    ) -> paddle.Tensor:
        """Returns scores in stars, float32[ratings], from -5 to 5.

        Each tower runs once a distinct person and movie, however many ratings they have in the batch.

        Args:
            people: The distinct people, as in `UserTower.forward`.
            movies: The distinct movies, as in `MovieTower.forward`.
            person_row: int64[ratings], each rating's row of `people`.
            movie_row: int64[ratings], each rating's row of `movies`.
        """
        return _Scores.apply(
            self.user_tower.unscaled(people), self.movie_tower.unscaled(*movies), person_row, movie_row
        )


class _Scores(paddle.autograd.PyLayer):
    """Takes five times the cosines of some pairs of people and movies.

    The gradients are sparse products, where those of Paddle's own layers copy both vectors of each pair to and fro, and
    go over all vectors several times to scale them to length 1.
    """

    @staticmethod
    def forward(
        ctx: Any, people: paddle.Tensor, movies: paddle.Tensor, person_row: np.ndarray, movie_row: np.ndarray
    ) -> paddle.Tensor:
        vectors = people.numpy(), movies.numpy()
        ctx.scales = [1 / np.sqrt(np.einsum("ij,ij->i", rows, rows) + TINY)[:, None] for rows in vectors]
        ctx.vectors = [rows * scale for rows, scale in zip(vectors, ctx.scales, strict=True)]
        ctx.places = person_row, movie_row
        ctx.scores = predict_scores(*ctx.vectors, *ctx.places)
        return paddle.to_tensor(ctx.scores)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        people, movies = ctx.vectors
        gradient = gradient.numpy()
        weights = csr_array((MAX_SCORE * gradient, ctx.places), (len(people), len(movies)))
        gradients = weights @ movies, weights.T @ people
        for towards, vectors, scale, row in zip(gradients, ctx.vectors, ctx.scales, ctx.places, strict=True):
            along = np.bincount(row, gradient * ctx.scores, len(vectors)).astype(np.float32)  # Length does not count.
            towards -= along[:, None] * vectors
            towards *= scale
        return tuple(map(paddle.to_tensor, gradients))


class _SparseProduct(paddle.autograd.PyLayer):
    """Multiplies a sparse matrix, which is not learnt, by a table, which is: the sum of some of its rows, weighted.

    Paddle 3.3.1 has no kernel for it on a CPU, and its `geometric.send_ue_recv` takes thirty times as long as scipy.
    """

    @staticmethod
    def forward(ctx: Any, table: paddle.Tensor, weights: csr_array) -> paddle.Tensor:
        ctx.weights = weights
        return paddle.to_tensor(weights @ table.numpy())

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(ctx.weights.T @ gradient.numpy())


class TasteModel(nn.Layer):
    """What people pick: a person is the sum of the films that they know, their gender, age and occupation.

    Source: YouTube's candidate generation (Covington, Adams, Sargin, RecSys 2016), the step before the ranking that the
    fusion model does, as a linear denoising autoencoder (Steck, Autoencoders that don't overfit towards the Identity,
    NeurIPS 2020): on MovieLens 1M neither hidden layers nor a softmax over all films do as well.

    Args:
        num_movies: How many movie indices there are.
        demographic_sizes: How many indices gender, age and occupation have.
    """

    def __init__(self, num_movies: int, demographic_sizes: Sequence[int]) -> None:
        super().__init__()
        self.history = self._table(num_movies, VECTOR_SIZE - 1)
        self.target = self._table(num_movies, VECTOR_SIZE)
        self.demographics = self._table(sum(demographic_sizes), VECTOR_SIZE - 1)

    def _table(self, size: int, width: int) -> paddle.Tensor:
        return self.create_parameter([size, width], default_initializer=nn.initializer.Normal(std=TASTE_STD))

    def forward(self, histories: csr_array, demographics: csr_array) -> paddle.Tensor:
        """Returns people's vectors, float32[people, 200], the last number 1: it meets a movie's bias.

        Args:
            histories: float32[people, movies], how much each film counts
            demographics: float32[people, demographic indices], 1 at what is known of them
        """
        taste = _SparseProduct.apply(self.history, histories) + _SparseProduct.apply(self.demographics, demographics)
        return paddle.concat([taste, paddle.ones([len(taste), 1])], axis=1)

    def loss(self, people: paddle.Tensor, targets: csr_array) -> paddle.Tensor:
        """Returns the mean over people of the squared error over all films, of which `targets` are not 0.

        It is exact without a score for each of them: with P the people's and M the movies' vectors, the sum of all
        squared scores is the trace of (PᵀP)(MᵀM), so that the work grows with people + films, not people x films.

        Args:
            people: float32[people, 200], from `forward`
            targets: float32[people, movies]
        """
        scores_squared = (people.T @ people * (self.target.T @ self.target)).sum()
        scores_of_targets = (people * _SparseProduct.apply(self.target, targets)).sum()
        return (scores_squared - 2 * scores_of_targets + float((targets.data**2).sum())) / len(people)
