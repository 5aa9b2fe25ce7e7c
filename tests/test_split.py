import numpy as np
import pandas as pd

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, UNKNOWN, Movie, User
from recommender.movielens.releases import MovieLens
from recommender.movielens.split import RATING_DTYPE, group_ratings_by_user, held_out_rows, split_and_encode

USERS = [User(8, "M", 1, 0), User(3, "F", 56, 20), User(5, "F", 25, 7)]
MOVIES = [Movie(40, "B (1990)", ("War",)), Movie(7, "A (1991)", ("Drama", "War")), Movie(9, "C (1992)", ("Drama",))]
ROWS = [(8, 40, 5), (3, 7, 1), (8, 7, 4), (3, 40, 2), (5, 9, 3)]
RATINGS = pd.DataFrame(ROWS, columns=["user_id", "movie_id", "rating"])
HELD_OUT = np.array([False, False, True, False, True])


def test_held_out_rows_are_those_of_the_original():
    held_out = held_out_rows(1_000_209)
    assert held_out.sum() == 99_981
    np.random.seed(0)
    assert held_out[:1000].tolist() == [np.random.random() < 0.1 for _ in range(1000)]


def test_split_refers_to_profiles_and_movies_by_row():
    split = split_and_encode(MovieLens(USERS, MOVIES, RATINGS), HELD_OUT)
    first = NUM_DEMOGRAPHIC_PROFILES
    assert split.user_ids.tolist() == [3, 5, 8]
    assert split.train.num_users == 3
    assert split.train.profiles[first:].tolist() == [[2, 2, 7, 21], [UNKNOWN, 2, 3, 8], [4, 1, 1, 1]]
    train, test = split.train.ratings, split.test
    assert [column.tolist() for column in train] == [[first + 2, first, first], [0, 1, 0], [5, 1, 2]]
    assert [column.tolist() for column in test] == [[first + 2, first + 1], [1, 2], [4, 3]]
    assert train.profile_row.dtype == train.movie_row.dtype == np.int32
    assert [column.tolist() for column in test.select(np.array([False, True]))] == [[first + 1], [2], [3]]
    assert split.vocabularies.movies.tokens == [7, 40], "movie 9 has no training ratings"
    assert split.train.movies.movie_idx.tolist() == [3, 2, UNKNOWN]


def test_ratings_are_grouped_by_user():
    ratings, indptr = group_ratings_by_user(RATINGS, HELD_OUT, np.array([3, 4, 5, 8, 9]))
    assert ratings.dtype == RATING_DTYPE
    assert indptr.tolist() == [0, 2, 2, 3, 5, 5]
    expected = [[(7, 1, False), (40, 2, False)], [], [(9, 3, True)], [(7, 4, True), (40, 5, False)], []]
    assert [ratings[indptr[user] : indptr[user + 1]].tolist() for user in range(5)] == expected
