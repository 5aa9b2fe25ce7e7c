"""The rivals that the benchmarks compare with are what they say they are."""

import numpy as np
import pytest
from baselines import demographic_predictions, ease_scores

from recommender.evaluation.metrics import Ratings, rating_metrics


def test_ease_solves_its_constrained_least_squares():
    liked = np.random.default_rng(0).random((60, 8)) < 0.4
    l2 = 3.0
    scores = ease_scores(liked, l2)
    interactions = liked.astype(float)
    for movie in range(8):  # Ridge regression of each movie on the others.
        others = [other for other in range(8) if other != movie]
        design = interactions[:, others]
        weights = np.linalg.solve(design.T @ design + l2 * np.eye(7), design.T @ interactions[:, movie])
        np.testing.assert_allclose(scores[:, movie], design @ weights, atol=1e-4)


def test_demographic_predictions_find_a_gender_gap():
    user_row, movie_row = np.divmod(np.arange(200 * 4), 4)
    demographics = np.column_stack([user_row[::4] % 2, np.zeros(200, int), np.zeros(200, int)])
    rating = np.where((movie_row == 0) & (user_row % 2 == 1), 5, 3)
    known = user_row < 180
    train, test = (Ratings(user_row[part], movie_row[part], rating[part]) for part in (known, ~known))
    predictions = demographic_predictions(train, test, demographics)
    assert rating_metrics(predictions["movie mean"], test.rating).rmse == pytest.approx(0.5, abs=0.02)
    assert rating_metrics(predictions["movie mean + demographics"], test.rating).rmse < 0.2
