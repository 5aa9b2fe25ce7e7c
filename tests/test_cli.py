import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, SAMPLE, fail, start_script, succeed

import get_movies_data
import infer_milvus
import train
from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.evaluation import exact_top_k
from recommender.features import anonymous_row, encode_movies, read_movies_data
from recommender.movielens import DataError
from recommender.training import embed_movies


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the folder after the three commands, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def parse_table(stdout):
    header, *rows = stdout[stdout.index("Top") :].splitlines()
    assert header.split() == ["Top", "Ids", "Title", "Score"]
    cells = [[cell.strip() for cell in row.split("\t")] for row in rows]
    assert [int(top) for top, *_ in cells] == list(range(len(cells)))
    return [(int(movie_id), title, float(score)) for _, movie_id, title, score in cells]


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
        assert "rows in collection recommender_demo: 210\n" in done.stdout
        user = model.user_vectors[[anonymous_row(1 + gender, 1 + age, 1 + job)]]
        rows, products = exact_top_k(user, vectors, k)
        table = parse_table(done.stdout)
        assert [movie_id for movie_id, _, _ in table] == [movies[row].movie_id for row in rows[0]]
        assert [title for _, title, _ in table] == [movies[row].name for row in rows[0]]
        np.testing.assert_allclose([score for _, _, score in table], 5 * products[0], atol=1e-4)


def test_labels_mean_the_same_as_numbers(trained):
    asked = (
        ("-a", "25-34", "-g", "F", "-j", "programmer"),
        ("-a", 25, "-g", "Female", "-j", "prog"),
        ("-a", 2, "-g", 1, "-j", 12),
    )
    by_label, by_beginning, by_number = (succeed("infer_milvus.py", *args, cwd=trained).stdout for args in asked)
    assert by_label == by_beginning == by_number
    assert "female, 25-34, programmer" in by_label


def test_different_people_get_different_films(trained):
    people = [("-a", 0, "-g", 1, "-j", 10), ("-a", 6, "-g", 0, "-j", 16), ("-a", 1, "-g", 0, "-j", 18), ()]
    lists = [parse_table(succeed("infer_milvus.py", *person, cwd=trained).stdout) for person in people]
    assert len({tuple(movie_id for movie_id, _, _ in one) for one in lists}) == len(people)


def test_help_teaches(trained):
    for script in ("train.py", "get_movies_data.py", "infer_milvus.py"):
        text = succeed(script, "--help", cwd=trained).stdout
        assert f"python {script}" in text
    for label in ("25-34", "female", "K-12 student"):
        assert label in text


USAGE_ERRORS = [
    (infer_milvus, "-a 7", "no age '7'; choose one of: 0 under 18, 1 18-24"),
    (infer_milvus, "-g x", "no gender 'x'; choose one of: 0 male, 1 female"),
    (infer_milvus, "-j astronaut", "no job 'astronaut'; choose one of: 0 other"),
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
    (infer_milvus, "-j a", "more than one job begins with 'a'; choose one of: 1 academic/educator, 2 artist"),
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


def test_steps_in_the_wrong_order_name_the_right_one(trained, tmp_path):
    assert "python train.py" in fail("infer_milvus.py", cwd=tmp_path)
    shutil.copy(trained / "movies_origin.txt", tmp_path)
    assert "python train.py" in fail("get_movies_data.py", "-f", "movies_origin.txt", cwd=tmp_path)
    shutil.copytree(trained / MODEL_FOLDER, tmp_path / MODEL_FOLDER)
    assert "python infer_milvus.py -i" in fail("infer_milvus.py", cwd=tmp_path)
    assert "python get_movies_data.py -f" in fail("infer_milvus.py", "-i", cwd=tmp_path)


def test_known_user_does_not_get_what_they_rated(served):
    folder, environment = served
    model = load_model(folder / MODEL_FOLDER)
    ratings = model.ratings_of([42])[0]
    trained_on = set(ratings["movie_id"][~ratings["held_out"]].tolist())
    assert trained_on
    assert ratings["held_out"].any()
    args = ("infer_milvus.py", "--user", 42, "-k", 210, "--min-ratings", 0)
    everything = {
        movie_id for movie_id, _, _ in parse_table(succeed(*args, "--include-seen", cwd=folder, **environment).stdout)
    }
    unseen = {movie_id for movie_id, _, _ in parse_table(succeed(*args, cwd=folder, **environment).stdout)}
    assert len(everything) == 210
    assert unseen == everything - trained_on


def test_known_user_is_not_an_anonymous_one(trained):
    model = load_model(trained / MODEL_FOLDER)
    _, gender, age, job = model.people[model.user_row(42)] - 1
    known = succeed("infer_milvus.py", "--user", 42, "--include-seen", cwd=trained).stdout
    anonymous = succeed("infer_milvus.py", "-a", age, "-g", gender, "-j", job, cwd=trained).stdout
    assert parse_table(known) != parse_table(anonymous)
    assert "300 ids from 1 to 300" in fail("infer_milvus.py", "--user", 301, cwd=trained)


def test_paddle_and_milvus_predict_the_same(served):
    folder, environment = served
    movie_id = int(load_model(folder / MODEL_FOLDER).ratings_of([42])[0]["movie_id"][0])
    for person in (("--user", 42), ("-a", 3)):
        stdout = succeed("infer_milvus.py", *person, "--movie", movie_id, cwd=folder, **environment).stdout
        milvus, paddle = (
            float(re.search(rf"{name}\t+([\d.]+)", stdout)[1]) for name in ("through Milvus", "by Paddle")
        )
        assert milvus == pytest.approx(paddle, abs=1e-4)
        assert ("actual" in stdout) == ("--user" in person)
    unrated = sorted(
        set(range(1, 211)) - set(load_model(folder / MODEL_FOLDER).ratings_of([42])[0]["movie_id"].tolist())
    )
    assert (
        "not rated" in succeed("infer_milvus.py", "--user", 42, "--movie", unrated[0], cwd=folder, **environment).stdout
    )
    assert "no movie 9999" in fail("infer_milvus.py", "--movie", 9999, cwd=folder, **environment)


def test_liked_films(served):
    folder, environment = served
    alone = parse_table(
        succeed("infer_milvus.py", "--like", "the shining", "--like", 104, "-k", 20, cwd=folder, **environment).stdout
    )
    assert not {"Shining, The", "Great Escape, The"} & {title for _, title, _ in alone}
    person = parse_table(
        succeed("infer_milvus.py", "--like", "shining", "--user", 42, "-k", 20, cwd=folder, **environment).stdout
    )
    assert alone != person
    assert "104 Great Escape, The (1963)" in fail(
        "infer_milvus.py", "--like", "grate escape", cwd=folder, **environment
    )


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
    few = succeed("infer_milvus.py", "--genre", "War", "-k", 200, cwd=folder, **environment)
    assert re.search(r"Only \d+ of 200: no more movies fit", few.stderr)
    assert "choose one of: Action, Adventure" in fail("infer_milvus.py", "--genre", "War%", cwd=folder, **environment)


def test_everyone_at_once_gets_what_each_gets_alone(served, tmp_path):
    folder, environment = served
    succeed("infer_milvus.py", "--users", "all", "-k", 7, "--output", tmp_path / "all.csv", cwd=folder, **environment)
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text("utf-8").splitlines()))
    assert len({row["user_id"] for row in rows}) == 300
    (tmp_path / "two.txt").write_text("42\n7\n")
    succeed(
        "infer_milvus.py",
        "--users",
        tmp_path / "two.txt",
        "-k",
        7,
        "--output",
        tmp_path / "two.csv",
        cwd=folder,
        **environment,
    )
    two = list(csv.DictReader((tmp_path / "two.csv").read_text("utf-8").splitlines()))
    for user in ("42", "7"):
        alone = parse_table(succeed("infer_milvus.py", "--user", user, "-k", 7, cwd=folder, **environment).stdout)
        for table in (rows, two):
            mine = [row for row in table if row["user_id"] == user]
            assert [(int(row["movie_id"]), row["title"], float(row["score"])) for row in mine] == alone
    (tmp_path / "bad.txt").write_text("999\n")
    assert "no user 999" in fail(
        "infer_milvus.py", "--users", tmp_path / "bad.txt", "--output", tmp_path / "all.csv", cwd=folder, **environment
    )
    assert len((tmp_path / "all.csv").read_text("utf-8").splitlines()) == 1 + len(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\nx\n", "line 2: 'x' is not a user id"),
        (b"1\n9\n", "line 2: no user 9"),
        (b"", "is empty"),
        (b"\xff", "cannot read it"),
    ],
)
def test_broken_list_of_users(tmp_path, content, message):
    (tmp_path / "users.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        infer_milvus.read_user_ids(tmp_path / "users.txt", known={1, 2})


def test_new_model_asks_for_a_new_index(folder):
    succeed("train.py", "--data-dir", SAMPLE, "--epochs", 1, "--seed", 5, cwd=folder)
    assert "python infer_milvus.py -i" in fail("infer_milvus.py", cwd=folder)
    succeed("infer_milvus.py", "-i", cwd=folder)


def test_catalogue_with_unseen_words_genres_and_films(folder):
    catalogue = folder / "more.txt"
    catalogue.write_text("900::Zyzzyva Returns (2025)::Telenovela|Drama\n1::12 Angry Men (1957)::Drama\n", "utf-8")
    done = succeed("get_movies_data.py", "-f", catalogue, cwd=folder)
    assert re.search(r"never seen 2 of their title words and 1 of their genres", done.stdout)
    table = parse_table(succeed("infer_milvus.py", "-i", "--min-ratings", 0, cwd=folder).stdout)
    assert {movie_id for movie_id, _, _ in table} == {1, 900}


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
    args = ("--data-dir", SAMPLE, "--num_epochs", 6, "--use_gpu", 0, "--output", "again")
    succeed("train.py", *args, cwd=tmp_path)
    assert load_model(tmp_path / "again").fingerprint == load_model(trained / MODEL_FOLDER).fingerprint


def test_train_prints_what_it_is_worth(trained):
    stdout = (trained / "train.stdout").read_text()
    assert re.search(r"epoch 2: train loss [\d.]+, validation RMSE [\d.]+, MAE [\d.]+ stars", stdout)
    for name in ("global mean", "movie mean", r"user \+ movie bias", "this model"):
        assert re.search(rf"^{name} +\d\.\d{{4}} +\d\.\d{{4}}$", stdout, re.MULTILINE)


def test_train_without_data_says_what_to_do(tmp_path):
    assert "--data-dir takes a folder" in fail("train.py", "--data-dir", tmp_path, cwd=tmp_path)
    assert not (tmp_path / MODEL_FOLDER).exists()


def test_gpu_that_is_not_there(tmp_path):
    assert "no GPU support" in fail("train.py", "--data-dir", SAMPLE, "--use_gpu", 1, cwd=tmp_path)


def test_interrupted_training_saves_the_best_epoch(tmp_path):
    training = start_script("train.py", "--data-dir", SAMPLE, "--epochs", 1000, cwd=tmp_path)
    for line in training.stdout:
        if line.startswith("epoch 2"):
            training.send_signal(signal.SIGINT)
            break
    rest, errors = training.communicate(timeout=60)
    assert training.returncode == 0, errors
    assert "Interrupted" in rest
    load_model(tmp_path / MODEL_FOLDER)


def test_kill_while_indexing_keeps_the_old_collection(folder):
    expected = succeed("infer_milvus.py", cwd=folder).stdout
    for said in ("Server connected.", "get infer vectors finished!"):
        indexing = start_script("infer_milvus.py", "-i", cwd=folder)
        assert any(line.startswith(said) for line in indexing.stderr)
        indexing.kill()
        indexing.communicate()
        assert succeed("infer_milvus.py", cwd=folder).stdout == expected


@pytest.mark.parametrize(
    "damaged",
    ["manifest.json"]
    + [
        pytest.param(name, marks=pytest.mark.server)
        for name in ("manifest.json*", "schema.json", "*.parquet", "aliases.json", "*.idx")
    ],
)
def test_damaged_milvus_lite(folder, damaged):
    """An error that names the way out; and that way leads out."""
    expected = succeed("infer_milvus.py", cwd=folder).stdout
    files = list((folder / "recommender_demo.db").rglob(damaged))
    assert files
    for file in files:
        file.write_text("x")
    error = fail("infer_milvus.py", cwd=folder)
    assert "run: python infer_milvus.py -i" in error
    if "delete the folder" in error:
        shutil.rmtree(folder / "recommender_demo.db")
    succeed("infer_milvus.py", "-i", cwd=folder)
    assert succeed("infer_milvus.py", cwd=folder).stdout == expected


def test_two_processes_on_one_lite_folder(folder):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from recommender.movie_index import MovieIndex as M; m=M(); print(1, flush=True); input()",
        ],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "1\n"
    assert "another process has it open" in fail("infer_milvus.py", cwd=folder)
    holder.communicate("\n", timeout=30)
    succeed("infer_milvus.py", cwd=folder)


def test_environment_that_upsets_pymilvus(folder):
    (folder / ".env").write_text("MILVUS_URI=./somewhere.db\n")
    proxy = "http://127.0.0.1:9"
    succeed("infer_milvus.py", cwd=folder, MILVUS_URI="./other.db", http_proxy=proxy, https_proxy=proxy)


def test_uri_and_token_come_from_the_environment(folder):
    error = fail(
        "infer_milvus.py",
        cwd=folder,
        RECOMMENDER_MILVUS_URI="http://127.0.0.1:1",
        RECOMMENDER_MILVUS_TOKEN="root:secret",
    )
    assert "http://127.0.0.1:1" in error
    assert "secret" not in error


def test_module_command_reports_missing_data(tmp_path):
    """`python -m recommender.movielens` is what make demo asks; without a network it must fail, quickly and clearly."""
    shutil.copytree(PROJECT / "recommender", tmp_path / "recommender")
    (tmp_path / "data" / "ml-1m").mkdir(parents=True)
    (tmp_path / "data" / "ml-1m" / "ratings.dat").touch()
    done = subprocess.run([sys.executable, "-m", "recommender.movielens"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "data/ml-1m" in done.stdout


def test_train_on_next_to_nothing(tmp_path):
    for name in ("users.dat", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    for ratings in ("1::1::5::0\n", "1::1::5::0\n1::2::3::0\n2::1::4::0\n"):
        (tmp_path / "ratings.dat").write_text(ratings)
        assert "too few ratings" in fail("train.py", "--data-dir", tmp_path, cwd=tmp_path)
    assert not (tmp_path / MODEL_FOLDER).exists()


@pytest.mark.parametrize("uri", ["http://[", "http://localhost:99999", "abc://x", "", "/proc/movies.db"])
def test_impossible_uri(trained, uri):
    assert uri in fail("infer_milvus.py", "--uri", uri, cwd=trained)
