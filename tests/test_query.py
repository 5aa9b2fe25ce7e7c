"""Queries: whom they are for, which movies, in which order, and why."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLE, fail, run_script, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.films.titles import display_title
from recommender.store import load_model

NUM_MOVIES = 211


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the folder after the three commands, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def query(served, *options):
    """Returns the rows of an answer."""
    folder, environment = served
    return json.loads(succeed("infer_milvus.py", *options, "--format", "json", cwd=folder, **environment).stdout)


def query_text(served, *options):
    """Returns an answer as people see it."""
    folder, environment = served
    return succeed("infer_milvus.py", *options, cwd=folder, **environment).stdout


def refuse(served, *options):
    """Returns the error of a query."""
    folder, environment = served
    return fail("infer_milvus.py", *options, cwd=folder, **environment)


def ids(rows):
    return [row["movie_id"] for row in rows]


def test_user_does_not_get_what_they_rated(served):
    ratings = load_model(served[0] / MODEL_FOLDER).ratings_of(42)
    trained_on = set(ratings["movie_id"][~ratings["held_out"]].tolist())
    assert trained_on
    assert ratings["held_out"].any()
    options = ("--user", 42, "-k", NUM_MOVIES, "--by", "stars", "--min-ratings", 0)
    everything = set(ids(query(served, *options, "--include-seen")))
    assert len(everything) == NUM_MOVIES
    assert set(ids(query(served, *options))) == everything - trained_on


def test_user_is_not_their_demographics(served):
    model = load_model(served[0] / MODEL_FOLDER)
    gender, age, job = model.profiles[model.profile_row(42), 1:] - 1
    user = query(served, "--user", 42, "--include-seen", "--by", "stars")
    assert user != query(served, "-a", age, "-g", gender, "-j", job, "--by", "stars")
    assert "300 users, with ids from 1 to 300" in refuse(served, "--user", 301)


def test_order_and_columns_follow_from_the_history(served):
    """By age, gender and job alone: the original's four columns; with a history: by both, with the pick beside."""
    described, liking = ("-a", 0, "-g", 1), ("-a", 0, "-g", 1, "--like", "alien")
    assert query_text(served, *described) == query_text(served, *described, "--by", "stars")
    assert "Top\tIds\tTitle" in query_text(served, *described)
    for options in (("--why",), ("--like", "alien", "--by", "stars"), ("--by", "picks"), ("--user", 1)):
        person = () if "--user" in options else described
        assert re.search(r"^Top +Id +Score .*Title$", query_text(served, *person, *options), re.MULTILINE)
    assert query(served, "--user", 42) == query(served, "--user", 42, "--by", "both")
    stars, picks, both = (query(served, *liking, "--by", by, "-k", 9) for by in ("stars", "picks", "both"))
    assert query(served, *liking, "-k", 9) == picks
    for rows, order in (
        (stars, lambda row: row["score"]),
        (picks, lambda row: row["pick"]),
        (both, lambda row: row["pick"] + 0.2 * row["score"]),
    ):
        values = [order(row) for row in rows]
        assert values == pytest.approx(sorted(values, reverse=True), abs=1e-3)
        assert "Alien" not in {row["title"] for row in rows}
    assert ["pick" in rows[0] for rows in (stars, picks, both)] == [False, True, True]
    assert "; likes Alien (1979)\n" in query_text(served, *liking)
    assert "; knows Psycho (1960)\n" in query_text(served, *described, "--seen", "psycho (1960)")


def test_film_that_is_named_twice_is_one_film(served):
    twice = query_text(served, "--like", "alien", "--like", "Alien (1979)", "--like", "id:1214", "--like", "aliens")
    assert "; likes Alien (1979), Aliens (1986)\n" in twice
    assert twice == query_text(served, "--like", "alien", "--like", "aliens")
    seen = query_text(served, "--seen", "alien", "--seen", "ALIEN")
    assert "; knows Alien (1979)\n" in seen


@pytest.mark.parametrize("option", ["--like", "--seen"])
def test_a_bare_number_is_no_id(served, option):
    """1214 is Alien's id; numbers are titles, as `1984` and `1917` are."""
    for number in ("1214", "1984", "1917"):
        error = refuse(served, option, number)
        assert f"no movie is called '{number}'; " in error
        assert error.endswith(f"; an id is written id:{number}")
    assert "Alien (1979)" in query_text(served, option, "id:1214")
    assert "2001: A Space Odyssey (1968)" in query_text(served, option, "2001")
    assert "Apollo 13 (1995)" in query_text(served, option, "apollo 13")
    for text in ("id:0", "id:99999", "id:-1", "id:x", "id:", "id:٣", "id:" + "9" * 30):
        assert f"no movie has the id {text.removeprefix('id:')!r}" in refuse(served, option, text)


def test_titles_that_do_not_match_one_movie(served):
    near = refuse(served, "--like", "grate escapade")
    assert "no movie is called 'grate escapade'; choose one by its id: " in near
    assert "id:1262 The Great Escape (1963)" in near
    several = refuse(served, "--seen", "toy story", "--like", "the")
    assert "several movies match 'the'; choose one by its id: id:" in several
    assert len(re.findall(r"id:\d+ ", several)) == 5


def test_paddle_and_milvus_predict_the_same(served):
    """The rating of user 1 for The Hunchback of Notre Dame, by its id and by its title."""
    stdout = query_text(served, "--user", 1, "--movie", 783)
    milvus, paddle = (float(re.search(rf"{name}\t+([\d.]+)", stdout)[1]) for name in ("through Milvus", "by Paddle"))
    assert milvus == pytest.approx(paddle, abs=1e-4)
    assert stdout.endswith("actual\t\t\t\t4 (seen in training)\n")
    assert stdout == query_text(served, "--user", 1, "--movie", "hunchback of notre dame")
    assert stdout == query_text(served, "--user", 1, "--movie", "id:783")
    ratings = load_model(served[0] / MODEL_FOLDER).ratings_of(42)
    test_row = ratings[ratings["held_out"]][0]
    held_out = query_text(served, "--user", 42, "--movie", test_row["movie_id"])
    assert held_out.endswith(f"actual\t\t\t\t{test_row['rating']:g} (a test row)\n")
    rated = ratings["movie_id"].tolist()
    unrated = next(movie_id for movie_id in (1, 260, 783, 1214, 2010, 4001, 4002) if movie_id not in rated)
    assert "not rated" in query_text(served, "--user", 42, "--movie", unrated)
    assert "actual" not in query_text(served, "-g", "F", "--movie", unrated)
    assert "no movie has the id '9999'" in refuse(served, "--movie", 9999)
    assert "no movie is called 'no such film'" in refuse(served, "--movie", "no such film")


REASON = r"[^+-][^,]*? [+-]\d\.\d\d"


def test_reasons_by_history(served):
    """The movies that the user named, at most three, each with what it adds."""
    rows = query(served, "--like", "alien", "--like", "blade runner", "--seen", "toy story", "--why", "-k", 50)
    whys = [row["why"] for row in rows]
    assert all(re.fullmatch(r"((Alien|Blade Runner|Toy Story) \+\d\.\d\d(, )?)*", why) for why in whys), whys
    assert any(why.count(", ") == 1 for why in whys)
    rated = query(served, "--ratings", SAMPLE / "my_ratings.csv", "--why", "-k", 50)
    assert {row["why"].count(", ") for row in rated} <= {0, 1, 2}
    assert any("The Matrix +" in row["why"] for row in rated)
    by_stars = query(served, "--ratings", SAMPLE / "my_ratings.csv", "--why", "--by", "stars")
    assert all(row["why"] for row in by_stars)
    assert not any("female" in row["why"] for row in [*rated, *by_stars])


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (("-a", 0, "-g", 1, "-j", 10), {"under 18", "female", "K-12 student"}),
        (("-a", 0), {"under 18"}),
        (("-g", 1, "--like", "alien", "--by", "stars"), {"female"}),
        (("-a", 0, "-g", 1, "--by", "picks"), {"under 18", "female"}),
        (("-a", 0, "-g", 1, "--by", "both"), {"under 18", "female"}),
    ],
)
def test_reasons_by_demographics(served, options, labels):
    """All that is stated, also what speaks against a movie; in the order that is shown."""
    for row in query(served, *options, "--why"):
        reasons = row["why"].split(", ")
        assert all(re.fullmatch(REASON, reason) for reason in reasons)
        assert {reason.rpartition(" ")[0] for reason in reasons} == labels
        values = [float(reason.rpartition(" ")[2]) for reason in reasons]
        assert values == sorted(values, reverse=True)


def test_reasons_of_a_user_by_stars(served):
    for row in query(served, "--user", 42, "--why", "--by", "stars"):
        labels = {reason.rpartition(" ")[0] for reason in row["why"].split(", ")}
        assert labels == {"male", "18-24", "farmer", "own ratings"}


def test_reasons_by_stars_add_up(served):
    """What one label adds is the difference from the score of the same movie without that label."""
    [with_label] = query(served, "-g", 1, "--why", "-k", 1)
    without = query(served, "-k", NUM_MOVIES, "--min-ratings", 0)
    [anyone] = [row["score"] for row in without if row["movie_id"] == with_label["movie_id"]]
    reason = re.fullmatch(r"female ([+-]\d\.\d\d)", with_label["why"])
    assert float(reason[1]) == pytest.approx(with_label["score"] - anyone, abs=0.006)


@pytest.mark.parametrize(
    "options", [("--by", "stars"), ("--by", "picks"), ("--by", "both"), ("--like", "alien", "--by", "stars"), ()]
)
def test_reasons_where_nothing_is_stated(served, options):
    by = options[-1] if options else "stars"
    error = refuse(served, *options, "--why")
    assert error == f"error: nothing stated determines the order by {by}; leave out --why"


SEEN = "title,year\nAlien,1979\nToy Story,1995\n"
DEFAULT_ORDERS = [
    (("-a", 0), "stars"),
    (("--like", "alien"), "picks"),
    (("--seen", "alien"), "picks"),
    (("--ratings", "seen.csv"), "picks"),
    (("--user", 42, "--like", "alien"), "both"),
    (("--ratings", SAMPLE / "my_ratings.csv", "--seen", "alien"), "both"),
    (("--ratings", "seen.csv", "--ratings", SAMPLE / "my_ratings.csv"), "both"),
    (("--user", 42), "both"),
    (("--like", "alien", "--with", "seen.csv"), "picks"),
    (("-a", 0, "--with", "seen.csv"), "picks"),
    (("-a", 0, "--with", 7), "both"),
]


@pytest.mark.parametrize(("options", "by"), DEFAULT_ORDERS, ids=str)
def test_default_order(served, tmp_path, options, by):
    """By predicted stars, only movies with 50 ratings or more are listed by default."""
    (tmp_path / "seen.csv").write_text(SEEN)
    options = [tmp_path / option if option == "seen.csv" else option for option in options]
    everything = ("-k", NUM_MOVIES)
    found = query(served, *options, *everything)
    for ranking, minimum in (("stars", 50), ("picks", 0), ("both", 0)):
        explicit = query(served, *options, *everything, "--by", ranking, "--min-ratings", minimum)
        assert (found == explicit) == (ranking == by)


@pytest.mark.parametrize(
    ("options", "minimum"),
    [
        (("--user", 42, "--by", "stars"), 50),
        (("--like", "alien", "--by", "stars"), 50),
        (("--by", "picks"), 0),
        (("-a", 0), 50),
        (("-a", 0, "--max-ratings", 90), 0),
    ],
    ids=str,
)
def test_default_bound_on_ratings(served, options, minimum):
    everything = (*options, "-k", NUM_MOVIES)
    found = query(served, *everything)
    for bound in (0, 50, 70):
        assert (found == query(served, *everything, "--min-ratings", bound)) == (bound == minimum)
    assert len(query(served, *options)) == 5


def test_default_order_of_many_users(served, tmp_path):
    (tmp_path / "seen.csv").write_text("user,title\nann,Alien\nann,Toy Story\nbob,The Matrix\n")
    (tmp_path / "rated.csv").write_text("user,title,rating\nann,Alien,\nann,Toy Story,\nbob,The Matrix,4\n")
    (tmp_path / "ids.txt").write_text("42\n7\n")
    for name, by in (("seen.csv", "picks"), ("rated.csv", "both"), ("ids.txt", "both")):
        options = ("--users", tmp_path / name, "--output", "-")
        assert query_text(served, *options) == query_text(served, *options, "--by", by)


def test_new_users_have_no_training_ratings_to_include(served, tmp_path):
    (tmp_path / "rated.csv").write_text("user,title,rating\nann,Alien,4\n")
    users = ("--users", tmp_path / "rated.csv", "--output", "-", "--include-seen")
    assert "--include-seen is for users of the training data" in refuse(served, *users)


def test_film_liked_and_not_liked(served):
    error = refuse(served, "--like", "alien", "--like", "toy story", "--seen", "id:1")
    assert error == "error: Toy Story (1995) is in both --like and --seen; name it once"


def test_filters_and_formats(served):
    options = ("--genre", "war", "--genre", "Western", "--year", "-1969", "--min-ratings", 60)
    rows = query(served, *options)
    assert rows
    for row in rows:
        assert set(row["genres"].split("|")) & {"War", "Western"}
        assert row["year"] <= 1969
        assert row["num_ratings"] >= 60
    table = list(csv.DictReader(query_text(served, *options, "--format", "csv").splitlines()))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == table


@pytest.mark.parametrize(
    ("text", "genre"), [("sci fi", "Sci-Fi"), ("SciFi", "Sci-Fi"), ("horor", "Horror"), ("childrens", "Children's")]
)
def test_genres_in_any_spelling(served, text, genre):
    rows = query(served, "--genre", text)
    assert all(genre in row["genres"].split("|") for row in rows)
    assert rows == query(served, "--genre", genre)


@pytest.mark.parametrize("text", ["War%", "x", "", 'War" or "'])
def test_unknown_genres_list_the_known_ones(served, text):
    if text == "War%":
        assert query(served, "--genre", text) == query(served, "--genre", "War")
        return
    assert re.search(
        r"no genre .*; choose one of: Action, Adventure, .*, War, Western$", refuse(served, "--genre", text)
    )


def test_fewer_movies_than_asked_for(served, tmp_path):
    folder, environment = served

    def printed(*options):
        done = succeed("infer_milvus.py", *options, cwd=folder, **environment)
        return [line for line in done.stderr.splitlines() if "fewer" in line or "Only" in line]

    [line] = printed("--genre", "War", "--min-ratings", 0, "-k", 200)
    assert re.fullmatch(r"Only \d+ of 200: no more movies match\.", line)
    popular, everything = (len(query(served, "-k", 300, "--min-ratings", minimum)) for minimum in (50, 0))
    assert popular < everything == NUM_MOVIES
    more = f"{everything - popular} more movies would match with fewer than 50 ratings; try --min-ratings 0."
    assert printed("-k", 300) == [f"Only {popular} of 300: {more}"]
    assert printed("-k", popular) == []
    (tmp_path / "users.txt").write_text("1\n2\n")
    users = ("--users", tmp_path / "users.txt", "--output", "-", "-k", 4000)
    assert printed(*users, "--by", "stars") == [f"2 users got fewer than 4,000 movies: {more}"]
    assert printed(*users) == ["2 users got fewer than 4,000 movies: no more movies match that were not seen."]
    assert printed(*users[:-1], 5) == []


def test_films_of_ones_own(folder):
    """A genre that training has not seen; the floor of ratings says that it hides them."""
    origin = folder / "movies_origin.txt"
    own = "9001::Neuromancer (2031)::Cyberpunk\n9002::Case (1999)::cyberpunk|drama\n"
    origin.write_text(origin.read_text("utf-8") + own, "utf-8")
    stdout = succeed("get_movies_data.py", "-f", origin, cwd=folder).stdout
    assert "Not in the training data: 2 title words and 2 genres of them.\n" in stdout
    succeed("infer_milvus.py", "-i", cwd=folder)
    empty = succeed("infer_milvus.py", "--genre", "Cyberpunk", cwd=folder)
    assert "2 more movies would match with fewer than 50 ratings; try --min-ratings 0" in empty.stderr
    served = folder, {}
    assert set(ids(query(served, "--genre", "cyberPunk", "--min-ratings", 0))) == {9001, 9002}
    assert "likes Case (1999)\n" in query_text(served, "--like", "case", "--by", "picks")
    liked, nobody = (
        {row["movie_id"]: row["pick"] for row in query(served, *options, "--by", "picks")}
        for options in (("--like", "case"), ())
    )
    assert liked != nobody, "its genre tells what else is liked by those who like it"
    dramas = ids(query(served, "--genre", "Drama", "--min-ratings", 0, "-k", 300))
    assert 9002 in dramas
    assert len(dramas) > 20


def test_film_that_was_deleted_from_the_catalogue(folder):
    """It stays in histories, with its name from the training data; it is not recommended, nor found by its title."""
    model = load_model(folder / MODEL_FOLDER)
    ratings = model.ratings_of(1)
    rated = ratings["movie_id"][~ratings["held_out"]].tolist()
    origin = folder / "movies_origin.txt"
    lines = origin.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if int(line.split("::")[0]) not in rated]
    assert len(lines) - len(kept) == len(rated) > 10
    before = query((folder, {}), "--user", 1, "--why", "-k", 20)
    origin.write_text("".join(kept), "utf-8")
    succeed("get_movies_data.py", "-f", origin, cwd=folder)
    succeed("infer_milvus.py", "-i", cwd=folder)
    assert query((folder, {}), "--user", 1, "--why", "-k", 20) == before
    names = {display_title(model.movies[movie_id].name) for movie_id in rated}
    reasons = [reason for row in before for reason in re.split(r"(?<=\d), ", row["why"])]
    assert len(reasons) > 10
    assert {reason.rpartition(" ")[0] for reason in reasons} <= names
    (folder / "users.txt").write_text("\n".join(map(str, range(1, 31))))
    done = succeed("infer_milvus.py", "--users", "users.txt", "--why", "--output", "-", cwd=folder)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len({row["user_id"] for row in rows}) == 30
    assert not {int(row["movie_id"]) for row in rows} & set(rated)
    assert any(name in row["why"] for row in rows for name in names)
    assert "no movie has the id" in fail("infer_milvus.py", "--like", f"id:{rated[0]}", cwd=folder)
    assert "no movie has the id" in fail("infer_milvus.py", "--user", 1, "--movie", rated[0], cwd=folder)
    (folder / "mine.csv").write_text(f"movie_id,rating\n{rated[0]},5\n{int(kept[0].split('::')[0])},4\n")
    printed = run_script("infer_milvus.py", "--ratings", "mine.csv", cwd=folder).stderr
    assert f"mine.csv: 1 of 2 films matched\n  not in the catalogue: id:{rated[0]}\n" in printed


def test_everyone_at_once_gets_what_each_gets_alone(served, tmp_path):
    folder, environment = served
    everyone = ("infer_milvus.py", "--users", "all", "-k", 7, "--output")
    succeed(*everyone, tmp_path / "all.csv", cwd=folder, **environment)
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text("utf-8").splitlines()))
    assert len({row["user_id"] for row in rows}) == 300
    (tmp_path / "two.txt").write_bytes(b"\xef\xbb\xbf42\r\n\r\n 7\n42\n")
    two_users = ("infer_milvus.py", "--users", tmp_path / "two.txt", "-k", 7, "--output", "-")
    done = succeed(*two_users, cwd=folder, **environment)
    assert "recommendations for 2 users, ordered by both, written to -\n" in done.stderr
    two = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["user_id"] for row in two] == ["42"] * 7 + ["7"] * 7
    for user in ("42", "7"):
        alone = succeed("infer_milvus.py", "--user", user, "-k", 7, "--format", "csv", cwd=folder, **environment).stdout
        for table in (rows, two):
            own = [row for row in table if row["user_id"] == user]
            for row, expected in zip(own, csv.DictReader(alone.splitlines()), strict=True):
                assert row.items() - {("user_id", user)} <= expected.items()
    (tmp_path / "bad.txt").write_text("999\n")
    bad = ("--users", tmp_path / "bad.txt", "--output", tmp_path / "all.csv")
    assert "no user 999" in refuse(served, *bad)
    assert len((tmp_path / "all.csv").read_text("utf-8").splitlines()) == 1 + len(rows)
