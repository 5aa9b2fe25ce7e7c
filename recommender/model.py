"""The fusion model, a user tower, a movie tower, and five times the cosine of their vectors; and the taste model.

Source of the first: milvus-io/bootcamp `demo/recommender_system`, after chapter 5 of PaddlePaddle's book: every width,
activation and the window of three words. Each tower says where this port departs from it.
"""

from collections.abc import Sequence
from typing import Any

from scipy.sparse import csr_array

from recommender.evaluation import MAX_SCORE
from recommender.features import VECTOR_SIZE
from recommender.framework import F, nn, paddle

ID_WIDTH = 32
DEMOGRAPHIC_WIDTH = 16
WINDOW = 3
EMBEDDING_STD = 0.05
TASTE_STD = 0.01


def _embedding(size: int, width: int, padding_index: int | None = None) -> nn.Embedding:
    initial = paddle.ParamAttr(initializer=nn.initializer.Normal(std=EMBEDDING_STD))
    return nn.Embedding(size, width, padding_idx=padding_index, weight_attr=initial)


def _id_branch(size: int, dropout: float) -> nn.Sequential:
    """Embeds ids. Dropout, which the original has not, keeps the towers from trusting ids alone."""
    return nn.Sequential(_embedding(size, ID_WIDTH), nn.Dropout(dropout), nn.Linear(ID_WIDTH, ID_WIDTH))


def _unit_length(vectors: paddle.Tensor) -> paddle.Tensor:
    """Scales each row to length 1; several times faster on a CPU than `F.normalize` (Paddle 3.3)."""
    inverse_length = paddle.rsqrt(paddle.square(vectors).sum(-1, keepdim=True) + 1e-12)
    return vectors * inverse_length.expand_as(vectors)


class UserTower(nn.Layer):
    """Turns people into unit vectors: four embeddings, each through a linear layer, concatenated, linear, tanh."""

    def __init__(self, num_users: int, demographic_sizes: Sequence[int], id_dropout: float = 0.0) -> None:
        super().__init__()
        widths = (ID_WIDTH, *(DEMOGRAPHIC_WIDTH for _ in demographic_sizes))
        self.branches = nn.LayerList([_id_branch(num_users, id_dropout)])
        for size in demographic_sizes:
            self.branches.append(
                nn.Sequential(_embedding(size, DEMOGRAPHIC_WIDTH), nn.Linear(DEMOGRAPHIC_WIDTH, DEMOGRAPHIC_WIDTH))
            )
        self.combine = nn.Linear(sum(widths), VECTOR_SIZE)

    def forward(self, people: paddle.Tensor) -> paddle.Tensor:
        """Returns user vectors, float32[batch, 200].

        Args:
            people: int64[batch, 4], columns user, gender, age and occupation index.
        """
        parts = [branch(people[:, column]) for column, branch in enumerate(self.branches)]
        # float32[batch, 32], then three of float32[batch, 16]
        return _unit_length(paddle.tanh(self.combine(paddle.concat(parts, axis=1))))


class MovieTower(nn.Layer):
    """Turns movies into unit vectors: id, genres and title, concatenated, linear, tanh.

    Genre embeddings are summed. The title is a convolution over windows of three words, tanh, summed over the words
    (as the original's code does; its articles say maximum, which measured slightly worse). The convolution is written
    as one linear layer over the windows of real words only, because `nn.Conv1D` over padded titles is several times
    slower on a CPU.
    """

    def __init__(self, num_movies: int, num_genres: int, num_words: int, id_dropout: float = 0.0) -> None:
        super().__init__()
        self.id_branch = _id_branch(num_movies, id_dropout)
        self.genre_embedding = _embedding(num_genres, ID_WIDTH, padding_index=0)
        self.word_embedding = _embedding(num_words, ID_WIDTH, padding_index=0)
        self.convolution = nn.Linear(WINDOW * ID_WIDTH, ID_WIDTH)
        self.combine = nn.Linear(3 * ID_WIDTH, VECTOR_SIZE)

    def forward(
        self, movie_index: paddle.Tensor, genre_index: paddle.Tensor, word_index: paddle.Tensor
    ) -> paddle.Tensor:
        """Returns movie vectors, float32[batch, 200].

        Args:
            movie_index: int64[batch]
            genre_index: int64[batch, genres], padded with 0
            word_index: int64[batch, words], padded with 0 behind at least one word
        """
        parts = [
            self.id_branch(movie_index),
            self.genre_embedding(genre_index).sum(1),
            self._title(word_index),
        ]  # three of float32[batch, 32]
        return _unit_length(paddle.tanh(self.combine(paddle.concat(parts, axis=1))))

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
        self,
        num_users: int,
        demographic_sizes: Sequence[int],
        num_movies: int,
        num_genres: int,
        num_words: int,
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.user_tower = UserTower(num_users, demographic_sizes, id_dropout)
        self.movie_tower = MovieTower(num_movies, num_genres, num_words, id_dropout)

    def forward(
        self,
        people: paddle.Tensor,
        movies: tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor],
        person_row: paddle.Tensor,
        movie_row: paddle.Tensor,
    ) -> paddle.Tensor:
        """Returns scores in stars, float32[ratings], from -5 to 5.

        Each tower runs once a distinct person and movie, however many ratings they have in the batch.

        Args:
            people: The distinct people, as in `UserTower.forward`.
            movies: The distinct movies, as in `MovieTower.forward`.
            person_row: int64[ratings], each rating's row of `people`.
            movie_row: int64[ratings], each rating's row of `movies`.
        """
        user_vectors = F.embedding(person_row, self.user_tower(people))  # float32[ratings, 200]
        movie_vectors = F.embedding(movie_row, self.movie_tower(*movies))  # float32[ratings, 200]
        return MAX_SCORE * (user_vectors * movie_vectors).sum(1)


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
