import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, SAMPLE, fail, run_script, start_script, succeed

import get_movies_data
import infer_milvus
import train
from recommender.cli.arguments import MODEL_FOLDER
from recommender.data.features import anonymous_row, encode_movies, read_movies_data
from recommender.evaluation.metrics import exact_top_k
from recommender.inference.model_folder import load_model
from recommender.training.two_tower import embed_movies

NUM_MOVIES = 211


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the folder after the three commands, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def parse_table(stdout, *extra):
    """Returns id, title and score of each row, and what is in extra columns."""
    header, *rows = stdout[stdout.index("Top") :].splitlines()
    assert header.split() == ["Top", "Ids", "Title", "Score", *extra]
    cells = [[cell.strip() for cell in row.split("\t")] for row in rows]
    assert [int(top) for top, *_ in cells] == list(range(len(cells)))
    return [(int(movie_id), title, float(score), *more) for _, movie_id, title, score, *more in cells]


def test_three_commands_recommend_what_exact_search_finds(served):
    folder, environment = served
    model = load_model(folder / MODEL_FOLDER)
    movies = read_movies_data(folder / "movies_data.txt", model.vocabularies)
    vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(movies, model.vocabularies))
    for (age, gender, job), k in (((0, 1, 10), 5), ((6, 0, 16), 12)):
        done = succeed(
            "infer_milvus.py",
            "-a",
            age,
            "-g",
            gender,
            "-j",
            job,
            "-k",
            k,
            "--min-ratings",
            0,
            cwd=folder,
            **environment,
        )
        assert "rows in collection recommender_demo: 211\n" in done.stdout
        user = model.arrays.user_vectors[[anonymous_row(1 + gender, 1 + age, 1 + job)]]
        rows, products = exact_top_k(user, vectors, k)
        table = parse_table(done.stdout)
        assert [movie_id for movie_id, *_ in table] == [movies[row].movie_id for row in rows[0]]
        assert [title for _, title, _ in table] == [movies[row].name for row in rows[0]]
        np.testing.assert_allclose([score for _, _, score in table], 5 * products[0], atol=1e-4)


@pytest.mark.parametrize(
    "person", ["-a 25-34 -g F -j programmer", "-a 25 -g Female -j prog", "-a 2 -g 1 -j 12", "-a 30 -g f -j PROGRAMMER"]
)
def test_labels_mean_the_same_as_numbers(person):
    args = infer_milvus.parse_args(person.split())
    assert (args.age, args.gender, args.job) == (2, 1, 12)


@pytest.mark.parametrize(
    ("text", "age"), [("0", 0), ("6", 6), ("7", 0), ("17", 0), ("18", 1), ("26", 2), ("55", 5), ("56", 6), ("120", 6)]
)
def test_ages_in_years(text, age):
    assert infer_milvus.parse_args(["-a", text]).age == age


def test_jobs_by_a_word():
    assert infer_milvus.parse_args(["-j", "grad student"]).job == 4
    assert infer_milvus.parse_args(["-j", "engineer"]).job == 17


def test_different_people_get_different_films(trained):
    """Each is told how they were understood."""
    people = {
        "female, under 18, K-12 student": ("-a", 0, "-g", 1, "-j", 10),
        "male, 25-34, programmer": ("-a", 30, "-g", "M", "-j", "prog"),
    }
    answers = [succeed("infer_milvus.py", *person, cwd=trained).stdout for person in people.values()]
    assert all(f"recommended for: {name}\n" in answer for name, answer in zip(people, answers, strict=True))
    assert parse_table(answers[0]) != parse_table(answers[1])


def test_help_teaches(capsys):
    for script in (train, get_movies_data, infer_milvus):
        with pytest.raises(SystemExit, match="0"):
            script.main(["--help"])
        text = capsys.readouterr().out
        assert f"python {script.__name__}.py" in text
    for label in ("25-34", "female", "K-12 student"):
        assert label in text


USAGE_ERRORS = [
    (infer_milvus, "-a x", "no age 'x'; choose one of: 0 under 18, 1 18-24"),
    (infer_milvus, "-a 0-g 1-j 10", "no age '0-g'; a blank is missing before -g"),
    (infer_milvus, "-g x", "no gender 'x'; choose one of: 0 male, 1 female"),
    (infer_milvus, "-j astronaut", "no job 'astronaut'; choose one of: 0 other"),
    (
        infer_milvus,
        "-j student",
        "more than one job fits 'student'; choose one of: 4 college/grad student, 10 K-12 student\n",
    ),
    (infer_milvus, "-j a", "more than one job fits 'a'; choose one of: 1 academic/educator, 2 artist"),
    (infer_milvus, "-k 0", "is not a whole number from 1 to 16384"),
    (infer_milvus, "-k many", "is not a whole number from 1 to 16384"),
    (infer_milvus, "--no-such-option", "unrecognized arguments"),
    (infer_milvus, "--user 1 -a 2", "bring their own age"),
    (infer_milvus, "--user 1 --users all --output x", "give one of them"),
    (infer_milvus, "--users all", "--users and --output go together"),
    (infer_milvus, "--output x", "--users and --output go together"),
    (infer_milvus, "--users all --output x --like 3", "leave out --movie, --like"),
    (infer_milvus, "--movie 3 --genre War", "--movie predicts one rating"),
    (infer_milvus, "--include-seen", "--include-seen is about"),
    (infer_milvus, "--uri https://x --tls-ca none.pem", "--tls-ca: there is no file none.pem"),
    (infer_milvus, "--uri http://x --tls-ca README.md", "begins with https://"),
    (infer_milvus, "--index hnsw", "--index chooses how -i builds"),
    (infer_milvus, "-i --index best", "invalid choice: 'BEST'"),
    (infer_milvus, "--user none", "'none' is not a whole number from 1"),
    (infer_milvus, "--min-ratings -1", "not a whole number from 0"),
    (infer_milvus, "--year 1999-1990", "not a span of years"),
    (infer_milvus, "--year -", "not a span of years"),
    (infer_milvus, "--year 90s", "not a span of years"),
    (train, "--epochs 0", "'0' is not a whole number from 1 to 2147483647"),
    (train, "--learning-rate 0", "'0' is not a number from 1e-06 to 10"),
    (train, "--learning-rate nan", "'nan' is not a number from 1e-06 to 10"),
    (train, "--device tpu", "choose from"),
    (get_movies_data, "", "required: -f/--file"),
]


@pytest.mark.parametrize(("script", "args", "message"), USAGE_ERRORS)
def test_wrong_usage_exits_with_2(script, args, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(args.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "years"),
    [("1994", (1994, 1994)), ("1990-1999", (1990, 1999)), ("1990-", (1990, None)), ("-1960", (None, 1960))],
)
def test_years(text, years):
    assert infer_milvus.parse_args([f"--year={text}"]).year == years


def test_steps_in_the_wrong_order_name_the_right_one(trained, tmp_path):
    """With the paths of the call; following what is said leads to an answer."""
    (tmp_path / "movies.dat").symlink_to(SAMPLE / "movies.dat")
    query = ("infer_milvus.py", "--model", "my model", "--movies-data", "my.txt", "--uri", "my.db")
    assert fail(*query, cwd=tmp_path).endswith("; run: python train.py --output 'my model'")
    encode = ("get_movies_data.py", "-f", "movies.dat", "--model", "my model", "--output", "my.txt")
    assert fail(*encode, cwd=tmp_path).endswith("; run: python train.py --output 'my model'")
    shutil.copytree(trained / MODEL_FOLDER, tmp_path / "my model")
    index = "python infer_milvus.py -i --model 'my model' --movies-data my.txt --uri my.db"
    assert fail(*query, cwd=tmp_path).endswith(f"my.db: there are no movies here yet; run: {index}")
    remedy = "python get_movies_data.py -f movies_origin.txt --model 'my model' --output my.txt"
    assert fail(*query, "-i", cwd=tmp_path).endswith(f"; run: {remedy}")
    succeed(*encode, cwd=tmp_path)
    succeed(*query, "-i", cwd=tmp_path)
    succeed(*query, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movies.dat", "my model", "my.db", "my.txt"]


def test_known_user_does_not_get_what_they_rated(served):
    folder, environment = served
    ratings = load_model(folder / MODEL_FOLDER).ratings_of(42)
    trained_on = set(ratings["movie_id"][~ratings["held_out"]].tolist())
    assert trained_on
    assert ratings["held_out"].any()
    args = ("infer_milvus.py", "--user", 42, "-k", NUM_MOVIES, "--by", "stars", "--min-ratings", 0)
    everything, unseen = (
        {movie_id for movie_id, *_ in parse_table(succeed(*args, *more, cwd=folder, **environment).stdout)}
        for more in (["--include-seen"], [])
    )
    assert len(everything) == NUM_MOVIES
    assert unseen == everything - trained_on


def test_known_user_is_not_an_anonymous_one(trained):
    model = load_model(trained / MODEL_FOLDER)
    _, gender, age, job = model.arrays.people[model.person_row(42)] - 1
    stars = ("--by", "stars")
    known = succeed("infer_milvus.py", "--user", 42, "--include-seen", *stars, cwd=trained).stdout
    anonymous = succeed("infer_milvus.py", "-a", age, "-g", gender, "-j", job, cwd=trained).stdout
    assert parse_table(known) != parse_table(anonymous)
    assert "300 users, with ids from 1 to 300" in fail("infer_milvus.py", "--user", 301, cwd=trained)


def test_order_and_columns_follow_from_what_is_known(served):
    """Of somebody described: the original's four columns; where films are known: both, with the pick beside."""
    folder, environment = served

    def ask(*args):
        return succeed("infer_milvus.py", *args, cwd=folder, **environment).stdout

    described, liking = ("-a", 0, "-g", 1), ("-a", 0, "-g", 1, "--like", "alien")
    assert ask(*described) == ask(*described, "--by", "stars")
    assert ask("--user", 42) == ask("--user", 42, "--by", "both")
    stars = parse_table(ask(*liking, "--by", "stars", "-k", 9))
    picks = parse_table(ask(*liking, "--by", "picks", "-k", 9), "Pick")
    liked = ask(*liking, "-k", 9)
    both = parse_table(liked, "Pick")
    assert [score for _, _, score in stars] == sorted((score for _, _, score in stars), reverse=True)
    assert [pick for *_, pick in picks] == sorted((pick for *_, pick in picks), key=float, reverse=True)
    sums = [0.2 * score + float(pick) for _, _, score, pick in both]
    assert sums == pytest.approx(sorted(sums, reverse=True), abs=1e-3)
    assert "Alien" not in {title for _, title, *_ in [*stars, *picks, *both]}
    assert "; likes Alien (1979)\n" in liked
    assert "; knows Psycho (1960)\n" in ask(*described, "--seen", "psycho (1960)")


def test_why(served):
    folder, environment = served
    asked = ("infer_milvus.py", "--like", "alien", "--like", "blade runner", "--why", "-k", 3)
    for row in parse_table(succeed(*asked, cwd=folder, **environment).stdout, "Pick", "Why"):
        assert re.fullmatch(r"((Alien|Blade Runner) \+\d\.\d\d(, )?)*", row[-1]), row
    described = ("infer_milvus.py", "-a", 0, "-g", 1, "--why", "--format", "json")
    for row in json.loads(succeed(*described, cwd=folder, **environment).stdout):
        assert re.fullmatch(r"(under 18|female) [+-]\d\.\d\d, (under 18|female) [+-]\d\.\d\d", row["why"]), row


def test_paddle_and_milvus_predict_the_same(served):
    """The example of the README: what user 1 gave, or will give, the Hunchback of Notre Dame."""
    folder, environment = served
    stdout = succeed("infer_milvus.py", "--user", 1, "--movie", 783, cwd=folder, **environment).stdout
    milvus, paddle = (float(re.search(rf"{name}\t+([\d.]+)", stdout)[1]) for name in ("through Milvus", "by Paddle"))
    assert milvus == pytest.approx(paddle, abs=1e-4)
    assert re.search(r"actual\t+4 \((seen in training|a test row)\)", stdout)
    rated = load_model(folder / MODEL_FOLDER).ratings_of(42)["movie_id"].tolist()
    unrated = next(movie_id for movie_id in (1, 260, 783, 1214, 2010, 4001, 4002) if movie_id not in rated)
    asked = ("infer_milvus.py", "--user", 42, "--movie", unrated)
    assert "not rated" in succeed(*asked, cwd=folder, **environment).stdout
    assert "no movie has the id 9999" in fail("infer_milvus.py", "--movie", 9999, cwd=folder, **environment)


def test_titles_that_are_not_understood(served):
    folder, environment = served
    near = fail("infer_milvus.py", "--like", "grate escapade", cwd=folder, **environment)
    assert "no movie is called 'grate escapade'; choose by id: " in near
    assert "Great Escape, The (1963)" in near
    several = fail("infer_milvus.py", "--seen", "toy story", "--like", "the", cwd=folder, **environment)
    assert "more than one movie fits 'the'; choose by id: id:" in several


def test_filters_and_formats(served):
    folder, environment = served
    args = ("infer_milvus.py", "--genre", "war", "--genre", "Western", "--year", "-1969", "--min-ratings", 60)
    rows = json.loads(succeed(*args, "--format", "json", cwd=folder, **environment).stdout)
    assert rows
    for row in rows:
        assert set(row["genres"].split("|")) & {"War", "Western"}
        assert row["year"] <= 1969
        assert row["num_ratings"] >= 60
    table = list(csv.DictReader(succeed(*args, "--format", "csv", cwd=folder, **environment).stdout.splitlines()))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == table
    few = succeed("infer_milvus.py", "--genre", "War", "--min-ratings", 0, "-k", 200, cwd=folder, **environment)
    assert re.search(r"^Only \d+ of 200: no more movies fit\.$", few.stderr, re.MULTILINE)
    assert "choose one of: Action, Adventure" in fail("infer_milvus.py", "--genre", "War%", cwd=folder, **environment)


def test_films_of_ones_own_can_be_asked_for(folder):
    """A genre that training has not seen; the popularity floor says that it hides them."""
    origin = folder / "movies_origin.txt"
    own = "9001::Neuromancer (2031)::Cyberpunk\n9002::Case (1999)::cyberpunk|drama\n"
    origin.write_text(origin.read_text("utf-8") + own, "utf-8")
    said = succeed("get_movies_data.py", "-f", origin, cwd=folder).stdout
    assert "Training has not seen 2 title words and 2 genres of them." in said
    succeed("infer_milvus.py", "-i", cwd=folder)
    empty = succeed("infer_milvus.py", "--genre", "Cyberpunk", cwd=folder)
    assert "2 more movies would fit with fewer than 50 ratings; try --min-ratings 0" in empty.stderr
    table = parse_table(succeed("infer_milvus.py", "--genre", "cyberPunk", "--min-ratings", 0, cwd=folder).stdout)
    assert {movie_id for movie_id, *_ in table} == {9001, 9002}
    liked = succeed("infer_milvus.py", "--like", "case", "--by", "picks", cwd=folder).stdout
    assert "likes Case (1999)\n" in liked
    nobody = succeed("infer_milvus.py", "--by", "picks", cwd=folder).stdout
    picks = ({row[0]: row[-1] for row in parse_table(stdout, "Pick")} for stdout in (liked, nobody))
    assert next(picks) != next(picks), "its genre says what else is liked by who likes it"
    dramas = succeed("infer_milvus.py", "--genre", "Drama", "--min-ratings", 0, "-k", 300, cwd=folder).stdout
    assert 9002 in {movie_id for movie_id, _, _ in parse_table(dramas)}
    assert len(parse_table(dramas)) > 20


def test_everyone_at_once_gets_what_each_gets_alone(served, tmp_path):
    folder, environment = served
    everyone = ("infer_milvus.py", "--users", "all", "-k", 7, "--output")
    succeed(*everyone, tmp_path / "all.csv", cwd=folder, **environment)
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text("utf-8").splitlines()))
    assert len({row["user_id"] for row in rows}) == 300
    (tmp_path / "two.txt").write_bytes(b"\xef\xbb\xbf42\r\n\r\n 7\n42\n")
    done = succeed(
        "infer_milvus.py", "--users", tmp_path / "two.txt", "-k", 7, "--output", "-", cwd=folder, **environment
    )
    assert "recommendations for 2 users written to -" in done.stderr
    two = list(csv.DictReader(done.stdout.splitlines()[1:]))
    for user in ("42", "7"):
        alone = succeed("infer_milvus.py", "--user", user, "-k", 7, "--format", "csv", cwd=folder, **environment).stdout
        for table in (rows, two):
            mine = [row for row in table if row["user_id"] == user]
            for row, expected in zip(mine, csv.DictReader(alone.splitlines()), strict=True):
                assert row.items() - {("user_id", user)} <= expected.items()
    (tmp_path / "bad.txt").write_text("999\n")
    bad = ("infer_milvus.py", "--users", tmp_path / "bad.txt", "--output", tmp_path / "all.csv")
    assert "no user 999" in fail(*bad, cwd=folder, **environment)
    assert len((tmp_path / "all.csv").read_text("utf-8").splitlines()) == 1 + len(rows)


def test_new_model_asks_for_a_new_index(folder):
    succeed("train.py", "--data-dir", SAMPLE, "--epochs", 1, "--batch-size", 1000, "--seed", 5, cwd=folder)
    assert fail("infer_milvus.py", cwd=folder).endswith("another model; run: python infer_milvus.py -i")
    succeed("infer_milvus.py", "-i", cwd=folder)


def test_latin_1_and_utf_8_catalogues_give_the_same_file(folder):
    first = (folder / "movies_data.txt").read_bytes()
    succeed("get_movies_data.py", "-f", SAMPLE / "movies.dat", cwd=folder)
    assert (folder / "movies_data.txt").read_bytes() == first


def test_broken_catalogue_leaves_the_old_file(folder):
    first = (folder / "movies_data.txt").read_bytes()
    (folder / "bad.txt").write_text("1::Fine (1990)::Drama\n2::No genres\n")
    assert "bad.txt, line 2: 2 fields instead of 3" in fail("get_movies_data.py", "-f", "bad.txt", cwd=folder)
    assert "train.py writes movies_origin.txt" in fail("get_movies_data.py", "-f", "none.txt", cwd=folder)
    assert (folder / "movies_data.txt").read_bytes() == first


def test_catalogue_of_other_movies_is_refused(folder):
    """Ids that mean other films, as those of another data set do; a corrected title is fine."""
    lines = (folder / "movies_origin.txt").read_text("utf-8").splitlines()
    (folder / "one.txt").write_text("\n".join(["1::Toys Story (1995)::Comedy", *lines[1:]]), "utf-8")
    done = succeed("get_movies_data.py", "-f", "one.txt", "--output", "one", cwd=folder)
    assert "1 movie not called what training called them: 1 Toys Story (1995), was Toy Story (1995)" in done.stdout
    ids, titles = [line.split("::")[0] for line in lines], [line.split("::", 1)[1] for line in lines]
    shifted = [f"{movie_id}::{title}" for movie_id, title in zip(ids, titles[1:], strict=False)]
    (folder / "other.txt").write_text("\n".join(shifted), "utf-8")
    error = fail("get_movies_data.py", "-f", "other.txt", "--output", "other", cwd=folder)
    assert "these are not the movies of this model; 210 of the 210 movies" in error
    assert not (folder / "other").exists()


def test_training_does_not_overwrite_movies_of_ones_own(folder, tmp_path, monkeypatch, capsys):
    """Said before training, with the way out; what train.py wrote itself may go."""
    origin = folder / "movies_origin.txt"
    again = ("--data-dir", str(SAMPLE), "--epochs", "1")
    monkeypatch.chdir(folder)
    edited = origin.read_text("utf-8") + "9001::Neuromancer (2031)::Sci-Fi\n"
    origin.write_text(edited, "utf-8")
    fingerprint = load_model(folder / MODEL_FOLDER).fingerprint
    for args in ((), ("--output", "other.model")):
        assert train.main([*again, *args]) == 1
        said = capsys.readouterr()
        assert "would be overwritten; write to another file: --movies-origin FILE" in said.err
        assert "epoch" not in said.out
    assert origin.read_text("utf-8") == edited
    assert load_model(folder / MODEL_FOLDER).fingerprint == fingerprint
    done = succeed("train.py", *again, "--movies-origin", "fresh.txt", cwd=folder)
    assert done.stdout.endswith("Next: python get_movies_data.py -f fresh.txt\n")
    assert origin.read_text("utf-8") == edited
    for name in ("users.dat", "ratings.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    (tmp_path / "movies.dat").write_bytes((SAMPLE / "movies.dat").read_bytes() + b"9001::Neuromancer (2031)::Sci-Fi\n")
    shutil.copy(folder / "fresh.txt", origin)
    succeed("train.py", "--data-dir", tmp_path, "--epochs", 1, "--batch-size", 1000, cwd=folder)
    assert origin.read_text("utf-8") == edited, "the file was as the last training had left it"


def test_what_cannot_be_written_is_said_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").touch()
    for args, message in (
        (("--output", "letters"), "not a model folder"),
        (("--output", "/proc/model"), "/proc/model: cannot write it"),
        (("--movies-origin", "/proc/movies"), "/proc/movies: cannot write it"),
        (("--movies-origin", "letters"), "letters: cannot write it: Is a directory"),
        (("--movies-origin", "none/movies"), "none/movies: cannot write it: No such file"),
    ):
        assert train.main(["--data-dir", str(SAMPLE), *args]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert message in said.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letters", "to-mum.txt"]


def test_trains_into_the_current_folder_without_a_home(tmp_path):
    """Paddle makes folders at home, Matplotlib too; there is none in some containers."""
    (tmp_path / "here").mkdir()
    args = ("--epochs", 1, "--batch-size", 1000, "--output", ".", "--movies-origin", "../movies.txt")
    done = run_script("train.py", "--data-dir", SAMPLE, *args, cwd=tmp_path / "here", HOME="/dev/null")
    assert done.returncode == 0, done.stderr
    assert "Next: python get_movies_data.py -f ../movies.txt --model .\n" in done.stdout
    assert all(line.startswith("warning: it is no better") for line in done.stderr.splitlines())
    load_model(tmp_path / "here")


def test_two_trainings_into_one_folder(tmp_path):
    """Each ends well, and what is left is the model of one of them."""
    both = [
        start_script(
            "train.py", "--data-dir", SAMPLE, "--epochs", 1, "--batch-size", 1000, "--seed", seed, cwd=tmp_path
        )
        for seed in (1, 2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    fingerprints = [re.search(r"^Model (\w+) written", stdout, re.MULTILINE)[1] for stdout, _ in said]
    model = load_model(tmp_path / MODEL_FOLDER)
    assert model.fingerprint in fingerprints
    assert model.manifest["config"]["seed"] == 1 + fingerprints.index(model.fingerprint)


def test_folder_in_place_of_a_file(folder):
    (folder / "all.csv").mkdir()
    for command in (("get_movies_data.py", "-f", "movies_origin.txt"), ("infer_milvus.py", "--users", "all")):
        assert "all.csv: cannot write it: Is a directory" in fail(*command, "--output", "all.csv", cwd=folder)


def test_reader_that_has_seen_enough(trained):
    process = start_script("infer_milvus.py", "-k", 200, "--min-ratings", 0, cwd=trained)
    process.stdout.close()
    assert "error" not in process.stderr.read()
    assert process.wait(timeout=60) == 1
    process.stderr.close()


def test_same_seed_gives_the_same_model(trained, tmp_path):
    args = ("--data-dir", SAMPLE, "--num_epochs", 3, "--use_gpu", 0, "--output", "again")
    succeed("train.py", *args, cwd=tmp_path)
    assert load_model(tmp_path / "again").fingerprint == load_model(trained / MODEL_FOLDER).fingerprint


def test_train_says_what_it_did(trained):
    stdout = (trained / "train.stdout").read_text()
    numbers = re.findall(r"[\d,]+\d", stdout.splitlines()[0])
    teach, batch, choose, test = (int(number.replace(",", "")) for number in numbers)
    assert teach + choose + test == len((SAMPLE / "ratings.dat").read_bytes().splitlines())
    assert batch == -(-teach // 200)
    assert re.search(r"epoch 2: train loss [\d.]+, validation RMSE [\d.]+, MAE [\d.]+ stars", stdout)
    kept = r"^Kept: epoch \d of 3, (as many as asked for|the last 2 brought nothing better)\.$"
    assert re.search(kept, stdout, re.MULTILINE)
    rating_rows = ("global mean", "movie mean", r"user \+ movie bias", "this model")
    ranking_rows = ("most popular", "this model by stars", "this model by picks", "this model by both")
    for name in (*rating_rows, *ranking_rows):
        assert re.search(rf"^{name} +\d\.\d{{4}} +\d\.\d{{4}}$", stdout, re.MULTILINE)
    metrics = load_model(trained / MODEL_FOLDER).manifest["metrics"]
    for metric in (metrics["test_ndcg"], metrics["test_recall"]):
        assert metric.keys() == {"most popular", "stars", "picks", "both"}
        assert metric["most popular"] < metric["picks"] < 1
        assert metric["stars"] < metric["both"]


def test_train_without_data_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--data-dir", "."]) == 1
    assert "--data-dir takes a folder" in capsys.readouterr().err
    assert not (tmp_path / MODEL_FOLDER).exists()


@pytest.mark.server
def test_several_processes_without_data_end(tmp_path):
    """The others do not wait for ever for what the first one cannot download."""
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", PROJECT / "train.py"]
    environment = {**os.environ, **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert "cannot download ml-1m.zip" in (tmp_path / "log" / "workerlog.0").read_text()


def test_gpu_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--data-dir", str(SAMPLE), "--use_gpu", "1"]) == 1
    assert "no GPU support" in capsys.readouterr().err


def test_kill_while_indexing_keeps_the_old_collection(folder):
    expected = succeed("infer_milvus.py", cwd=folder).stdout
    indexing = start_script("infer_milvus.py", "-i", cwd=folder)
    assert any(line.startswith("Milvus Lite opened.") for line in indexing.stderr)
    indexing.kill()
    indexing.communicate()
    assert succeed("infer_milvus.py", cwd=folder).stdout == expected


HOLD = """
from recommender.index.connection import Milvus
with Milvus("recommender_demo.db"):
    print(1, flush=True)
    input()
"""


def test_two_processes_on_one_lite_folder(folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "1\n"
    assert "another process has it open" in fail("infer_milvus.py", cwd=folder)
    holder.communicate("\n", timeout=30)
    succeed("infer_milvus.py", cwd=folder)


def test_environment_that_upsets_pymilvus(folder):
    (folder / ".env").write_text("MILVUS_URI=./somewhere.db\n")
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    own = {"RECOMMENDER_MILVUS_TLS_CA": "/none.pem", "RECOMMENDER_MILVUS_TOKEN": "root:secret"}
    succeed("infer_milvus.py", cwd=folder, MILVUS_URI="./other.db", **proxy, **own)


def test_uri_and_token_come_from_the_environment(folder):
    address = {"RECOMMENDER_MILVUS_URI": "http://127.0.0.1:1", "RECOMMENDER_MILVUS_TOKEN": "root:secret"}
    error = fail("infer_milvus.py", cwd=folder, **address)
    assert "http://127.0.0.1:1" in error
    assert "secret" not in error


def test_train_on_next_to_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("users.dat", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    for ratings in ("1::1::5::0\n", "1::1::5::0\n1::783::3::0\n2::1::4::0\n"):
        (tmp_path / "ratings.dat").write_text(ratings)
        assert train.main(["--data-dir", "."]) == 1
        assert "too few ratings" in capsys.readouterr().err
    assert not (tmp_path / MODEL_FOLDER).exists()


@pytest.mark.parametrize("uri", ["http://[", "http://localhost:99999", "abc://x", "", "/proc/movies.db"])
def test_impossible_uri(trained, uri):
    assert uri in fail("infer_milvus.py", "--uri", uri, cwd=trained)
