import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.movielens.encoding import (
    AGE_CODES,
    AGE_LABELS,
    GENDERS,
    NUM_DEMOGRAPHIC_PROFILES,
    OCCUPATIONS,
    UNKNOWN,
    Movie,
    User,
    Vocabulary,
    build_vocabularies,
    demographic_profile_row,
    encode_movies,
    encode_profiles,
    genre_key,
)

USERS = [User(3, "F", 56, 20), User(8, "M", 1, 0), User(9)]
MOVIES = [
    Movie(5, "Night of the Night (1990)", ("War", "Action")),
    Movie(9, "(1963)", ("War",)),
    Movie(2, "No Year", ("Drama",)),
]
VOCABULARIES = build_vocabularies(MOVIES, [5, 2])


def test_vocabulary_is_sorted_and_reserves_padding_and_unknown():
    vocabulary = Vocabulary(["b", "a", "b"])
    assert [vocabulary.index(token) for token in "abc"] == [2, 3, UNKNOWN]
    assert vocabulary.size == 4


@given(st.sets(st.text(max_size=5)), st.randoms())
def test_vocabulary_does_not_depend_on_order(tokens, random):
    shuffled = list(tokens)
    random.shuffle(shuffled)
    assert [Vocabulary(tokens).index(token) for token in tokens] == [Vocabulary(shuffled).index(t) for t in tokens]


def test_encode_movies():
    encoded = encode_movies(MOVIES, VOCABULARIES)
    assert VOCABULARIES.words.tokens == ["(1963)", "night", "no", "of", "the", "year"]
    assert encoded.movie_idx.tolist() == [3, UNKNOWN, 2]
    assert encoded.genre_idx.tolist() == [[4, 2], [4, 0], [3, 0]]
    assert encoded.word_idx.tolist() == [[3, 5, 6, 3], [2, 0, 0, 0], [4, 7, 0, 0]]
    assert [array.tolist() for array in encoded.select(np.array([2]))] == [[2], [[3, 0]], [[4, 7, 0, 0]]]


def test_profiles_are_all_demographics_then_all_users():
    profiles = encode_profiles(USERS, np.array([True, False, True]))
    assert profiles.shape == (3 * 8 * 22 + 3, 4)
    assert profiles.dtype == np.int64
    assert profiles[-3:].tolist() == [[2, 2, 7, 21], [UNKNOWN, 1, 1, 1], [4, 0, 0, 0]]
    demographics = profiles[:NUM_DEMOGRAPHIC_PROFILES]
    assert (demographics[:, 0] == UNKNOWN).all()
    assert len(np.unique(demographics, axis=0)) == NUM_DEMOGRAPHIC_PROFILES
    assert demographic_profile_row(*demographics[:, 1:].T).tolist() == list(range(NUM_DEMOGRAPHIC_PROFILES))
    assert encode_profiles([], np.zeros(0, bool)).shape == (NUM_DEMOGRAPHIC_PROFILES, 4)


def test_demographics_are_those_of_ml_1m():
    assert dict(zip(AGE_CODES, AGE_LABELS, strict=True))[25] == "25-34"
    assert (list(GENDERS), len(OCCUPATIONS), OCCUPATIONS[10]) == (["M", "F"], 21, "K-12 student")


def test_spelling_of_a_genre_does_not_matter():
    encoded = encode_movies([Movie(1, "X", ("WAR", "drama", "Dramedy"))], VOCABULARIES)
    assert VOCABULARIES.genres.tokens == ["action", "drama", "war"]
    assert encoded.genre_idx.tolist() == [[4, 3, UNKNOWN]]


@pytest.mark.parametrize(
    ("genre", "key"),
    [("Sci-Fi", "scifi"), ("sci fi", "scifi"), ("Children's", "childrens"), ("Комедия", "комедия"), ("&", "&")],
)
def test_genre_key(genre, key):
    assert genre_key(genre) == key
