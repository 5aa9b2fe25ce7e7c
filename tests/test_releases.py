"""Every layout of a MovieLens release, on small files written from the releases' READMEs."""

import contextlib
import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.cli.train_command import EXAMPLES
from recommender.errors import DataError
from recommender.movielens.catalogue import Movie, format_movies, parse_movies
from recommender.movielens.releases import RELEASES, SAMPLE, User, ensure_downloaded, read_movielens

DRAMA, UNKNOWN = "0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0", "1" + "|0" * 18
ML_100K = {
    "u.user": "1|24|M|technician|85711\n2|13|F|student|T8H1N\n3|60|F|none|0\n4|18|M|student|0\n",
    "u.item": f"1|L\xe9on (1994)|01-Jan-1994||http://x|{DRAMA}\n267|unknown||||{UNKNOWN}\n",
    "u.data": "1\t267\t3\t881250949\n2\t1\t5\t881250949\n3\t1\t1\t0\n",
}
ML_1M = {
    "users.dat": "1::M::25::12::00000\n2::F::56::0::00000-1\n",
    "movies.dat": "1::Star Wars: Episode IV (1977)::Drama|Sci-Fi\n7::L\xe9on (1994)::Crime\n",
    "ratings.dat": "1::7::5::10\n2::1::3::0\n",
}
ML_10M = {
    "movies.dat": "1::Toy Story (1995)::Adventure|Animation\n2::Hyena Road::(no genres listed)\n",
    "ratings.dat": "1::2::3.5::838985046\n7::1::5::838983525\n",
    "tags.dat": "1::2::dull::1215184630\n",
}
HEADER = "userId,movieId,rating,timestamp\n"
ML_CSV = {
    "movies.csv": 'movieId,title,genres\r\n1,"Professional, The (Léon) (1994)",Crime|IMAX\r\n'
    "2,Death Note: Desu nôto (2006-2007),(no genres listed)\r\n3,Moonlight,Drama\r\n",
    "ratings.csv": "userId,movieId,rating,timestamp\r\n1,1,0.5,1\r\n1,2,4.0,1\r\n9,3,4.5,1\r\n",
    "links.csv": "movieId,imdbId,tmdbId\r\n1,0110413,101\r\n2,0877057,\r\n3,4975722,101\r\n",
}
LAYOUTS = {"100k": ML_100K, "1m": ML_1M, "10m": ML_10M, "csv": ML_CSV}


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8" if name.endswith("csv") else "latin-1"))
    return folder


def test_ml_100k(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_100K))
    assert data.users == [User(1, "M", 18, 17), User(2, "F", 1, 10), User(3, "F", 56, 19), User(4, "M", 18, 4)]
    assert data.movies == [Movie(1, "Léon (1994)", ("Drama",)), Movie(267, "unknown", ("unknown",))]
    assert data.ratings.to_numpy().tolist() == [[1, 267, 3], [2, 1, 5], [3, 1, 1]]
    assert (data.has_demographics, data.has_links) == (True, False)


def test_ages_of_ml_100k_at_the_borders_of_the_groups(tmp_path):
    ages = [7, 17, 18, 24, 25, 34, 35, 44, 45, 49, 50, 55, 56, 73]
    users = "".join(f"{row}|{age}|M|writer|0\n" for row, age in enumerate(ages, 1))
    data = read_movielens(write(tmp_path / "d", {**ML_100K, "u.user": users}))
    assert [user.age for user in data.users] == [1, 1, 18, 18, 25, 25, 35, 35, 45, 45, 50, 50, 56, 56]


def test_ml_1m(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_1M))
    assert data.users == [User(1, "M", 25, 12), User(2, "F", 56, 0)]
    assert [movie.title for movie in data.movies] == ["Star Wars: Episode IV (1977)", "Léon (1994)"]
    assert data.ratings.to_numpy().tolist() == [[1, 7, 5], [2, 1, 3]]
    assert data.ratings.dtypes.tolist() == [np.int32, np.int32, np.float32]


def test_ml_10m_has_half_stars_and_no_demographics(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_10M))
    assert data.users == [User(1), User(7)]
    assert data.ratings.to_numpy().tolist() == [[1, 2, 3.5], [7, 1, 5]]
    assert (data.has_demographics, data.has_links) == (False, False)


def test_csv_releases_keep_two_movies_with_the_same_tmdb_id(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_CSV))
    assert data.movies == [
        Movie(1, "Professional, The (Léon) (1994)", ("Crime", "IMAX"), "tt0110413", 101),
        Movie(2, "Death Note: Desu nôto (2006-2007)", ("(no genres listed)",), "tt0877057", 0),
        Movie(3, "Moonlight", ("Drama",), "tt4975722", 101),
    ]
    assert data.users == [User(1), User(9)]
    assert data.ratings.to_numpy().tolist() == [[1, 1, 0.5], [1, 2, 4], [9, 3, 4.5]]
    assert (data.has_demographics, data.has_links) == (False, True)
    assert parse_movies(format_movies(data.movies).encode(), "again") == data.movies


def test_sample_comes_from_its_generator(tmp_path):
    for name in ("generate.py", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True)
    for name in ("users.dat", "ratings.dat"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()
    assert read_movielens(SAMPLE).notice.startswith("The ratings of data/sample are invented")


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_zip_reads_like_its_folder_and_is_not_unpacked(tmp_path, files):
    whole = read_movielens(write(tmp_path / "d", files))
    inside = tmp_path / "ml-x"
    inside.mkdir()
    with zipfile.ZipFile(inside / "ml-x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            archive.write(tmp_path / "d" / name, f"../some-folder/{name}")
    for data_dir in (inside, inside / "ml-x.zip"):
        data = read_movielens(data_dir)
        assert (data.users, data.movies, data.has_links) == (whole.users, whole.movies, whole.has_links)
        assert data.ratings.equals(whole.ratings)
    assert sorted(tmp_path.rglob("*.*")) == sorted([inside / "ml-x.zip", *(tmp_path / "d" / name for name in files)])


WRONG_RATING = (
    "its user or movie is unknown, it has no 0.5, 1, ... or 5 stars, or the pair is there twice; a line reads"
)
MALFORMED = [
    ("1m", "users.dat", "1::M::25::12\n", ", line 1: '1::M::25::12'"),
    ("1m", "users.dat", "1::X::25::12::0\n", ", line 1: '1::X::25::12::0': unknown gender"),
    ("1m", "users.dat", "1::M::26::12::0\n", ", line 1: '1::M::26::12::0': unknown gender, age"),
    ("1m", "users.dat", "0::M::25::1::0\n", ", line 1: '0::M::25::1::0': an id is a whole number"),
    ("1m", "users.dat", ML_1M["users.dat"] * 2, ", line 3: '1::M::25::12::00000': the id is there twice"),
    ("100k", "u.user", "1|24|M|astronaut|0\n", ", line 1: '1|24|M|astronaut|0'"),
    ("100k", "u.item", "1|A (1990)|||" + "|0" * 18 + "\n", ", line 1: '1|A (1990)|||"),
    ("100k", "u.data", "1 1 3 0\n", ": cannot read the ratings: "),
    ("1m", "ratings.dat", "1::7::5::0\n1::1::good::0\n", f", line 2: {WRONG_RATING} userId::movieId::rating::time"),
    ("1m", "ratings.dat", "1::7::5::0\n1::1::6::0\n", f", line 2: {WRONG_RATING}"),
    ("1m", "ratings.dat", "1::7::5::0\n3::1::5::0\n", f", line 2: {WRONG_RATING}"),
    ("1m", "ratings.dat", "1::3::5::0\n", f", line 1: {WRONG_RATING}"),
    ("1m", "ratings.dat", "1::7::5::0\n1::1::5::0\n1::7::4::9\n", f", line 3: {WRONG_RATING}"),
    ("1m", "ratings.dat", "1::7::5::0\n1::1\n", f", line 2: {WRONG_RATING}"),
    ("1m", "ratings.dat", "", ": cannot read the ratings: "),
    ("10m", "ratings.dat", "1::1::3.3::0\n", f", line 1: {WRONG_RATING}"),
    ("csv", "ratings.csv", "user,movie,rating,timestamp\n", ": cannot read the ratings: "),
    ("csv", "ratings.csv", "1,1,4,0\n", ": cannot read the ratings: "),
    ("csv", "ratings.csv", HEADER + "1,1,4,0\n1,2,0,0\n", f", line 3: {WRONG_RATING} userId,movieId,rating,timestamp"),
    ("csv", "ratings.csv", HEADER + "1.5,1,4,0\n", f", line 2: {WRONG_RATING}"),
    ("csv", "ratings.csv", HEADER + "0,1,4,0\n", f", line 2: {WRONG_RATING}"),
    ("csv", "ratings.csv", HEADER + "99999999999999999999,1,4,0\n", f", line 2: {WRONG_RATING}"),
    ("csv", "movies.csv", "movieId,title,genres\n\n", ", line 2: ''"),
    ("csv", "movies.csv", "id,title,genres\n", ", line 1: 'id,title,genres': an id is"),
    ("csv", "movies.csv", "movieId,title,genres\n1,A, B (1990),Drama\n", ", line 2: '1,A, B"),
    ("csv", "movies.csv", 'movieId,title,genres\n1,"A,Drama\n', ", line 2: '1,\"A,Drama': unexpected end"),
    ("csv", "movies.csv", "movieId,title,genres\n1,A,War\n1,B,War\n", ", line 3: '1,B,War': the id is there twice"),
    ("csv", "links.csv", "movieId,imdbId,tmdbId\n1,5\n", "links.csv, line 2: '1,5'"),
    (
        "csv",
        "links.csv",
        "movieId,imdbId,tmdbId\n1,x,5\n",
        ", line 2: '1,\"Professional, The (L\u00e9on) (1994)\",Crime|IMAX': the IMDb",
    ),
]


@pytest.mark.parametrize(("layout", "name", "text", "message"), MALFORMED)
def test_malformed_line_is_named(tmp_path, layout, name, text, message):
    with pytest.raises(DataError) as caught:
        read_movielens(write(tmp_path, {**LAYOUTS[layout], name: text}))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "; a line reads " in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_malformed_line_of_a_large_file_is_named(tmp_path):
    """Beyond what pandas reads at once."""
    users = "".join(f"{user}::M::25::12::0\n" for user in range(1, 100_001))
    ratings = "".join(f"{user}::7::5::0\n" for user in range(1, 100_001))
    write(tmp_path, {**ML_1M, "users.dat": users, "ratings.dat": ratings})
    assert len(read_movielens(tmp_path).ratings) == 100_000
    write(tmp_path, {"ratings.dat": ratings.replace("99999::7", "x::7")})
    with pytest.raises(DataError, match="line 99999: "):
        read_movielens(tmp_path)


LINES = [b"1::1::5::978300760", b"1::7::3::0", b"2::1::1::1", b"2::7::4::5"]
FRAGMENTS = [b"", b":", b"::", b"\n", b"\r", b",", b".", b" ", b"0", b"9" * 30, b"-1", b"e1", b'"', b"\xff", b"nan"]


@st.composite
def damaged_ratings(draw):
    """Bytes: some lines with a few bytes replaced, deleted or inserted."""
    content = bytearray(b"\n".join([*draw(st.lists(st.sampled_from(LINES), max_size=5)), b""]))
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        content[start : start + length] = draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=3))
    return bytes(content)


@given(damaged_ratings())
def test_each_line_is_the_rating_that_it_states_or_is_refused(tmp_path_factory, content):
    folder = write(tmp_path_factory.getbasetemp() / "damaged", ML_1M)
    (folder / "ratings.dat").write_bytes(content)
    try:
        ratings = read_movielens(folder).ratings
    except DataError as error:
        assert str(error).startswith(f"{folder}/ratings.dat")  # noqa: PT017
    else:
        lines = [line.split(":") for line in re.split(r"[\r\n]", content.decode("latin-1")) if line]
        assert ratings.to_numpy().tolist() == [[float(text) for text in line[:5:2]] for line in lines]


@given(
    st.binary(max_size=60), st.sampled_from(["users.dat", "movies.dat", "movies.csv", "links.csv", "u.user", "u.item"])
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    layout = next(layout for layout in LAYOUTS if name in LAYOUTS[layout])
    folder = write(tmp_path_factory.getbasetemp() / f"any-{layout}", LAYOUTS[layout])
    (folder / name).write_bytes(content)
    with contextlib.suppress(DataError):
        read_movielens(folder)


def test_folder_without_a_release(tmp_path):
    write(tmp_path, {**ML_1M, "readme.zip": "not opened, as ratings.dat lies beside it"})
    (tmp_path / "movies.dat").unlink()
    with pytest.raises(
        DataError, match=r"no MovieLens release, which has ratings.csv and movies.csv; .*--data-dir takes"
    ):
        read_movielens(tmp_path)
    with pytest.raises(DataError, match=r"nowhere: cannot read it: .*No such file or directory.*; --data-dir takes"):
        read_movielens(tmp_path / "nowhere")


def test_zip_that_cannot_be_read(tmp_path):
    path = tmp_path / "ml-1m.zip"
    path.write_bytes(b"a login page")
    with pytest.raises(DataError, match="cannot read it: File is not a zip file; --data-dir takes"):
        read_movielens(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in ML_1M.items():
            archive.writestr(name, text.encode("latin-1"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"2::1::3::0", b"2::1::4::0"))
    with pytest.raises(DataError, match=r"cannot read it: Bad CRC-32 for file 'ratings\.dat'"):
        read_movielens(path)
    central = content.index(b"PK\x01\x02")
    path.write_bytes(content[: central + 8] + b"\x01" + content[central + 9 :])  # The flag of an encrypted file.
    with pytest.raises(DataError, match=r"cannot read it: .* is encrypted, password required"):
        read_movielens(path)


@pytest.fixture
def web_server(tmp_path):
    """A web server on loopback; yields its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class QuietHandler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()


def test_download(tmp_path, web_server):
    address, folder = web_server
    with zipfile.ZipFile(folder / "ml-latest-small.zip", "w") as archive:
        for name, text in ML_CSV.items():
            archive.writestr(f"ml-latest-small/{name}", text)
    data_dir = tmp_path / "data" / "ml-latest-small"
    ensure_downloaded(data_dir, address + "/{}.zip")
    ensure_downloaded(data_dir, f"{address}/missing.zip")  # It is there.
    assert [path.name for path in data_dir.iterdir()] == ["ml-latest-small.zip"]
    assert len(read_movielens(data_dir).movies) == 3


@pytest.mark.parametrize("content", [b"a login page", b"half a zip", None])
def test_failed_download_leaves_no_file_and_names_the_remedy(tmp_path, web_server, content):
    address, folder = web_server
    if content == b"half a zip":
        with zipfile.ZipFile(folder / "whole.zip", "w") as archive:
            archive.writestr("ml-1m/ratings.dat", ML_1M["ratings.dat"] * 1000)
        content = (folder / "whole.zip").read_bytes()[:-100]
    if content:
        (folder / "ml-1m.zip").write_bytes(content)
    with pytest.raises(DataError) as caught:
        ensure_downloaded(tmp_path / "data" / "ml-1m", address + "/{}.zip")
    for part in (f"cannot download ml-1m: {address}/ml-1m.zip does not", "another way and put it at", "data/sample"):
        assert part in str(caught.value)
    assert [path for path in tmp_path.rglob("data/**/*") if path.is_file()] == []


def test_releases_are_in_the_help_and_in_the_docs():
    docs = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    for name in RELEASES:
        assert f"{name} (" in EXAMPLES
        assert f"| {name} |" in docs


def test_only_a_missing_folder_called_like_a_release_is_downloaded(tmp_path):
    unreachable = "http://127.0.0.1:1/"
    for name in RELEASES:
        with pytest.raises(DataError, match=f"cannot download {name}: "):
            ensure_downloaded(tmp_path / "data" / name, unreachable)
    assert not (tmp_path / "data").exists()
    write(tmp_path / "ml-1m", ML_1M)
    for name in ("ml-1m", "my-films"):
        ensure_downloaded(tmp_path / name, unreachable)
