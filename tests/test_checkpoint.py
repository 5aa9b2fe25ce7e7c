import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import PROJECT

from recommender.checkpoint import MODEL_FOLDER, ModelError, check_output, load_model
from recommender.features import encode_movies, encode_people, read_movies_data
from recommender.movielens import read_movielens
from recommender.training import embed_movies


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained model that a test may damage."""
    return Path(shutil.copytree(trained / MODEL_FOLDER, tmp_path / "model"))


def test_reads_what_was_written(folder):
    model = load_model(folder)
    assert model.manifest["format_version"] == 1
    assert 0 < model.manifest["metrics"]["test_mae"] < model.manifest["metrics"]["test_rmse"] < 0.75
    assert model.manifest["config"]["epochs"] == 6
    assert model.manifest["libraries"]["paddlepaddle"] == paddle.__version__
    assert (folder / "training_curve.png").read_bytes().startswith(b"\x89PNG")


def test_towers_load_without_this_package(folder, trained):
    """In another process, in another folder, with nothing but Paddle; the answers are those of the model folder."""
    model = load_model(folder)
    data = read_movielens(PROJECT / "data" / "sample")
    people = encode_people(data.users, model.vocabularies)[-2:]
    program = (
        "import sys, paddle; people = paddle.to_tensor(eval(sys.argv[2])); "
        "print(paddle.jit.load(sys.argv[1])(people).numpy().tolist()); assert 'recommender' not in sys.modules"
    )
    command = [sys.executable, "-c", program, folder / "user_tower", str(people.tolist())]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), model.user_vectors[-2:], atol=1e-6)


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
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return damage


DAMAGE = {
    "missing folder": (shutil.rmtree, "no model here; make one: python train.py"),
    "missing file": (lambda folder: (folder / "user_vectors.npy").unlink(), "damaged"),
    "truncated manifest": (lambda folder: (folder / "manifest.json").write_text('{"format'), "cannot read it"),
    "manifest is no object": (lambda folder: (folder / "manifest.json").write_text("[]"), "damaged"),
    "newer format": (edit_manifest(format_version=2), "format 2, this program knows up to 1; update it"),
    "tampered fingerprint": (edit_manifest(fingerprint="0" * 16), "its fingerprint is off"),
    "path in manifest": (edit_manifest(files={"../x": "0"}), "damaged"),
    "tampered vocabulary": (flip_last_byte("vocabularies.json"), "vocabularies.json: damaged, its checksum is off"),
    "tampered weights": (flip_last_byte("movie_tower.pdiparams"), "movie_tower.pdiparams: damaged"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_model_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert "python train.py" in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_nothing_is_unpickled(folder, tmp_path, monkeypatch):
    """Even where all checksums fit."""
    monkeypatch.chdir(tmp_path)
    np.save(folder / "people.npy", np.array([Bomb()], object))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["people.npy"] = hashlib.sha256((folder / "people.npy").read_bytes()).hexdigest()
    hashed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["fingerprint"] = hashlib.sha256(hashed).hexdigest()[:16]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="allow_pickle=False"):
        load_model(folder)
    assert not (tmp_path / "exploded").exists()


def test_replacement_that_was_cut_short_is_undone(folder):
    fingerprint = load_model(folder).fingerprint
    folder.rename(folder.with_name("model.previous"))
    assert load_model(folder).fingerprint == fingerprint
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_output_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("Dear")
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    for name in ("letters", "file"):
        with pytest.raises(ModelError, match="not a model folder"):
            check_output(tmp_path / name)
    assert (tmp_path / "letters" / "to-mum.txt").read_text() == "Dear"


SAVE_FOR_EVER = """
import sys, numpy as np, paddle
from pathlib import Path
from recommender.checkpoint import RATING, save_model
from recommender.features import Vocabularies, Vocabulary
from recommender.training import create_model
vocabularies = Vocabularies(Vocabulary("ab"), Vocabulary("cd"), Vocabulary([1]), Vocabulary([1]))
people, vectors, ratings = np.zeros((9, 4), int), np.zeros((9, 200), np.float32), np.zeros(9, RATING)
while True:
    model = create_model(vocabularies)
    model.eval()
    save_model(Path(sys.argv[1]), model, vocabularies, people, vectors, ratings, lambda path: None)
    print("saved", flush=True)
"""


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.server)])
def test_kill_while_writing_the_model_loses_nothing(tmp_path, times):
    folder = tmp_path / "model"
    delays = np.random.default_rng(0).uniform(0, 0.3, times)
    for delay in delays:
        command = [sys.executable, "-c", SAVE_FOR_EVER, folder]
        writer = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"saved\n"
        time.sleep(delay)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        load_model(folder)
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "model.partial"}
