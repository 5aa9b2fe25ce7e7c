"""The taste model: its vectors, its loss and their gradients, against dense products one by one."""

import numpy as np
import paddle
import pytest
from scipy.sparse import csr_array

from recommender.picks.taste_model import SparseMatmul, TasteModel

NUM_USERS, NUM_FEATURES, NUM_MOVIES, DIM = 7, 34, 30, 6


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def model(random):
    return TasteModel(*(random.normal(size=(size, DIM)).astype(np.float32) for size in (NUM_FEATURES, NUM_MOVIES)))


def sparse(random, density, width):
    dense = random.normal(size=(NUM_USERS, width)) * (random.random((NUM_USERS, width)) < density)
    return csr_array(dense.astype(np.float32))


def test_sparse_product_and_its_gradient_are_those_of_a_dense_one(random):
    matrix, weights = sparse(random, 0.3, NUM_MOVIES), random.normal(size=(NUM_USERS, 5)).astype(np.float32)
    table = random.normal(size=(NUM_MOVIES, 5)).astype(np.float32)
    tables = [paddle.to_tensor(table, stop_gradient=False) for _ in range(2)]
    products = SparseMatmul.apply(tables[0], matrix), paddle.to_tensor(matrix.toarray()) @ tables[1]
    for product in products:
        (product * paddle.to_tensor(weights)).sum().backward()
    np.testing.assert_allclose(products[0].numpy(), products[1].numpy(), atol=1e-5)
    np.testing.assert_allclose(tables[0].grad.numpy(), tables[1].grad.numpy(), atol=1e-5)


def test_taste_vector_is_the_weighted_sum_of_embeddings(model, random):
    features = sparse(random, 0.3, NUM_FEATURES)
    vectors = model(features).numpy()
    inputs = model.input_embeddings.numpy()
    for weights, vector in zip(features.toarray(), vectors, strict=True):
        np.testing.assert_allclose(vector, sum(map(np.multiply, weights, inputs)), atol=1e-5)


def test_loss_is_the_squared_error_over_all_movies(model, random):
    """The identity of the trace, against all scores one by one; the gradients, too."""
    features, targets = sparse(random, 0.3, NUM_FEATURES), sparse(random, 0.2, NUM_MOVIES)
    loss = model.loss(model(features), targets)
    loss.backward()
    inputs, outputs = tables = [paddle.to_tensor(table.numpy(), stop_gradient=False) for table in model.parameters()]
    scores = paddle.to_tensor(features.toarray()) @ inputs @ outputs.T
    naive = ((scores - paddle.to_tensor(targets.toarray())) ** 2).sum() / NUM_USERS
    naive.backward()
    assert float(loss) == pytest.approx(float(naive), rel=1e-5)
    for table, expected in zip(model.parameters(), tables, strict=True):
        np.testing.assert_allclose(table.grad.numpy(), expected.grad.numpy(), atol=1e-4)
