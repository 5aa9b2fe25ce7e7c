"""The taste model: which movies a user picks, learnt from rating histories."""

from collections.abc import Sequence
from typing import Any

from scipy.sparse import csr_array

from recommender.data.features import EMBEDDING_DIM
from recommender.models.paddle_setup import nn, paddle

EMBEDDING_STD = 0.01


class SparseMatmul(paddle.autograd.PyLayer):
    """The product of a constant sparse matrix and a dense parameter.

    Paddle 3.3.1 has no CPU kernel for it, and its `geometric.send_ue_recv` takes thirty times as long as scipy.
    """

    @staticmethod
    def forward(ctx: Any, dense: paddle.Tensor, sparse: csr_array) -> paddle.Tensor:
        """Returns `sparse @ dense`."""
        ctx.sparse = sparse
        return paddle.to_tensor(sparse @ dense.numpy())

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> paddle.Tensor:
        """Returns the gradient of `dense`."""
        return paddle.to_tensor(ctx.sparse.T @ grad.numpy())


class TasteModel(nn.Layer):
    """A linear denoising autoencoder over rating histories, with demographics as side input.

    A user's vector is the sum of the input embeddings of the movies in their history and of their demographics. The
    taste score of a movie is the inner product with its output embedding, whose last number is the movie's bias.

    Source: YouTube's candidate generation (Covington, Adams, Sargin, RecSys 2016), as a linear autoencoder (Steck,
    Autoencoders that don't overfit towards the Identity, NeurIPS 2020): on MovieLens 1M hidden layers or a softmax over
    all movies are worse.

    Args:
        num_movies: The number of movie indices.
        demographic_sizes: The numbers of indices of gender, age and occupation.
    """

    def __init__(self, num_movies: int, demographic_sizes: Sequence[int]) -> None:
        super().__init__()
        self.input_embeddings = self._create_table(num_movies, EMBEDDING_DIM - 1)
        self.output_embeddings = self._create_table(num_movies, EMBEDDING_DIM)
        self.demographic_embeddings = self._create_table(sum(demographic_sizes), EMBEDDING_DIM - 1)

    def _create_table(self, size: int, dim: int) -> paddle.Tensor:
        return self.create_parameter([size, dim], default_initializer=nn.initializer.Normal(std=EMBEDDING_STD))

    def forward(self, histories: csr_array, demographics: csr_array) -> paddle.Tensor:
        """Returns taste vectors, float32[batch, 200]; the last number is 1 and multiplies the movie's bias.

        Args:
            histories: float32[batch, movies], the weight of each movie in each history
            demographics: float32[batch, demographic indices], 1 at each stated one
        """
        movies = SparseMatmul.apply(self.input_embeddings, histories)  # [batch, 199]
        taste = movies + SparseMatmul.apply(self.demographic_embeddings, demographics)
        return paddle.concat([taste, paddle.ones([len(taste), 1])], axis=1)

    def loss(self, users: paddle.Tensor, targets: csr_array) -> paddle.Tensor:
        """Returns the squared error over all movies, as a mean over users; most `targets` are 0.

        The sum of all squared scores is the trace of (UᵀU)(VᵀV), U being the users' and V the movies' vectors. So the
        loss is exact, and its cost grows with users + movies rather than users x movies.

        Args:
            users: float32[batch, 200], from `forward`
            targets: float32[batch, movies]
        """
        gram = self.output_embeddings.T @ self.output_embeddings  # [200, 200]
        squared_scores = (users.T @ users * gram).sum()
        target_scores = (users * SparseMatmul.apply(self.output_embeddings, targets)).sum()
        return (squared_scores - 2 * target_scores + float((targets.data**2).sum())) / len(users)
