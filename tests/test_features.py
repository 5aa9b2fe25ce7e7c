import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    UNKNOWN,
    Vocabulary,
    build_vocabularies,
    demographic_profile_row,
    encode_movies,
    encode_profiles,
    genre_key,
)
from recommender.movielens.catalogue import Movie, User

USERS = [User(3, "F", 56, 20), User(8, "M", 1, 0), User(9, "M", 25, 4)]
MOVIES = [
    Movie(5, "Night of the Night (1990)", ("War", "Action")),
    Movie(9, "(1963)", ("War",)),
    Movie(2, "No Year", ("Drama",)),
]


@pytest.fixture
def vocabularies():
    return build_vocabularies(MOVIES, [5, 2])


def test_vocabulary_is_sorted_and_reserves_padding_and_unknown():
    vocabulary = Vocabulary(["b", "a", "b"])
    assert [vocabulary.index(token) for token in "abc"] == [2, 3, UNKNOWN]
    assert vocabulary.size == 4


@given(st.sets(st.text(max_size=5)), st.randoms())
def test_vocabulary_does_not_depend_on_order(tokens, random):
    shuffled = list(tokens)
    random.shuffle(shuffled)
    assert [Vocabulary(tokens).index(token) for token in tokens] == [Vocabulary(shuffled).index(t) for t in tokens]


def test_encode_movies(vocabularies):
    encoded = encode_movies(MOVIES, vocabularies)
    assert vocabularies.words.tokens == ["(1963)", "night", "no", "of", "the", "year"]
    assert encoded.movie_idx.tolist() == [3, UNKNOWN, 2]
    assert encoded.genre_idx.tolist() == [[4, 2], [4, 0], [3, 0]]
    assert encoded.word_idx.tolist() == [[3, 5, 6, 3], [2, 0, 0, 0], [4, 7, 0, 0]]


def test_movie_features_are_selected_by_row(vocabularies):
    encoded = encode_movies(MOVIES, vocabularies)
    for rows in (np.array([2, 0]), np.array([True, False, True])):
        selected = encoded.select(rows)
        for array, part in zip(encoded, selected, strict=True):
            assert (part == array[rows]).all()


def test_movie_features_without_ids(vocabularies):
    encoded = encode_movies(MOVIES, vocabularies)
    without = encoded.without_ids()
    assert without.movie_idx.tolist() == [UNKNOWN] * 3
    assert encoded.movie_idx.tolist() == [3, UNKNOWN, 2], "the input must not change"
    assert (without.genre_idx == encoded.genre_idx).all()
    assert (without.word_idx == encoded.word_idx).all()


def test_profiles_are_all_demographics_then_all_users():
    profiles = encode_profiles(USERS, np.array([True, True, False]))
    assert profiles.shape == (3 * 8 * 22 + 3, 4)
    assert profiles.dtype == np.int64
    assert len(np.unique(profiles[:-1], axis=0)) == len(profiles) - 1
    assert profiles[-3:].tolist() == [[2, 2, 7, 21], [3, 1, 1, 1], [UNKNOWN, 1, 3, 5]]
    demographics = profiles[:NUM_DEMOGRAPHIC_PROFILES]
    assert (demographics[:, 0] == UNKNOWN).all()
    gender, age, occupation = demographics[:, 1:].T
    assert demographic_profile_row(gender, age, occupation).tolist() == list(range(NUM_DEMOGRAPHIC_PROFILES))
    assert profiles[demographic_profile_row(2, 7, 21)].tolist() == [UNKNOWN, 2, 7, 21]


def test_user_without_training_ratings_has_the_unknown_id():
    profiles = encode_profiles(USERS, np.array([False, True, False]))
    assert profiles[-3:, 0].tolist() == [UNKNOWN, 3, UNKNOWN]


def test_profiles_without_users():
    assert encode_profiles([], np.zeros(0, bool)).shape == (NUM_DEMOGRAPHIC_PROFILES, 4)


def test_spelling_of_a_genre_does_not_matter(vocabularies):
    encoded = encode_movies([Movie(1, "X", ("WAR", "drama", "Dramedy"))], vocabularies)
    assert vocabularies.genres.tokens == ["action", "drama", "war"]
    assert encoded.genre_idx.tolist() == [[4, 3, UNKNOWN]]


@pytest.mark.parametrize(
    ("genre", "key"),
    [("Sci-Fi", "scifi"), ("sci fi", "scifi"), ("Children's", "childrens"), ("Комедия", "комедия"), ("&", "&")],
)
def test_genre_key(genre, key):
    assert genre_key(genre) == key
