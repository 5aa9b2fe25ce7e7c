"""Files of ratings and films on the command line: --ratings, --among, --users FILE, --unmatched."""

import csv
import json
import re

import pytest
from conftest import SAMPLE, fail, run_script, succeed

from recommender.films.film_files import ratings_by_user, shorten
from recommender.films.exports import CsvRating, FilmReference

MINE = SAMPLE / "my_ratings.csv"
NAN = float("nan")


def query(trained, *args):
    """Returns the rows of a query in JSON, and what was printed on standard error."""
    done = succeed("infer_milvus.py", *args, "--format", "json", cwd=trained)
    return json.loads(done.stdout), done.stderr


def test_a_letterboxd_file(trained):
    args = ("infer_milvus.py", "--ratings", MINE, "--why", "-k", 4)
    done = succeed(*args, cwd=trained)
    assert f"{MINE}: 13 of 14 films matched\n  not in the catalogue: Arrival (2016)\n" in done.stderr
    assert "note: " not in done.stderr
    titles = [line for line in done.stdout.splitlines() if re.match(r" +\d", line)]
    assert len(titles) == 4
    assert "Matrix" not in "".join(titles), "rated, so not recommended"
    assert succeed(*args, cwd=trained).stdout == done.stdout
    predicted = succeed("infer_milvus.py", "--ratings", MINE, "--movie", 2571, "-g", "F", cwd=trained).stdout
    milvus, paddle = (float(line.split("\t")[-1]) for line in predicted.splitlines()[-2:])
    assert milvus == pytest.approx(paddle, abs=2e-4)


def test_many_new_users_get_what_each_gets_alone(trained, tmp_path):
    alone = succeed("infer_milvus.py", "--ratings", MINE, "--format", "csv", cwd=trained).stdout
    lines = MINE.read_text().splitlines()
    many = [f"user,{lines[0]}", *(f"{user},{line}" for user in ("me", "you") for line in lines[1:])]
    (tmp_path / "many.csv").write_text("\n".join(many))
    done = succeed("infer_milvus.py", "--users", tmp_path / "many.csv", "--output", "-", cwd=trained)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    expected = [(row["movie_id"], row["score"]) for row in csv.DictReader(alone.splitlines())]
    for user in ("me", "you"):
        assert [(row["movie_id"], row["score"]) for row in rows if row["user_id"] == user] == expected


def test_several_files_are_merged(trained, tmp_path):
    """As if all lines were in one file; the last rating of a film counts."""
    first, second, both = (tmp_path / name for name in ("first.csv", "second.csv", "both.csv"))
    first.write_text("title,rating\nAlien,5\nAliens,5\nToy Story,1\n")
    second.write_text("title,rating\nToy Story,5\nThe Matrix,4\n")
    both.write_text("title,rating\nAlien,5\nAliens,5\nThe Matrix,4\nToy Story,5\n")
    merged, printed = query(trained, "--ratings", first, "--ratings", second)
    assert f"{first}, {second}: 4 of 4 films matched\n" in printed
    expected, _ = query(trained, "--ratings", both)
    assert merged == expected
    other_way, _ = query(trained, "--ratings", second, "--ratings", first)
    assert other_way != expected, "the last word on Toy Story is another one"


def test_film_without_stars_does_not_erase_stars(trained, tmp_path):
    """Letterboxd's watched.csv lists all films again, without stars; a file of stars may come after it."""
    ratings, watched, seen = (tmp_path / name for name in ("ratings.csv", "watched.csv", "other.csv"))
    ratings.write_text("Name,Year,Rating\nAlien,1979,5\nToy Story,1995,1\n")
    watched.write_text("Date,Name,Year,Letterboxd URI\n2024-01-01,Alien,1979,x\n2024-01-01,Toy Story,1995,x\n")
    expected, _ = query(trained, "--ratings", ratings)
    for files in ((ratings, watched), (watched, ratings), (ratings, watched, watched)):
        options = [option for file in files for option in ("--ratings", file)]
        assert query(trained, *options)[0] == expected
    seen.write_text(watched.read_text())
    only_seen, printed = query(trained, "--ratings", seen)
    assert "  no ratings in it: its films count as seen, without stars;" in printed
    assert only_seen != expected


def test_last_rating_counts():
    alien, aliens = FilmReference(None, "Alien", 1979), FilmReference(None, "Aliens", None)
    the_alien = FilmReference(None, "alien", None)
    movie_ids = {alien: 1, the_alien: 1, aliens: 2}
    rows = [
        ("ann", alien, 5.0),
        ("ann", the_alien, 2.0),
        ("ann", alien, NAN),
        ("bob", aliens, NAN),
        ("bob", aliens, 3.0),
    ]
    rows.append(("cem", FilmReference(None, "Arrival", None), 3.0))
    assert ratings_by_user([CsvRating(*row) for row in rows], movie_ids) == {"ann": {1: 2.0}, "bob": {2: 3.0}}


def test_unmatched_films_are_written_whole(trained, tmp_path):
    missing = [f"No Such Film {number}" for number in range(20)]
    lines = ["title,year,rating", "Alien,1979,5", *(f"{film},,4" for film in missing)]
    lines += ["Terminater,,4", "Star Trek IV,1986,3", '"Comma, ""quote"" (1999)",,3', "id:5,,3", "Psycho,,4"]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    args = ("--ratings", tmp_path / "mine.csv")
    _, printed = query(trained, *args)
    shown = ", ".join(missing[:5])
    assert re.search(rf"  not in the catalogue: {shown} and 1[56789] more\n", printed)
    assert "  for all of them, with similar titles: --unmatched FILE\n" in printed
    _, printed = query(trained, *args, "--unmatched", tmp_path / "unmatched.csv")
    assert "--unmatched" not in printed
    rows = list(csv.DictReader((tmp_path / "unmatched.csv").read_text("utf-8").splitlines()))
    films = {row["film"]: row for row in rows}
    assert films.keys() >= {*missing, "Terminater", 'Comma, "quote" (1999)', "id:5"}
    assert films["Terminater"]["problem"] == "not in the catalogue", "a typo without a year is no match"
    assert "The Terminator (1984)" in films["Terminater"]["similar"].split("; ")
    num_matched = int(re.search(r"csv: (\d+) of", printed)[1])
    assert len(rows) == len(lines) - 1 - num_matched


def test_unmatched_films_of_several_files_are_in_one(trained, tmp_path):
    """Each once; also where a file is an error, of which no film matched."""
    seen = ["Alien", "No Such Film"]
    for name, films in (("mine", seen), ("yours", seen), ("wanted", ["Toy Story", "Nor This"]), ("none", ["Nix"])):
        (tmp_path / f"{name}.csv").write_text("title,rating\n" + "".join(f"{film},4\n" for film in films))
    rest = ("--unmatched", tmp_path / "rest.csv")
    files = {name: tmp_path / f"{name}.csv" for name in ("mine", "yours", "wanted", "none")}
    query(trained, "--ratings", files["mine"], "--among", files["wanted"], "--with", files["yours"], *rest)
    rows = list(csv.DictReader((tmp_path / "rest.csv").read_text("utf-8").splitlines()))
    assert sorted(row["film"] for row in rows) == ["No Such Film", "Nor This"]
    fail("infer_milvus.py", "--ratings", files["none"], *rest, cwd=trained)
    assert [row["film"] for row in csv.DictReader((tmp_path / "rest.csv").open())] == ["Nix"]


def build_with(movie, trained, folder):
    """Builds a collection with one more movie in a folder; returns the options that name its model."""
    catalogue = (trained / "movies_origin.txt").read_text("utf-8") + f"{movie}\n"
    (folder / "own.txt").write_text(catalogue, "utf-8")
    model = ("--model", trained / "recommender_system.inference.model")
    succeed("get_movies_data.py", "-f", "own.txt", *model, cwd=folder)
    succeed("infer_milvus.py", "-i", *model, cwd=folder)
    return model


def test_ambiguous_films_are_named(trained, tmp_path):
    """Two films of one name in the catalogue: a year decides."""
    model = build_with("9001::Alien (1999)::Drama", trained, tmp_path)
    (tmp_path / "mine.csv").write_text("title,rating\nAlien,5\nAlien (1979),5\nToy Story,3\n")
    done = succeed("infer_milvus.py", "--ratings", "mine.csv", "--unmatched", "rest.csv", *model, cwd=tmp_path)
    assert "mine.csv: 2 of 3 films matched\n  several movies match, add a year: Alien\n" in done.stderr
    [row] = csv.DictReader((tmp_path / "rest.csv").read_text("utf-8").splitlines())
    assert (row["film"], row["problem"]) == ("Alien", "several movies match, add a year")
    assert set(row["similar"].split("; ")) == {"Alien (1979)", "Alien (1999)"}


def test_films_of_one_name_and_year(trained, tmp_path):
    """A year does not decide; the ids are offered, and each kind of file takes them."""
    model = build_with("9001::Alien (1979)::Drama", trained, tmp_path)
    (tmp_path / "mine.csv").write_text("title,year\nAlien,1979\n")
    args = ("infer_milvus.py", "--among", "mine.csv", *model)
    done = run_script(*args, "--unmatched", "rest.csv", cwd=tmp_path)
    assert "  several movies match, write an id in place of the title: Alien (1979)\n" in done.stderr
    assert done.stderr.endswith("error: mine.csv: none of its films matches one alone of the 212 of the collection\n")
    [row] = csv.DictReader((tmp_path / "rest.csv").read_text("utf-8").splitlines())
    assert set(row["similar"].split("; ")) == {"id:1214 Alien (1979)", "id:9001 Alien (1979)"}
    for text in ("movieId,title,year\n9001,Alien,1979\n", "title,year\nid:9001,\n", "id:9001\n"):
        (tmp_path / "mine.csv").write_text(text)
        [found], _ = query(tmp_path, "--among", "mine.csv", "--min-ratings", 0, *model)
        assert found["movie_id"] == 9001


def test_several_lists_of_films(trained, tmp_path):
    """A list as Letterboxd exports it, and one as a person types it."""
    head = 'Letterboxd list export v7\nDate,Name,Tags,URL,Description\n2024-01-01,Best,,https://boxd.it/x,"1\n\n2"\n\n'
    table = "Position,Name,Year,URL,Description\n1,Alien,1979,https://boxd.it/a,\n2,No Such Film,2001,x,\n"
    (tmp_path / "best.csv").write_text((head + table).replace("\n", "\r\n"), newline="")
    (tmp_path / "typed.txt").write_text("Toy Story 1995\nthe matrix\nAlien 1950\n")
    lists = ("--among", tmp_path / "best.csv", "--among", tmp_path / "typed.txt")
    rows, printed = query(trained, *lists, "--by", "picks")
    assert {row["movie_id"] for row in rows} == {1214, 1, 2571}
    assert f"{tmp_path / 'best.csv'}, {tmp_path / 'typed.txt'}: 3 of 5 films matched\n" in printed
    assert "  not in the catalogue: No Such Film (2001), Alien 1950\n" in printed
    (tmp_path / "best.csv").write_text(head + table + "3,Aliens,86,x,\n")
    assert "best.csv, line 10: year '86'" in fail("infer_milvus.py", *lists, cwd=trained)


def test_files_that_are_not_there_or_empty(trained, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "many.csv").write_text("\n\nuser,title,rating\nann,Alien,5\n", "utf-8-sig")
    many = ("--output", "-", "--users")
    for args, message in (
        (("-g", 1, "--with", "none.csv"), "none.csv: cannot read it: No such file or directory; a CSV file of ratings"),
        ((*many, tmp_path / "none.csv"), "No such file or directory; a file of user ids, one per line, or a CSV"),
        ((*many, tmp_path / "empty.txt"), "empty.txt: no users in it; write user ids, one per line, or a CSV file of"),
    ):
        assert message in fail("infer_milvus.py", *args, cwd=trained)
    done = succeed("infer_milvus.py", *many, tmp_path / "many.csv", "-k", 1, cwd=trained)
    assert done.stdout.splitlines()[1].startswith("ann,0,")


def test_notes_name_the_file_if_there_are_several(trained, tmp_path):
    (tmp_path / "seen.csv").write_text("title\nAlien\n")
    _, printed = query(trained, "--ratings", tmp_path / "seen.csv", "--ratings", MINE)
    assert f"  {tmp_path / 'seen.csv'}: no ratings in it: its films count as seen" in printed


def test_unmatched_films_of_many(trained, tmp_path):
    (tmp_path / "many.csv").write_text("user,title,rating\nann,Alien,5\nann,No Such Film,5\nbob,No Such Film,4\n")
    args = ("infer_milvus.py", "--users", tmp_path / "many.csv", "--output", "-", "--unmatched", tmp_path / "rest.csv")
    succeed(*args, cwd=trained)
    assert (tmp_path / "rest.csv").read_text() == "film,problem,similar\nNo Such Film,not in the catalogue,\n"


def test_no_film_matched_is_an_error(trained, tmp_path):
    (tmp_path / "mine.csv").write_text("title,rating\nNo Such Film,5\nNor This One,4\n")
    args = ("infer_milvus.py", "--ratings", tmp_path / "mine.csv")
    error = fail(*args, cwd=trained)
    assert error == f"error: {tmp_path / 'mine.csv'}: none of its films is among the 211 of the collection"
    done = run_script(*args, cwd=trained)
    assert done.stdout == ""
    assert "  not in the catalogue: No Such Film, Nor This One\n" in done.stderr


@pytest.mark.parametrize("count", [1, 9, 10])
def test_few_films_are_noted(trained, tmp_path, count):
    lines = MINE.read_text().splitlines()[: 1 + count]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    _, printed = query(trained, "--ratings", tmp_path / "mine.csv")
    films = "1 film" if count == 1 else f"{count} films"
    note = f"note: only {films} matched; "
    assert (note in printed) == (count < 10)


def test_few_films_of_many_are_noted_by_name(trained, tmp_path):
    """None at all: their list is the one for anyone. Nobody is left out."""
    lines = MINE.read_text().splitlines()[1:14]
    rows = ["user,title,year,rating", *(f"ann,{line}" for line in lines), "bob,Alien,,5", "cem,No Such Film,,5"]
    rows += [f"user {number},No Such Film,,3" for number in range(7)]
    (tmp_path / "many.csv").write_text("\n".join(rows))
    args = ("infer_milvus.py", "--users", tmp_path / "many.csv", "-k", 3, "--output", "-")
    done = succeed(*args, cwd=trained)
    shown = "cem, user 0, user 1, user 2, user 3 and 3 more"
    assert f"note: no film matched, so recommendations are for anyone: {shown}\n" in done.stderr
    assert "note: fewer than 10 films matched: bob\n" in done.stderr
    by_user = {}
    for row in csv.DictReader(done.stdout.splitlines()):
        by_user.setdefault(row["user_id"], []).append((row["movie_id"], row["score"]))
    assert list(by_user) == ["ann", "bob", "cem", *(f"user {number}" for number in range(7))]
    anyone, _ = query(trained, "--by", "both", "-k", 3)
    assert by_user["cem"] == [(str(row["movie_id"]), str(row["score"])) for row in anyone]
    assert by_user["bob"] != by_user["cem"] != by_user["ann"]


def test_wrong_files_are_refused(trained, tmp_path):
    for name, text, message in (
        ("watchlist.csv", "Name,Year\nAlien,1979\n", "a watchlist is of films not yet seen"),
        ("many.csv", "user,title,rating\nann,Alien,5\nbob,Alien,5\n", "give them to --users FILE --output FILE"),
        ("empty.csv", "", "no CSV file of ratings; the first line names the columns"),
    ):
        (tmp_path / name).write_text(text)
        assert message in fail("infer_milvus.py", "--ratings", tmp_path / name, cwd=trained)
    (tmp_path / "one.csv").write_text("title,rating\nAlien,5\n")
    assert "no column user" in fail("infer_milvus.py", "--users", tmp_path / "one.csv", "--output", "-", cwd=trained)


def test_shorten():
    assert shorten(["a"]) == "a"
    assert shorten("abcde") == "a, b, c, d, e"
    assert shorten(map(str, range(2000))) == "0, 1, 2, 3, 4 and 1,995 more"
    assert shorten(["x" * 1000, "y" * 60]) == f"{'x' * 57}..., {'y' * 60}"
