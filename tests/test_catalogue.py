import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import DataError, RecommenderError
from recommender.movielens.catalogue import Movie, format_movies, parse_movies, read_movies_data, write_movies_data
from recommender.movielens.encoding import build_vocabularies, encode_movies

MOVIES = [
    Movie(5, "Night of the Night (1990)", ("War", "Action"), "tt0000005", 7),
    Movie(9, "(1963)", ("War",)),
    Movie(2, "No Year", ("Drama",), "", 7),
]
CATALOGUE = "5::Night of the Night (1990)::War|Action::tt0000005::7\n9::(1963)::War\n2::No Year::Drama::::7\n"
LINES = (
    "5::3,5,6,3,(1990)::4,2::Night of the Night (1990)::War|Action::tt0000005::7::3\n"
    "9::2,()::4::(1963)::War::1\n"
    "2::4,7,()::3::No Year::Drama::::7::2\n"
    "# 3 movies, encoded for model abc\n"
)
VOCABULARIES = build_vocabularies(MOVIES, [5, 2])


@pytest.fixture
def path(tmp_path):
    """A file with `MOVIES`."""
    write_movies_data(tmp_path / "movies_data.txt", MOVIES, VOCABULARIES, "abc")
    return tmp_path / "movies_data.txt"


def test_catalogue_is_read_as_written():
    assert format_movies(MOVIES) == CATALOGUE
    assert parse_movies(CATALOGUE.encode(), "f") == MOVIES


def test_name_and_year():
    assert [(movie.name, movie.year) for movie in MOVIES] == [
        ("Night of the Night", 1990),
        ("(1963)", None),
        ("No Year", None),
    ]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf_8_and_latin_1_lines_in_one_file(mark, newline):
    lines = ["1::Amélie (2001)::Comedy".encode(), "2::Léon (1994)::Crime".encode("latin-1"), b""]
    movies = parse_movies(mark + newline.join(lines), "movies.dat")
    assert [movie.title for movie in movies] == ["Amélie (2001)", "Léon (1994)"]


GENRES_31 = "|".join(f"G{number}" for number in range(31))
MALFORMED = {
    "empty": ("", 1, "it has no end"),
    "cut": (CATALOGUE[:-1], 3, "it has no end; get the whole file"),
    "blank line": (CATALOGUE + "\n", 4, "''"),
    "single colons": ("1:A (1990):Drama\n", 1, "'1:A (1990):Drama'"),
    "one link": ("1::A (1990)::Drama::tt0000001\n", 1, "'1::A (1990)::Drama::tt0000001'"),
    "comma": (CATALOGUE + "1::A (1990)::Drama,War\n", 4, "the genres cannot be used"),
    "empty genre": ("1::A (1990)::Drama||War\n", 1, "the genres"),
    "long genre": (f"1::A (1990)::{'x' * 31}\n", 1, "the genres"),
    "many genres": (f"1::A (1990)::{GENRES_31}\n", 1, "the genres"),
    "no title": ("1:: ::Drama\n", 1, "the title cannot be used"),
    "long title": (f"1::{'x' * 1001}::War\n", 1, "the title"),
    "control character": ("1::A \x1b[2J (1990)::War\n", 1, "the title"),
    "id": ("one::A (1990)::War\n", 1, "an id is a whole number"),
    "huge id": ("2147483648::A (1990)::War\n", 1, "an id is a whole number"),
    "IMDb id": ("1::A (1990)::War::114709::\n", 1, "the IMDb id"),
    "TMDB id": ("1::A (1990)::War::::x\n", 1, "an id is a whole number"),
    "twice": (CATALOGUE + "9::A (1990)::War\n", 4, "the id is there twice"),
}


@pytest.mark.parametrize(("text", "line", "problem"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_line_is_named(text, line, problem):
    with pytest.raises(DataError) as caught:
        parse_movies(text.encode(), "mine.txt")
    message = str(caught.value)
    assert message.startswith(f"mine.txt, line {line}: ")
    assert problem in message
    assert message.endswith("; a line reads MovieID::Title::Genres[::IMDb id::TMDB id]") or "it has no end;" in message


def test_every_half_catalogue_is_refused():
    for length in set(range(len(CATALOGUE))) - {at + 1 for at, char in enumerate(CATALOGUE) if char == "\n"}:
        with pytest.raises(DataError):
            parse_movies(CATALOGUE[:length].encode(), "f")


def test_largest_permitted_movie():
    movie = Movie(2**31 - 1, "\u96ea" * 1000, tuple(f"{number:030}" for number in range(30)))
    assert parse_movies(format_movies([movie]).encode(), "f") == [movie]


def test_movies_data_keeps_the_fields_of_the_original(path):
    assert path.read_text("utf-8") == LINES
    for line in path.read_text("utf-8").splitlines()[:-1]:  # The original's reader.
        movie_id, title, genres = line.split("::")[:3]
        assert int(movie_id)
        assert [int(word) for word in title.split(",")[:-1]]
        assert [int(genre) for genre in genres.split(",")]


def test_movies_data_is_read_as_encoded(path):
    movies, features = read_movies_data(path, "abc")
    assert movies == MOVIES
    for array, encoded in zip(features, encode_movies(MOVIES, VOCABULARIES), strict=True):
        assert array.dtype == np.int64
        assert array.tolist() == encoded.tolist()


def test_indices_are_those_in_the_file(path):
    path.write_text(LINES.replace("9::2,()", "9::7,6,()").replace("Drama::::7::2", "Drama::::7::1"))
    _, features = read_movies_data(path, "abc")
    assert features.word_idx.tolist() == [[3, 5, 6, 3], [7, 6, 0, 0], [4, 7, 0, 0]]
    assert features.movie_idx.tolist() == [3, 1, 1]


def test_counts_what_is_out_of_vocabulary(path):
    assert write_movies_data(path, MOVIES, VOCABULARIES, "abc") == (0, 0)
    new = [Movie(1, "New Night of New Words (2000)", ("War", "Musical")), Movie(3, "No", ("Western", "Musical"))]
    assert write_movies_data(path, new, VOCABULARIES, "abc") == (3, 3)
    assert read_movies_data(path, "abc")[0] == new


FIX = "; run: python get_movies_data.py"


def test_file_of_another_model_and_missing_file_name_the_command(path):
    with pytest.raises(DataError, match=f"^{path}: incomplete, or encoded for another model{FIX}"):
        read_movies_data(path, "abcd")
    with pytest.raises(RecommenderError, match=f"No such file or directory{FIX}"):
        read_movies_data(path.with_name("none.txt"), "abc")


def test_every_shorter_file_is_refused(path):
    for length in range(len(LINES)):
        path.write_text(LINES[:length])
        with pytest.raises(DataError, match=FIX):
            read_movies_data(path, "abc")


@pytest.mark.parametrize(
    "change", [("::4,2::", "::4,x::"), ("5::3,5", "0::3,5"), ("(1963)::War::1", "War::1"), ("::War|", "::War||")]
)
def test_damaged_file_names_the_command(path, change):
    path.write_text(LINES.replace(*change))
    with pytest.raises(DataError, match=rf"movies_data\.txt: damaged{FIX}"):
        read_movies_data(path, "abc")


TITLES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    lambda title: title.strip() and "::" not in f":{title}:"
)


@given(st.dictionaries(st.integers(1, 2**31 - 1), TITLES, min_size=1))
def test_any_title_is_read_as_written(tmp_path_factory, titles_by_id):
    movies = [Movie(movie_id, title, ("Drama",)) for movie_id, title in titles_by_id.items()]
    path = tmp_path_factory.getbasetemp() / "movies_data.txt"
    write_movies_data(path, movies, build_vocabularies(movies, titles_by_id), "abc")
    assert read_movies_data(path, "abc")[0] == movies
    assert parse_movies(format_movies(movies).encode(), "f") == movies
