import numpy as np
import pandas as pd
import pytest

from recommender.movielens.split import (
    RATING_DTYPE,
    RatingHistories,
    Ratings,
    group_ratings_by_user,
    held_out_rows,
    split_and_encode,
)
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, UNKNOWN
from recommender.movielens.catalogue import Movie, MovieLens, User

USERS = [User(8, "M", 1, 0), User(3, "F", 56, 20), User(5, "F", 25, 7)]
MOVIES = [Movie(40, "B (1990)", ("War",)), Movie(7, "A (1991)", ("Drama", "War")), Movie(9, "C (1992)", ("Drama",))]
RATINGS = [(8, 40, 5), (3, 7, 1), (8, 7, 4), (3, 40, 2), (5, 9, 3)]
HELD_OUT = np.array([False, False, True, False, True])


@pytest.fixture
def ratings():
    return pd.DataFrame(RATINGS, columns=["user_id", "movie_id", "rating"])


@pytest.fixture
def split(ratings):
    return split_and_encode(MovieLens(USERS, MOVIES, ratings), HELD_OUT)


def test_held_out_rows_are_those_of_the_original():
    held_out = held_out_rows(1_000_209)
    assert held_out.sum() == 99_981
    np.random.seed(0)
    assert held_out[:1000].tolist() == [np.random.random() < 0.1 for _ in range(1000)]


def test_split_refers_to_profiles_and_movies_by_row(split):
    first = NUM_DEMOGRAPHIC_PROFILES
    assert split.user_ids.tolist() == [3, 5, 8]
    assert split.train.num_users == 3
    assert split.train.profiles[first:].tolist() == [[2, 2, 7, 21], [UNKNOWN, 2, 3, 8], [4, 1, 1, 1]]
    train, test = split.train.ratings, split.test
    assert [column.tolist() for column in train] == [[first + 2, first, first], [0, 1, 0], [5, 1, 2]]
    assert [column.tolist() for column in test] == [[first + 2, first + 1], [1, 2], [4, 3]]
    assert train.profile_row.dtype == train.movie_row.dtype == np.int32


def test_movie_without_training_ratings_is_unknown(split):
    assert split.vocabularies.movies.tokens == [7, 40]
    assert split.train.movies.movie_idx.tolist() == [3, 2, UNKNOWN]


def test_ratings_are_selected_by_index_or_mask():
    ratings = Ratings(np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([5, 4, 3]))
    assert [column.tolist() for column in ratings.select(np.array([2, 0]))] == [[3, 1], [6, 4], [3, 5]]
    assert [column.tolist() for column in ratings.select(np.array([False, True, False]))] == [[2], [5], [4]]


def test_ratings_are_grouped_by_user(ratings):
    grouped = group_ratings_by_user(ratings, HELD_OUT, np.array([3, 4, 5, 8, 9]))
    assert grouped.ratings.dtype == RATING_DTYPE
    assert grouped.indptr.tolist() == [0, 2, 2, 3, 5, 5]
    assert grouped.ratings.tolist() == [(7, 1, False), (40, 2, False), (9, 3, True), (7, 4, True), (40, 5, False)]
    histories = [grouped.of(user).tolist() for user in range(5)]
    assert histories == [[(7, 1, False), (40, 2, False)], [], [(9, 3, True)], [(7, 4, True), (40, 5, False)], []]


def test_history_of_a_user():
    ratings = np.array([(1, 5, False), (2, 4, True), (3, 3, False)], RATING_DTYPE)
    histories = RatingHistories(ratings, np.array([0, 1, 1, 3]))
    assert [histories.of(user)["movie_id"].tolist() for user in range(3)] == [[1], [], [2, 3]]
