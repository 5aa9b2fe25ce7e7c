import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import pandas as pd
import pytest
from conftest import PROJECT, use_all

from recommender.cli.arguments import MODEL_FOLDER
from recommender.data.features import NUM_ANONYMOUS, encode_movies, encode_people, read_movies_data, sort_ratings
from recommender.data.movielens import read_movielens
from recommender.files import FileError
from recommender.inference.model_folder import FORMAT_VERSION, ModelError, check_output, load_model
from recommender.training.two_tower import embed_movies


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained model that a test may damage."""
    return Path(shutil.copytree(trained / MODEL_FOLDER, tmp_path / "model"))


def saved_files(folder):
    """The files of the current model."""
    return folder / json.loads((folder / "manifest.json").read_text())["folder"]


def test_reads_what_was_written(folder):
    model = load_model(folder)
    assert model.manifest["format_version"] == FORMAT_VERSION
    assert 0 < model.manifest["metrics"]["test_mae"] < model.manifest["metrics"]["test_rmse"] < 0.75
    assert model.manifest["config"]["epochs"] == 3
    assert model.manifest["config"]["batch_size"] < 200, "not the size that was used"
    assert model.manifest["libraries"]["paddlepaddle"] == paddle.__version__
    assert (model.folder / "training_curve.png").read_bytes().startswith(b"\x89PNG")


def test_users_and_their_ratings(folder):
    model = load_model(folder)
    data = read_movielens(PROJECT / "data" / "sample")
    user = next(user for user in data.users if user.user_id == 42)
    assert model.arrays.people[model.person_row(42), 1:].tolist() == encode_people([user])[NUM_ANONYMOUS, 1:].tolist()
    mine = data.ratings[data.ratings.user_id == 42].sort_values("movie_id")
    assert model.ratings_of(42)[["movie_id", "rating"]].tolist() == list(zip(mine.movie_id, mine.rating, strict=True))
    for unknown in (0, 301):
        with pytest.raises(ModelError, match=f"no user {unknown} in the training data; there are 300 users, with ids"):
            model.person_row(unknown)


def test_movie_indices(folder):
    """Those of the vocabulary; unknown is what training has not seen."""
    model = load_model(folder)
    tokens = model.vocabularies.movies.tokens
    asked = [tokens[0], tokens[-1], 0, 99999, tokens[5]]
    assert model.movie_index(np.array(asked)).tolist() == [model.vocabularies.movies.index(token) for token in asked]
    assert model.movie_index(np.array([], int)).tolist() == []


def test_ratings_are_sorted_by_user_and_movie():
    """Users without ratings and those of any order of ids included."""
    ratings = pd.DataFrame({"user_id": [9, 2, 9, 5], "movie_id": [3, 8, 1, 7], "rating": [1, 2, 3, 4]})
    in_order, first = sort_ratings(ratings, np.array([False, True, False, False]), np.array([2, 4, 5, 9]))
    assert in_order.tolist() == [(8, 2, True), (7, 4, False), (1, 3, False), (3, 1, False)]
    assert first.tolist() == [0, 1, 1, 2, 4]


def test_towers_load_without_this_package(folder, trained):
    """In another process, in another folder, with nothing but Paddle; the answers are those of the model folder."""
    model = load_model(folder)
    data = read_movielens(PROJECT / "data" / "sample")
    people = encode_people(data.users)[-2:]
    program = (
        "import sys, paddle; people = paddle.to_tensor(eval(sys.argv[2])); "
        "print(paddle.jit.load(sys.argv[1])(people).numpy().tolist()); assert 'recommender' not in sys.modules"
    )
    command = [sys.executable, "-c", program, model.folder / "user_tower", str(people.tolist())]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), model.arrays.user_vectors[-2:], atol=1e-6)


def test_movie_tower_gives_unit_vectors(folder, trained):
    model = load_model(folder)
    movies = read_movies_data(trained / "movies_data.txt", model.vocabularies)
    vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(movies, model.vocabularies))
    assert vectors.shape == (len(movies), 200)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def edit_manifest(**changes):
    def damage(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def flip_last_byte(name):
    def damage(folder):
        path = saved_files(folder) / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return damage


DAMAGE = {
    "missing folder": (shutil.rmtree, "no model here"),
    "missing file": (lambda folder: (saved_files(folder) / "user_vectors.npy").unlink(), "damaged"),
    "missing files": (lambda folder: shutil.rmtree(saved_files(folder)), "damaged"),
    "truncated manifest": (lambda folder: (folder / "manifest.json").write_text('{"format'), "damaged"),
    "manifest is no object": (lambda folder: (folder / "manifest.json").write_text("[]"), "damaged"),
    "older format": (edit_manifest(format_version=1), f"format 1, this program reads format {FORMAT_VERSION}"),
    "newer format": (edit_manifest(format_version=99), f"format 99, this program reads format {FORMAT_VERSION}"),
    "tampered fingerprint": (edit_manifest(fingerprint="0" * 16), "its fingerprint is off"),
    "path in manifest": (edit_manifest(files={"../x": "0"}), "damaged"),
    "folder elsewhere": (edit_manifest(folder=".."), "damaged"),
    "tampered vocabulary": (flip_last_byte("vocabularies.json"), "vocabularies.json: damaged, its checksum is off"),
    "tampered weights": (flip_last_byte("movie_tower.pdiparams"), "movie_tower.pdiparams: damaged"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_model_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        use_all(load_model(folder))
    assert str(caught.value).endswith("; run: python train.py")
    check_output(folder)  # The remedy works: training may replace it.


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_nothing_is_unpickled(folder, tmp_path, monkeypatch):
    """Even where all checksums fit."""
    monkeypatch.chdir(tmp_path)
    people = saved_files(folder) / "people.npy"
    np.save(people, np.array([Bomb()], object))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["people.npy"] = hashlib.sha256(people.read_bytes()).hexdigest()
    hashed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["fingerprint"] = hashlib.sha256(hashed).hexdigest()[:16]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="damaged"):
        use_all(load_model(folder))
    assert not (tmp_path / "exploded").exists()


def snapshot(folder):
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


def test_readers_write_nothing(folder):
    """Whatever stands beside the folder, and in it."""
    folder.with_name("model.previous").mkdir()
    (folder.with_name("model.previous") / "manifest.json").write_text("somebody's backup")
    (folder / "files-000000000000").mkdir()
    before = snapshot(folder.parent)
    use_all(load_model(folder))
    assert snapshot(folder.parent) == before


def test_output_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("Dear")
    (tmp_path / "file").write_text("x")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "a web page"}')
    before = snapshot(tmp_path)
    for name in ("letters", "file", "app"):
        with pytest.raises(ModelError, match="not a model folder"):
            check_output(tmp_path / name)
    with pytest.raises(FileError, match="cannot write it"):
        check_output(tmp_path / "file" / "model")
    for name in ("new", "new/and/deep"):
        check_output(tmp_path / name)
    assert snapshot(tmp_path) == before


SAVE = """
import itertools, sys, numpy as np
from pathlib import Path
from recommender.inference.model_folder import Arrays, ModelData, save_model
from recommender.data.features import RATING, Vocabularies, Vocabulary
from recommender.training.two_tower import create_model
folder, number, times = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
vocabularies = Vocabularies(Vocabulary("ab"), Vocabulary("cd"), Vocabulary([1]))
model = create_model(1, vocabularies)
model.eval()
for i in itertools.count() if times == "for ever" else range(int(times)):
    arrays = Arrays(
        np.array([number]), np.array([1]), np.full((9, 4), number), np.zeros((9, 200), np.float32),
        np.zeros(number, RATING), np.array([0, number]), *np.zeros((7, 3, 200), np.float32),
    )
    data = ModelData(vocabularies, b"movies", arrays)
    save_model(folder, model, data, b"curve", {"number": number})
    print("saved", flush=True)
"""


def start_saving(folder, number, times):
    command = [sys.executable, "-c", SAVE, folder, str(number), str(times)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_whole(model):
    """All of it is from one writer."""
    number = model.manifest["number"]
    assert model.arrays.user_ids.tolist() == [number]
    assert (model.arrays.people == number).all()
    assert len(model.arrays.ratings) == model.arrays.first_rating[-1] == number


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.server)])
def test_kill_while_writing_the_model_loses_nothing(tmp_path, times):
    folder = tmp_path / "model"
    for delay in np.random.default_rng(0).uniform(0, 0.3, times):
        with start_saving(folder, 3, "for ever") as writer:
            assert writer.stdout.readline() == "saved\n"
            time.sleep(delay)
            writer.kill()
        assert_whole(load_model(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("times", [6, pytest.param(50, marks=pytest.mark.server)])
def test_two_writers_and_a_reader(tmp_path, times):
    """Nothing is mixed, nothing fails, and what both leave is the model of one of them."""
    folder = tmp_path / "model"
    writers = [start_saving(folder, number, times) for number in (2, 3)]
    for writer in writers:
        assert writer.stdout.readline() == "saved\n"
    seen = set()
    while any(writer.poll() is None for writer in writers):
        model = load_model(folder)
        assert_whole(model)
        seen.add(model.folder.name)
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    assert_whole(load_model(folder))
    assert len(seen) > 1


def test_replaced_models_go_when_nobody_can_be_reading_them(tmp_path):
    folder = tmp_path / "model"

    def save(number):
        with start_saving(folder, number, 1) as writer:
            assert writer.communicate()[1] == ""

    for number in (1, 2):
        save(number)
    abandoned, foreign = folder / "files-0123456789ab", folder / "notes"
    for path in (abandoned, foreign):
        path.mkdir()
    long_ago = time.time() - 7200
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    before = saved_files(folder)
    save(3)
    left = {path for path in folder.iterdir() if path.is_dir()}
    assert left == {before, saved_files(folder), foreign}, "the model before, the new one, and what is not ours"
