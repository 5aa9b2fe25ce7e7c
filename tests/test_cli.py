"""The three commands: steps, files that they read and write, errors with remedies. Queries are in test_query.py."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, fail, run_process, run_script, succeed

import train
from recommender import files
from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.encoding import demographic_profile_row
from recommender.movielens.catalogue import read_movies_data
from recommender.milvus.build import embed_catalogue
from recommender.store import load_model
from recommender.scoring import exact_top_k


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the folder after the three commands, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def parse_original_table(stdout):
    """Returns id, title and score of each row of the original demo's table."""
    header, *rows = stdout[stdout.index("Top") :].splitlines()
    assert header.split() == ["Top", "Ids", "Title", "Score"]
    cells = [[cell.strip() for cell in row.split("\t")] for row in rows]
    assert [int(top) for top, *_ in cells] == list(range(len(cells)))
    return [(int(movie_id), title, float(score)) for _, movie_id, title, score in cells]


@pytest.mark.parametrize(("age", "gender", "job", "k"), [(0, 1, 10, 5), (6, 0, 16, 12)])
def test_three_commands_recommend_what_exact_search_finds(served, age, gender, job, k):
    folder, environment = served
    model = load_model(folder / MODEL_FOLDER)
    movies = read_movies_data(folder / "movies_data.txt", model.fingerprint)[0]
    vectors = embed_catalogue(model, movies).vectors[:, :200]
    options = ("-a", age, "-g", gender, "-j", job, "-k", k, "--min-ratings", 0)
    done = succeed("infer_milvus.py", *options, cwd=folder, **environment)
    assert "rows in collection recommender_demo: 211\n" in done.stdout
    user = model.profile_vectors[[demographic_profile_row(1 + gender, 1 + age, 1 + job)]]
    rows, products = exact_top_k(user, vectors, k)
    table = parse_original_table(done.stdout)
    assert [movie_id for movie_id, *_ in table] == [movies[row].movie_id for row in rows[0]]
    assert [title for _, title, _ in table] == [movies[row].name for row in rows[0]]
    np.testing.assert_allclose([score for _, _, score in table], 5 * products[0], atol=1e-4)


def test_different_people_get_different_films(trained):
    """Each is told how they were understood."""
    people = {
        "female, under 18, K-12 student": ("-a", 0, "-g", 1, "-j", 10),
        "male, 25-34, programmer": ("-a", 30, "-g", "M", "-j", "prog"),
    }
    answers = [succeed("infer_milvus.py", *person, cwd=trained).stdout for person in people.values()]
    assert all(f"recommended for: {name}\n" in answer for name, answer in zip(people, answers, strict=True))
    assert parse_original_table(answers[0]) != parse_original_table(answers[1])


def test_steps_in_the_wrong_order_name_the_right_one(trained, tmp_path):
    """With the paths of the call; following what is printed leads to an answer."""
    (tmp_path / "movies.dat").symlink_to(SAMPLE / "movies.dat")
    query = ("infer_milvus.py", "--model", "my model", "--movies-data", "my.txt", "--uri", "my.db")
    assert fail(*query, cwd=tmp_path).endswith("; run: python train.py --output 'my model'")
    encode = ("get_movies_data.py", "-f", "movies.dat", "--model", "my model", "--output", "my.txt")
    assert fail(*encode, cwd=tmp_path).endswith("; run: python train.py --output 'my model'")
    shutil.copytree(trained / MODEL_FOLDER, tmp_path / "my model")
    insert = "python infer_milvus.py -i --model 'my model' --movies-data my.txt --uri my.db"
    assert fail(*query, cwd=tmp_path).endswith(f"my.db: there are no movies here yet; run: {insert}")
    remedy = "python get_movies_data.py -f movies_origin.txt --model 'my model' --output my.txt"
    assert fail(*query, "-i", cwd=tmp_path).endswith(f"; run: {remedy}")
    succeed(*encode, cwd=tmp_path)
    succeed(*query, "-i", cwd=tmp_path)
    succeed(*query, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movies.dat", "my model", "my.db", "my.txt"]


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
    assert "1 movie renamed since training: 1 Toys Story (1995), was Toy Story (1995)\n" in done.stdout
    ids, titles = [line.split("::")[0] for line in lines], [line.split("::", 1)[1] for line in lines]
    shifted = [f"{movie_id}::{title}" for movie_id, title in zip(ids, titles[1:], strict=False)]
    (folder / "other.txt").write_text("\n".join(shifted), "utf-8")
    error = fail("get_movies_data.py", "-f", "other.txt", "--output", "other", cwd=folder)
    assert "this is not the catalogue of this model; 210 of 210 common ids have other titles" in error
    assert not (folder / "other").exists()


def train_again(folder, monkeypatch, capsys, *args):
    """Trains for one epoch in a folder; returns the exit code and what was printed."""
    monkeypatch.chdir(folder)
    code = train.main([*map(str, args), "--epochs", "1", "--batch-size", "1000"])
    return code, capsys.readouterr()


def test_training_again_on_other_data(folder):
    """Steps two and three must follow; each says so, and neither mixes the models."""
    origin, data_dir = folder / "movies_origin.txt", folder / "data"
    before = origin.read_bytes()
    shutil.copytree(SAMPLE, data_dir)
    with (data_dir / "movies.dat").open("ab") as file:
        file.write(b"9001::Neuromancer (2031)::Sci-Fi\n")
    succeed("train.py", "--data-dir", data_dir, "--epochs", 1, "--batch-size", 1000, cwd=folder)
    assert origin.read_bytes().endswith(b"9001::Neuromancer (2031)::Sci-Fi\n")
    assert fail("infer_milvus.py", cwd=folder).endswith("a different model; run: python infer_milvus.py -i")
    error = fail("infer_milvus.py", "-i", cwd=folder)
    assert error.endswith("; run: python get_movies_data.py -f movies_origin.txt")
    origin.write_bytes(before)  # As after a kill between the two renames at the end of train.py.
    done = succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    assert "movies_origin.txt is the catalogue of an earlier model; the current model's is used\n" in done.stderr
    assert "212 movies written to movies_data.txt\n" in done.stdout
    assert "recommender_demo: 212\n" in succeed("infer_milvus.py", "-i", cwd=folder).stdout
    assert "recommender_demo: 212\n" in succeed("infer_milvus.py", cwd=folder).stdout


def test_training_does_not_overwrite_movies_of_ones_own(folder, monkeypatch, capsys):
    """Said before training, with the way out; what train.py wrote itself may go."""
    origin = folder / "movies_origin.txt"
    edited = origin.read_text("utf-8") + "9001::Neuromancer (2031)::Sci-Fi\n"
    origin.write_text(edited, "utf-8")
    fingerprint = load_model(folder / MODEL_FOLDER).fingerprint
    for args in ((), ("--output", "other.model")):
        code, printed = train_again(folder, monkeypatch, capsys, "--data-dir", SAMPLE, *args)
        assert code == 1
        assert "would be overwritten; write to another file: --movies-origin FILE, or move it away" in printed.err
        assert "epoch" not in printed.out
    assert origin.read_text("utf-8") == edited
    assert load_model(folder / MODEL_FOLDER).fingerprint == fingerprint
    assert not (folder / "other.model").exists()
    code, printed = train_again(folder, monkeypatch, capsys, "--data-dir", SAMPLE, "--movies-origin", "fresh.txt")
    assert code == 0
    assert printed.out.endswith("Next: python get_movies_data.py -f fresh.txt\n")
    assert origin.read_text("utf-8") == edited


def test_what_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").touch()
    (tmp_path / "loop").symlink_to("loop")
    for args, message in (
        (("--output", "letters"), "not a model folder"),
        (("--output", "/proc/model"), "/proc/model: cannot write it"),
        (("--movies-origin", "/proc/movies"), "/proc/movies: cannot write it"),
        (("--movies-origin", "letters"), "letters: cannot write it: Is a directory"),
        (("--movies-origin", "none/movies"), "none/movies: cannot write it: No such file"),
        (("--movies-origin", "loop"), "loop: cannot write it: "),
        (("--output", "loop"), "loop: "),
    ):
        code, printed = train_again(tmp_path, monkeypatch, capsys, "--data-dir", SAMPLE, *args)
        assert (code, printed.out) == (1, "")
        assert message in printed.err
        assert len(printed.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letters", "loop", "to-mum.txt"]


@pytest.mark.parametrize(
    "command",
    [
        ("get_movies_data.py", "-f", "movies_origin.txt", "--output"),
        ("infer_milvus.py", "--users", "all", "--output"),
        ("infer_milvus.py", "--ratings", SAMPLE / "my_ratings.csv", "--unmatched"),
    ],
    ids=lambda command: command[-1] + command[1],
)
def test_outputs_that_cannot_be_written(folder, command):
    """One line; nothing is left behind."""
    (folder / "a folder").mkdir()
    (folder / "loop").symlink_to("loop")
    names = sorted(path.name for path in folder.iterdir())
    for output, reason in (
        ("a folder", "Is a directory"),
        ("none/file", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/full", "No space left on device"),
    ):
        error = fail(*command, output, cwd=folder)
        assert re.fullmatch(f"error: {output}: cannot write it: {reason}; choose another place", error), error
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize(
    "command",
    [
        ("get_movies_data.py", "-f"),
        ("infer_milvus.py", "--ratings"),
        ("infer_milvus.py", "--output", "-", "--users"),
        ("infer_milvus.py", "-i", "--movies-data"),
    ],
    ids=lambda command: command[-1],
)
def test_inputs_that_cannot_be_read(trained, tmp_path, monkeypatch, command):
    """One line, also for a stream without end."""
    monkeypatch.setattr(files, "MAX_STREAM_BYTES", 2 << 20)
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in (
        (tmp_path, ": cannot read it: Is a directory"),
        (tmp_path / "none", ": cannot read it: No such file or directory"),
        (tmp_path / "loop", ": cannot read it: Too many levels of symbolic links"),
        (Path("/dev/zero"), ": more than 2 MB from a stream; save it to a file first"),
    ):
        assert f"error: {path}{reason}" in fail(*command, path, cwd=trained)


@pytest.mark.server
def test_same_seed_gives_the_same_model(trained, tmp_path):
    """The programs of the towers aside, whose variables Paddle numbers throughout a process."""
    args = ("--data-dir", SAMPLE, "--num_epochs", 3, "--use_gpu", 0, "--output", "again")
    succeed("train.py", *args, cwd=tmp_path)
    first, again = load_model(trained / MODEL_FOLDER), load_model(tmp_path / "again")
    files = {name for name in first.manifest["files"] if "tower" not in name}
    assert len(files) > 10
    assert {name for name in files if first.manifest["files"][name] != again.manifest["files"][name]} == set()
    vectors = [embed_catalogue(model, list(model.movies.values())).vectors for model in (first, again)]
    np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.server
def test_same_seed_gives_the_same_fingerprint_in_other_processes(tmp_path):
    for output in ("first", "second"):
        args = ("--data-dir", SAMPLE, "--epochs", 2, "--output", output)
        succeed("train.py", *args, cwd=tmp_path, run=run_process)
    first, second = (load_model(tmp_path / output).fingerprint for output in ("first", "second"))
    assert first == second


def test_log_of_training(trained):
    stdout = (trained / "train.stdout").read_text()
    plan = re.match(r"ratings for training: ([\d,]+); validation: ([\d,]+); test: ([\d,]+); batch size (\d+)\n", stdout)
    num_train, num_validation, num_test, batch_size = (int(number.replace(",", "")) for number in plan.groups())
    assert num_train + num_validation + num_test == len((SAMPLE / "ratings.dat").read_bytes().splitlines())
    assert num_validation == pytest.approx(0.01 * num_train, rel=0.1)
    assert batch_size == pytest.approx(num_train / 110, abs=1)
    assert re.search(r"^epoch 2: train loss [\d.]+, validation RMSE [\d.]+, MAE [\d.]+ stars$", stdout, re.MULTILINE)
    assert re.search(r"^model: epoch 3 of 3, validation RMSE 0\.\d+ \(all epochs were trained\)$", stdout, re.MULTILINE)
    rating_rows = ("global mean", "movie mean", r"user \+ movie bias", "this model")
    ranking_rows = ("most popular", "stars", "picks", "both")
    for name in (*rating_rows, *ranking_rows):
        assert re.search(rf"^{name} +\d\.\d{{4}} +\d\.\d{{4}}$", stdout, re.MULTILINE), name
    assert stdout.endswith("Next: python get_movies_data.py -f movies_origin.txt\n")


def test_metrics_in_the_manifest(trained):
    model = load_model(trained / MODEL_FOLDER)
    assert f"Model {model.fingerprint} written to {MODEL_FOLDER}/\n" in (trained / "train.stdout").read_text()
    metrics = model.manifest["metrics"]
    assert metrics["test_rmse"] < metrics["test_baselines"]["movie mean"]["rmse"]
    for metric in (metrics["test_ndcg"], metrics["test_recall"]):
        assert metric.keys() == {"most popular", "stars", "picks", "both"}
        assert metric["most popular"] < metric["picks"] < 1
        assert metric["stars"] < metric["both"]


def test_training_without_data_says_what_to_do(tmp_path, monkeypatch, capsys):
    code, printed = train_again(tmp_path, monkeypatch, capsys, "--data-dir", ".")
    assert code == 1
    assert "--data-dir takes the folder or the zip of a MovieLens release" in printed.err
    assert not (tmp_path / MODEL_FOLDER).exists()


def test_training_on_next_to_nothing(tmp_path, monkeypatch, capsys):
    for name in ("users.dat", "movies.dat"):
        shutil.copy(SAMPLE / name, tmp_path)
    for ratings in ("1::1::5::0\n", "1::1::5::0\n1::783::3::0\n2::1::4::0\n"):
        (tmp_path / "ratings.dat").write_text(ratings)
        code, printed = train_again(tmp_path, monkeypatch, capsys, "--data-dir", ".")
        assert code == 1
        assert "error: too few ratings" in printed.err
    assert not (tmp_path / MODEL_FOLDER).exists()


def test_gpu_that_is_not_there(tmp_path, monkeypatch, capsys):
    code, printed = train_again(tmp_path, monkeypatch, capsys, "--data-dir", SAMPLE, "--use_gpu", 1)
    assert code == 1
    assert "no GPU support" in printed.err


def test_uri_and_token_come_from_the_environment(folder):
    address = {"RECOMMENDER_MILVUS_URI": "http://127.0.0.1:1", "RECOMMENDER_MILVUS_TOKEN": "root:secret"}
    error = fail("infer_milvus.py", cwd=folder, **address)
    assert "error: http://127.0.0.1:1: cannot connect: nothing answers there" in error
    assert "secret" not in error
    other = {"RECOMMENDER_MILVUS_URI": "recommender_demo.db"}
    assert run_script("infer_milvus.py", "--uri", "none.db", cwd=folder, **other).returncode == 1, "an option wins"


@pytest.mark.parametrize("uri", ["http://[", "http://localhost:99999", "abc://x", "", "/proc/movies.db"])
def test_impossible_uri(trained, uri):
    assert uri in fail("infer_milvus.py", "--uri", uri, cwd=trained)
