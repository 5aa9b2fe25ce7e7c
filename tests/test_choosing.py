"""Options for choosing what to watch: --among, --not-genre, --max-ratings, --variety, --with; Lite and server."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, fail, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.catalogue import parse_movies
from recommender.store import load_model
from recommender.rerank import RANK_CONSTANT

MINE = SAMPLE / "my_ratings.csv"
PEOPLE = {
    "anyone": (),
    "demographics": ("-a", 0, "-g", 1),
    "movies": ("--like", "alien", "--seen", "psycho (1960)"),
    "ratings": ("--ratings", MINE),
    "user": ("--user", 42),
}


@pytest.fixture(scope="module")
def movies():
    return parse_movies((SAMPLE / "movies.dat").read_bytes(), "movies.dat")


def query(served, *options):
    """Returns the rows of an answer."""
    folder, environment = served
    return json.loads(succeed("infer_milvus.py", *options, "--format", "json", cwd=folder, **environment).stdout)


def printed(served, *options):
    """Returns what a query prints on both streams."""
    folder, environment = served
    done = succeed("infer_milvus.py", *options, cwd=folder, **environment)
    return done.stdout, done.stderr


def ids(rows):
    return [row["movie_id"] for row in rows]


def write_titles(path, movies):
    path.write_text("".join(f"{movie.title}\n" for movie in movies), "utf-8")
    return path


@pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE)
@pytest.mark.parametrize("by", ["stars", "both"])
def test_watchlist_is_the_whole_list_restricted(served, movies, tmp_path, person, by):
    options = (*person, "--by", by, "--min-ratings", 0, "-k", 300)
    everything = ids(query(served, *options))
    random = np.random.default_rng(0)
    for size in (1, 5, 60):
        wanted = [movies[row] for row in random.choice(len(movies), size, replace=False)]
        file = write_titles(tmp_path / "wanted.txt", wanted)
        listed = {movie.movie_id for movie in wanted}
        expected = [movie_id for movie_id in everything if movie_id in listed]
        assert ids(query(served, *options, "--among", file)) == expected


def test_watchlists_of_every_kind(served, tmp_path):
    """Letterboxd's, IMDb's, any CSV, a title per line."""
    files = {
        "watchlist.csv": "Date,Name,Year,Letterboxd URI\n2024-01-01,Alien,1979,x\n2024-01-02,Toy Story,1995,y\n",
        "imdb.csv": "Position,Const,Title,Year,Your Rating\n1,tt0078748,Alien,1979,\n2,,Toy Story,,9\n",
        "semicolons.csv": "title;rating\nAlien;5\nToy Story;odd\n",
        "titles.txt": "Alien (1979)\n\n  toy   story\r\n",
        "bom.txt": "\ufeffAlien\nToy Story",
        "commas.txt": "Crouching Tiger, Hidden Dragon\nAlien\nToy Story",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8", newline="")
        found = query(served, "--user", 1, "--include-seen", "--among", tmp_path / name)
        assert {"Alien", "Toy Story"} <= {row["title"] for row in found}, name
        assert len(found) == 2 + (name == "commas.txt")


def test_what_a_watchlist_has_in_vain_is_named(served, tmp_path):
    (tmp_path / "wanted.txt").write_text("Alien\nNo Such Film (2001)\n")
    among = ("--among", tmp_path / "wanted.txt")
    _, notes = printed(served, "--user", 42, *among)
    assert "wanted.txt: 1 of 2 films matched\n  not in the catalogue: No Such Film (2001)\n" in notes
    assert re.search(r"^Only \d of 5: no more movies match that were not seen\.$", notes, re.MULTILINE)
    printed(served, "--user", 42, *among, "--unmatched", tmp_path / "rest.csv")
    assert (tmp_path / "rest.csv").read_text() == "film,problem,similar\nNo Such Film (2001),not in the catalogue,\n"
    folder, environment = served
    for text, error in (
        ("No Such Film\n", "none of its films is among the 211"),
        ("\n \n", "no films in it; write a title per line"),
        ("title,year\nAlien,79\n", "line 2: year '79'; a year has four digits"),
        ("Alien\nx\x1b[31m\n", "line 2: title with control character"),
        ("Alien\n" + "x" * 2000, "line 2: a title of 2000 characters"),
    ):
        (tmp_path / "wanted.txt").write_text(text)
        assert error in fail("infer_milvus.py", "--user", 42, *among, cwd=folder, **environment)


@pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE)
def test_genres_left_out(served, person):
    options = (*person, "--by", "picks", "-k", 300)
    everything = query(served, *options)
    for left_out in (["Drama"], ["drama", "Sci fi"], ["Comedy", "Romance", "Action"]):
        without = [option for genre in left_out for option in ("--not-genre", genre)]
        wanted = {"drama": "Drama", "Sci fi": "Sci-Fi"}
        names = {wanted.get(genre, genre) for genre in left_out}
        expected = [row["movie_id"] for row in everything if not names & set(row["genres"].split("|"))]
        assert ids(query(served, *options, *without)) == expected
    both = [row["movie_id"] for row in everything if "War" in row["genres"] and "Drama" not in row["genres"].split("|")]
    assert ids(query(served, *options, "--genre", "War", "--not-genre", "Drama")) == both


def test_rarely_rated_movies(served):
    everything = query(served, "--user", 42, "-k", 300)
    rare = [row["movie_id"] for row in everything if row["num_ratings"] <= 40]
    assert 0 < len(rare) < len(everything)
    assert ids(query(served, "--user", 42, "-k", 300, "--max-ratings", 40)) == rare
    between = [row["movie_id"] for row in everything if 20 <= row["num_ratings"] <= 40]
    assert ids(query(served, "--user", 42, "-k", 300, "--min-ratings", 20, "--max-ratings", 40)) == between
    _, notes = printed(served, "--user", 42, "--max-ratings", 40)
    model = load_model(served[0] / MODEL_FOLDER)
    num_rare = sum(model.count_ratings().get(movie_id, 0) <= 40 for movie_id in model.movies)
    assert f"{num_rare} of 211 movies remain\n" in notes
    assert query(served, "-g", 0, "--max-ratings", 40), "the default --min-ratings is 0 then"


def list_similarity(served, rows):
    """Returns the mean cosine of the taste vectors of a list's movies."""
    model = load_model(served[0] / MODEL_FOLDER)
    vectors = model.taste_outputs.by_id[model.movie_idx(np.array(ids(rows)))]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)].mean()


@pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE)
def test_variety_makes_lists_less_alike(served, person):
    options = (*person, "-k", 10)
    lists = {variety: query(served, *options, "--variety", variety) for variety in (0, 0.5, 1)}
    assert lists[0] == query(served, *options)
    similarities = [list_similarity(served, rows) for rows in lists.values()]
    assert similarities[2] < min(similarities[:2])
    assert ids(lists[0.5])[0] == ids(lists[0])[0], "the best stays the first"
    if person:
        assert ids(query(served, *options, "--variety", 0.5, "--why")) == ids(lists[0.5])


def test_options_for_many_users(served, tmp_path):
    """Each gets what they get alone."""
    folder, environment = served
    (tmp_path / "users.txt").write_text("42\n7\n")
    (tmp_path / "wanted.txt").write_text("Alien\nAliens\nToy Story\nPsycho\nThe Matrix\n")
    for options in (
        ("--among", tmp_path / "wanted.txt"),
        ("--not-genre", "Drama", "--max-ratings", 100),
        ("--variety", 0.7, "--genre", "Comedy"),
    ):
        many = ("--users", tmp_path / "users.txt", "--output", tmp_path / "many.csv")
        succeed("infer_milvus.py", *many, *options, cwd=folder, **environment)
        rows = list(csv.DictReader((tmp_path / "many.csv").read_text("utf-8").splitlines()))
        for user in (42, 7):
            expected = ids(query(served, "--user", user, *options))
            assert [int(row["movie_id"]) for row in rows if row["user_id"] == str(user)] == expected


GROUPS = {
    "you and a user": (("-g", 1, "--like", "alien"), ("--with", 7), ["you", "user 7"]),
    "two users": (("--user", 42), ("--with", 7), ["user 42", "user 7"]),
    "a user, a file, and another": (("--user", 42), ("--with", MINE, "--with", 8), ["user 42", MINE.name, "user 8"]),
}


@pytest.mark.parametrize(("person", "others", "names"), GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("by", ["stars", "picks", "both"])
def test_together(served, person, others, names, by):
    """Ranks of each one's own list are fused; what anybody has seen is left out; Pick is each one's own."""
    whole = ("-k", 300, "--by", by, "--min-ratings", 0)
    found = query(served, *person, *others, *whole)
    shown = "score" if by == "stars" else "pick"
    assert list(found[0])[-len(names) :] == [f"{shown} of {name}" for name in names]
    alone = [person, *(("--user", o) if isinstance(o, int) else ("--ratings", o) for o in others[1::2])]
    lists = [query(served, *one, *whole, *(("--by", by))) for one in alone]
    common = set.intersection(*(set(ids(rows)) for rows in lists))
    assert set(ids(found)) == common
    totals = dict.fromkeys(common, 0.0)
    for name, rows in zip(names, lists, strict=True):
        scores = {row["movie_id"]: row[shown] for row in rows}
        for rank, movie_id in enumerate([one for one in ids(rows) if one in common], 1):
            totals[movie_id] += 1 / (RANK_CONSTANT + rank)
        assert all(row[f"{shown} of {name}"] == pytest.approx(scores[row["movie_id"]], abs=2e-4) for row in found)
    fused = np.array([totals[movie_id] for movie_id in ids(found)])
    assert (np.diff(fused) < 1e-9).all()


def test_what_is_printed_for_a_group(served):
    stdout, _ = printed(served, "-g", "F", "--with", 7, "--with", MINE, "-k", 2)
    first, rows, *people, heading, columns, movie = stdout.splitlines()[:8]
    number = r"-?[01]\.\d\d"
    pairs = ("you and user 7", "you and my_ratings.csv", "user 7 and my_ratings.csv")
    assert re.fullmatch(f"how alike tastes are, from -1 to 1: {', '.join(f'{p} {number}' for p in pairs)}", first)
    assert rows == "rows in collection recommender_demo: 211"
    assert [line.partition(": ")[2].partition(":")[0] for line in people] == ["you", "user 7", "my_ratings.csv"]
    assert people[0] == "recommended for: you: female, any age, any job"
    assert heading.split() == ["Pick", "of"]
    assert columns.split() == ["Top", "Id", "you", "user", "7", "my_ratings.c", "Title"]
    assert re.match(r" +0 +\d+ +-?\d\.\d\d +-?\d\.\d\d +-?\d\.\d\d  \S", movie)


def test_files_of_one_name_are_told_apart(served, tmp_path):
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "ratings.csv").write_text(MINE.read_text())
    both = [option for person in ("ann", "bob") for option in ("--with", tmp_path / person / "ratings.csv")]
    [row] = query(served, *both, "-k", 1)
    names = [str(tmp_path / person / "ratings.csv") for person in ("ann", "bob")]
    assert [column for column in row if column.startswith("pick")] == [f"pick of {name}" for name in names]
    stdout, _ = printed(served, *both, "-k", 1)
    assert f"{names[0]} and {names[1]} 1.00" in stdout.splitlines()[0]


def test_movies_that_one_has_rated_in_training(served):
    """--include-seen is for the users of the training data, whoever else is there."""
    rated = load_model(served[0] / MODEL_FOLDER).ratings_of(7)
    seen = set(rated["movie_id"][~rated["held_out"]].tolist())
    options = ("-g", 1, "--with", 7, "-k", 300)
    assert not seen & set(ids(query(served, *options)))
    assert seen <= set(ids(query(served, *options, "--include-seen")))


def test_file_with_the_name_of_a_user(trained, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "copy"))
    for name in ("you", "user 7"):
        shutil.copy(MINE, folder / name)
    [row] = query((folder, {}), "-g", 1, "--with", "you", "--with", 7, "--with", "user 7", "-k", 1)
    assert [column for column in row if "of" in column] == [
        "pick of you",
        "pick of ./you",
        "pick of user 7",
        "pick of ./user 7",
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--user", 42, "--with", 42), "names a user or a file twice"),
        (("--with", MINE, "--with", MINE), "names a user or a file twice"),
        (
            ("--ratings", MINE, "--with", MINE.parent / ".." / MINE.parent.name / MINE.name),
            "names a user or a file twice",
        ),
        (("--with", "/dev/none/../none", "--with", "/dev/none"), "names a user or a file twice"),
        (("--ratings", "-", "--among", "-"), "standard input (-) can be read once"),
        (("--users", MINE, "--output", "rest.csv", "--unmatched", "rest.csv"), "name the same file"),
        (("--with", 7), "--with is for several; give it twice, or describe yourself"),
        (("--with", 7, "--variety", 0.5), "--with has an order of its own; omit --variety and --why"),
        (("--with", 7, "--why"), "--with has an order of its own; omit --variety and --why"),
        (("--with", 7, "--movie", 1), "--movie predicts one rating; omit films, --with"),
        (("--with", 7, "--users", "all", "--output", "-"), "omit --movie, --like, --seen, --with and --format"),
        (("--among", MINE, "--movie", 1), "--movie predicts one rating"),
        (("--not-genre", "War", "--movie", 1), "--movie predicts one rating"),
        (("--variety", 0.5, "--movie", 1), "--movie predicts one rating"),
        (("--variety", 1.5), "'1.5' is not a number from 0 to 1"),
        (("--variety", "nan"), "'nan' is not a number from 0 to 1"),
        (("--min-ratings", 30, "--max-ratings", 20), "--min-ratings is above --max-ratings"),
        (("--among", MINE, "--unmatched", MINE), f"--unmatched {MINE} would overwrite"),
        (("-g", 1, "--with", MINE, "--unmatched", MINE), "would overwrite"),
        (("-g", 1, "--with", 7, "--unmatched", "rest.csv"), "--unmatched goes with a file"),
        (("--with", 0), "'0' is not a whole number from 1"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(trained, options, error):
    assert error in fail("infer_milvus.py", *options, cwd=trained, code=2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--genre", "Drama", "--not-genre", "drama"), "Drama is both wanted and left out"),
        (("--not-genre", "nonsense"), "no genre 'nonsense'; choose one of: Action"),
        (("--user", 42, "--with", 301), "no user 301 in the training data"),
        (("-g", 1, "--with", "missing.csv"), "missing.csv: cannot read it"),
        (("--among", "missing.csv"), "missing.csv: cannot read it"),
    ],
    ids=str,
)
def test_what_is_not_there(trained, options, error):
    assert error in fail("infer_milvus.py", *options, cwd=trained)
