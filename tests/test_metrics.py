import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.evaluation import metrics as evaluation
from recommender.evaluation.metrics import (
    Ratings,
    baseline_predictions,
    exact_top_k,
    judge_rankings,
    predict_scores,
    ranking_metrics,
    rating_metrics,
)


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
    one_hot[np.arange(n), train.person_row] = one_hot[np.arange(n), 40 + train.movie_row] = 1
    mean = train.rating.mean()
    penalty = np.diag([15.0] * 40 + [10.0] * 30)
    bias = np.linalg.solve(one_hot.T @ one_hot + penalty, one_hot.T @ (train.rating - mean))
    np.testing.assert_allclose(grid, mean + bias[:40, None] + bias[None, 40:], atol=5e-4)


def test_ranking_metrics_by_hand():
    scores = np.array([[9.0, 8, 7, 6, 5], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    relevant = np.array([[0, 0, 1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    hidden = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    # The first user's ranking is 1, 2, 3, with a hit in second place; the second user's 4, 3, 2, without one.
    metrics = ranking_metrics(scores, relevant, hidden, k=3)
    assert metrics.precision == pytest.approx((1 / 3 + 0) / 2)
    assert metrics.recall == pytest.approx((1 / 2 + 0) / 2)
    assert metrics.ndcg == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)) / 2)
    assert metrics.mrr == pytest.approx((1 / 2 + 0) / 2)


def naive_ranking_metrics(scores, relevant, hidden, k):
    rows = []
    for user in range(len(scores)):
        wanted = {movie for movie in range(len(scores[user])) if relevant[user][movie]}
        if not wanted:
            continue
        shown = [movie for movie in range(len(scores[user])) if not hidden[user][movie]]
        shown = sorted(shown, key=lambda movie: -scores[user][movie])[:k]
        gains = [1.0 if movie in wanted else 0.0 for movie in shown]
        dcg = sum(gain / np.log2(place + 2) for place, gain in enumerate(gains))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(wanted))))
        mrr = max((gain / (place + 1) for place, gain in enumerate(gains)), default=0.0)
        rows.append((sum(gains) / k, sum(gains) / len(wanted), dcg / ideal, mrr))
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("seed", range(20))
def test_ranking_metrics_agree_with_a_naive_loop(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (7, 15)).astype(float)
    relevant = random.random((7, 15)) < 0.2
    relevant[0, 0] = True
    hidden = (random.random((7, 15)) < 0.2) & ~relevant
    np.testing.assert_allclose(
        ranking_metrics(scores, relevant, hidden, k=5), naive_ranking_metrics(scores, relevant, hidden, 5)
    )


def test_ranking_metrics_refuse_overlap_and_nothing():
    one, none = np.ones((1, 2), bool), np.zeros((1, 2), bool)
    with pytest.raises(ValueError, match="training and test overlap"):
        ranking_metrics(np.zeros((1, 2)), one, one)
    with pytest.raises(ValueError, match="nobody has a relevant movie"):
        ranking_metrics(np.zeros((1, 2)), none, none)


@pytest.mark.parametrize("seed", range(5))
def test_judging_in_chunks_agrees_with_judging_all_at_once(seed, monkeypatch):
    random = np.random.default_rng(seed)
    monkeypatch.setattr(evaluation, "PEOPLE_CHUNK", 3)
    scores = random.integers(0, 6, (20, 15)).astype(float)
    stars = random.integers(1, 6, (20, 15)) * (random.random((20, 15)) < 0.5)
    held_out = random.random((20, 15)) < 0.3
    train, test = (
        Ratings(*np.nonzero(cells), stars[np.nonzero(cells)])
        for cells in ((stars > 0) & ~held_out, (stars > 0) & held_out)
    )
    judged = judge_rankings({"this": lambda rows: scores[rows]}, train, test, 15)["this"]
    expected = ranking_metrics(scores, (stars >= 4) & held_out, (stars > 0) & ~held_out)
    np.testing.assert_allclose(judged, expected)


def test_of_many_people_some_are_judged(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_JUDGED", 4)
    seen = []
    test = Ratings(np.arange(10), np.zeros(10, int), np.full(10, 5))
    train = Ratings(*np.zeros((3, 0), int))
    judge_rankings({"this": lambda rows: seen.extend(rows) or np.zeros((len(rows), 2))}, train, test, 2)
    assert seen == [0, 3, 6, 9]


def test_nobody_to_judge():
    nothing = Ratings(*np.zeros((3, 0), int))
    assert judge_rankings({"this": lambda rows: np.zeros((len(rows), 2))}, nothing, nothing, 2) == {}
