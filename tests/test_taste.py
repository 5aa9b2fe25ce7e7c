"""The taste model: its vectors, its loss and their gradients, against dense products one by one."""

import numpy as np
import paddle
import pytest
from scipy.sparse import csr_array

from recommender.data.features import DEMOGRAPHIC_SIZES, EMBEDDING_DIM
from recommender.models.taste import SparseMatmul, TasteModel
from recommender.training.taste import encode_demographics

NUM_USERS, NUM_MOVIES = 7, 30


@pytest.fixture
def model():
    paddle.seed(0)
    return TasteModel(NUM_MOVIES, DEMOGRAPHIC_SIZES)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def sparse(random, density):
    dense = random.normal(size=(NUM_USERS, NUM_MOVIES)) * (random.random((NUM_USERS, NUM_MOVIES)) < density)
    return csr_array(dense.astype(np.float32))


def test_sparse_product_and_its_gradient_are_those_of_a_dense_one(random):
    matrix, weights = sparse(random, 0.3), random.normal(size=(NUM_USERS, 5)).astype(np.float32)
    table = random.normal(size=(NUM_MOVIES, 5)).astype(np.float32)
    tables = [paddle.to_tensor(table, stop_gradient=False) for _ in range(2)]
    products = SparseMatmul.apply(tables[0], matrix), paddle.to_tensor(matrix.toarray()) @ tables[1]
    for product in products:
        (product * paddle.to_tensor(weights)).sum().backward()
    np.testing.assert_allclose(products[0].numpy(), products[1].numpy(), atol=1e-5)
    np.testing.assert_allclose(tables[0].grad.numpy(), tables[1].grad.numpy(), atol=1e-5)


def test_taste_vector_is_the_sum_of_embeddings_and_ends_in_one(model, random):
    histories, demographic_idx = sparse(random, 0.3), random.integers(0, 3, (NUM_USERS, 3))
    vectors = model(histories, encode_demographics(demographic_idx)).numpy()
    inputs, demographics = model.input_embeddings.numpy(), model.demographic_embeddings.numpy()
    assert vectors.shape == (NUM_USERS, EMBEDDING_DIM)
    for history, indices, vector in zip(histories.toarray(), demographic_idx, vectors, strict=True):
        expected = sum(weight * inputs[movie] for movie, weight in enumerate(history))
        for offset, index in zip((0, 3, 11), indices, strict=True):
            expected = expected + (demographics[offset + index] if index else 0)
        np.testing.assert_allclose(vector, [*expected, 1], atol=1e-6)


def test_loss_is_the_squared_error_over_all_movies(model, random):
    """The identity of the trace, against all scores one by one; the gradients, too."""
    histories, targets = sparse(random, 0.3), sparse(random, 0.2)
    demographics = encode_demographics(random.integers(0, 3, (NUM_USERS, 3)))
    loss = model.loss(model(histories, demographics), targets)
    loss.backward()
    tables = [paddle.to_tensor(table.numpy(), stop_gradient=False) for table in model.parameters()]
    inputs, outputs, demographic_table = tables
    dense = [paddle.to_tensor(matrix.toarray()) for matrix in (histories, demographics, targets)]
    scores = (dense[0] @ inputs + dense[1] @ demographic_table) @ outputs[:, :-1].T + outputs[:, -1]
    naive = ((scores - dense[2]) ** 2).sum() / NUM_USERS
    naive.backward()
    assert float(loss) == pytest.approx(float(naive), rel=1e-5)
    for table, expected in zip(model.parameters(), tables, strict=True):
        np.testing.assert_allclose(table.grad.numpy(), expected.grad.numpy(), atol=1e-5)
