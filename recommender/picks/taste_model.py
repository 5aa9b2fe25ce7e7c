"""The taste model: which movies a user picks, learnt from rating histories."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recommender.stars.paddle_setup import nn, paddle


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
    taste score of a movie is the inner product with its output embedding.

    Source: H. Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020; the low rank is that of
    YouTube's candidate generation (Covington, Adams, Sargin, RecSys 2016). On MovieLens 1M hidden layers or a softmax
    over all movies are worse.

    Args:
        inputs: float32[features, 200], initial embeddings of movies and, behind them, demographics
        outputs: float32[movies, 200], initial output embeddings
    """

    def __init__(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        super().__init__()
        self.input_embeddings = self._create_table(inputs)
        self.output_embeddings = self._create_table(outputs)

    def _create_table(self, values: np.ndarray) -> paddle.Tensor:
        table = self.create_parameter(values.shape)
        table.set_value(values)  # `nn.initializer.Assign` makes a Python list of all numbers.
        return table

    def forward(self, features: csr_array) -> paddle.Tensor:
        """Returns taste vectors, float32[batch, 200].

        Args:
            features: float32[batch, features], see `scale_features`
        """
        return SparseMatmul.apply(self.input_embeddings, features)

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
