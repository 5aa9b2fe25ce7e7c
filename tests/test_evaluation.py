"""Scores of pairs, exact top k, rating metrics and ranking metrics, by hand and against naive loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.movielens.split import Ratings
from recommender.evaluation import metrics
from recommender.evaluation.metrics import (
    RankingMetrics,
    evaluate_rankings,
    interaction_mask,
    ndcg,
    ranking_metrics,
    rating_metrics,
)
from recommender.scoring import exact_top_k, predict_ratings, top_k_indices

NO_RATINGS = Ratings(*np.zeros((3, 0), int))


def test_predicted_ratings_agree_with_a_naive_loop_across_batches():
    random = np.random.default_rng(0)
    users, movies = random.normal(size=(5, 4)).astype("f"), random.normal(size=(7, 4)).astype("f")
    user_row, movie_row = random.integers(5, size=20_000), random.integers(7, size=20_000)
    predicted = predict_ratings(users, movies, user_row, movie_row)
    assert predicted.dtype == np.float32
    for i in (0, 1, 8191, 8192, 16_383, 16_384, 19_999):
        assert predicted[i] == pytest.approx(5 * sum(users[user_row[i]] * movies[movie_row[i]]), abs=1e-5)


@given(arrays(np.float32, (3, 4), elements=st.integers(-3, 3)), arrays(np.float32, (6, 4), elements=st.integers(-3, 3)))
def test_exact_top_k_agrees_with_sorting(users, movies):
    rows, products = exact_top_k(users, movies, 4)
    for user, found, values in zip(users, rows, products, strict=True):
        expected = sorted(range(6), key=lambda row: (-float(user @ movies[row]), row))[:4]
        assert found.tolist() == expected
        assert values.tolist() == [float(user @ movies[row]) for row in expected]


def test_top_k_of_equal_scores_are_the_first_columns():
    scores = np.array([[1.0, 3, 3, 3, 2], [-np.inf, -np.inf, 0, -np.inf, -np.inf]])
    assert top_k_indices(scores, 2).tolist() == [[1, 2], [2, 0]]
    assert top_k_indices(scores, 5).tolist() == [[1, 2, 3, 4, 0], [2, 0, 1, 3, 4]]


def test_rating_metrics_by_hand():
    rmse, mae = rating_metrics(np.array([3.0, 5.0, 1.0]), np.array([4, 5, 3]))
    assert rmse == pytest.approx((5 / 3) ** 0.5)
    assert mae == pytest.approx(1.0)


@pytest.mark.parametrize(("predicted", "rating"), [([], []), ([1.0], [1, 2])])
def test_rating_metrics_refuse_unequal_or_empty(predicted, rating):
    with pytest.raises(ValueError, match="predictions for"):
        rating_metrics(np.array(predicted), np.array(rating))


def test_ranking_metrics_by_hand():
    scores = np.array([[9.0, 8, 7, 6, 5], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    relevant = np.array([[0, 0, 1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    exclude = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    # The first user's ranking is 1, 2, 3, with a hit in second place; the second user's 4, 3, 2, without one.
    # The third user has no relevant movie and is left out.
    first, second = ranking_metrics(scores, relevant, exclude, k=3)
    assert RankingMetrics(*first) == pytest.approx((1 / 3, 1 / 2, (1 / np.log2(3)) / (1 + 1 / np.log2(3)), 1 / 2))
    assert RankingMetrics(*second) == (0, 0, 0, 0)


def test_a_perfect_list_has_an_ndcg_of_one():
    hits = np.array([[True, True, False], [True, True, True], [False, False, True]])
    gains = ndcg(hits, np.array([2, 9, 1]), k=3)
    assert gains.tolist() == pytest.approx([1, 1, 1 / np.log2(4)])


def test_lists_shorter_than_k_miss_what_is_not_in_them():
    short = ndcg(np.array([[True, False]]), np.array([2]), k=10)
    assert short.tolist() == pytest.approx([1 / (1 + 1 / np.log2(3))])


def naive_ranking_metrics(scores, relevant, exclude, k):
    rows = []
    for user in range(len(scores)):
        wanted = {movie for movie in range(len(scores[user])) if relevant[user][movie]}
        if not wanted:
            continue
        ranked = [movie for movie in range(len(scores[user])) if not exclude[user][movie]]
        ranked = sorted(ranked, key=lambda movie: -scores[user][movie])[:k]
        gains = [1.0 if movie in wanted else 0.0 for movie in ranked]
        dcg = sum(gain / np.log2(place + 2) for place, gain in enumerate(gains))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(wanted))))
        mrr = max((gain / (place + 1) for place, gain in enumerate(gains)), default=0.0)
        rows.append((sum(gains) / k, sum(gains) / len(wanted), dcg / ideal, mrr))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_ranking_metrics_agree_with_a_naive_loop(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (7, 15)).astype(float)
    relevant = random.random((7, 15)) < 0.2
    relevant[0, 0] = True
    exclude = (random.random((7, 15)) < 0.2) & ~relevant
    rows = ranking_metrics(scores, relevant, exclude, k=5)
    np.testing.assert_allclose(rows, naive_ranking_metrics(scores, relevant, exclude, 5))


def test_ranking_metrics_refuse_overlap():
    mask = np.ones((1, 2), bool)
    with pytest.raises(ValueError, match="training and test overlap"):
        ranking_metrics(np.zeros((1, 2)), mask, mask)


def test_ranking_metrics_of_users_without_relevant_movies_are_empty():
    nothing = np.zeros((3, 12), bool)
    assert ranking_metrics(np.zeros((3, 12)), nothing, nothing).shape == (0, 4)


def test_interaction_mask_marks_the_movies_of_some_profiles():
    ratings = Ratings(np.array([7, 3, 5, 7, 9]), np.array([0, 2, 1, 2, 0]), np.full(5, 3))
    mask = interaction_mask(ratings, np.array([3, 4, 7]), 3)
    assert mask.tolist() == [[False, False, True], [False] * 3, [True, False, True]]


def random_ratings(random, num_users, num_movies):
    """Returns stars, 0 for none, and a mask of held-out cells, both [users, movies]."""
    stars = random.integers(1, 6, (num_users, num_movies)) * (random.random((num_users, num_movies)) < 0.5)
    return stars, random.random((num_users, num_movies)) < 0.3


def to_ratings(stars, cells):
    cells = np.nonzero((stars > 0) & cells)
    return Ratings(*cells, stars[cells])


@pytest.mark.parametrize("seed", range(5))
def test_evaluation_in_batches_agrees_with_all_at_once(seed, monkeypatch):
    random = np.random.default_rng(seed)
    monkeypatch.setattr(metrics, "USER_BATCH", 3)
    scores = random.integers(0, 6, (20, 15)).astype(float)
    stars, held_out = random_ratings(random, 20, 15)
    train, test = to_ratings(stars, ~held_out), to_ratings(stars, held_out)
    result = evaluate_rankings({"this": lambda rows: scores[rows]}, train, test, 15)
    expected = ranking_metrics(scores, (stars >= 4) & held_out, (stars > 0) & ~held_out).mean(0)
    np.testing.assert_allclose(result["this"], expected)


def test_of_many_users_some_are_evaluated(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_RANKED_USERS", 4)
    seen = []
    test = Ratings(np.arange(10), np.zeros(10, int), np.full(10, 5))
    evaluate_rankings({"this": lambda rows: seen.extend(rows) or np.zeros((len(rows), 2))}, NO_RATINGS, test, 2)
    assert seen == [0, 3, 6, 9]


def test_no_liked_test_row_gives_no_metrics():
    disliked = Ratings(np.arange(10), np.zeros(10, int), np.full(10, 3))
    for test in (NO_RATINGS, disliked):
        assert evaluate_rankings({"this": lambda rows: np.zeros((len(rows), 2))}, NO_RATINGS, test, 2) == {}
