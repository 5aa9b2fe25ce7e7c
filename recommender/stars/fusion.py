"""The fusion model: a user tower, a movie tower, and the scaled inner product of their vectors.

Source: milvus-io/bootcamp `demo/recommender_system`, after chapter 5 of PaddlePaddle's book: all widths, activations
and the window of three words. Each class says where this port departs from it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recommender.movielens.encoding import (
    DEMOGRAPHIC_SIZES,
    EMBEDDING_DIM,
    NUM_RESERVED,
    PADDING,
    MovieFeatures,
    Vocabularies,
)
from recommender.stars.paddle_setup import Tensor, nn, paddle
from recommender.stars.predict import COSINE_SCALE

ID_DIM = 32
DEMOGRAPHIC_DIM = 16
WINDOW = 3
EMBEDDING_STD = 0.05
OUTPUT_BIAS_INIT = 0.1
"""Initial biases of both output layers. Their common direction makes the first predictions about the mean rating."""
EPS = 1e-12
"""Added to squared norms."""
EMBED_BATCH = 1 << 14


def _embedding(size: int, dim: int, padding_idx: int | None = None) -> nn.Embedding:
    initial = paddle.ParamAttr(initializer=nn.initializer.Normal(std=EMBEDDING_STD))
    return nn.Embedding(size, dim, padding_idx=padding_idx, weight_attr=initial)


def _output_layer(dim: int) -> nn.Linear:
    bias = paddle.ParamAttr(initializer=nn.initializer.Constant(OUTPUT_BIAS_INIT))
    return nn.Linear(dim, EMBEDDING_DIM, bias_attr=bias)


def normalize(vectors: Tensor) -> Tensor:
    """Scales each row to length 1; several times faster on a CPU than `F.normalize` (Paddle 3.3)."""
    return vectors * paddle.rsqrt(paddle.square(vectors).sum(-1, keepdim=True) + EPS)


def _branch(size: int, dim: int) -> nn.Sequential:
    """Returns an embedding followed by a linear layer of the same width."""
    return nn.Sequential(("embedding", _embedding(size, dim)), ("linear", nn.Linear(dim, dim)))


class UserTower(nn.Layer):
    """Profiles to vectors: four embeddings, each through a linear layer, concatenated, linear, tanh, times a length.

    The original's vectors all have length 1, so that a rating is 5 times a cosine. To be generous and critical at once
    is then impossible: for a mean of 4.6 stars all movies must lie within 23 degrees of the user. Here the length is
    the exponential of one more linear unit, 1 at the start. It changes no user's order of movies, and lowers the RMSE
    on ml-1m by 0.005.
    """

    def __init__(self, num_users: int, demographic_sizes: Sequence[int]) -> None:
        super().__init__()
        self.demographic_branches = nn.LayerList([_branch(size, DEMOGRAPHIC_DIM) for size in demographic_sizes])
        self.id_branch = _branch(num_users, ID_DIM)
        width = ID_DIM + DEMOGRAPHIC_DIM * len(demographic_sizes)
        self.output = _output_layer(width)
        zero = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
        self.length = nn.Linear(width, 1, weight_attr=zero, bias_attr=zero)

    def forward(self, profiles: Tensor) -> Tensor:
        """Returns rating vectors, float32[batch, 200], of a length of their own.

        Args:
            profiles: int64[batch, 4], columns user, gender, age and occupation index.
        """
        branches = [self.id_branch, *self.demographic_branches]
        parts = [branch(profiles[:, column]) for column, branch in enumerate(branches)]  # [batch, 32], 3 x [batch, 16]
        joined = paddle.concat(parts, axis=1)  # [batch, 80]
        return normalize(paddle.tanh(self.output(joined))) * paddle.exp(self.length(joined))  # [batch, 200]


class MovieTower(nn.Layer):
    """Movies to unit vectors: id, genres and title, concatenated, linear, tanh.

    Genre embeddings are summed. The title is a convolution over windows of three words, tanh, summed over the words
    (as the original's code does; its articles say maximum, which measured slightly worse). The convolution is one
    linear layer over the windows of real words, as `nn.Conv1D` over padded titles is several times slower on a CPU.
    """

    def __init__(self, num_movies: int, num_genres: int, num_words: int) -> None:
        super().__init__()
        self.id_branch = _branch(num_movies, ID_DIM)
        self.genre_embedding = _embedding(num_genres, ID_DIM, padding_idx=PADDING)
        self.word_embedding = _embedding(num_words, ID_DIM, padding_idx=PADDING)
        self.convolution = nn.Linear(WINDOW * ID_DIM, ID_DIM)
        self.output = _output_layer(3 * ID_DIM)

    def forward(self, movie_idx: Tensor, genre_idx: Tensor, word_idx: Tensor) -> Tensor:
        """Returns rating vectors, float32[batch, 200], of unit length.

        Args:
            movie_idx: int64[batch]
            genre_idx: int64[batch, genres], padded with 0
            word_idx: int64[batch, words], padded with 0 behind at least one word
        """
        genres = self.genre_embedding(genre_idx).sum(1)  # [batch, 32]
        parts = [self.id_branch(movie_idx), genres, self._convolve_title(word_idx)]  # 3 x [batch, 32]
        return normalize(paddle.tanh(self.output(paddle.concat(parts, axis=1))))  # [batch, 200]

    def _convolve_title(self, word_idx: Tensor) -> Tensor:
        edge = paddle.zeros_like(word_idx[:, :1])
        words = paddle.concat([edge, word_idx, edge], axis=1)  # [batch, words + 2]
        positions = paddle.nonzero(words.flatten())  # [real words, 1]
        windows = paddle.gather(words.flatten(), (positions + paddle.arange(-1, 2)).flatten())  # [3 x real words]
        embedded = self.word_embedding(windows).reshape([-1, WINDOW * ID_DIM])  # [real words, 96]
        convolved = paddle.tanh(self.convolution(embedded))  # [real words, 32]
        return paddle.geometric.segment_sum(convolved, positions.flatten() // words.shape[1])  # [batch, 32]


class FusionModel(nn.Layer):
    """Both towers, and the predicted rating of a profile for a movie."""

    def __init__(self, num_users: int, vocabularies: Vocabularies) -> None:
        super().__init__()
        self.user_tower = UserTower(NUM_RESERVED + num_users, DEMOGRAPHIC_SIZES)
        self.movie_tower = MovieTower(vocabularies.movies.size, vocabularies.genres.size, vocabularies.words.size)
        with paddle.no_grad():  # Equal id weights at first: similar embeddings then give similar vectors.
            self.movie_tower.id_branch.linear.weight[:] = self.user_tower.id_branch.linear.weight
            self.movie_tower.output.weight[:ID_DIM] = self.user_tower.output.weight[:ID_DIM]

    def forward(self, profiles: Tensor, movies: Sequence[Tensor], profile_row: Tensor, movie_row: Tensor) -> Tensor:
        """Returns predicted ratings in stars, float32[ratings], not clipped.

        Each tower runs once per distinct profile and movie, however many ratings of the batch share it.

        Args:
            profiles: The distinct profiles, as in `UserTower.forward`.
            movies: The distinct movies, as in `MovieTower.forward`.
            profile_row: int64[ratings], rows of `profiles`.
            movie_row: int64[ratings], rows of `movies`.
        """
        users = paddle.gather(self.user_tower(profiles), profile_row)  # [ratings, 200]
        items = paddle.gather(self.movie_tower(*movies), movie_row)
        return COSINE_SCALE * (users * items).sum(-1)  # [ratings]


@paddle.no_grad()
def embed_profiles(user_tower: nn.Layer, profiles: np.ndarray) -> np.ndarray:
    """Returns rating vectors, float32[profiles, 200], for int64[profiles, 4]."""
    batches = [profiles[start : start + EMBED_BATCH] for start in range(0, len(profiles), EMBED_BATCH)]
    return np.concatenate([user_tower(paddle.to_tensor(batch)).numpy() for batch in batches])


@paddle.no_grad()
def embed_movies(movie_tower: nn.Layer, movies: MovieFeatures) -> np.ndarray:
    """Returns rating vectors of unit length, float32[movies, 200]."""
    rows = np.arange(len(movies.movie_idx))
    batches = [movies.select(rows[start : start + EMBED_BATCH]) for start in range(0, len(rows), EMBED_BATCH)]
    return np.concatenate([movie_tower(*map(paddle.to_tensor, batch)).numpy() for batch in batches])


def save_towers(folder: Path, model: FusionModel) -> None:
    """Writes `user_tower.*` and `movie_tower.*`; `paddle.jit.load` runs them without this package."""
    spec = paddle.static.InputSpec
    profiles, movies = [spec([None, 4], "int64", "profiles")], [spec([None], "int64", "movie_idx")]
    movies += [spec([None, None], "int64", name) for name in ("genre_idx", "word_idx")]
    paddle.jit.save(model.user_tower, str(folder / "user_tower"), input_spec=profiles)
    paddle.jit.save(model.movie_tower, str(folder / "movie_tower"), input_spec=movies)


def load_tower(path: Path) -> nn.Layer:
    """Loads a tower that `save_towers` wrote; `path` has no suffix."""
    return paddle.jit.load(str(path))
