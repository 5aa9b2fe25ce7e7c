"""The three commands on the sample, in this process: what they print and write, and which step they name."""

import csv
import io
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from commands import MINE, NUM_MOVIES, SAMPLE, ask, fail, ids, run, succeed

from recommender.files import Workdir
from recommender.store import SavedModel

QUICK = ("--targets", "ratings", "--epochs", 1, "--batch-size", 2000)
"""Options of a training whose quality does not matter."""
EVERYTHING = ("-k", NUM_MOVIES, "--min-ratings", 0)


@pytest.fixture(scope="module")
def model(trained):
    return SavedModel(Workdir(trained).model)


def trained_on(model, user):
    """Returns the ids of the movies that a user rated in training."""
    ratings = model.ratings_of(user)
    assert ratings["held_out"].any()
    return set(ratings["movie_id"][~ratings["held_out"]].tolist())


def follow(remedy, cwd):
    """Runs the command that a message ends with, as a person would type it."""
    _, script, *args = shlex.split(re.search(r"(python \w+\.py.*)$", remedy)[1])
    command = {"train.py": "train", "get_movies_data.py": "encode", "infer_milvus.py": "recommend"}[script]
    return succeed(command, *args, cwd=cwd)


# The order of the steps, and working folders.


def test_log_of_training(trained, model):
    stdout = (trained / "train.stdout").read_text()
    plan = re.match(r"ratings for training: ([\d,]+); test: ([\d,]+); batch size \d+\n", stdout)
    num_rows = [int(number.replace(",", "")) for number in plan.groups()]
    assert sum(num_rows) == len((SAMPLE / "ratings.dat").read_bytes().splitlines())
    for name in ("movie mean", "this model", "most popular", *"stars picks both".split()):
        assert re.search(rf"^{name} +\d\.\d{{4}} +\d\.\d{{4}}$", stdout, re.MULTILINE), name
    assert f"Model {model.fingerprint} written to recommender_system.inference.model/\n" in stdout
    assert stdout.endswith("\nNext: python get_movies_data.py\n")
    metrics = model.manifest["metrics"]
    assert metrics["test_rmse"] < metrics["test_baselines"]["movie mean"]["rmse"]
    assert metrics["test_ndcg"]["picks"] > metrics["test_ndcg"]["most popular"]


@pytest.mark.parametrize("place", ["option", "environment", "current folder"])
def test_steps_in_the_wrong_order_name_the_right_one(trained, tmp_path, place):
    """In the same working folder; what is printed leads to an answer when it is typed."""
    folder = tmp_path / ("my films" if place == "option" else "films")
    args = ("--workdir", "my films") if place == "option" else ()
    environment = {"RECOMMENDER_WORKDIR": "films"} if place == "environment" else {}
    cwd = folder if place == "current folder" else tmp_path
    folder.mkdir()
    shown = "" if place == "current folder" else f" --workdir {shlex.quote(folder.name)}"
    for command in ("recommend", "encode"):
        error = fail(command, *args, cwd=cwd, **environment)
        assert error.endswith(f": no model here; run: python train.py{shown}"), error
    shutil.copytree(Workdir(trained).model, Workdir(folder).model)
    error = fail("encode", *args, cwd=cwd, **environment)
    copy = re.search("the model folder has a copy of it: (.*)", error)[1]
    shutil.copy(cwd / copy, Workdir(folder).movies_origin)
    missing = fail("recommend", *args, cwd=cwd, **environment)
    assert missing.endswith(f"there are no movies here yet; run: python infer_milvus.py -i{shown}")
    unencoded = fail("recommend", *args, "-i", cwd=cwd, **environment)
    assert unencoded.endswith(f"; run: python get_movies_data.py{shown}")
    follow(unencoded, cwd)
    follow(missing, cwd)
    assert "Top" in succeed("recommend", *args, cwd=cwd, **environment).stdout
    names = {"recommender_system.inference.model", "movies_origin.txt", "movies_data.txt", "recommender_demo.db"}
    assert {path.name for path in folder.iterdir()} == names
    assert list(tmp_path.iterdir()) == [folder]


def test_options_from_a_file(trained, tmp_path):
    (tmp_path / "me.txt").write_text(f"--ratings '{MINE}'   # my films\n\n-k 3 --year 1980-\n")
    expected = ask("--ratings", MINE, "-k", 3, "--year", "1980-", "--genre", "Sci-Fi", cwd=trained)
    assert ask(f"@{tmp_path / 'me.txt'}", "--genre", "Sci-Fi", cwd=trained) == expected
    assert "none.txt" in fail("recommend", "@none.txt", cwd=trained, code=2)


def test_next_step_of_a_model_without_demographics_works(tmp_path):
    """An invented release in ml-latest's layout: half stars, ids of IMDb and TMDB, no age, gender and job."""
    rng = np.random.default_rng(0)
    quality, taste, kind = rng.normal(3.5, 0.6, 60), rng.normal(size=(150, 2)), rng.normal(size=(60, 2))
    stars = np.clip(np.rint(2 * (quality + 0.6 * taste @ kind.T + rng.normal(0, 0.4, (150, 60)))) / 2, 0.5, 5)
    names = ["Toy Story (1995)", *(f"Film {movie}, The ({2000 + movie % 20})" for movie in range(1, 60))]
    genres = ["Drama", "IMAX", "(no genres listed)"]
    pairs = np.argwhere(rng.random((150, 60)) < 0.5)
    tables = {
        "ratings.csv": ("userId,movieId,rating,timestamp", [f"{u + 1},{m + 1},{stars[u, m]},0" for u, m in pairs]),
        "movies.csv": ("movieId,title,genres", [f'{m + 1},"{name}",{genres[m % 3]}' for m, name in enumerate(names)]),
        "links.csv": ("movieId,imdbId,tmdbId", [f"{m + 1},{m + 1:07},{1000 + m}" for m in range(60)]),
    }
    (tmp_path / "release").mkdir()
    for name, (header, lines) in tables.items():
        (tmp_path / "release" / name).write_text("\n".join([header, *lines, ""]))
    trained = succeed("train", "--data-dir", "release", "--workdir", "new", *QUICK, cwd=tmp_path)
    answer = follow(follow(trained.stdout.strip(), tmp_path).stdout.strip(), tmp_path).stdout
    assert "any age" not in answer
    assert answer.startswith(
        "rows in collection recommender_demo: 60\nrecommended for: anyone; likes Toy Story (1995)\n"
    )
    work = ("--workdir", "new")
    for option, value in (("-a", 0), ("-g", "F"), ("-j", 10)):
        error = fail("recommend", *work, option, value, cwd=tmp_path, code=2)
        assert error.startswith("this model was trained on data without age, gender and job; leave them out")
    rows = ask(*work, "--user", 5, "--why", "-k", 60, cwd=tmp_path)
    assert all(row["imdb_id"] == f"tt{row['movie_id']:07}" for row in rows)
    assert all(row["tmdb_id"] == 999 + row["movie_id"] for row in rows)
    (tmp_path / "imdb.csv").write_text("Const,Your Rating,Title,Year\ntt0000007,9,The Film 6,2006\ntt0000099,3,X,\n")
    films = succeed("recommend", *work, "--ratings", "imdb.csv", "--format", "letterboxd", "-k", 60, cwd=tmp_path)
    assert "imdb.csv: 1 of 2 films matched\n  not matched: X\n" in films.stderr
    lines = list(csv.DictReader(films.stdout.splitlines()))
    assert list(lines[0]) == ["Title", "Year", "imdbID", "tmdbID"]
    assert {line["imdbID"] for line in lines} == {f"tt{m + 1:07}" for m in range(60)} - {"tt0000007"}


# Catalogues.


def test_catalogue_of_another_model_is_refused(folder):
    """Ids that mean other films, as those of another release do; a corrected title is fine."""
    before = (folder / "movies_data.txt").read_bytes()
    lines = (folder / "movies_origin.txt").read_text("utf-8").splitlines()
    numbers, titles = zip(*(line.split("::", 1) for line in lines), strict=True)
    shifted = "".join(f"{number}::{title}\n" for number, title in zip(numbers, [*titles[1:], titles[0]], strict=True))
    (folder / "other.txt").write_text(shifted, "utf-8")
    error = fail("encode", "-f", "other.txt", cwd=folder)
    assert error.startswith("this is not the catalogue of this model: 211 of the 211 movies that the model knows")
    assert error.endswith(f"; the model's own is {Workdir().model / 'movies_origin.txt'}")
    (folder / "half.txt").write_text("".join(f"{line}\n" for line in lines[:100]), "utf-8")
    assert "111 of the 211 movies" in fail("encode", "-f", "half.txt", cwd=folder)
    assert (folder / "movies_data.txt").read_bytes() == before
    (folder / "most.txt").write_text("".join(f"{line}\n" for line in lines[:150]), "utf-8")
    assert (
        "Missing or renamed since training, 61 of 211 movies: "
        in succeed("encode", "-f", "most.txt", cwd=folder).stdout
    )
    (folder / "one.txt").write_text("\n".join(["1::Toys Story (1995)::Comedy", *lines[1:], ""]), "utf-8")
    done = succeed("encode", "-f", "one.txt", cwd=folder)
    assert "Missing or renamed since training, 1 of 211 movies: 1 Toy Story (1995)\n" in done.stdout


def test_catalogue_that_was_cut_off_is_refused(folder):
    content = (folder / "movies_origin.txt").read_bytes()
    before = (folder / "movies_data.txt").read_bytes()
    (folder / "cut.txt").write_bytes(content[: content.index(b"\n", len(content) * 3 // 4) - 3])
    assert re.match(r"cut\.txt, line \d+: ", fail("encode", "-f", "cut.txt", cwd=folder))
    (folder / "bad.txt").write_text("1::Fine (1990)::Drama\n2::No genres\n")
    assert re.match(r"bad\.txt, line 2: ", fail("encode", "-f", "bad.txt", cwd=folder))
    assert (folder / "movies_data.txt").read_bytes() == before


def test_latin_1_and_utf_8_catalogues_give_the_same_file(folder):
    first = (folder / "movies_data.txt").read_bytes()
    succeed("encode", "-f", SAMPLE / "movies.dat", cwd=folder)
    assert (folder / "movies_data.txt").read_bytes() == first


def test_films_of_ones_own(folder):
    """A genre that training has not seen; the default bound on ratings says that it hides them."""
    with (folder / "movies_origin.txt").open("a", encoding="utf-8") as file:
        file.write("9001::Neuromancer (2031)::Cyberpunk\n9002::=1+2 (1999)::cyberpunk|drama\n")
    stdout = succeed("encode", cwd=folder).stdout
    assert re.search(r"^Not in the training data: \d+ title words? and 2 genres of them\.$", stdout, re.MULTILINE)
    succeed("recommend", "-i", cwd=folder)
    short = succeed("recommend", "--genre", "Cyberpunk", cwd=folder)
    assert short.stderr.startswith("Only 0 of 5: ")
    assert "; min-ratings 0 adds those with fewer than 50 ratings.\n" in short.stderr
    assert set(ids(ask("--genre", "cyberPunk", "--min-ratings", 0, cwd=folder))) == {9001, 9002}
    liked, nobody = (
        {row["movie_id"]: row["pick"] for row in ask(*options, "--by", "picks", *EVERYTHING, cwd=folder)}
        for options in (("--like", "neuromancer"), ())
    )
    assert liked.keys() == nobody.keys() - {9001}
    assert any(liked[movie_id] != nobody[movie_id] for movie_id in liked), "its genre says something about taste"
    for form in ("csv", "letterboxd"):
        text = succeed("recommend", "--genre", "cyberpunk", "--min-ratings", 0, "--format", form, cwd=folder).stdout
        assert "'=1+2" in text, "a spreadsheet would run it"
        assert not re.search("(^|,)=", text, re.MULTILINE)
    rows = ask("--genre", "cyberpunk", "--min-ratings", 0, cwd=folder)
    assert "=1+2" in {row["title"] for row in rows}, "JSON has the title as it is"


def test_film_that_was_deleted_from_the_catalogue(folder, model):
    """It stays in histories, and is named in reasons; it is neither recommended nor found by its title."""
    rated = trained_on(model, 1)
    lines = (folder / "movies_origin.txt").read_text("utf-8").splitlines(keepends=True)
    gone = sorted(rated)[::3]
    kept = [line for line in lines if int(line.split("::")[0]) not in gone]
    picks = ("--user", 1, "--by", "picks", "-k", 20, "--why")
    before = ask(*picks, cwd=folder)
    (folder / "movies_origin.txt").write_text("".join(kept), "utf-8")
    succeed("encode", cwd=folder)
    succeed("recommend", "-i", cwd=folder)
    after = ask(*picks, cwd=folder)
    assert [(row["movie_id"], row["pick"]) for row in after] == [(row["movie_id"], row["pick"]) for row in before]
    assert "no movie has the id" in fail("recommend", "--like", f"id:{gone[0]}", cwd=folder)
    assert not set(gone) & set(ids(ask("-k", 211, "--min-ratings", 0, cwd=folder)))


# Training again.


def test_training_does_not_overwrite_an_edited_catalogue(folder, model):
    """Said before training, with ways out that work."""
    origin = folder / "movies_origin.txt"
    edited = origin.read_text("utf-8") + "9001::Neuromancer (2031)::Sci-Fi\n"
    origin.write_text(edited, "utf-8")
    args = ("--data-dir", SAMPLE, *QUICK)
    done = run("train", *args, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"error: movies_origin\.txt: .* was edited, and would be overwritten; move it away, or train in another "
        r"folder: --workdir DIR\n",
        done.stderr,
    )
    assert origin.read_text("utf-8") == edited
    assert SavedModel(Workdir(folder).model).fingerprint == model.fingerprint
    origin.rename(folder / "mine.txt")

    class EditsMeanwhile(io.StringIO):
        """Standard output of a training during which someone makes a catalogue of their own."""

        def write(self, text):
            if text.startswith("ratings for training"):
                origin.write_text(edited, "utf-8")
            return super().write(text)

    done = run("train", *args, cwd=folder, stdout=EditsMeanwhile())
    assert done.returncode == 1
    assert "movies_origin.txt: it holds other movies" in done.stderr
    assert "NDCG@10" in done.stdout
    assert origin.read_text("utf-8") == edited
    assert SavedModel(Workdir(folder).model).fingerprint == model.fingerprint
    origin.unlink()
    succeed("train", *args, cwd=folder)
    other = SavedModel(Workdir(folder).model).fingerprint
    assert other != model.fingerprint
    assert fail("recommend", cwd=folder).endswith(
        "there are no movies of this model here; run: python infer_milvus.py -i"
    )
    remedy = fail("recommend", "-i", cwd=folder)
    assert remedy.endswith("; run: python get_movies_data.py")
    follow(remedy, folder)
    assert "recommender_demo: 211\n" in succeed("recommend", "-i", cwd=folder).stdout


def test_training_that_cannot_succeed(tmp_path):
    """One line before anything is trained or written."""
    (tmp_path / "letters" / "recommender_system.inference.model").mkdir(parents=True)
    (tmp_path / "letters" / "recommender_system.inference.model" / "to-mum.txt").touch()
    (tmp_path / "few").mkdir()
    for name in ("users.dat", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path / "few")
    (tmp_path / "few" / "ratings.dat").write_text("1::1::5::0\n1::783::3::0\n2::1::4::0\n")
    files = sorted(tmp_path.rglob("*"))
    for args, problem in (
        (("--data-dir", SAMPLE, "--workdir", "letters"), "this is not a model folder"),
        (("--data-dir", "few"), "too few ratings"),
        (("--data-dir", "letters"), "letters: "),
        (("--data-dir", SAMPLE, "--use_gpu", 1), "GPU"),
    ):
        done = run("train", *args, cwd=tmp_path)
        assert done.returncode == 1
        assert problem in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "epoch" not in done.stdout
    assert sorted(tmp_path.rglob("*")) == files


# Answers.


def test_user_does_not_get_what_they_rated(trained, model):
    options = ("--user", 42, "--by", "stars", *EVERYTHING)
    everything = set(ids(ask(*options, "--include-seen", cwd=trained)))
    assert len(everything) == NUM_MOVIES
    assert set(ids(ask(*options, cwd=trained))) == everything - trained_on(model, 42)
    assert "there are 300 users, with ids from 1 to 300" in fail("recommend", "--user", 301, cwd=trained)


ORDERS = {
    "-a 0": "stars",
    "--like alien": "similar",
    "--like alien -g F": "picks",
    "--seen alien": "picks",
    "--ratings seen.csv": "picks",
    "--user 42 --like alien": "both",
    f"--ratings {MINE} --seen psycho": "both",
    "--like alien --with seen.csv": "picks",
    "-a 0 --with 7": "picks",
}


@pytest.mark.parametrize(("options", "by"), ORDERS.items())
def test_default_order(trained, tmp_path, options, by):
    """By stars, only movies with 50 ratings or more are listed by default."""
    (tmp_path / "seen.csv").write_text("title,year\nAlien,1979\nToy Story,1995\n")
    args = [str(tmp_path / word) if word == "seen.csv" else word for word in options.split()]
    found = ask(*args, "-k", NUM_MOVIES, cwd=trained)
    minimum = 50 if by == "stars" else 0
    assert found == ask(*args, "-k", NUM_MOVIES, "--by", by, "--min-ratings", minimum, cwd=trained)
    if by == "stars":
        assert min(row["ratings"] for row in found) >= 50
    else:
        assert min(row["ratings"] for row in found) < 50


def test_titles_that_do_not_match_one_movie(trained):
    near = fail("recommend", "--like", "grate escapade", cwd=trained)
    assert near.startswith("no movie is called 'grate escapade'; choose one by its id: ")
    assert "id:1262 The Great Escape (1963)" in near
    several = fail("recommend", "--seen", "toy story", "--like", "the", cwd=trained)
    assert several.startswith("several movies match 'the'; choose one by its id: id:")
    titled = re.search(r"(id:\d+) (.*?);", several)
    assert f"likes {titled[2]}" in succeed("recommend", "--like", titled[1], cwd=trained).stdout
    number = fail("recommend", "--like", 1214, cwd=trained)
    assert number.endswith("; an id is written id:1214")
    assert "likes Alien (1979)" in succeed("recommend", "--like", "id:1214", cwd=trained).stdout


def test_prediction_of_one_movie(trained, tmp_path, model):
    """Score and Pick are those of the list; Milvus and Paddle agree; the place is that on the list."""
    list_of_user = ask("--user", 42, "-k", NUM_MOVIES, cwd=trained)
    for row in (list_of_user[0], list_of_user[17]):
        stdout = succeed("recommend", "--user", 42, "--movie", row["movie_id"], cwd=trained).stdout
        assert f"\nScore   {row['score']:.2f} stars\nPick    {row['pick']:.2f}\nPlace   {row['top'] + 1:,} on" in stdout
        milvus, paddle = map(float, re.search(r"Milvus (-?[\d.]+), by Paddle (-?[\d.]+)$", stdout.strip()).groups())
        assert milvus == pytest.approx(paddle, abs=1e-4)
        assert "\nWhy     " in stdout
    folded = succeed("recommend", "--ratings", MINE, "--movie", "casablanca", cwd=trained).stdout
    milvus, paddle = map(float, re.search(r"Milvus (-?[\d.]+), by Paddle (-?[\d.]+)$", folded.strip()).groups())
    assert milvus == pytest.approx(paddle, abs=1e-4)
    ratings = model.ratings_of(42)
    for held_out, words in ((True, "a test row"), (False, "seen in training")):
        rating = ratings[ratings["held_out"] == held_out][0]
        stdout = succeed("recommend", "--user", 42, "--movie", rating["movie_id"], cwd=trained).stdout
        assert f"\nActual  {rating['rating']:g} ({words})\n" in stdout
    unrated = min(set(model.movies) - set(ratings["movie_id"].tolist()))
    succeed("recommend", "--user", 42, "--movie", unrated, "--output", tmp_path / "one.txt", cwd=trained)
    assert "\nActual  not rated\n" in (tmp_path / "one.txt").read_text("utf-8")
    assert "\nActual  not rated\n" in succeed("recommend", "--user", 42, "--movie", unrated, cwd=trained).stdout
    assert "Actual" not in succeed("recommend", "-g", "F", "--movie", unrated, cwd=trained).stdout
    assert "no movie has the id" in fail("recommend", "--movie", 9999, cwd=trained)


def test_table(trained):
    stdout = succeed("recommend", "--like", "toy story", "--why", "-k", 3, cwd=trained).stdout
    rows, person, heading, *lines = stdout.splitlines()
    assert rows == "rows in collection recommender_demo: 211"
    assert person == "recommended for: anyone, any age, any job; likes Toy Story (1995)"
    assert heading.split() == "Top Ids Title Score Pick Similar Ratings".split()
    expected = ask("--like", "toy story", "--why", "-k", 3, cwd=trained)
    shown = [re.match(r" {2}(\d) +(\d+)  \S.* (\d\.\d\d) +(-?\d\.\d\d) +(-?\d\.\d\d) +(\d+)$", line) for line in lines]
    assert [tuple(map(float, match.groups())) for match in shown if match] == [
        tuple(round(row[name], 2) for name in ("top", "movie_id", "score", "pick", "similar", "ratings"))
        for row in expected
    ]
    assert [line.strip() for line in lines if line.strip().startswith("Toy Story +")] == [
        row["why"] for row in expected
    ]


def test_formats_and_output(trained, tmp_path):
    options = ("--user", 42, "-k", 3, "--why")
    rows = ask(*options, cwd=trained)
    text = succeed("recommend", *options, "--format", "csv", cwd=trained).stdout
    table = list(csv.DictReader(text.splitlines()))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == table
    assert list(rows[0]) == "top movie_id title year genres score pick ratings why".split()
    for form in ("table", "json", "csv", "letterboxd"):
        printed = succeed("recommend", *options, "--format", form, cwd=trained).stdout
        file = tmp_path / form
        done = succeed("recommend", *options, "--format", form, "--output", file, cwd=trained)
        assert (done.stdout, file.read_text("utf-8")) == ("", printed)
    lines = (tmp_path / "letterboxd").read_text("utf-8").splitlines()
    assert lines[0] == "Title,Year"
    assert len(lines) == 4
    done = succeed("recommend", "--ratings", tmp_path / "letterboxd", cwd=trained)
    assert "letterboxd: 3 of 3 films matched" in done.stderr, "what is written can be read"


def test_what_cannot_be_written_or_read(trained, tmp_path):
    """One line; nothing is left behind."""
    (tmp_path / "a folder").mkdir()
    for args in (("--output",), ("--users", "all", "--output"), ("--ratings", MINE, "--matches")):
        for output, reason in (
            ("a folder", "Is a directory"),
            ("none/file", "No such file or directory"),
            ("/dev/full", "No space left on device"),
        ):
            path = output if output.startswith("/") else tmp_path / output
            assert fail("recommend", *args, path, cwd=trained) == f"{path}: cannot write it: {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["a folder"]
    for args in (("--ratings",), ("--among",), ("--with", 7, "--with"), ("--output", "-", "--users")):
        for path, reason in ((tmp_path / "none", "No such file or directory"),):
            assert fail("recommend", *args, path, cwd=trained).startswith(f"{path}: cannot read it: {reason}")


def test_next_page(trained):
    whole = ask("--user", 42, "-k", 20, cwd=trained)
    assert ask("--user", 42, "-k", 10, "--skip", 10, cwd=trained) == whole[10:]
    varied = ask("--user", 42, "-k", 20, "--variety", 0.5, cwd=trained)
    assert ask("--user", 42, "-k", 10, "--skip", 10, "--variety", 0.5, cwd=trained) == varied[10:]
    group = ask("--user", 42, "--with", 7, "-k", 20, cwd=trained)
    assert ask("--user", 42, "--with", 7, "-k", 10, "--skip", 10, cwd=trained) == group[10:]
    assert [row["top"] for row in whole] == list(range(20))


def test_films_that_must_not_be_listed(trained, tmp_path):
    """They say nothing about taste: what remains keeps its order."""
    everything = ask("--ratings", MINE, "-k", NUM_MOVIES, cwd=trained)
    (tmp_path / "no.txt").write_text("".join(f"{row['title']} ({row['year']})\n" for row in everything[1:9:2]), "utf-8")
    found = ask("--ratings", MINE, "-k", NUM_MOVIES, "--not-among", tmp_path / "no.txt", cwd=trained)
    assert ids(found) == [row["movie_id"] for row in everything if row not in everything[1:9:2]]


def test_shortfall(trained, tmp_path, model):
    """A short list comes with a note on what leaves movies out."""

    def said(*options):
        lines = succeed("recommend", *options, cwd=trained).stderr.splitlines()
        return [line for line in lines if line.startswith("Only ") or " got fewer " in line]

    assert said("--genre", "War", "--min-ratings", 0, "-k", 200) == [
        f"Only {len(ask('--genre', 'War', *EVERYTHING, cwd=trained))} of 200: no more movies match that were not seen."
    ]
    few = "min-ratings 0 adds those with fewer than 50 ratings."
    for person in ((), ("--user", 42, "--by", "stars")):
        popular = ask(*person, "-k", 300, cwd=trained)
        expected = f"Only {len(popular)} of 300: no more movies match that were not seen; {few}"
        assert said(*person, "-k", 300) == [expected]
        assert said(*person, "-k", len(popular)) == []
    years = sorted(movie.year for movie in model.movies.values())
    [line] = said("--year", 2050)
    assert f"; the catalogue has movies of {years[0]} to {years[-1]}; " in line
    (tmp_path / "users.txt").write_text("42\n7\n")
    many = ("--users", tmp_path / "users.txt", "--output", "-", "--by", "stars")
    assert said(*many) == []
    [line] = said(*many, "-k", 300)
    assert line.startswith("2 users got fewer than 300 movies")


def test_many_users_get_what_each_gets_alone(trained, tmp_path):
    succeed("recommend", "--users", "all", "-k", 7, "--output", tmp_path / "all.csv", cwd=trained)
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text("utf-8").splitlines()))
    assert len({row["user_id"] for row in rows}) == 300
    (tmp_path / "two.txt").write_bytes(b"\xef\xbb\xbf42\r\n\r\n 7\n42\n")
    done = succeed("recommend", "--users", tmp_path / "two.txt", "-k", 7, cwd=trained)
    assert "lists for 2 users, ordered by both\n" in done.stderr
    two = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["user_id"] for row in two] == ["42"] * 7 + ["7"] * 7
    for user in ("42", "7"):
        alone = ask("--user", user, "-k", 7, cwd=trained)
        for table in (rows, two):
            own = [row for row in table if row["user_id"] == user]
            assert [(row["movie_id"], row["pick"]) for row in own] == [
                (str(row["movie_id"]), str(row["pick"])) for row in alone
            ]
    before = (tmp_path / "all.csv").read_bytes()
    (tmp_path / "bad.txt").write_text("42\n999\n")
    bad = ("--users", tmp_path / "bad.txt", "--output", tmp_path / "all.csv")
    assert "no user 999" in fail("recommend", *bad, cwd=trained)
    assert (tmp_path / "all.csv").read_bytes() == before
    (tmp_path / "new.csv").write_text("user,title,rating\nann,Alien,5\nbob,Toy Story,4\nann,Aliens,4\n=cmd,Jaws,5\n")
    done = succeed("recommend", "--users", tmp_path / "new.csv", "--output", "-", "-k", 2, cwd=trained)
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == ["ann"] * 2 + ["bob"] * 2 + ["'=cmd"] * 2


# Something to watch together.


def test_what_is_printed_for_a_group(trained):
    stdout = succeed("recommend", "-g", "F", "--with", 7, "--with", MINE, "-k", 2, cwd=trained).stdout
    rows, *people, kind, columns, movie = stdout.splitlines()[:7]
    assert rows == "rows in collection recommender_demo: 211"
    assert [line.removeprefix("recommended for: ").partition(":")[0] for line in people] == ["you", "user 7", MINE.name]
    assert kind == "Pick of each:"
    assert re.fullmatch(r"Top +Ids  Title +you  user 7  my_ratings.c  Ratings", columns)
    assert re.match(r" +0 +\d+  \S.*( +-?\d\.\d\d){3} +[\d,]+$", movie)


def test_reasons_and_variety_for_a_group(trained):
    group = ("--user", 42, "--with", 7, "-k", 10)
    plain, why, varied = (ask(*group, *more, cwd=trained) for more in ((), ("--why",), ("--variety", 1)))
    assert ids(why) == ids(plain)
    assert ids(varied) != ids(plain)
    assert all(row["user 42: why"] and row["user 7: why"] for row in why)
    both = ("--why", "--variety", 1)
    assert ids(ask(*group, *both, cwd=trained)) == ids(varied)
    text = succeed("recommend", *group, "--why", cwd=trained).stdout
    assert re.search(r"^ +user 42: \S.* \+\d\.\d\d", text, re.MULTILINE)
    assert re.search(r"^ +user 7: \S.* \+\d\.\d\d", text, re.MULTILINE)


def test_files_of_one_name_are_told_apart(trained, tmp_path):
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        shutil.copy(MINE, tmp_path / person / "ratings.csv")
    both = [option for person in ("ann", "bob") for option in ("--with", tmp_path / person / "ratings.csv")]
    [row] = ask(*both, "-k", 1, cwd=trained)
    names = [column.removesuffix(": pick") for column in row if column.endswith(": pick")]
    assert len(set(names)) == 2
    assert all("ratings.csv" in name for name in names)


# Files of films.


def test_matches(trained, tmp_path):
    """Which movie each row became, in a CSV that is safe in a spreadsheet, also where the query fails."""
    (tmp_path / "mine.csv").write_text("Title,Year,Rating\nAlien,1979,5\n=HYPERLINK(1),2001,4\n@x,2001,3\n", "utf-8")
    succeed("recommend", "--ratings", tmp_path / "mine.csv", "--matches", tmp_path / "rows.csv", cwd=trained)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text("utf-8").splitlines()))
    assert list(rows[0]) == "file line film movie_id title stars note".split()
    assert [(row["line"], row["movie_id"], row["title"], row["stars"]) for row in rows] == [
        ("2", "1214", "Alien (1979)", "5"),
        ("3", "", "", "4"),
        ("4", "", "", "3"),
    ]
    assert [row["film"] for row in rows] == ["Alien (1979)", "'=HYPERLINK(1) (2001)", "'@x (2001)"]
    (tmp_path / "none.csv").write_text("Title,Year,Rating\nNo Such Film,2001,4\n")
    error = fail("recommend", "--ratings", tmp_path / "none.csv", "--matches", tmp_path / "rows.csv", cwd=trained)
    assert error.endswith("none of its films is in the catalogue; --matches FILE shows each row")
    assert "No Such Film" in (tmp_path / "rows.csv").read_text("utf-8")


def test_escape_sequences_do_not_reach_the_terminal(trained, tmp_path):
    """Of file names, which anyone may have chosen, and of titles; and an error stays one line."""
    evil = tmp_path / "a\x1b[31mb\nc.csv"
    evil.write_text("Title,Year,Rating\nAlien,1979,5\nNo\x1b[2J Such,2001,4\n", "utf-8")
    missing = tmp_path / "x\x1b[31my\nz.csv"
    for args, code in ((("--ratings", evil), 0), (("--ratings", missing), 1), (("--user", 42, "--with", evil), 0)):
        done = run("recommend", *args, cwd=trained)
        assert done.returncode == code, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "\nc.csv" not in done.stdout + done.stderr
        assert "\nz.csv" not in done.stderr


def test_watchlist_is_the_whole_list_restricted(trained):
    everything = ask("--user", 42, "--include-seen", "-k", NUM_MOVIES, cwd=trained)
    among = ask("--user", 42, "--include-seen", "-k", NUM_MOVIES, "--among", SAMPLE / "watchlist.csv", cwd=trained)
    names = [row["Name"] for row in csv.DictReader((SAMPLE / "watchlist.csv").open(encoding="utf-8"))]
    assert ids(among) == [row["movie_id"] for row in everything if row["title"] in names]
    assert 5 < len(among) <= len(names)


# Wrong usage.


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("-a 200", "age=200: it must be a whole number from 7 to 120"),
        ("-a teen", "age='teen': choose one of: 0 under 18, 1 18-24"),
        ("-g x", "gender='x': choose one of: 0 male, 1 female"),
        ("-j -1", "job='-1': choose one of: 0 other"),
        ("-j student", "job='student': choose one of: 4 college/grad student, 10 K-12 student"),
        ("-k 0", "k='0': it must be a whole number from 1 to 16384"),
        ("-k many", "k='many': it must be a whole number from 1 to 16384"),
        ("--skip -1", "skip='-1': it must be a whole number from 0"),
        ("--variety 1.5", "variety='1.5': it must be a number from 0 to 1"),
        ("--novelty nan", "novelty='nan': it must be a number from 0 to 1"),
        ("--by pick", "--by: invalid choice: 'pick'"),
        ("--year 1999-1990", "year='1999-1990': it must be a span of years: 1994, 1990-1999, 1990- or -1960"),
        ("--year 20x0", "year='20x0': it must be a span of years"),
        ("--min-ratings 5 --max-ratings 4", "min_ratings is above max_ratings"),
        ("--max-ratings 101%", "max_ratings='101': it must be a whole number from 0 to 100"),
        ("--rating x.csv", "there is no option --rating; did you mean --ratings?"),
        ("--topk 3", "there is no option --topk; did you mean --top-k?"),
        ("--no-such-thing", "there is no option --no-such-thing"),
        ("alien", "there is no argument alien"),
        ("--user 1 -a 2", "user has their own age, gender, job and ratings"),
        ("--user 1 --ratings x.csv", "user has their own age, gender, job and ratings"),
        ("--users all --output x --like alien", "--users writes a list for each of many; leave out"),
        ("--users all --output x --with 7", "argument --with: not allowed with argument --users"),
        ("--movie 3 --with 7", "argument --with: not allowed with argument --movie"),
        ("--movie 3 --format json", "--movie has one format; leave out --format"),
        ("--users all --format json", "--users writes a CSV, and"),
        ("--with 7", "--with is for several; name each once, and say who you are"),
        ("--user 7 --with 7", "--with is for several; name each once"),
        ("--user 7 --with 8 --with 8", "--with is for several; name each once"),
        ("--ratings - --among -", "standard input (-) can be read once"),
        ("--like alien --seen id:1214", "like and seen both name id:1214; name it once"),
        ("--output movies_data.txt", "--output movies_data.txt would overwrite movies_data.txt"),
        ("--ratings mine.csv --matches mine.csv", "--matches mine.csv would overwrite mine.csv"),
    ],
)
def test_wrong_usage(trained, options, error):
    assert error in fail("recommend", *options.split(), cwd=trained, code=2)


def test_wrong_usage_of_the_other_steps(trained):
    for command, options, error in (
        ("train", "--epochs 0", "--epochs: it must be from 1 to 10,000"),
        ("train", "--learning-rate nan", "--learning-rate: it must be from 1e-09 to 10"),
        ("train", "--seed -1", "--seed: it must be from 0 to 2,147,483,647"),
        ("train", "--device tpu", "invalid choice: 'tpu'"),
        ("encode", "-f movies_data.txt", "-f movies_data.txt would overwrite"),
        ("encode", "--output x", "there is no option --output"),
    ):
        assert error in fail(command, *options.split(), cwd=trained, code=2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--genre nonsense", "no genre 'nonsense'; choose one of: Action, Adventure"),
        ("--user 42 --with 301", "no user 301 in the training data"),
        ("--uri http://127.0.0.1:1", "http://127.0.0.1:1: cannot connect: no server answers there"),
        ("--uri http://127.0.0.1:99999", "http://127.0.0.1:99999"),
        ("--uri none.db", "none.db: there are no movies here yet; run: python infer_milvus.py -i"),
        ("--why", "why: nothing that is known of the user determines the order by stars"),
    ],
)
def test_what_is_not_there(trained, options, error):
    code = 2 if options == "--why" else 1
    assert error in fail("recommend", *options.split(), cwd=trained, code=code)


def test_environment_stands_for_options(trained):
    address = {"RECOMMENDER_MILVUS_URI": "http://127.0.0.1:1", "RECOMMENDER_MILVUS_TOKEN": "root:secret"}
    error = fail("recommend", cwd=trained, **address)
    assert error.startswith("http://127.0.0.1:1: cannot connect: no server answers there")
    assert "secret" not in error
    assert json.loads(
        succeed("recommend", "--uri", "recommender_demo.db", "--format", "json", cwd=trained, **address).stdout
    )
