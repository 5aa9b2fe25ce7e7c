"""Tables, JSON and CSV from the rows of a list."""

import csv
import fcntl
import io
import json

import pandas as pd
import pytest
from commands import fail, succeed

from recommender.cli.output import format_csv, format_json, format_letterboxd, format_table

LONG = 'A "quoted", long name with many words in it, and no year at all'
COLUMNS = "top movie_id title year genres imdb_id tmdb_id score pick ratings why".split()
VALUES = [
    (0, 1258, "The Shining", 1980, "Horror", "tt0081505", 694, 4.1235, 1.5, 1234, "The Thing +0.21, female -0.00"),
    (1, 7, LONG, None, "War", None, None, 5.0, -0.1, 0, ""),
]
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in VALUES]


def frame_of(rows, by="both", user="anyone"):
    """Returns a list as `Recommender` does; missing values are pandas' own."""
    frame = pd.DataFrame(rows).convert_dtypes(convert_string=False)
    frame.attrs.update(by=by, user=user, movies=20)
    return frame


def table_lines(*args):
    """Returns the lines of a table below for whom it is."""
    text = format_table(frame_of(*args))
    assert text.startswith("rows in collection recommender_demo: 20\nrecommended for: ")
    assert text.endswith("\n")
    return [line for line in text.splitlines()[1:] if not line.startswith("recommended for: ")]


def test_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "85")
    assert table_lines(ROWS) == [
        "Top     Ids  Title                                           Score    Pick  Ratings",
        "  0    1258  The Shining (1980)                               4.12    1.50    1,234",
        "               The Thing +0.21, female -0.00",
        '  1       7  A "quoted", long name with many words in it,     5.00   -0.10        0',
        "             and no year at all",
    ]
    assert table_lines([]) == ["no movies"]
    similar = table_lines([row | {"similar": 0.834} for row in ROWS], "similar")
    assert similar[0].split()[3:] == ["Score", "Pick", "Similar", "Ratings"]
    assert similar[1].split()[-4:] == ["4.12", "1.50", "0.83", "1,234"]


@pytest.mark.parametrize("columns", ["0", "20", "1000", "x"])
def test_tables_on_odd_terminals(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = table_lines(ROWS)
    assert lines[1].split() == ["0", "1258", "The", "Shining", "(1980)", "4.12", "1.50", "1,234"]
    assert max(map(len, lines)) <= {"1000": 110}.get(columns, 80)


def several(names):
    """Returns rows of a list for several users."""
    shared = [{key: value for key, value in row.items() if key not in ("score", "pick", "why")} for row in ROWS]
    own = {"score": [4.0, 3.0], "pick": [0.5, 0.25], "why": ["A +0.10", "B +0.20"]}
    columns = {f"{name}: {column}": values for name in names for column, values in own.items()}
    return [row | {name: values[place] for name, values in columns.items()} for place, row in enumerate(shared)]


@pytest.mark.parametrize(("by", "kind", "first"), [("both", "Pick", "0.50"), ("stars", "Score", "4.00")])
def test_table_of_several_users(monkeypatch, by, kind, first):
    monkeypatch.setenv("COLUMNS", "90")
    users = {"user 42": "user 42: male", "me.csv": "anyone"}
    people, *_ = format_table(frame_of(several(list(users)), by, users)).partition("Top")
    assert people.splitlines()[1:] == [
        "recommended for: user 42: male",
        "recommended for: me.csv: anyone",
        f"{kind} of each:",
    ]
    lines = table_lines(several(list(users)), by, users)
    assert lines[1].split() == ["Top", "Ids", "Title", "user", "42", "me.csv", "Ratings"]
    assert lines[2].split() == ["0", "1258", "The", "Shining", "(1980)", first, first, "1,234"]
    assert lines[3:5] == [f"{' ' * 15}user 42: A +0.10", f"{' ' * 15}me.csv: A +0.10"]


def test_long_names_of_users_are_cut_where_they_stay_different(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    alike, different = ["holiday_ratings_anna.csv", "holiday_ratings_ben.csv"], ["anna_of_the_north.csv", "ben.csv"]
    for names, headings in ((alike, alike), (different, ["anna_of_the_", "ben.csv"])):
        lines = table_lines(several(names), "both", dict.fromkeys(names, "anyone"))
        assert lines[1].split()[3:-1] == headings


def test_json_and_csv_hold_the_same():
    frame = frame_of(ROWS)
    text = format_csv(frame)
    expected = [{name: "" if value is None else str(value) for name, value in row.items()} for row in ROWS]
    assert list(csv.DictReader(io.StringIO(text))) == expected
    assert json.loads(format_json(frame)) == ROWS
    assert format_json(frame).endswith("]\n")
    assert json.loads(format_json(frame_of([]))) == []


def test_csv_in_parts():
    frame = frame_of(ROWS)[["movie_id", "year"]]
    assert format_csv(frame[:1]) == "movie_id,year\n1258,1980\n"
    assert format_csv(frame[1:], header=False) == "7,\n"
    assert format_csv(frame[:0]) == "movie_id,year\n"


@pytest.mark.parametrize("title", ["=1+1", "@SUM(A1)", "+1", "-1", "\t=1"])
def test_titles_that_a_spreadsheet_would_run_get_a_quote(title):
    [row] = csv.DictReader(io.StringIO(format_csv(frame_of([{"title": title, "pick": -0.5}])), newline=""))
    assert row == {"title": f"'{title}", "pick": "-0.5"}


def test_letterboxd_list():
    assert format_letterboxd(frame_of(ROWS)).splitlines() == [
        "Title,Year,imdbID,tmdbID",
        "The Shining,1980,tt0081505,694",
        '"A ""quoted"", long name with many words in it, and no year at all",,,',
    ]
    without_links = [{key: value for key, value in ROWS[0].items() if not key.endswith("b_id")}]
    assert format_letterboxd(frame_of(without_links)) == "Title,Year\nThe Shining,1980\n"


def test_lists_of_many_users_whom_nothing_suits(small_workdir, tmp_path):
    many = ("--workdir", small_workdir.folder, "--users", "all", "--output", tmp_path / "all.csv")
    assert "200 users got fewer than 5 movies" in succeed("recommend", *many, "--year", 1800, cwd=tmp_path).stderr
    assert (tmp_path / "all.csv").read_text() == ""


def test_similar_films_need_a_film(small_workdir, tmp_path):
    """User 399 has no training ratings; without the error, they would count for nothing."""
    for person in (("--user", 399), ("--with", 399, "--with", 1)):
        query = ("--workdir", small_workdir.folder, "--by", "similar", *person)
        assert "by similar needs a film that" in fail("recommend", *query, cwd=tmp_path, code=2)


def test_failed_query_leaves_the_database_to_others(small_workdir, tmp_path):
    path = small_workdir.model / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "0" * 16}))
    assert "no movies of this model here" in fail("recommend", "--workdir", small_workdir.folder, cwd=tmp_path)
    with (small_workdir.database / "LOCK").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
