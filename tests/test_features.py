import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.data.features import UNKNOWN, Vocabulary, anonymous_row, encode_movies, encode_people
from recommender.data.movielens import DataError, Movie, User
from recommender.errors import features
from recommender.files import FileError

USERS = [User(3, "F", 56, 20), User(8, "M", 1, 0)]
MOVIES = [
    Movie(5, "Night of the Night (1990)", ("War", "Action")),
    Movie(9, "(1963)", ("War",)),
    Movie(2, "No Year", ("Drama",)),
]


@pytest.fixture
def vocabularies():
    return features.build_vocabularies(MOVIES, [5, 2])


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
    assert encoded.movie_index.tolist() == [3, UNKNOWN, 2]
    assert encoded.genre_index.tolist() == [[4, 2], [4, 0], [3, 0]]
    assert encoded.word_index.tolist() == [[3, 5, 6, 3], [2, 0, 0, 0], [4, 7, 0, 0]]


def test_people_are_everyone_who_can_be_asked_for():
    people = encode_people(USERS)
    assert people.shape == (3 * 8 * 22 + 2, 4)
    assert len(np.unique(people, axis=0)) == len(people)
    assert people[-2:].tolist() == [[2, 2, 7, 21], [3, 1, 1, 1]]
    gender, age, occupation = people[:-2, 1:].T
    assert anonymous_row(gender, age, occupation).tolist() == list(range(features.NUM_ANONYMOUS))
    assert people[anonymous_row(2, 7, 21)].tolist() == [UNKNOWN, 2, 7, 21]


def test_spelling_of_a_genre_does_not_matter(vocabularies):
    encoded = encode_movies([Movie(1, "X", ("WAR", "drama", "Dramedy"))], vocabularies)
    assert vocabularies.genres.tokens == ["action", "drama", "war"]
    assert encoded.genre_index.tolist() == [[4, 3, UNKNOWN]]


def test_movies_data_keeps_the_original_fields(tmp_path, vocabularies):
    path = tmp_path / "movies_data.txt"
    assert features.write_movies_data(path, MOVIES, vocabularies) == (0, 0)
    lines = [line.rpartition("::") for line in path.read_text("utf-8").splitlines()]
    assert [line for line, _, _ in lines] == [
        "5::3,5,6,3,(1990)::4,2::Night of the Night (1990)::War|Action",
        "9::2,()::4::(1963)::War",
        "2::4,7,()::3::No Year::Drama",
    ]
    assert [int(checksum, 16) for _, _, checksum in lines] == [zlib.crc32(line.encode()) for line, _, _ in lines]
    for line in path.read_text("utf-8").splitlines():  # The original's reader.
        movie_id, title, genres = line.split("::")[:3]
        assert [int(word) for word in title.split(",")[:-1]]
        assert int(movie_id)
        assert [int(genre) for genre in genres.split(",")]
    assert features.read_movies_data(path, vocabularies) == MOVIES


ENCODE = "python get_movies_data.py -f movies_origin.txt"


def test_movies_data_of_another_model_is_refused(tmp_path, vocabularies):
    path = tmp_path / "movies_data.txt"
    features.write_movies_data(path, MOVIES, vocabularies)
    other = features.build_vocabularies([*MOVIES, Movie(1, "Aaa", ("Drama",))], [5])
    with pytest.raises(DataError, match=rf"line 1: not encoded for this model; run: {ENCODE}$"):
        features.read_movies_data(path, other)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: "", "the file is empty"),
        (lambda text: text.replace("::3::No Year::Drama", "::3"), "line 3: 4 fields instead of 6"),
        (lambda text: text + text, "line 4: movie 5 is there twice"),
        (lambda text: text.replace("5::3,5", "5::3,x"), "line 1: changed since it was written"),
        (lambda text: text + "\n", "line 4: 1 field instead of 6"),
        (lambda text: text.replace("Night", "\udcff"), "damaged at byte 24"),
    ],
)
def test_broken_movies_data(tmp_path, vocabularies, edit, message):
    path = tmp_path / "movies_data.txt"
    features.write_movies_data(path, MOVIES, vocabularies)
    path.write_text(edit(path.read_text()), errors="surrogateescape")
    with pytest.raises(DataError, match=f"{message}; run: {ENCODE}$"):
        features.read_movies_data(path, vocabularies)


def test_every_flipped_bit_of_movies_data_is_noticed(tmp_path, vocabularies):
    path = tmp_path / "movies_data.txt"
    features.write_movies_data(path, MOVIES, vocabularies)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=ENCODE):
            features.read_movies_data(path, vocabularies)


def test_missing_movies_data_names_the_command(tmp_path, vocabularies):
    with pytest.raises(FileError, match=rf"No such file or directory; run: {ENCODE}$"):
        features.read_movies_data(tmp_path / "none.txt", vocabularies)


titles = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)


@given(st.dictionaries(st.integers(1, 2**31 - 1), titles.filter(lambda t: t.strip() and "::" not in t), min_size=1))
def test_movies_data_brings_back_any_title(tmp_path_factory, listed):
    movies = [
        Movie(movie_id, title, ("Drama",))
        for movie_id, title in listed.items()
        if not title.startswith(":") and not title.endswith(":")
    ]
    if not movies:
        return
    path = tmp_path_factory.getbasetemp() / "movies_data.txt"
    vocabularies = features.build_vocabularies(movies, listed)
    features.write_movies_data(path, movies, vocabularies)
    assert features.read_movies_data(path, vocabularies) == movies
