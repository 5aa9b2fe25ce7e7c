"""Files of ratings, from CSV text to the movies of a collection."""

import csv
import io
import math
import random
import re
from typing import NamedTuple

import numpy as np
import pytest
from conftest import SAMPLE, fail
from hypothesis import given
from hypothesis import strategies as st

from recommender.films.film_files import FilmFiles
from recommender.errors import DataError
from recommender.movielens.catalogue import parse_movies
from recommender.films.exports import NO_RATINGS, FilmReference, parse_ratings_csv, parse_user_ids
from recommender.milvus.build import Catalogue, build_collection
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.films.matching import match_films


def by_title(title, year=None):
    return FilmReference(None, title, year)


def by_id(movie_id):
    return FilmReference(movie_id, "", None)


def parse(text, **options):
    """Returns tuples of user, film and rating, None for a missing rating."""
    raw = text if isinstance(text, bytes) else text.encode()
    ratings = parse_ratings_csv(raw, "mine.csv", **options).ratings
    return [(user, film, None if math.isnan(rating) else rating) for user, film, rating in ratings]


def by_imdb(title, year, imdb_id):
    return FilmReference(None, title, year, imdb_id)


ALIEN = [("", by_title("Alien", 1979), 4.5)]
LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,Alien,1979,https://boxd.it/x,4.5\n"
WATCHED = "Date,Name,Year,Letterboxd URI\n2024-01-02,Alien,1979,https://boxd.it/x\n"
IMDB = (
    "Const,Your Rating,Date Rated,Title,URL,Year\ntt0078748,9,2024-01-02,Alien,https://x,1979\n"
    'tt0000001,4,x,"Crow, The",,\n'
)
FORMATS = {
    "Letterboxd": (LETTERBOXD, ALIEN),
    "Letterboxd with byte order mark": ("\ufeff" + LETTERBOXD, ALIEN),
    "Letterboxd, watched.csv": (WATCHED, [("", by_title("Alien", 1979), None)]),
    "Windows newlines": (LETTERBOXD.replace("\n", "\r\n"), ALIEN),
    "newlines of old Macs": (LETTERBOXD.replace("\n", "\r"), ALIEN),
    "semicolons": ("title;year;rating\nAlien;1979;4,5\n", ALIEN),
    "tabs": ("title\tyear\trating\nAlien\t1979\t4.5\n", ALIEN),
    "IMDb, out of ten": (
        IMDB,
        [("", by_imdb("Alien", 1979, "tt0078748"), 4.5), ("", by_imdb("Crow, The", None, "tt0000001"), 2.0)],
    ),
    "IMDb, all up to 5": (
        IMDB.replace(",9,", ",5,"),
        [("", by_imdb("Alien", 1979, "tt0078748"), 2.5), ("", by_imdb("Crow, The", None, "tt0000001"), 2.0)],
    ),
    "MovieLens": ("userId,movieId,rating,timestamp\n1,1214,4.5,978300760\n", [("1", by_id(1214), 4.5)]),
    "ids": ("movie_id,rating\n1214,5\n", [("", by_id(1214), 5.0)]),
    "largest id": ("movie_id,rating\n2147483647,5\n", [("", by_id(2147483647), 5.0)]),
    "ids before titles": ("title,rating,movie_id\nAliens,5,1214\n", [("", by_id(1214), 5.0)]),
    "ids where there are any": (
        "title,movie_id\nAliens,\nAlien,1214\n",
        [("", by_title("Aliens"), None), ("", by_id(1214), None)],
    ),
    "year in the title": ("title,rating\nAlien (1979),4.5\n", ALIEN),
    "year in both": ("title,year,rating\nAlien (1979),1979,4.5\n", ALIEN),
    "half a star": ("TITLE,RATING\nAlien,0.5\n", [("", by_title("Alien"), 0.5)]),
    "half a star of ten": (
        "title,rating\nAlien,0.5\nAliens,10\n",
        [("", by_title("Alien"), 0.5), ("", by_title("Aliens"), 5.0)],
    ),
    "blank lines": ("\n\ntitle,rating\n\nAlien,5\n ,\n   \n", [("", by_title("Alien"), 5.0)]),
    "empty cells at the end": (
        "title,rating\nAlien,5,,\nAliens,,\n",
        [("", by_title("Alien"), 5.0), ("", by_title("Aliens"), None)],
    ),
    "quoted newlines": ('review,title,rating\n"good\n\r\nfilm",Alien,5\n', [("", by_title("Alien"), 5.0)]),
    "newline in a title": ('title,rating\n" A\n  B",5\n', [("", by_title("A B"), 5.0)]),
    "ids in place of titles": ("title,rating\nid:5,5\n", [("", by_id(5), 5.0)]),
    "titles like ids": ("title,rating\nid:5a,5\n300,4\n", [("", by_title("id:5a"), 5.0), ("", by_title("300"), 4.0)]),
    "longest title": (f"title\n{'x' * 1000}\n", [("", by_title("x" * 1000), None)]),
    "control character elsewhere": ("title,review\nAlien,\x1b[31m\n", [("", by_title("Alien"), None)]),
    "not rated": ("Name,Rating\nAlien,\n", [("", by_title("Alien"), None)]),
}


@pytest.mark.parametrize(("text", "expected"), FORMATS.values(), ids=FORMATS)
def test_formats(text, expected):
    users = {user for user, *_ in expected}
    assert parse(text, many_users=users != {""}) == expected


def test_user_column_in_a_file_of_one_user():
    assert parse("userId,movieId,rating,timestamp\n1,1214,4,0\n1,1200,5,0\n") == [
        ("", by_id(1214), 4.0),
        ("", by_id(1200), 5.0),
    ]


NOTES = {
    "out of 5": ("title,rating\nAlien,5\n", []),
    "IMDb": (IMDB, ["'Your Rating' is out of 10: halved"]),
    "above 5": ("title,rating\nAlien,6\nAliens,1\n", ["ratings go above 5, so they are out of 10: halved"]),
    "no column of ratings": (WATCHED, [NO_RATINGS]),
    "a column without ratings": ("title,rating\nAlien,\nAliens,\n", [NO_RATINGS]),
    "IMDb's watchlist": ("Const,Title,Year,Your Rating\ntt0078748,Alien,1979,\n", [NO_RATINGS]),
}


@pytest.mark.parametrize(("text", "notes"), NOTES.values(), ids=NOTES)
def test_notes(text, notes):
    assert parse_ratings_csv(text.encode(), "mine.csv").notes == notes


def test_scale_is_that_of_each_user():
    text = "user,title,rating\nann,Alien,9\nbob,Alien,5\nann,Aliens,4\nbob,Aliens,0.5\neve,Alien,\n"
    parsed = parse_ratings_csv(text.encode(), "mine.csv", many_users=True)
    assert [(user, rating) for user, _, rating in parsed.ratings[:-1]] == [
        ("ann", 4.5),
        ("bob", 5),
        ("ann", 2),
        ("bob", 0.5),
    ]
    assert math.isnan(parsed.ratings[-1].rating)
    assert parsed.notes == ["ratings of 1 of 3 users go above 5, so they are out of 10: halved"]


BEHIND_NEWLINES = 'review,title,year,rating\n"a\nb\r\nc",Alien,1979,5\n\n{}\n'
"""The line in braces is the sixth."""
STEPS = "a rating is a number from 0.5 to {} in steps of a half, or the cell is empty"
ONE_TO_TITLE = "a title has 1 to 1000 characters"
QUOTES = "put a title that contains ',' into double quotes"
NO_HEADER = ": no CSV file of ratings; the first line names the columns, such as title,year,rating"
NAMED = "the first line names them"
RENAME = "delete or rename one"
SAVE = "save the file as UTF-8 (in Excel: CSV UTF-8)"
NUMBER = "a rating is a number, or the cell is empty"
ID = "it must be a whole number from 1 to 2147483647"
CLOSE = "close each double quote that is opened"
LARGE = f"no valid CSV: field larger than field limit (131072); {CLOSE}"
MALFORMED = {
    "empty": ("", NO_HEADER),
    "no header": ("Alien,5\n", NO_HEADER),
    "no line breaks": ("x" * 200_000, NO_HEADER),
    "long column name": (f"title,{'x' * 200_000}\nAlien,5\n", f", line 1: {LARGE}"),
    "no rows": ("title,rating\n\n", ": no films in it; write one per line, below the names of the columns"),
    "no film": ("rating\n5\n", f": no column title; {NAMED}: title,year,rating"),
    "no user": ("title,rating\nAlien,5\n", f": no column user; {NAMED}: user,title,year,rating"),
    "neither": ("rating\n5\n", f": no column title and no column user; {NAMED}: user,title,year,rating"),
    "several users": (
        "user,title\nann,Alien\nann,Aliens\nbob,Alien\n",
        ": ratings of several users; give them to --users FILE --output FILE",
    ),
    "UTF-16": ("title,rating\nAlien,5\n".encode("utf-16"), f", line 1: byte 0xff is not UTF-8; {SAVE}"),
    "Latin-1": ("title,rating\nAlien,5\nLéon,5\n".encode("latin-1"), f", line 3: byte 0xe9 is not UTF-8; {SAVE}"),
    "Latin-1 behind newlines": (
        BEHIND_NEWLINES.format("x,Léon,,5").encode("latin-1"),
        f", line 6: byte 0xe9 is not UTF-8; {SAVE}",
    ),
    "rating and rating": (
        "title,rating,rating\nAlien,5,4\n",
        f": columns 'rating' and 'rating' both mean rating; {RENAME}",
    ),
    "Title and title": ("Title,title\nAlien,5\n", f": columns 'Title' and 'title' both mean title; {RENAME}"),
    "title and name": ("title,rating,Name\nAlien,5,x\n", f": columns 'title' and 'Name' both mean title; {RENAME}"),
    "user and user_id": (
        "user,user_id,title\nann,1,Alien\n",
        f": columns 'user' and 'user_id' both mean user; {RENAME}",
    ),
    "rating and Your Rating": (
        "title,rating,Your Rating\nAlien,5,9\n",
        f": columns 'rating' and 'Your Rating' both mean rating; {RENAME}",
    ),
    "word for stars": ("title,rating\nAlien,5\nAliens,good\n", f", line 3: rating 'good'; {NUMBER}"),
    "not finite": ("title,rating\nAlien,nan\n", f", line 2: rating 'nan'; {NUMBER}"),
    "negative": ("title,rating\nAlien,-1\n", f", line 2: rating '-1'; {NUMBER}"),
    "too many stars": ("title,rating\nAlien,11\n", f", line 2: rating '11'; {STEPS.format(10)}"),
    "too many stars, IMDb": (IMDB.replace(",9,", ",10.5,"), f", line 2: rating '10.5'; {STEPS.format(10)}"),
    "no stars": ("title,rating\nAlien,5\nAliens,0\n", f", line 3: rating '0'; {STEPS.format(5)}"),
    "a quarter": ("title,rating\nAlien,4.25\n", f", line 2: rating '4.25'; {STEPS.format(5)}"),
    "rating behind newlines": (BEHIND_NEWLINES.format("x,Aliens,,0.4"), f", line 6: rating '0.4'; {STEPS.format(5)}"),
    "no title": ("title,rating\nAlien,5\n,4\n", f", line 3: no title; {ONE_TO_TITLE}"),
    "long title": (f"title,rating\nAlien,5\n{'x' * 1001},4\n", f", line 3: a title of 1001 characters; {ONE_TO_TITLE}"),
    "huge title": (f"title,rating\nAlien,5\n{'x' * 200_000},4\n", f", line 3: {LARGE}"),
    "huge title behind newlines": (BEHIND_NEWLINES.format(f"x,{'x' * 200_000},,5"), f", line 6: {LARGE}"),
    "negative id": ("movie_id,rating\n-3,5\n", f", line 2: movie id '-3'; {ID}"),
    "id of 0": ("movie_id,rating\n0,5\n", f", line 2: movie id '0'; {ID}"),
    "large id": ("movie_id,rating\n2147483648,5\n", f", line 2: movie id '2147483648'; {ID}"),
    "two digits of a year": (
        "title,year,rating\nAlien,79,5\n",
        ", line 2: year '79'; a year has four digits, or the cell is empty",
    ),
    "two years": (
        BEHIND_NEWLINES.format("x,Alien (1979),1980,5"),
        ", line 6: 'Alien (1979)' and year 1980; correct one of the two years",
    ),
    "unquoted comma": ("title,rating\nAlien,5\nMatrix, The,5\n", f", line 3: 3 fields instead of 2; {QUOTES}"),
    "unquoted comma behind newlines": (
        BEHIND_NEWLINES.format("x,Matrix, The,,5"),
        f", line 6: 5 fields instead of 4; {QUOTES}",
    ),
    "unquoted semicolon": (
        "title;rating\nWho; me?;5\n",
        ", line 2: 3 fields instead of 2; put a title that contains ';' into double quotes",
    ),
    "too few fields": (BEHIND_NEWLINES.format("x,Alien"), f", line 6: 2 fields instead of 4; {QUOTES}"),
    "one field": ("title,rating\nAlien,5\n\nAliens\n", f", line 4: 1 field instead of 2; {QUOTES}"),
    "unfinished quote": (
        'title,rating\nAlien,5\n"Aliens,4\nHeat,3\n',
        f", line 3: no valid CSV: unexpected end of data; {CLOSE}",
    ),
    "unfinished quote behind newlines": (
        BEHIND_NEWLINES.format('x,"Aliens,,4\nx,Heat,,3'),
        f", line 6: no valid CSV: unexpected end of data; {CLOSE}",
    ),
    "quote within a field": ('title,rating\n"Ali"en,5\n', f", line 2: no valid CSV: ',' expected after '\"'; {CLOSE}"),
    "escape sequence": (
        BEHIND_NEWLINES.format("x,\x1b[31mAlien,,5"),
        ", line 6: title with control character '\\x1b'; delete it",
    ),
    "NUL": ("title,rating\nAl\x00ien,5\n", ", line 2: title with control character '\\x00'; delete it"),
    "control character in a rating": (
        "title,rating\nAlien,5\x07\n",
        ", line 2: rating with control character '\\x07'; delete it",
    ),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_file(text, message):
    with pytest.raises(DataError) as caught:
        parse(text, many_users="column user" in message)
    assert str(caught.value) == f"mine.csv{message}"


NAMES = "a name has up to 1000 characters and begins with none of =+-@"


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("", "no user; write whose rating it is, or delete the line"),
        *((f"{start}SUM(A1)", f"user '{start}SUM(A1)'; {NAMES}") for start in "=+-@"),
        ("x" * 1001, f"user '{'x' * 40}'; {NAMES}"),
        ("\x1b[31m", "user with control character '\\x1b'; delete it"),
    ],
)
def test_malformed_user(user, problem):
    text = f'user,review,title\nann,"a\nb",Alien\n{user},,Alien\n'
    with pytest.raises(DataError) as caught:
        parse(text, many_users=True)
    assert str(caught.value) == f"mine.csv, line 4: {problem}"


def test_ratings_of_many_users():
    assert parse("user,movie_id,rating\nann,5,4\n7,6,3\n", many_users=True) == [
        ("ann", by_id(5), 4.0),
        ("7", by_id(6), 3.0),
    ]


def test_user_ids():
    assert parse_user_ids(b"3\r\n\n 1\n3\n", "users.txt") == [3, 1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"1\nx\n", "users.txt, line 2: 'x' is not a user id; write one id per line"),
        (b"1\n12345678901\n", "users.txt, line 2: '12345678901' is not a user id"),
        (b"", "users.txt: the file is empty"),
        (b"\n \n", "users.txt: no user ids in it; write one per line"),
        (b"\xff", "users.txt, line 1: '\xff' is not a user id"),
        ("\u0663".encode(), "users.txt, line 1: '\u0663' is not a user id"),
    ],
)
def test_malformed_user_ids(raw, message):
    with pytest.raises(DataError) as caught:
        parse_user_ids(raw, "users.txt")
    assert str(caught.value).startswith(message)


# Dialects: random files, written in random ways.

TITLES = (
    'Alien|Matrix, The|"Crocodile" Dundee|Who; me?|12 Monkeys|(500) Days of Summer|8½|Æon Flux|七人の侍|Ирония судьбы|'
    "M|1984|id:5a|=Alien|100% Wolf|Ça commence|\"|,|O'Brien\\n|A  B|Tab\tbed|Two\nlines|Two\r\nlines| Padded |😀"
).split("|")
EXTRA_CELLS = (
    *TITLES,
    "",
    "\x1b[31m",
    'a "quoted"\nline, and\r\nanother; line',
    "\n\n",
    "4.5",
    "2024-01-02",
    "x" * 5000,
)
USERS = ("ann", "Böb", "O'Neill, Eve", "7", '"Q"', "李")
SPELLINGS = {
    "user": ("user", "User", "userId", "USER_ID", "user id"),
    "movie_id": ("movieId", "movie_id", "Movie ID", "MOVIEID"),
    "title": ("title", "Title", " Name ", "NAME"),
    "year": ("year", "Year", "YEAR"),
    "rating": ("rating", "Rating", "RATING ", "Your Rating", "your_rating"),
    "imdb_id": ("Const", "imdbId", "imdb_id"),
    "tmdb_id": ("tmdbId",),
}
EXPORTS = (
    "userId movieId rating timestamp".split(),
    ["Date", "Name", "Year", "Letterboxd URI", "Rating"],
    ["Date", "Name", "Year", "Letterboxd URI"],
    "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Year,Genres,Num Votes".split(","),
)
MEANINGS = {re.sub(r"[\s_]", "", name).lower(): what for what, names in SPELLINGS.items() for name in names}


class RandomFile(NamedTuple):
    """A file of ratings and what it means."""

    raw: bytes
    many_users: bool
    ratings: list[tuple[str, FilmReference, float | None]]
    lines: list[int]
    """The number of the line on which each rating begins."""


def meaning_of(name):
    return MEANINGS.get(re.sub(r"[\s_]", "", name).lower())


def random_header(rng):
    """Returns the column names of an export, or some names in any order."""
    if rng.random() < 0.4:
        return list(rng.choice(EXPORTS))
    wanted = [rng.choice(["title", "movie_id"])]  # Ids of IMDb and TMDB may come along.
    wanted += [what for what in SPELLINGS if what not in wanted and rng.random() < 0.6]
    extra = rng.choices(["Review", "a,b", "c;d", "", "Tags", "rating count", "x\ty"], k=rng.randint(0, 3))
    header = [*(rng.choice(SPELLINGS[what]) for what in wanted), *extra]
    rng.shuffle(header)
    return header


def random_film(rng, meanings):
    """Returns the cells of a film by meaning, and the film."""
    if "movie_id" in meanings and ("title" not in meanings or rng.random() < 0.5):
        movie_id = rng.choice([1, 1214, 2**31 - 1])
        # What is beside an id does not count.
        others = {"title": rng.choice(TITLES), "year": rng.choice(["", "1999"])}
        return {"movie_id": str(movie_id), **others}, by_id(movie_id)
    title = rng.choice(TITLES)
    year = rng.choice([None, 1927, 2001])
    imdb_id = rng.choice(["", "tt0078748"]) if "imdb_id" in meanings else ""
    tmdb_id = rng.choice([0, 348]) if "tmdb_id" in meanings else 0
    in_title = year is not None and (rng.random() < 0.5 or "year" not in meanings)
    in_column = year is not None and "year" in meanings and (not in_title or rng.random() < 0.5)
    cells = {"title": f"{title} ({year})" if in_title else title, "year": str(year) if in_column else ""}
    links = {"imdb_id": imdb_id, "tmdb_id": str(tmdb_id or "")}
    return cells | links, by_title(" ".join(title.split()), year)._replace(imdb_id=imdb_id, tmdb_id=tmdb_id)


def random_rating(rng, scale, decimal):
    """Returns a cell and the stars that it means."""
    if rng.random() < 0.15:
        return "", None
    value = rng.choice([0.5, *(half / 2 for half in range(2, 2 * scale + 1))])
    cell = rng.choice(["{:g}", "{:.1f}", "{:.2f}"]).format(value).replace(".", decimal)
    return cell, max(0.5, value * 5 / scale)


def random_rows(rng, header, many_users):
    """Returns rows as cells, and the ratings that they mean."""
    meanings = [meaning_of(name) for name in header]
    ten_point_column = any(
        meaning == "rating" and "your" in name.lower() for name, meaning in zip(header, meanings, strict=True)
    )
    users = rng.sample(USERS, rng.randint(1, len(USERS)) if many_users else 1)
    scales = {user: 10 if ten_point_column else rng.choice([5, 10]) for user in users}
    decimal = rng.choice(".,")
    planned = rng.choices(users, k=rng.randint(1, 12))
    rated = []
    for user in planned:
        film_cells, film = random_film(rng, meanings)
        cell, stars = random_rating(rng, scales[user], decimal)
        rated.append((user, film_cells, film, cell, stars))
    for user in dict.fromkeys(planned):  # A rating above 5 shows that a scale goes to 10.
        film_cells, film = random_film(rng, meanings)
        rated.append((user, film_cells, film, str(scales[user]), 5.0))
    rng.shuffle(rated)
    rows, ratings = [], []
    for user, film_cells, film, cell, stars in rated:
        values = {"user": user, "rating": cell, **film_cells}
        rows.append([values.get(meaning, "") if meaning else rng.choice(EXTRA_CELLS) for meaning in meanings])
        ratings.append((user if many_users else "", film, stars if "rating" in meanings else None))
    return rows, ratings


def write_rows(rng, header, rows):
    """Returns CSV text in a random dialect, and the line on which each row begins."""
    delimiter = rng.choice(",;\t") if len(header) > 1 else ","
    newline = rng.choice(["\n", "\r\n"])
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=newline)
    lines = []

    def add_blank_lines(*kinds):
        if rng.random() < 0.2:
            file.write(rng.choice(kinds) + newline)

    add_blank_lines("")
    writer.writerow(header)
    for row in rows:
        add_blank_lines("", "  ", delimiter * (len(header) - 1))
        lines.append(1 + len(re.findall("\r\n|\r|\n", file.getvalue())))
        writer.writerow(row + [""] * rng.choice([0, 0, 0, 1, 3]))
    add_blank_lines("", "  ", f"{newline}{newline}")
    text = file.getvalue()
    return rng.choice([text, text.rstrip("\r\n")] if rows[-1][-1] else [text]), lines


def random_file(rng, spoil=None):
    """Returns a random file; `spoil` changes the cells of its rows by meaning, before they are written."""
    header = random_header(rng)
    many_users = "user" in map(meaning_of, header) and rng.random() < 0.7
    rows, ratings = random_rows(rng, header, many_users)
    if spoil:
        spoil(header, rows)
    text, lines = write_rows(rng, header, rows)
    raw = text.encode(rng.choice(["utf-8", "utf-8-sig"]))
    return RandomFile(raw, many_users, ratings, lines)


NUM_FILES = pytest.mark.parametrize("num_files", [60, pytest.param(500, marks=pytest.mark.server)])


@pytest.mark.fuzz
@NUM_FILES
def test_random_files_mean_what_was_written(num_files):
    for seed in range(num_files):
        file = random_file(random.Random(seed))
        assert parse(file.raw, many_users=file.many_users) == file.ratings, f"seed {seed}: {file.raw!r}"


@pytest.mark.fuzz
@NUM_FILES
def test_random_files_name_the_malformed_line(num_files):
    """One cell of a random row is malformed, behind line breaks in other cells."""
    spoilt = 0
    for seed in range(num_files):
        rng = random.Random(seed)
        wrong = {"rating": "good", "year": "79", "movie_id": "x", "title": "x\x1b[31m"}
        chosen = {}

        def spoil(header, rows, rng=rng, wrong=wrong, chosen=chosen):
            meanings = [meaning_of(name) for name in header]
            row = rng.randrange(len(rows))
            # A year counts only in a row without an id.
            has_id = "movie_id" in meanings and rows[row][meanings.index("movie_id")]
            possible = [what for what in wrong if what in meanings and not (what == "year" and has_id)]
            what = rng.choice(possible)
            rows[row][meanings.index(what)] = wrong[what]
            chosen.update(row=row, what=what)

        file = random_file(rng, spoil)
        with pytest.raises(DataError) as caught:
            parse(file.raw, many_users=file.many_users)
        what = chosen["what"].replace("_", " ")
        problem = "title with control character '\\x1b'" if what == "title" else f"{what} {wrong[chosen['what']]!r}"
        start = f"mine.csv, line {file.lines[chosen['row']]}: {problem}; "
        assert str(caught.value).startswith(start), f"seed {seed}: {file.raw!r}"
        spoilt += file.lines[chosen["row"]] > 2 + chosen["row"]
    assert spoilt > num_files / 4, "too few line breaks and blank lines before the malformed line"


# Ratings to movies of a collection.


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """The movies of the sample, each with as many ratings as the next."""
    movies = parse_movies((SAMPLE / "movies.dat").read_bytes(), "movies.dat")
    vectors = np.random.default_rng(0).normal(size=(len(movies), 4)).astype(np.float32)
    with MilvusConnection(str(tmp_path_factory.mktemp("ratings") / "movies.db"), create=True) as connection:
        build_collection(connection, Catalogue(movies, vectors, [9] * len(movies), "some model"))
        yield MovieCollection(connection, "some model", 4)


def test_films_are_matched(collection, tmp_path, capsys):
    (tmp_path / "many.csv").write_text(
        'user,title,year,rating\nann,the matrix,1999,5\nann,"Matrix, The",1999,2\nbob,Alien,1980,4\n'
        "bob,Arrival,2016,3\nann,star wars,,4\nann,star wars,1977,4\nann,Terminater,,4\nann,Terminater,1984,1\n"
    )
    ratings = FilmFiles(collection, None).load_new_users(tmp_path / "many.csv")
    assert ratings == {"ann": {2571: 2.0, 260: 4.0, 1240: 1.0}, "bob": {1214: 4.0}}
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/many.csv: 5 of 8 films matched",
        "  not in the catalogue: Arrival (2016), star wars, Terminater",
        "note: fewer than 10 films matched: ann, bob",
    ]


def test_films_are_matched_by_id(collection, tmp_path, capsys):
    (tmp_path / "ids.csv").write_text("movie_id,rating\n1214,4\n99999,8\n")
    assert FilmFiles(collection, None).load_ratings([tmp_path / "ids.csv"]) == {1214: 2.0}
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/ids.csv: 1 of 2 films matched",
        "  not in the catalogue: id:99999",
        "  ratings go above 5, so they are out of 10: halved",
        "note: only 1 film matched; fewer than 10 say little about this user's taste",
    ]


CELL = st.one_of(
    st.sampled_from(
        ["", "Alien", "the matrix", "id:1", "1214", "5", "0.5", "10", "nan", "1e400", "1979", '"', "inf", "\ufeff"]
    ),
    st.text(max_size=6),
)
HEADER = st.lists(
    st.sampled_from(["user", "movie_id", "Title", "Name", "Year", "rating", "Your Rating", "x", ""]), max_size=5
)


@st.composite
def csv_files(draw):
    """Bytes that are a CSV file, or nearly."""
    header = draw(HEADER)
    rows = draw(st.lists(st.lists(CELL, min_size=max(0, len(header) - 1), max_size=len(header) + 1), max_size=5))
    file = io.StringIO()
    csv.writer(file, delimiter=draw(st.sampled_from(",;\t"))).writerows([header, *rows])
    raw = file.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")
    cut = draw(st.integers(0, len(raw)))
    return raw[:cut] + draw(st.binary(max_size=2) | st.sampled_from([b"\r", b"\n", b'"'])) + raw[cut:]


@pytest.mark.fuzz
@given(csv_files(), st.booleans())
def test_any_file_is_parsed_or_refused(collection, raw, many_users):
    try:
        parsed = parse_ratings_csv(raw, "mine.csv", many_users=many_users)
    except DataError as error:
        assert str(error).startswith("mine.csv")
        return
    assert all(math.isnan(rating) or 1 <= rating <= 5 for _, _, rating in parsed.ratings)
    matches = match_films(collection, [row.film for row in parsed.ratings])
    assert set(matches.movie_ids.values()) <= {title.movie_id for title in collection.titles()}
    films = {row.film for row in parsed.ratings}
    assert films == matches.movie_ids.keys() | matches.ambiguous.keys() | matches.unmatched.keys()


def test_missing_file_is_named(trained):
    assert "none.csv: cannot read it: " in fail("infer_milvus.py", "--ratings", "none.csv", cwd=trained)
