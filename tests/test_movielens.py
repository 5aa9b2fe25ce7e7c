import contextlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st

from recommender.movielens import ratings_table
from recommender.movielens.lines import DataError, decode_lines
from recommender.movielens.catalogue import Movie, User
from recommender.movielens.releases import read_movielens
from recommender.errors import RecommenderError

USERS = b"1::M::25::12::00000\n2::F::56::0::00000-1\n"
MOVIES = b"1::Metropolis (1927)::Drama|Sci-Fi\n7::L\xe9on (1994)::Crime\n"
RATINGS = b"1::7::5::10\n2::1::3::0\n"


def write(folder: Path, users: bytes = USERS, movies: bytes = MOVIES, ratings: bytes = RATINGS) -> Path:
    for name, content in (("users.dat", users), ("movies.dat", movies), ("ratings.dat", ratings)):
        (folder / name).write_bytes(content)
    return folder


def test_reads_three_files(tmp_path):
    data = read_movielens(write(tmp_path))
    assert data.users == [User(1, "M", 25, 12), User(2, "F", 56, 0)]
    assert data.movies == [Movie(1, "Metropolis (1927)", ("Drama", "Sci-Fi")), Movie(7, "Léon (1994)", ("Crime",))]
    assert data.ratings.to_numpy().tolist() == [[1, 7, 5], [2, 1, 3]]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_newlines_read_the_same(tmp_path, encoding, newline):
    files = {"users": USERS, "movies": MOVIES, "ratings": RATINGS}
    encoded = {name: raw.decode("latin-1").replace("\n", newline).encode(encoding) for name, raw in files.items()}
    data = read_movielens(write(tmp_path, **encoded))
    assert [movie.title for movie in data.movies] == ["Metropolis (1927)", "Léon (1994)"]
    assert (len(data.users), len(data.ratings)) == (2, 2)


def test_file_of_mixed_encodings():
    lines = decode_lines("1::Amélie::Comedy\n".encode() + "2::Léon::Crime".encode("latin-1"), "movies.dat")
    assert lines == ["1::Amélie::Comedy", "2::Léon::Crime"]


MALFORMED = {
    "users: too few fields": ({"users": b"1::M::25::12\n"}, "users.dat, line 1: 4 fields instead of 5"),
    "users: gender": ({"users": b"1::X::25::12::0\n"}, "users.dat, line 1: unknown gender 'X'"),
    "users: age": ({"users": USERS + b"3::M::26::12::0\n"}, "users.dat, line 3: unknown age code '26'"),
    "users: occupation": ({"users": b"1::M::25::21::0\n"}, "users.dat, line 1: unknown occupation '21'"),
    "users: id": ({"users": b"0::M::25::1::0\n"}, "users.dat, line 1: user id '0'"),
    "users: twice": ({"users": USERS + USERS}, "users.dat, line 3: user id 1 is there twice, first on line 1"),
    "users: empty": ({"users": b""}, "users.dat: the file is empty"),
    "movies: single colons": ({"movies": b"1:A (1990):Drama\n"}, "movies.dat, line 1: 1 field instead of 3"),
    "movies: comma": ({"movies": b"1::A (1990)::Drama,War\n"}, "movies.dat, line 1: genres 'Drama,War'"),
    "movies: empty genre": ({"movies": b"1::A (1990)::Drama||War\n"}, "movies.dat, line 1: genres 'Drama||War'"),
    "movies: no title": ({"movies": b"1:: ::Drama\n"}, "movies.dat, line 1: an empty title"),
    "movies: long": ({"movies": b"1::" + b"x" * 1001 + b"::War\n"}, "movies.dat, line 1: a title of 1001 characters"),
    "movies: id": ({"movies": b"one::A (1990)::War\n"}, "movies.dat, line 1: movie id 'one'"),
    "movies: twice": ({"movies": MOVIES + MOVIES}, "movies.dat, line 3: movie id 1 is there twice"),
    "movies: byte": ({"movies": MOVIES + b"9::A \x81 (1990)::War\n"}, "movies.dat, line 3: control character"),
    "movies: blank line": ({"movies": b"\n" + MOVIES}, "movies.dat, line 1: a blank line; delete it"),
    "movies: lone CR": ({"movies": MOVIES.replace(b"\n", b"\r")}, "movies.dat, line 1: control character '\\r'"),
    "ratings: too few": ({"ratings": RATINGS + b"1::1::5\n"}, "ratings.dat, line 3: 3 fields instead of 4"),
    "ratings: too many": ({"ratings": b"1::1::5::0::0\n"}, "ratings.dat, line 1: 5 fields instead of 4"),
    "ratings: too many, then too few": (
        {"ratings": b"1::1::5::0::0\n1::7::5\n"},
        "ratings.dat, line 1: 5 fields instead of 4",
    ),
    "ratings: word": ({"ratings": RATINGS + b"1::1::good::0\n"}, "ratings.dat, line 3: Rating 'good'"),
    "ratings: half": ({"ratings": b"1::1::4.5::0\n"}, "ratings.dat, line 1: rating 4.5; a rating is"),
    "ratings: six": (
        {"ratings": RATINGS + b"1::1::6::0\n"},
        "ratings.dat, line 3: rating 6; a rating is one of 1, 2, 3, 4, 5",
    ),
    "ratings: unknown user": ({"ratings": b"3::1::5::0\n"}, "ratings.dat, line 1: unknown user 3; add the user"),
    "ratings: unknown movie": ({"ratings": b"1::3::5::0\n"}, "ratings.dat, line 1: unknown movie 3; add the movie"),
    "ratings: twice": ({"ratings": RATINGS + b"1::7::4::9\n"}, "ratings.dat, line 3: user 1 rates movie 7 again"),
    "ratings: huge": ({"ratings": b"1::1::5::99999999999999999999\n"}, "ratings.dat, line 1: Timestamp '9999"),
    "ratings: blank line": ({"ratings": b"1::1::5::0\n\n1::7::5::0\n"}, "ratings.dat, line 2: a blank line; delete it"),
    "ratings: lone CR": ({"ratings": RATINGS.replace(b"\n", b"\r")}, "ratings.dat, line 1: control character '\\r'"),
    "ratings: empty": ({"ratings": b"\n"}, "ratings.dat: the file is empty"),
}


@pytest.mark.parametrize("chunk_bytes", [1, ratings_table.CHUNK_BYTES])
@pytest.mark.parametrize(("files", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_line_is_named(tmp_path, monkeypatch, files, message, chunk_bytes):
    monkeypatch.setattr(ratings_table, "CHUNK_BYTES", chunk_bytes)
    with pytest.raises(DataError) as caught:
        read_movielens(write(tmp_path, **files))
    assert message in str(caught.value)
    assert ";" in str(caught.value), "the remedy is missing"


@given(st.binary(max_size=60), st.sampled_from(["users", "movies", "ratings"]))
def test_any_bytes_are_parsed_or_refused(tmp_path_factory, content, which):
    folder = write(tmp_path_factory.getbasetemp(), **{which: content})
    with contextlib.suppress(RecommenderError):
        read_movielens(folder)


def test_ratings_parsed_in_chunks_are_the_same(monkeypatch):
    whole = read_movielens(SAMPLE)
    monkeypatch.setattr(ratings_table, "CHUNK_BYTES", 10_000)
    in_chunks = read_movielens(SAMPLE)
    assert in_chunks.ratings.equals(whole.ratings)
    assert in_chunks.ratings.dtypes.tolist() == whole.ratings.dtypes.tolist() == [np.int32, np.int32, np.float32]


def test_missing_file_names_the_expected_files(tmp_path):
    write(tmp_path)
    (tmp_path / "ratings.dat").unlink()
    with pytest.raises(
        DataError, match=r"no MovieLens release here, which has ratings.csv and movies.csv, .*; --data-dir takes"
    ):
        read_movielens(tmp_path)
    with pytest.raises(DataError, match=r"nowhere: there is no such file or folder; --data-dir takes"):
        read_movielens(tmp_path / "nowhere")


def test_archive_reads_like_a_folder(tmp_path):
    folder = write(tmp_path)
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for name in ("users.dat", "movies.dat", "ratings.dat"):
            archive.write(folder / name, f"ml-1m/{name}")
            (folder / name).rename(folder / f"{name}.gone")
    for data_dir in (tmp_path, tmp_path / "ml-1m.zip"):
        data = read_movielens(data_dir)
        assert len(data.users) == len(data.movies) == len(data.ratings) == 2
    assert not (tmp_path / "ml-1m").exists()


def test_archive_is_read_and_never_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for name, content in (("users.dat", USERS), ("movies.dat", MOVIES), ("ratings.dat", RATINGS)):
            archive.writestr(f"../../{name}", content)
    assert len(read_movielens(tmp_path / "ml-1m.zip").ratings) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["ml-1m.zip"]


def test_damaged_archive_is_refused(tmp_path):
    (tmp_path / "ml-1m.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"ml-1m\.zip: damaged, cannot read its list of files: .*; get the file again"):
        read_movielens(tmp_path)


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.server)])
def test_archive_with_a_flipped_bit_reads_the_same_or_is_refused(tmp_path, step):
    """Flips bits one by one: of names, sizes, checksums and content."""
    archive = tmp_path / "ml-1m.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in (("users.dat", USERS), ("movies.dat", MOVIES), ("ratings.dat", RATINGS)):
            opened.writestr(name, content)
    whole, content = read_movielens(archive), archive.read_bytes()
    refused = 0
    bits = range(0, 8 * len(content), step)
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        archive.write_bytes(flipped)
        try:
            data = read_movielens(archive)
        except DataError:
            refused += 1
        else:
            assert data[:2] == whole[:2]
            assert data.ratings.equals(whole.ratings)
    assert refused > len(bits) / 2


def test_sample_is_as_its_readme_describes_it():
    data = read_movielens(SAMPLE)
    assert len(data.users) == 300
    assert 190 <= len(data.movies) <= 220
    assert 15_000 <= len(data.ratings) <= 20_000
    assert b"\xe9" in (SAMPLE / "movies.dat").read_bytes(), "a Latin-1 title is missing"
    titles = {movie.movie_id: movie.title for movie in data.movies}
    assert (titles[1], titles[783]) == ("Toy Story (1995)", "Hunchback of Notre Dame, The (1996)")
    assert ((data.ratings.user_id == 1) & (data.ratings.movie_id == 783)).any(), "the examples use this rating"


def test_sample_comes_from_its_generator(tmp_path):
    for name in ("generate.py", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    namespace = {"__file__": str(tmp_path / "generate.py"), "__name__": "generate"}
    exec((tmp_path / "generate.py").read_text(), namespace)
    namespace["main"]()
    for name in ("users.dat", "ratings.dat"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()


def test_notice_is_its_first_line(tmp_path):
    folder = write(tmp_path)
    assert read_movielens(folder).notice == ""
    (folder / "notice.txt").write_text("These ratings are invented.\nMore.\n")
    assert read_movielens(folder).notice == "These ratings are invented."


def test_movie_splits_its_title():
    movie = Movie(1, "Metropolis (1927)", ("Drama",))
    assert (movie.name, movie.year) == ("Metropolis", 1927)
    assert Movie(1, "Metropolis", ("Drama",)).year is None
