"""Tables, JSON and CSV: what is printed, where, and that nothing else is."""

import csv
import io
import json
import re
import shutil

import pytest
from conftest import SAMPLE, fail, run_script, succeed

from recommender.cli.output import (
    COLUMNS,
    LINK_COLUMNS,
    format_json,
    format_original_table,
    format_table,
    group_columns,
    output_columns,
    to_row,
    write_csv,
)
from recommender.movielens.catalogue import Movie
from recommender.reasons import Reason
from recommender.lists import Recommendation

NOTICE = (SAMPLE / "notice.txt").read_text("utf-8").strip()
MOVIES = [
    Recommendation(
        Movie(1258, "Shining, The (1980)", ("Horror",)),
        99,
        4.123456,
        1.5,
        [Reason("The Thing", 0.214), Reason("female", -0.001)],
    ),
    Recommendation(
        Movie(7, 'A "quoted", long name with many words in it, and no year at all', ("War",)), 0, 5, -0.1, []
    ),
]
ROWS = [to_row(rank, movie) for rank, movie in enumerate(MOVIES)]


def test_rows():
    values = (0, 1258, "Shining, The", 1980, "Horror", None, None, 99, 4.1235, 1.5, "The Thing +0.21, female -0.00")
    assert ROWS[0] == dict(zip(COLUMNS, values, strict=True))
    assert (ROWS[1]["year"], ROWS[1]["why"]) == (None, "")


@pytest.mark.parametrize(
    ("ranking", "explain", "left_out"),
    [
        ("stars", False, {"pick", "why"}),
        ("stars", True, {"pick"}),
        ("picks", False, {"why"}),
        ("both", False, {"why"}),
        ("both", True, set()),
    ],
)
def test_columns(ranking, explain, left_out):
    columns = output_columns(ranking, explain)
    assert columns == [name for name in COLUMNS if name not in left_out | LINK_COLUMNS]
    with_links = output_columns(ranking, explain, has_links=True)
    assert with_links == [name for name in COLUMNS if name not in left_out]


def test_original_table():
    """Four columns, separated by tabs, titles padded to one width, as the demo printed them."""
    width = len(ROWS[1]["title"])
    assert format_original_table(ROWS).splitlines() == [
        f"Top\tIds\t{'Title':<{width}}\tScore",
        f"0\t1258\t{'Shining, The':<{width}}\t4.1235",
        f"1\t7\t{ROWS[1]['title']}\t5.0000",
    ]
    assert format_original_table([]) == "Top\tIds\tTitle\tScore"


def test_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    indent = " " * 27
    assert format_table(output_columns("both", True), ROWS).splitlines() == [
        "Top      Id  Score   Pick  Title",
        "  0    1258   4.12   1.50  The Shining (1980)",
        f"{indent}The Thing +0.21, female -0.00",
        '  1       7   5.00  -0.10  A "quoted", long name with many words in it,',
        f"{indent}and no year at all",
    ]
    without_pick = format_table(output_columns("stars", False), ROWS).splitlines()
    assert without_pick[:2] == ["Top      Id  Score         Title", "  0    1258   4.12         The Shining (1980)"]
    assert format_table(output_columns("both", True), []) == "Top      Id  Score   Pick  Title"


@pytest.mark.parametrize("columns", ["0", "20", "1000", "x"])
def test_tables_on_odd_terminals(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = format_table(output_columns("both", True), ROWS).splitlines()
    assert lines[1] == "  0    1258   4.12   1.50  The Shining (1980)"
    assert max(map(len, lines)) <= max(60, 80 if columns in ("0", "x") else int(columns))


@pytest.mark.parametrize("num_users", [2, 12])
def test_titles_have_room_beside_the_picks_of_many_users(monkeypatch, num_users):
    monkeypatch.setenv("COLUMNS", "80")
    columns = group_columns([f"user {1000 + number}" for number in range(num_users)], "picks", False)
    rows = [row | dict.fromkeys(columns[-num_users:], 0.5) for row in ROWS]
    lines = format_table([name for name in columns if name != "why"], rows).splitlines()
    assert len(lines) <= 2 + 2 * len(ROWS)
    assert lines[1].split()[2 : 2 + 2 * num_users : 2] == ["user"] * num_users


def test_long_names_of_users_stay_different():
    alike, different = ["holiday_ratings_anna.csv", "holiday_ratings_ben.csv"], ["anna_of_the_north.csv", "ben.csv"]
    for names, headings in ((alike, " ".join(alike)), (different, "anna_of_the_ ben.csv")):
        columns = group_columns(names, "stars", False)
        rows = [row | dict.fromkeys(columns[-2:], 0.5) for row in ROWS]
        assert format_table(columns, rows).splitlines()[0].split() == ["Score", "of"]
        assert format_table(columns, rows).splitlines()[1].split()[2:-1] == headings.split()


def test_json_and_csv_hold_the_same():
    names = output_columns("both", True, has_links=True)
    file = io.StringIO()
    write_csv(file, names, ROWS)
    assert list(csv.DictReader(io.StringIO(file.getvalue()))) == [
        {name: "" if row[name] is None else str(row[name]) for name in names} for row in ROWS
    ]
    assert json.loads(format_json(names, ROWS)) == ROWS
    assert '"title": "A \\"quoted\\"' in format_json(names, ROWS)
    assert json.loads(format_json(names, [])) == []


QUERIES = {
    "anyone": (),
    "demographics": ("-a", 0, "-g", 1),
    "movies": ("--like", "alien", "--seen", "psycho (1960)"),
    "ratings": ("--ratings", SAMPLE / "my_ratings.csv"),
    "user": ("--user", 42),
    "fewer than asked for": ("--genre", "War", "-k", 300),
}
ALL_COLUMNS = [name for name in COLUMNS if name not in {"why", *LINK_COLUMNS}]


@pytest.mark.parametrize("options", QUERIES.values(), ids=QUERIES)
def test_machine_formats_have_nothing_else_on_standard_output(served, options):
    folder, environment = served
    query = ("infer_milvus.py", *options, "--by", "both")
    as_json = succeed(*query, "--format", "json", cwd=folder, **environment)
    as_csv = succeed(*query, "--format", "csv", cwd=folder, **environment)
    rows = json.loads(as_json.stdout)
    assert [list(row) for row in rows] == [ALL_COLUMNS] * len(rows)
    assert as_csv.stdout.splitlines()[0] == ",".join(ALL_COLUMNS)
    assert [{name: str(value) for name, value in row.items()} for row in rows] == list(
        csv.DictReader(as_csv.stdout.splitlines())
    )
    assert as_json.stderr == as_csv.stderr


@pytest.mark.parametrize("users", ["all", "ids.txt", "many.csv"])
def test_standard_output_as_the_output_of_many(served, tmp_path, users):
    """The CSV and nothing else; what is said goes to standard error."""
    folder, environment = served
    (tmp_path / "ids.txt").write_text("42\n7\n")
    (tmp_path / "many.csv").write_text("user,title,rating\nann,Alien,5\nann,No Such Film,5\nbob,Toy Story,4\n")
    users = users if users == "all" else tmp_path / users
    query = ("infer_milvus.py", "--users", users, "-k", 3, "--output")
    done = succeed(*query, "-", cwd=folder, **environment)
    header, *lines = done.stdout.splitlines()
    assert header == "user_id,top,movie_id,title,score,pick"
    assert all(len(row) == 6 and row[1] in "012" for row in csv.reader(lines))
    assert re.search(r"^recommendations for \d+ users, ordered by both, written to -$", done.stderr, re.MULTILINE)
    to_file = succeed(*query, tmp_path / "out.csv", cwd=folder, **environment)
    assert (tmp_path / "out.csv").read_text("utf-8") == done.stdout
    assert re.fullmatch(r"recommendations for \d+ users, ordered by both, written to .*out\.csv\n", to_file.stdout)


def test_encoded_catalogue_on_standard_output(trained):
    done = succeed("get_movies_data.py", "-f", "movies_origin.txt", "--output", "-", cwd=trained)
    assert done.stdout == (trained / "movies_data.txt").read_text("utf-8")
    assert done.stderr.splitlines() == ["Start.", "211 movies written to -", "Finish."]


def test_what_is_printed_around_a_table(served):
    """What a person reads goes to standard output, progress and notices to standard error."""
    folder, environment = served
    done = succeed("infer_milvus.py", "--like", "alien", "-k", 1, cwd=folder, **environment)
    assert done.stdout.splitlines()[:2] == [
        "rows in collection recommender_demo: 211",
        "recommended for: anyone, any age, any job; likes Alien (1979)",
    ]
    assert done.stdout.splitlines()[2].startswith("Top ")
    opened, notice = done.stderr.splitlines()
    assert opened in ("Milvus Lite opened.", "Server connected.")
    assert notice == NOTICE


@pytest.mark.parametrize(
    "options",
    [
        *QUERIES.values(),
        ("--like", "alien", "--format", "json"),
        ("--user", 1, "--movie", 783),
        ("--users", "all", "--output", "-"),
    ],
    ids=str,
)
def test_notice_of_the_sample_is_printed_with_each_answer(trained, options):
    """Once, where no file and no pipe gets it."""
    done = succeed("infer_milvus.py", *options, cwd=trained)
    assert done.stderr.splitlines().count(NOTICE) == 1
    assert NOTICE not in done.stdout


ESCAPES = ["\x1b[31mred", "bell\x07", "\x9b31m", "nul\x00", "\x1b]0;title\x07", "delete\x7f"]


@pytest.mark.parametrize("escape", ESCAPES, ids=ascii)
@pytest.mark.parametrize("place", ["title", "user"])
def test_escape_sequences_of_a_csv_do_not_reach_the_output(trained, tmp_path, escape, place):
    user, title = (escape, "Alien") if place == "user" else ("ann", escape)
    (tmp_path / "one.csv").write_text(f"title,rating\n{title},5\nAlien,4\n", "utf-8")
    (tmp_path / "many.csv").write_text(f"user,title,rating\n{user},{title},5\nann,Alien,4\n", "utf-8")
    queries = [("--users", tmp_path / "many.csv", "--output", "-")]
    queries += [("--ratings", tmp_path / "one.csv", "--unmatched", "-")] if place == "title" else []
    for query in queries:
        done = run_script("infer_milvus.py", *query, cwd=trained)
        printed = (done.stdout + done.stderr).replace("\n", "")
        assert done.returncode == 1
        assert re.search(r", line 2: (title|user) with control character '\\x..'; delete it$", done.stderr)
        assert printed.isprintable(), ascii(printed)


def test_escape_sequences_of_a_command_line_do_not_reach_the_output(trained):
    for option in ("--like", "--seen", "--movie", "--genre"):
        error = fail("infer_milvus.py", option, "\x1b[31mred\x9b\x00", cwd=trained)
        assert error.isprintable(), ascii(error)
    error = fail("infer_milvus.py", "-a", "\x1b[31mred", code=2, cwd=trained)
    assert error.isprintable(), ascii(error)


def test_escape_sequences_of_a_catalogue_do_not_reach_the_output(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    (folder / "own.txt").write_text("9001::Film \x1b[31mred (1990)::War\n", "utf-8")
    error = fail("get_movies_data.py", "-f", "own.txt", cwd=folder)
    assert error == "error: own.txt, line 1: control character '\\x1b'; delete it, or save the file as UTF-8"


def test_long_titles_are_not_printed_whole(trained, tmp_path):
    (tmp_path / "one.csv").write_text(f"title,rating\n{'x' * 200_000},5\n")
    title = "x" * 20_000
    for query in (("--ratings", tmp_path / "one.csv"), ("--like", title), ("--movie", title), ("--genre", title)):
        done = run_script("infer_milvus.py", *query, cwd=trained)
        assert done.returncode == 1
        assert len(done.stderr) < 1000


def test_names_that_a_spreadsheet_would_run_are_refused(trained, tmp_path):
    (tmp_path / "many.csv").write_text('user,title,rating\nann,Alien,4\n"=HYPERLINK(""x"")",Alien,5\n')
    error = fail("infer_milvus.py", "--users", tmp_path / "many.csv", "--output", "-", cwd=trained)
    assert "many.csv, line 3: user '=HYPERLINK" in error
