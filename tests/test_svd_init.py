import numpy as np
import pytest
from scipy.sparse import csr_array

from recommender.evaluation.metrics import Ratings
from recommender.training.svd_init import factorise, spectral_start


def some_cells(num_people, num_movies, count):
    person_row, movie_row = np.divmod(
        np.random.default_rng(0).choice(num_people * num_movies, count, replace=False), num_movies
    )
    return person_row, movie_row


def test_a_checkerboard_of_tastes_is_one_factor():
    person_row, movie_row = some_cells(50, 40, 1000)
    people, movies = spectral_start(Ratings(person_row, movie_row, 1 + 4 * ((person_row + movie_row) % 2)), 50, 40)
    assert people.shape == (50, 31)
    assert movies.shape == (40, 31)
    predicted = np.outer(people[:, 0], movies[:, 0]) > 0
    assert (predicted == (np.add.outer(np.arange(50), np.arange(40)) % 2 == 1)).all()
    assert people[:, :-1].std() == pytest.approx(1)
    assert people[:, 0].std() > 1.5 * people[:, 1].std()


def test_means_are_the_last_column():
    person_row, movie_row = some_cells(50, 40, 1000)
    _, movies = spectral_start(Ratings(person_row, movie_row, np.where(movie_row % 2, 5, 3)), 50, 40)
    assert movies[1::2, -1].min() > 0 > movies[::2, -1].max()
    assert movies[:, -1].std() == pytest.approx(1)


@pytest.mark.parametrize(("num_people", "num_movies", "count"), [(50, 40, 100), (3, 4, 12), (40, 3, 99), (2, 2, 1)])
def test_equal_ratings_say_nothing(num_people, num_movies, count):
    person_row, movie_row = some_cells(num_people, num_movies, count)
    start = spectral_start(Ratings(person_row, movie_row, np.full(count, 4)), num_people, num_movies)
    assert all((table == 0).all() for table in start)


def test_few_people_and_movies_have_few_factors():
    person_row, movie_row = some_cells(9, 4, 20)
    people, movies = spectral_start(Ratings(person_row, movie_row, 1 + (person_row * movie_row) % 5), 10, 4)
    assert people.shape == (10, 5)
    assert movies.shape == (4, 5)
    assert np.isfinite(people).all()
    assert (people[9] == 0).all(), "who has not rated"


def test_factors_are_those_of_numpy():
    dense = np.random.default_rng(1).normal(size=(60, 5)) @ np.random.default_rng(2).normal(size=(5, 45))
    rows, columns = factorise(csr_array(dense))
    np.testing.assert_allclose(rows @ columns.T, dense, atol=1e-8)
    values = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose((rows**2).sum(0)[:5], values[:5])
