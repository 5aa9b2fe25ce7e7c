import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.evaluation import Ratings, baseline_predictions, exact_top_k, predict_scores, rating_metrics


def test_rating_metrics_by_hand():
    rmse, mae = rating_metrics(np.array([3.0, 5.0, 1.0]), np.array([4, 5, 3]))
    assert rmse == pytest.approx((5 / 3) ** 0.5)
    assert mae == pytest.approx(1.0)


@pytest.mark.parametrize(("predicted", "rating"), [([], []), ([1.0], [1, 2])])
def test_rating_metrics_refuse_unequal_or_empty(predicted, rating):
    with pytest.raises(ValueError, match="predictions for"):
        rating_metrics(np.array(predicted), np.array(rating))


def test_scores_agree_with_a_naive_loop_across_chunks():
    random = np.random.default_rng(0)
    users, movies = random.normal(size=(5, 4)).astype("f"), random.normal(size=(7, 4)).astype("f")
    person_row, movie_row = random.integers(5, size=70_000), random.integers(7, size=70_000)
    scores = predict_scores(users, movies, person_row, movie_row)
    for i in (0, 1, 65_535, 65_536, 69_999):
        assert scores[i] == pytest.approx(5 * sum(users[person_row[i]] * movies[movie_row[i]]), abs=1e-5)


@given(arrays(np.float32, (3, 4), elements=st.integers(-3, 3)), arrays(np.float32, (6, 4), elements=st.integers(-3, 3)))
def test_exact_top_k_agrees_with_sorting(users, movies):
    rows, products = exact_top_k(users, movies, 4)
    for user, found, values in zip(users, rows, products, strict=True):
        expected = sorted(range(6), key=lambda row: (-float(user @ movies[row]), row))[:4]
        assert found.tolist() == expected
        assert values.tolist() == [float(user @ movies[row]) for row in expected]


def test_baselines_by_hand():
    train = Ratings(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5, 3, 4]))
    test = Ratings(np.array([1, 1]), np.array([1, 2]), np.array([2, 2]))
    predictions = baseline_predictions(train, test)
    assert predictions["global mean"].tolist() == [4, 4]
    assert predictions["movie mean"].tolist() == [3, 4]


def test_bias_baseline_solves_its_equations():
    random = np.random.default_rng(0)
    n = 5000
    train = Ratings(random.integers(40, size=n), random.integers(30, size=n), random.integers(1, 6, size=n))
    everyone = Ratings(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40), np.zeros(1200))
    grid = baseline_predictions(train, everyone)["user + movie bias"].reshape(40, 30)
    # A naive second implementation: ridge regression on one-hot users and movies, damping 15 and 10.
    one_hot = np.zeros((n, 70))
    one_hot[np.arange(n), train.user_row] = one_hot[np.arange(n), 40 + train.movie_row] = 1
    mean = train.rating.mean()
    penalty = np.diag([15.0] * 40 + [10.0] * 30)
    bias = np.linalg.solve(one_hot.T @ one_hot + penalty, one_hot.T @ (train.rating - mean))
    np.testing.assert_allclose(grid, mean + bias[:40, None] + bias[None, 40:], atol=5e-4)
