import numpy as np
import pytest

from recommender.data.features import MovieFeatures, Vocabularies, Vocabulary
from recommender.inference.user_vectors import DEMOGRAPHIC_STARTS, Taste, parts_of, vector_of, weights_of


@pytest.fixture
def taste():
    random = np.random.default_rng(0)
    shapes = ((6, 199), (6, 200), (4 + 5, 199), (4 + 5, 200), (33, 199))
    taste = Taste(*(random.normal(size=shape).astype(np.float32) for shape in shapes))
    for content in (taste.history_content, taste.target_content):
        content[[0, 4]] = 0  # Padding.
    return taste


VOCABULARIES = Vocabularies(Vocabulary("xyz"), Vocabulary("ab"), Vocabulary([10, 20, 30, 40]))
MOVIES = MovieFeatures(
    np.array([2, 1, 5, 1]), np.array([[2, 3], [3, 0], [2, 0], [2, 3]]), np.array([[2], [3], [4], [4]])
)


def test_known_movies_have_rows_and_unknown_ones_are_sums(taste):
    rows = taste.target_of(MOVIES, VOCABULARIES)
    expected = [
        taste.target[2],
        taste.target_content[3] + taste.target_content[4 + 3],
        taste.target[5],
        taste.target_content[2] + taste.target_content[3] + taste.target_content[4 + 4],
    ]
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    known = MOVIES.take(np.array([0, 2]))
    np.testing.assert_array_equal(taste.history_of(known, VOCABULARIES), taste.history[[2, 5]])


@pytest.mark.parametrize("demographics", [[0, 0, 0], [2, 0, 21], [1, 7, 1]])
@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.5, 0.5]])
def test_a_person_is_the_sum_of_what_is_known_of_them(taste, weights, demographics):
    history = taste.history[: len(weights)]
    weights, demographics = np.array(weights, np.float32), np.array(demographics)
    expected = np.zeros(199)
    for row, weight in zip(history, weights, strict=True):
        expected += row * weight / np.sqrt((weights**2).sum())
    for start, index in zip((0, 3, 11), demographics, strict=True):
        expected += taste.demographics[start + index] if index else 0
    person = (history, weights, taste.demographics, demographics)
    parts = parts_of(*person)
    assert parts.shape == (len(weights) + 3, 199)
    np.testing.assert_allclose(vector_of(*person), [*expected, 1], atol=1e-5)


def test_demographics_do_not_overlap():
    assert DEMOGRAPHIC_STARTS.tolist() == [0, 3, 11]


def test_liked_films_count_twice():
    assert weights_of(np.array([1, 2, 3, 4, 5])).tolist() == [0.5, 0.5, 0.5, 1, 1]
