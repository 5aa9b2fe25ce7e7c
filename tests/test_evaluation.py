"""Metrics of ratings and of rankings, and baselines: by hand and against naive loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender import evaluation
from recommender.evaluation import (
    RankingMetrics,
    evaluate_model_rankings,
    evaluate_rankings,
    evaluate_ratings,
    movie_means,
    ndcg,
    ranking_metrics,
    rating_metrics,
    top_k_indices,
)
from recommender.movielens.encoding import MovieFeatures, Vocabularies, Vocabulary
from recommender.movielens.split import Dataset, Ratings, Split
from recommender.vectors import STAR_WEIGHT


@given(arrays(np.float32, (3, 6), elements=st.integers(-3, 3) | st.just(-np.inf)), st.integers(1, 6))
def test_top_k_agrees_with_sorting(scores, k):
    expected = [sorted(range(6), key=lambda column: (-user[column], column))[:k] for user in scores]
    assert top_k_indices(scores, k).tolist() == expected


def test_rating_metrics_by_hand():
    rmse, mae = rating_metrics(np.array([3.0, 5.0, 1.0]), np.array([4, 5, 3]))
    assert rmse == pytest.approx((5 / 3) ** 0.5)
    assert mae == pytest.approx(1.0)


def test_ranking_metrics_by_hand():
    scores = np.array([[9.0, 8, 7, 6, 5], [1, 2, 3, 4, 5]])
    relevant = np.array([[0, 0, 1, 0, 1], [0, 1, 0, 0, 0]], bool)
    exclude = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    # The first user's ranking is 1, 2, 3, with a hit in second place; the second user's 4, 3, 2, without one.
    first, second = ranking_metrics(scores, relevant, exclude, k=3)
    assert RankingMetrics(*first) == pytest.approx(((1 / np.log2(3)) / (1 + 1 / np.log2(3)), 1 / 2))
    assert RankingMetrics(*second) == (0, 0)


def test_lists_shorter_than_k_miss_what_is_not_in_them():
    short = ndcg(np.array([[True, False], [True, True]]), np.array([5, 5]), k=10)
    ideal = sum(1 / np.log2(place + 1) for place in range(1, 6))
    assert short.tolist() == pytest.approx([1 / ideal, (1 + 1 / np.log2(3)) / ideal])
    rows = ranking_metrics(np.zeros((1, 3)), np.ones((1, 3), bool), np.zeros((1, 3), bool), k=10)
    assert rows[0].tolist() == pytest.approx([1, 1]), "of a catalogue of three"


def naive_ranking_metrics(scores, relevant, exclude, k):
    rows = []
    for user in range(len(scores)):
        wanted = {movie for movie in range(len(scores[user])) if relevant[user][movie]}
        ranked = [movie for movie in range(len(scores[user])) if not exclude[user][movie]]
        ranked = sorted(ranked, key=lambda movie: -scores[user][movie])[:k]
        gains = [1.0 if movie in wanted else 0.0 for movie in ranked]
        dcg = sum(gain / np.log2(place + 2) for place, gain in enumerate(gains))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(wanted))))
        rows.append((dcg / ideal, sum(gains) / len(wanted)))
    return rows


@pytest.mark.parametrize("seed", range(10))
def test_ranking_metrics_agree_with_a_naive_loop(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (7, 15)).astype(float)
    relevant = random.random((7, 15)) < 0.2
    relevant[:, 0] = True
    exclude = (random.random((7, 15)) < 0.2) & ~relevant
    rows = ranking_metrics(scores, relevant, exclude, k=5)
    np.testing.assert_allclose(rows, naive_ranking_metrics(scores, relevant, exclude, 5))


def random_ratings(random, num_users, num_movies):
    """Returns stars, 0 for none, and a mask of held-out cells, both [users, movies]."""
    stars = random.integers(1, 6, (num_users, num_movies)) * (random.random((num_users, num_movies)) < 0.5)
    return stars, random.random((num_users, num_movies)) < 0.3


def to_ratings(stars, cells):
    cells = np.nonzero((stars > 0) & cells)
    return Ratings(*cells, stars[cells])


def to_split(stars, held_out):
    """Returns a split of stars, 0 for none, with a mask of held-out cells, both [profiles, movies]."""
    num_profiles, num_movies = stars.shape
    nothing = np.zeros((num_movies, 1), int)
    movies = MovieFeatures(np.arange(2, 2 + num_movies), nothing, nothing)
    dataset = Dataset(to_ratings(stars, ~held_out), np.zeros((num_profiles, 4), int), movies)
    vocabularies = Vocabularies(Vocabulary("ab"), Vocabulary("c"), Vocabulary(range(num_movies)))
    return Split(dataset, to_ratings(stars, held_out), vocabularies, np.arange(1))


@pytest.mark.parametrize("seed", range(5))
def test_evaluation_in_batches_agrees_with_all_at_once(seed, monkeypatch):
    random = np.random.default_rng(seed)
    monkeypatch.setattr(evaluation, "USER_BATCH", 3)
    scores = random.integers(0, 6, (20, 15)).astype(float)
    stars, held_out = random_ratings(random, 20, 15)
    result = evaluate_rankings({"this": lambda rows: scores[rows]}, to_split(stars, held_out))
    relevant, exclude = (stars >= 4) & held_out, (stars > 0) & ~held_out
    users = relevant.any(1)
    expected = ranking_metrics(scores[users], relevant[users], exclude[users]).mean(0)
    np.testing.assert_allclose(result["this"], expected)


def test_of_many_users_some_are_evaluated(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_RANKED_SCORES", 8)
    seen = []
    split = to_split(np.full((10, 2), [5, 0]), np.ones((10, 2), bool))
    evaluate_rankings({"this": lambda rows: seen.extend(rows) or np.zeros((len(rows), 2))}, split)
    assert seen == [0, 3, 6, 9]


def test_no_liked_test_row_gives_no_metrics():
    for stars in (0, 3):
        split = to_split(np.full((10, 2), stars), np.ones((10, 2), bool))
        assert evaluate_rankings({"this": lambda rows: np.zeros((len(rows), 2))}, split) == {}


NUM_PROFILES, NUM_MOVIES = 20, 30


@pytest.fixture
def split():
    random = np.random.default_rng(0)
    stars = random.integers(1, 6, (NUM_PROFILES, NUM_MOVIES)) * (random.random((NUM_PROFILES, NUM_MOVIES)) < 0.5)
    return to_split(stars, random.random((NUM_PROFILES, NUM_MOVIES)) < 0.3)


def test_predicted_ratings_are_compared_with_baselines(split):
    predicted = np.random.default_rng(1).uniform(1, 5, len(split.test.rating))
    table = evaluate_ratings(split, predicted)
    assert list(table) == ["movie mean", "this model"]
    assert table["this model"] == rating_metrics(predicted, split.test.rating)
    assert table["movie mean"] == rating_metrics(movie_means(split.train.ratings, split.test), split.test.rating)


def test_rankings_are_those_of_the_searches(split):
    random = np.random.default_rng(1)
    users, movies = (random.normal(size=(2, count, 200)) for count in (NUM_PROFILES, NUM_MOVIES))
    table = evaluate_model_rankings(split, users, movies)
    train = split.train.ratings
    stars, picks = 5 * users[0] @ movies[0].T, users[1] @ movies[1].T
    likes = np.array([((train.movie_row == movie) & (train.rating >= 4)).sum() for movie in range(NUM_MOVIES)])
    popular = np.tile(likes, (NUM_PROFILES, 1))
    scores = {"most popular": popular, "stars": stars, "picks": picks, "both": picks + STAR_WEIGHT * stars}
    assert list(table) == list(scores)
    for name, expected in scores.items():
        naive = evaluate_rankings({name: lambda rows, expected=expected: expected[rows]}, split)
        assert table[name] == pytest.approx(naive[name]), name
    assert len({metrics.ndcg for metrics in table.values()}) == 4


def test_movie_means_by_hand():
    train = Ratings(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5, 3, 4]))
    test = Ratings(np.array([1, 1]), np.array([1, 2]), np.array([2, 2]))
    assert movie_means(train, test).tolist() == [3, 4], "a movie without ratings has the mean of all"
