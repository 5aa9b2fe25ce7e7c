"""What makes movies alike: the formula, pair by pair, and by hand."""

import numpy as np
import pytest

from recommender.embed import similarity_parts
from recommender.movielens.catalogue import Movie
from recommender.vectors import TASTE_DIM, join, normalize_rows, similar_to

MOVIES = [
    Movie(1, "Glass Harbor (1990)", ("Drama", "War")),
    Movie(2, "Glass Harbor II (1993)", ("Drama",)),
    Movie(3, "Quiet Lantern, The (1990)", ("Comedy",)),
    Movie(4, "Quiet Engine, The", ("comedy", "Drama", "War")),
    Movie(5, "Winter (2031)", ("Sci-Fi",)),
    Movie(6, "Stone Garden, The (Lantern) (1923)", ("Film-Noir", "War")),
]
NUM_RATINGS = np.array([100, 30, 19, 20, 0, 5])


@pytest.fixture
def tastes():
    random = np.random.default_rng(0)
    return (random.normal(size=(6, 200)) * [[3], [1], [2], [0.5], [0.1], [4]]).astype(np.float32)


def similarities(movies, tastes, num_ratings):
    """Returns float[movies, movies], how like each movie (row) each other one is, as a search computes it."""
    parts = similarity_parts(movies, tastes, num_ratings)
    vectors = join(np.zeros_like(tastes), tastes, parts)
    assert parts.dtype == vectors.dtype == np.float32
    return similar_to(vectors) @ parts.T


def year_overlap(first, second):
    """Returns the cosine of two years as bumps ten years apart."""
    bumps = [
        [np.exp(-(((movie.year or 10**6) - center) ** 2) / 100) for center in range(1890, 2040, 10)]
        for movie in (first, second)
    ]
    a, b = map(np.array, bumps)
    return a @ b / np.sqrt(a @ a * (b @ b)) if a.any() and b.any() else 0


def test_similarity_is_the_formula(tastes):
    """Without title words, whose embedding is random: no word is in two titles."""
    movies = [
        movie._replace(title=f"Film{row} ({movie.year})" if movie.year else f"Film{row}")
        for row, movie in enumerate(MOVIES)
    ]
    found = similarities(movies, tastes, NUM_RATINGS)
    tastes = tastes[:, :TASTE_DIM]
    lengths = [float(np.linalg.norm(taste)) for taste in tastes]
    median = np.median([lengths[0], lengths[1], lengths[3]])  # Of those with 20 ratings or more.
    for i, first in enumerate(movies):
        for j, second in enumerate(movies):
            expected = tastes[i] @ tastes[j] / (lengths[i] * (lengths[j] + median))
            genres = [{genre.lower() for genre in movie.genres} for movie in (first, second)]
            expected += 0.2 * len(genres[0] & genres[1]) / np.sqrt(len(genres[0]) * len(genres[1]))
            assert found[i, j] == pytest.approx(expected + 0.15 * year_overlap(first, second), abs=1e-5)


def title_links(titles):
    """Returns float[movies, movies], how far titles alone link movies."""
    movies = [Movie(row, title, (f"Genre{row}",)) for row, title in enumerate(titles)]
    nothing = np.zeros((len(movies), 200), np.float32)
    return similarities(movies, nothing, np.ones(len(movies), int)) - 0.2 * np.eye(len(movies))


def test_rare_words_of_titles_link_movies():
    """The weight is 0.2 for movies that share all their linking words; words of one title, and numbers, are none."""
    titles = ["Glass Harbor", "Glass Harbor II", "The Quiet Lantern", "Quiet Engine, The", "7 Winters", "7 Springs"]
    links = title_links([*titles, "Stone Garden (Lantern)"])
    assert links[0, 1] == pytest.approx(0.2, abs=1e-6)
    assert links[2, 3] == pytest.approx(0.2, abs=1e-6)
    assert abs(links[4:]).max() < 1e-6, "what stands in brackets is another name"
    assert abs(links[:2, 2:]).max() < 0.05


def test_rarer_words_count_more():
    """`Glass` is in two titles and `Harbor` in four."""
    links = title_links(
        ["Glass Harbor", "Glass A", "Harbor B", "Harbor C", "Harbor D", *(f"F{row}" for row in range(400))]
    )
    assert links[0, 1] > links[0, 2] + 0.01 > 0.1
    expected = np.log(405 / 2) / np.hypot(np.log(405 / 2), np.log(405 / 4))
    assert links[0, 1] == pytest.approx(0.2 * expected, abs=0.02), "but for chance in the words' vectors"


def test_words_of_many_titles_link_none():
    links = title_links([*(f"Love {row}x" for row in range(30)), *(f"Harbor {row}y" for row in range(400)), "Harbor z"])
    assert abs(links).max() < 1e-6, "30 and 401 of 431 titles"


def test_little_known_movies_come_after_known_ones_of_the_same_taste():
    tastes = np.eye(200, dtype=np.float32)[[0, 0, 0]] * np.array([[2], [1], [0.1]], np.float32)
    movies = [Movie(row, f"Film{row}", (f"G{row}",)) for row in range(3)]
    found = similarities(movies, tastes, np.array([50, 50, 50]))
    assert found[0] == pytest.approx([2 / 3 + 0.2, 1 / 2, 0.1 / 1.1], abs=1e-5)
    assert found[2][:2] == pytest.approx(found[0][:2] - [0.2, 0], abs=1e-5), (
        "the length of the one asked for is nothing"
    )


@pytest.mark.parametrize("num_ratings", [[0, 0], [3, 1]])
def test_catalogue_in_which_nothing_is_known(num_ratings):
    movies = [Movie(1, "A", ("Drama",)), Movie(2, "B", ("Drama",))]
    found = similarities(movies, np.zeros((2, 200), np.float32), np.array(num_ratings))
    np.testing.assert_allclose(found, 0.2, atol=1e-6)


def test_rows_of_zeros_stay_zero():
    np.testing.assert_allclose(normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
