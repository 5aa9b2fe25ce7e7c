"""The evaluation of a trained model: which scores are compared, against naive scores of vectors."""

import numpy as np
import pytest

from recommender.movielens.split import Dataset, Ratings, Split
from recommender.movielens.encoding import MovieFeatures, Vocabularies, Vocabulary
from recommender.evaluation.evaluate import evaluate_model_rankings, evaluate_ratings
from recommender.evaluation.metrics import evaluate_rankings, rating_metrics

NUM_PROFILES, NUM_MOVIES = 20, 30


def unit_vectors(random, count):
    vectors = random.normal(size=(count, 200)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def split():
    random = np.random.default_rng(0)
    profile_row, movie_row = np.nonzero(random.random((NUM_PROFILES, NUM_MOVIES)) < 0.5)
    ratings = Ratings(profile_row, movie_row, random.integers(1, 6, len(profile_row)))
    held_out = random.random(len(profile_row)) < 0.3
    movies = MovieFeatures(np.arange(2, 2 + NUM_MOVIES), np.zeros((NUM_MOVIES, 1), int), np.zeros((NUM_MOVIES, 1), int))
    dataset = Dataset(ratings.select(~held_out), np.zeros((NUM_PROFILES, 4), int), movies)
    vocabularies = Vocabularies(Vocabulary("ab"), Vocabulary("c"), Vocabulary(range(NUM_MOVIES)))
    return Split(dataset, ratings.select(held_out), vocabularies, np.arange(1))


@pytest.fixture
def vectors():
    random = np.random.default_rng(1)
    return [tuple(unit_vectors(random, count) for _ in range(2)) for count in (NUM_PROFILES, NUM_MOVIES)]


def test_predicted_ratings_are_compared_with_baselines(split, vectors):
    (users, _), (movies, _) = vectors
    table = evaluate_ratings(split, users, movies)
    assert list(table) == ["global mean", "movie mean", "user + movie bias", "this model"]
    test = split.test
    predicted = 5 * (users[test.profile_row] * movies[test.movie_row]).sum(1)
    assert table["this model"] == pytest.approx(rating_metrics(predicted, test.rating), rel=1e-5)
    global_mean = np.full(len(test.rating), split.train.ratings.rating.mean())
    assert table["global mean"] == pytest.approx(rating_metrics(global_mean, test.rating))


def test_rankings_are_those_of_the_three_options(split, vectors):
    (user_ratings, user_tastes), (movie_ratings, movie_tastes) = vectors
    table = evaluate_model_rankings(split, *vectors)
    train = split.train.ratings
    predicted, taste_scores = 5 * user_ratings @ movie_ratings.T, user_tastes @ movie_tastes.T
    likes = np.array([((train.movie_row == movie) & (train.rating >= 4)).sum() for movie in range(NUM_MOVIES)])
    scores = {
        "most popular": np.tile(likes, (NUM_PROFILES, 1)),
        "stars": predicted,
        "picks": taste_scores,
        "both": taste_scores + 0.2 * predicted,
    }
    assert list(table) == list(scores)
    for name, expected in scores.items():
        naive = evaluate_rankings({name: lambda rows, expected=expected: expected[rows]}, train, split.test, NUM_MOVIES)
        assert table[name] == pytest.approx(naive[name]), name
    assert len({metrics.ndcg for metrics in table.values()}) == 4
