"""Ratings that visitors bring, from CSV files as services export them to films of the catalogue."""

import csv
import io

import numpy as np
import pytest
from conftest import SAMPLE, fail, succeed
from hypothesis import given
from hypothesis import strategies as st

from recommender.data.movielens import DataError, parse_movies
from recommender.data.ratings_csv import find_films, parse_user_ids, parse_visitor_ratings
from recommender.index.build import Catalogue, build_index
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus


def parsed(text, **options):
    table = parse_visitor_ratings(text.encode(), "mine.csv", **options)
    return [tuple(row) for row in table.itertuples(index=False)]


LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,Alien,1979,https://boxd.it/x,4.5\n"
IMDB = (
    'Const,Your Rating,Date Rated,Title,URL,Year\ntt0078748,9,2024-01-02,Alien,https://x,1979\ntt1,4,x,"Crow, The",,\n'
)
FORMATS = {
    "Letterboxd": (LETTERBOXD, [("", "Alien (1979)", 4.5)]),
    "Letterboxd with byte order mark": ("\ufeff" + LETTERBOXD, [("", "Alien (1979)", 4.5)]),
    "Windows line ends": (LETTERBOXD.replace("\n", "\r\n"), [("", "Alien (1979)", 4.5)]),
    "IMDb, out of ten": (IMDB, [("", "Alien (1979)", 4.5), ("", "Crow, The", 2.0)]),
    "ids": ("movie_id,rating\n1214,5\n", [("", 1214, 5.0)]),
    "ids before titles": ("title,rating,movie_id\nAliens,5,1214\n", [("", 1214, 5.0)]),
    "year in the title": ("title,rating\nAlien (1979),5\n", [("", "Alien (1979)", 5.0)]),
    "year in both": ("title,year,rating\nAlien (1979),1979,5\n", [("", "Alien (1979)", 5.0)]),
    "half a star": ("TITLE,RATING\nAlien,0.5\n", [("", "Alien", 1.0)]),
    "blank lines": ("title,rating\n\nAlien,5\n\n", [("", "Alien", 5.0)]),
    "quoted line end": ('review,title,rating\n"good\n\nfilm",Alien,5\n', [("", "Alien", 5.0)]),
    "looks like an id": ("title,rating\nid:5,5\n300,4\n", [("", "id:5", 5.0), ("", "300", 4.0)]),
}


@pytest.mark.parametrize(("text", "expected"), FORMATS.values(), ids=FORMATS)
def test_formats(text, expected):
    assert parsed(text) == expected


def test_films_that_were_seen_and_not_rated():
    [(_, film, rating)] = parsed("Name,Rating\nAlien,\n")
    assert film == "Alien"
    assert np.isnan(rating)


WRONG = {
    "nothing": ("", "must be a CSV file in UTF-8"),
    "no rows": ("title,rating\n", "mine.csv: no ratings in it"),
    "no film": ("rating\n5\n", "no column title"),
    "no columns": ("a,b\n1,2\n", "no column title and no column rating; the first line names them: title,rating"),
    "UTF-16": ("title,rating\nAlien,5\n".encode("utf-16"), "must be a CSV file in UTF-8"),
    "words for stars": ("title,rating\nAlien,5\nAliens,good\n", "mine.csv, line 3: rating 'good'; a rating is"),
    "too many stars": ("title,rating\nAlien,11\n", "line 2: rating '11'; a rating is a number from 1 to 10"),
    "no stars": ("title,rating\nAlien,0\n", "line 2: rating '0'; a rating is a number from 1 to 5"),
    "quarter": ("title,rating\nAlien,4.25\n", "line 2: rating '4.25'"),
    "not finite": ("title,rating\nAlien,nan\n", "line 2: rating 'nan'"),
    "no title": ("title,rating\nAlien,5\n,4\n", "line 3: title ''; name a film, or delete the line"),
    "line after a long cell": ('x,title,rating\n"a\nb",Alien,5\n"c\n",Aliens,x\n', "mine.csv, line 4: rating 'x'"),
    "bad id": ("movie_id,rating\n-3,5\n", "line 2: movie_id '-3'; an id is a whole number"),
    "large id": ("movie_id,rating\n12345678901,5\n", "line 2: movie_id"),
    "bad year": ("title,year,rating\nAlien,79,5\n", "line 2: year '79'; a year has four digits"),
    "a cell too many": ("title,rating\nMatrix, The,5\n", "must be a CSV file"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(text, message):
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(DataError) as caught:
        parse_visitor_ratings(raw, "mine.csv")
    assert message in str(caught.value)


def test_ratings_of_many():
    assert parsed("user,movie_id,rating\nann,5,4\n7,6,3\n", of_many=True) == [("ann", 5, 4.0), ("7", 6, 3.0)]
    with pytest.raises(DataError, match="no column user; the first line names them: user,title,rating"):
        parsed("title,rating\nAlien,5\n", of_many=True)
    with pytest.raises(DataError, match="line 2: user ''; say whose rating it is"):
        parsed("user,title,rating\n,Alien,5\n", of_many=True)


def test_ids_of_users():
    assert parse_user_ids(b"3\r\n\n 1\n3\n", "users.txt") == [3, 1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"1\nx\n", "users.txt, line 2: 'x' is not a user id"),
        (b"", "users.txt: the file is empty"),
        (b"\n \n", "users.txt: no user ids"),
        (b"\xff", "users.txt, line 1: '\xff' is not a user id"),
    ],
)
def test_broken_list_of_users(raw, message):
    with pytest.raises(DataError, match=message):
        parse_user_ids(raw, "users.txt")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The films of the sample, each as well known as the next."""
    movies = parse_movies((SAMPLE / "movies.dat").read_bytes(), "movies.dat")
    vectors = np.random.default_rng(0).normal(size=(len(movies), 4)).astype(np.float32)
    with Milvus(str(tmp_path_factory.mktemp("visitors") / "movies.db"), create=True) as milvus:
        build_index(milvus, Catalogue(movies, vectors, [9] * len(movies), "some model"))
        yield MovieIndex(milvus, "some model", 4)


def test_films_are_found(index):
    text = (
        'user,title,year,rating\nann,the matrix,1999,5\nann,"Matrix, The",1999,2\nbob,Alien,1980,4\n'
        "bob,Arrival,2016,3\nann,star wars,,4\nann,Terminater,,4\n"
    )
    films = find_films(index, parse_visitor_ratings(text.encode(), "many.csv", of_many=True))
    assert films.of_each() == {"ann": {2571: 2.0, 1240: 4.0}, "bob": {1214: 4.0}}
    assert films.unknown == ["Arrival (2016)", "star wars"], "a part of a title is no film that was rated"
    assert str(films).splitlines() == ["3 of 5 films found", "  not there: Arrival (2016), star wars"]


def test_films_by_id(index):
    films = find_films(index, parse_visitor_ratings(b"movie_id,rating\n1214,4\n99999,5\n", "mine.csv"))
    assert films.of_each() == {"": {1214: 4.0}}
    assert films.unknown == ["99999"]


CELL = st.one_of(
    st.sampled_from(
        ["", "Alien", "the matrix", "id:1", "1214", "5", "0.5", "10", "nan", "1e400", "1979", '"', "inf", "\ufeff"]
    ),
    st.text(max_size=6),
)
HEADER = st.lists(
    st.sampled_from(["user", "movie_id", "Title", "Name", "Year", "rating", "Rating", "x", ""]), max_size=5
)


@st.composite
def csv_files(draw):
    """Bytes that are a CSV file, or nearly."""
    header = draw(HEADER)
    rows = draw(st.lists(st.lists(CELL, min_size=max(0, len(header) - 1), max_size=len(header) + 1), max_size=5))
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    raw = file.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")
    cut = draw(st.integers(0, len(raw)))
    return raw[:cut] + draw(st.binary(max_size=2)) + raw[cut:]


@pytest.mark.fuzz
@given(csv_files(), st.booleans())
def test_any_file_is_read_or_refused(index, raw, of_many):
    try:
        table = parse_visitor_ratings(raw, "mine.csv", of_many)
    except DataError as error:
        assert str(error).startswith("mine.csv")
        return
    rated = table.rating.dropna()
    assert rated.between(1, 5).all()
    films = find_films(index, table)
    assert set(films.ratings.movie_id) <= {title.movie_id for title in index.titles()}


def test_a_whole_run(trained):
    ratings = ("infer_milvus.py", "--ratings", SAMPLE / "my_ratings.csv")
    done = succeed(*ratings, "--why", "-k", 4, cwd=trained)
    assert "13 of 14 films found\n  not there: Arrival (2016)\n" in done.stderr
    assert "Matrix" not in done.stdout.split("Top")[1].replace("Matrix, The +", ""), "rated, so not recommended"
    assert succeed(*ratings, "--why", "-k", 4, cwd=trained).stdout == done.stdout
    predicted = succeed(*ratings, "--movie", 2571, "-g", "F", cwd=trained).stdout
    milvus, paddle = (float(line.split("\t")[-1]) for line in predicted.splitlines()[-2:])
    assert milvus == pytest.approx(paddle, abs=2e-4)
    assert "cannot read it" in fail("infer_milvus.py", "--ratings", "none.csv", cwd=trained)


def test_many_visitors_get_what_each_gets_alone(trained, tmp_path):
    alone = succeed("infer_milvus.py", "--ratings", SAMPLE / "my_ratings.csv", "--format", "csv", cwd=trained).stdout
    lines = (SAMPLE / "my_ratings.csv").read_text().splitlines()
    many = [f"user,{lines[0]}", *(f"{user},{line}" for user in ("me", "you") for line in lines[1:])]
    (tmp_path / "many.csv").write_text("\n".join(many))
    done = succeed("infer_milvus.py", "--users", tmp_path / "many.csv", "--output", "-", cwd=trained)
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if not line.startswith("rows in")))
    expected = [(row["movie_id"], row["score"]) for row in csv.DictReader(alone.splitlines())]
    for user in ("me", "you"):
        assert [(row["movie_id"], row["score"]) for row in rows if row["user_id"] == user] == expected
