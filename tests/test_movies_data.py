import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.movielens.encoding import build_vocabularies
from recommender.errors import DataError
from recommender.movielens.catalogue import Movie
from recommender.movielens.movies_data import OovCounts, read_movies_data, write_movies_data
from recommender.files import FileError

MOVIES = [
    Movie(5, "Night of the Night (1990)", ("War", "Action")),
    Movie(9, "(1963)", ("War",)),
    Movie(2, "No Year", ("Drama",)),
]
LINES = (
    "5::3,5,6,3,(1990)::4,2::Night of the Night (1990)::War|Action\n"
    "9::2,()::4::(1963)::War\n"
    "2::4,7,()::3::No Year::Drama\n"
)
FIX = "; run: python get_movies_data.py -f movies_origin.txt"


def with_checksum(lines):
    """Returns lines with the checksum that `write_movies_data` appends."""
    return f"{lines}# crc32 {zlib.crc32(lines.encode()):08x}\n"


@pytest.fixture
def vocabularies():
    return build_vocabularies(MOVIES, [5, 2])


@pytest.fixture
def path(tmp_path, vocabularies):
    """A file with `MOVIES`."""
    path = tmp_path / "movies_data.txt"
    write_movies_data(path, MOVIES, vocabularies)
    return path


def test_keeps_the_fields_of_the_original(path, vocabularies):
    assert path.read_text("utf-8") == with_checksum(LINES)
    for line in path.read_text("utf-8").splitlines()[:-1]:  # The original's reader.
        movie_id, title, genres = line.split("::")[:3]
        assert [int(word) for word in title.split(",")[:-1]]
        assert int(movie_id)
        assert [int(genre) for genre in genres.split(",")]
    assert read_movies_data(path, vocabularies) == MOVIES


def test_counts_what_is_out_of_vocabulary(path, vocabularies):
    assert write_movies_data(path, MOVIES, vocabularies) == OovCounts(words=0, genres=0)
    others = [Movie(1, "New Night of New Words (2000)", ("War", "Musical")), Movie(3, "No", ("Western", "Musical"))]
    assert write_movies_data(path, others, vocabularies) == OovCounts(words=3, genres=3)
    assert read_movies_data(path, vocabularies) == others


def test_file_of_another_model_is_refused(path):
    other = build_vocabularies([*MOVIES, Movie(1, "Aaa", ("Drama",))], [5])
    with pytest.raises(DataError) as caught:
        read_movies_data(path, other)
    assert str(caught.value) == f"{path}, line 1: not encoded for this model{FIX}"


CHANGED = ": changed since it was written, or incomplete"
MALFORMED = {
    "empty": (b"", CHANGED),
    "without checksum": (LINES.encode(), CHANGED),
    "only a checksum": (with_checksum("").encode(), CHANGED),
    "twice": (with_checksum(LINES).encode() * 2, CHANGED),
    "a changed index": (with_checksum(LINES).replace("5::3,5", "5::3,6").encode(), CHANGED),
    "a changed checksum": (with_checksum(LINES).replace("# crc32", "# crc64").encode(), CHANGED),
    "a line at the end": (with_checksum(LINES).encode() + b"\n", CHANGED),
    "without the last newline": (with_checksum(LINES).encode()[:-1], CHANGED),
    "Windows newlines": (with_checksum(LINES).replace("\n", "\r\n").encode(), CHANGED),
    "a byte that is not UTF-8": (with_checksum(LINES).encode().replace(b"Night", b"\xff", 1), ": damaged at byte 24"),
    "too few fields": (with_checksum(LINES.replace("::3::No Year", "::3")).encode(), ", line 3: 4 fields instead of 5"),
    "too many fields": (with_checksum(LINES.replace("::4::", "::4::x::")).encode(), ", line 2: 6 fields instead of 5"),
    "a blank line": (with_checksum("\n" + LINES).encode(), ", line 1: 1 field instead of 5"),
    "another index": (with_checksum(LINES.replace("9::2,", "9::3,")).encode(), ", line 2: not encoded for this model"),
    "another year": (
        with_checksum(LINES.replace("(1990)::4", "(1991)::4")).encode(),
        ", line 1: not encoded for this model",
    ),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_file(path, vocabularies, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_movies_data(path, vocabularies)
    assert str(caught.value) == f"{path}{message}{FIX}"


def test_malformed_movie_is_named(path, vocabularies):
    path.write_text(with_checksum(LINES.replace("9::2,", "0::2,")))
    with pytest.raises(DataError, match=rf"^{path}, line 2: movie id '0'; "):
        read_movies_data(path, vocabularies)


def test_line_separators_of_other_kinds_are_part_of_a_title(path, vocabularies):
    movies = [Movie(1, "One\u2028Two\u2029Three (1990)", ("War",))]
    write_movies_data(path, movies, vocabularies)
    assert read_movies_data(path, vocabularies) == movies


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.server)])
def test_flipped_bits_are_noticed(path, vocabularies, step):
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), step):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match="run: python get_movies_data"):
            read_movies_data(path, vocabularies)


def test_every_shorter_file_is_refused(path, vocabularies):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="run: python get_movies_data"):
            read_movies_data(path, vocabularies)


def test_missing_file_names_the_command(tmp_path, vocabularies):
    with pytest.raises(FileError) as caught:
        read_movies_data(tmp_path / "none.txt", vocabularies)
    assert str(caught.value) == f"{tmp_path / 'none.txt'}: cannot read it: No such file or directory{FIX}"


titles = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    lambda title: title.strip() and "::" not in f":{title}:"
)


@given(st.dictionaries(st.integers(1, 2**31 - 1), titles, min_size=1))
def test_any_title_is_read_as_written(tmp_path_factory, titles_by_id):
    movies = [Movie(movie_id, title, ("Drama",)) for movie_id, title in titles_by_id.items()]
    path = tmp_path_factory.getbasetemp() / "movies_data.txt"
    vocabularies = build_vocabularies(movies, titles_by_id)
    write_movies_data(path, movies, vocabularies)
    assert read_movies_data(path, vocabularies) == movies
