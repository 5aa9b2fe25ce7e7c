"""The model folder: written in one step by one or several writers, verified by readers, never unpickled."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import PROJECT, SAMPLE, load_everything
from small_model import assert_whole, catalogue_of, save

from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, encode_movies, encode_profiles
from recommender.movielens.releases import read_movielens
from recommender.errors import RecommenderError
from recommender.files import FileError
from recommender.store import FORMAT_VERSION, ModelError, load_model, saved_catalogues
from recommender.stars.embed import embed_movies, load_tower
from recommender.save import check_output

LONG_AGO = time.time() - 7200
"""A time at which no training that is still running has begun."""


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained model that a test may damage."""
    return Path(shutil.copytree(trained / MODEL_FOLDER, tmp_path / "model"))


def current_version(folder):
    return folder / json.loads((folder / "manifest.json").read_text())["folder"]


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_reads_what_was_written(folder):
    model = load_model(folder)
    assert model.manifest["format_version"] == FORMAT_VERSION
    assert 0 < model.manifest["metrics"]["test_mae"] < model.manifest["metrics"]["test_rmse"] < 0.75
    assert model.manifest["config"]["epochs"] == 3
    assert model.manifest["config"]["batch_size"] < 200, "not the batch size of this data"
    assert model.manifest["libraries"]["paddle"] == paddle.__version__
    assert "invented" in model.notice
    assert (model.folder / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    load_everything(model)


def test_users_and_their_ratings(folder):
    model = load_model(folder)
    data = read_movielens(SAMPLE)
    user = next(user for user in data.users if user.user_id == 42)
    expected = encode_profiles([user], np.array([True]))[NUM_DEMOGRAPHIC_PROFILES]
    assert model.profiles[model.profile_row(42), 1:].tolist() == expected[1:].tolist()
    ratings = data.ratings[data.ratings.user_id == 42].sort_values("movie_id")
    pairs = list(zip(ratings.movie_id, ratings.rating, strict=True))
    assert model.ratings_of(42)[["movie_id", "rating"]].tolist() == pairs
    for unknown in (0, 301):
        with pytest.raises(ModelError, match=f"no user {unknown} in the training data; there are 300 users, with ids"):
            model.profile_row(unknown)


def test_number_of_training_ratings_of_each_movie(folder):
    model = load_model(folder)
    data = read_movielens(SAMPLE)
    training = data.ratings[np.random.RandomState(0).random_sample(len(data.ratings)) >= 0.1]
    assert model.count_ratings() == training.movie_id.value_counts().to_dict()


def test_movie_indices_are_those_of_the_vocabulary(folder):
    """A movie without training ratings has the unknown index."""
    model = load_model(folder)
    tokens = model.vocabularies.movies.tokens
    movie_ids = [tokens[0], tokens[-1], 0, 99999, tokens[5]]
    expected = [model.vocabularies.movies.index(movie_id) for movie_id in movie_ids]
    assert model.movie_idx(np.array(movie_ids)).tolist() == expected
    assert model.movie_idx(np.array([], int)).tolist() == []


def test_towers_load_without_this_package(folder):
    """In another process, in another folder, with nothing but Paddle; the vectors are those of the model folder."""
    model = load_model(folder)
    program = (
        "import sys, paddle; profiles = paddle.to_tensor(eval(sys.argv[2])); "
        "print(paddle.jit.load(sys.argv[1])(profiles).numpy().tolist()); assert 'recommender' not in sys.modules"
    )
    command = [sys.executable, "-c", program, model.tower_path("user_tower"), str(model.profiles[-2:].tolist())]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), model.profile_vectors[-2:], atol=1e-6)


def test_movie_tower_gives_unit_vectors(folder):
    model = load_model(folder)
    movies = list(model.movies.values())
    vectors = embed_movies(load_tower(model.tower_path("movie_tower")), encode_movies(movies, model.vocabularies))
    assert vectors.shape == (len(movies), 200)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def edit_manifest(**changes):
    def damage(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def write_manifest(text):
    return lambda folder: (folder / "manifest.json").write_text(text)


def flip_last_byte(name):
    def damage(folder):
        path = current_version(folder) / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return damage


def seal(folder):
    """Writes checksums and fingerprint that are right, whatever the files hold."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((current_version(folder) / name).read_bytes()).hexdigest()
    hashed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["fingerprint"] = hashlib.sha256(hashed).hexdigest()[:16]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_array(name, edit):
    """Saves a changed array, with a checksum and a fingerprint that fit."""

    def damage(folder):
        path = current_version(folder) / f"{name}.npy"
        np.save(path, edit(np.load(path)))
        seal(folder)

    return damage


def edit_file(name, content):
    def damage(folder):
        (current_version(folder) / name).write_bytes(content)
        seal(folder)

    return damage


def with_number(number):
    def edit(array):
        array[1, 2] = number
        return array

    return edit


DAMAGE = {
    "missing folder": (shutil.rmtree, "no model here"),
    "missing file": (lambda folder: (current_version(folder) / "profile_vectors.npy").unlink(), "damaged"),
    "missing version": (lambda folder: shutil.rmtree(current_version(folder)), "damaged"),
    "truncated manifest": (write_manifest('{"format'), "manifest.json: damaged"),
    "manifest is no object": (write_manifest("[]"), "manifest.json: damaged"),
    "manifest is deeply nested": (write_manifest("[" * 200_000), "manifest.json: damaged"),
    "manifest is no text": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "manifest.json: damaged"),
    "files of the manifest are no object": (edit_manifest(files=3), "manifest.json: damaged"),
    "older format": (edit_manifest(format_version=1), f"format 1, this program reads format {FORMAT_VERSION}"),
    "newer format": (edit_manifest(format_version=99), f"format 99, this program reads format {FORMAT_VERSION}"),
    "tampered fingerprint": (edit_manifest(fingerprint="0" * 16), "its fingerprint is wrong"),
    "path in manifest": (edit_manifest(files={"../x": "0"}), "damaged"),
    "version elsewhere": (edit_manifest(folder=".."), "damaged"),
    "tampered vocabulary": (flip_last_byte("vocabularies.json"), "vocabularies.json: damaged, its checksum is wrong"),
    "tampered catalogue": (flip_last_byte("movies_origin.txt"), "movies_origin.txt: damaged, its checksum is wrong"),
    "tampered weights": (flip_last_byte("movie_tower.pdiparams"), "movie_tower.pdiparams: damaged"),
    "tampered program": (flip_last_byte("user_tower.json"), "user_tower.json: damaged"),
    "unlisted file": (
        lambda folder: (current_version(folder) / "user_tower.pdmodel").write_bytes(b"x"),
        "user_tower.pdmodel: not part of the model; delete it",
    ),
    "sealed: vocabulary is no object": (edit_file("vocabularies.json", b"[]"), "vocabularies.json: damaged"),
    "sealed: vocabulary lacks genres": (edit_file("vocabularies.json", b'{"words": []}'), "vocabularies.json: damaged"),
    "sealed: array is no array": (edit_file("profiles.npy", b"x"), "profiles.npy: damaged"),
    "sealed: narrow vectors": (
        edit_array("profile_vectors", lambda array: array[:, :-1].copy()),
        "profile_vectors.npy",
    ),
    "sealed: flat vectors": (edit_array("profile_vectors", np.ravel), "profile_vectors.npy: damaged"),
    "sealed: wide profiles": (edit_array("profiles", lambda array: np.pad(array, ((0, 0), (0, 1)))), "profiles.npy"),
    "sealed: small covariance": (edit_array("user_prior.covariance", lambda array: array[1:]), "user_prior.covariance"),
    "sealed: narrow outputs": (edit_array("taste.outputs.by_id", lambda array: array[:, 1:].copy()), "outputs.by_id"),
    "sealed: float64": (edit_array("profile_vectors", lambda array: array.astype(float)), "damaged: float64"),
    "sealed: fractional ids": (edit_array("user_ids", lambda array: array.astype(np.float32)), "damaged: float32"),
    "sealed: other records": (edit_array("histories.ratings", lambda array: array["movie_id"]), "ratings.npy: damaged"),
    "sealed: NaN": (edit_array("taste.inputs.by_id", with_number(np.nan)), "taste.inputs.by_id.npy: damaged"),
    "sealed: infinity": (edit_array("profile_vectors", with_number(-np.inf)), "profile_vectors.npy: damaged"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_model_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_everything(load_model(folder))
    assert str(caught.value).endswith("; run: python train.py")
    assert len(str(caught.value)) < 400
    check_output(folder)  # The remedy works: training may replace it.


def test_sealing_alone_damages_nothing(folder):
    seal(folder)
    load_everything(load_model(folder))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_nothing_is_unpickled(folder, tmp_path, monkeypatch):
    """Even where all checksums are right."""
    monkeypatch.chdir(tmp_path)
    np.save(current_version(folder) / "profiles.npy", np.array([Bomb()], object))
    seal(folder)
    with pytest.raises(ModelError, match=r"profiles\.npy: damaged"):
        load_everything(load_model(folder))
    assert not (tmp_path / "exploded").exists()


def snapshot(folder):
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


def test_readers_write_nothing(folder):
    """Whatever stands beside the folder, and in it."""
    folder.with_name("model.previous").mkdir()
    (folder.with_name("model.previous") / "manifest.json").write_text("a backup")
    (folder / "files-000000000000").mkdir()
    before = snapshot(folder.parent)
    load_everything(load_model(folder))
    assert snapshot(folder.parent) == before


def test_output_that_is_something_else_stays_as_it_is(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("Dear")
    (tmp_path / "file").write_text("x")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "a web page"}')
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "manifest.json").write_text("[" * 200_000)
    before = snapshot(tmp_path)
    for name in ("letters", "file", "app", "nested"):
        with pytest.raises(ModelError, match="not a model folder, and stays as it is; choose another --output"):
            check_output(tmp_path / name)
        with pytest.raises(ModelError, match="not a model folder"):
            save(tmp_path / name, 1)
    with pytest.raises(FileError, match="cannot write it"):
        check_output(tmp_path / "file" / "model")
    for name in ("new", "new/and/deep"):
        check_output(tmp_path / name)
    assert snapshot(tmp_path) == before


def test_model_and_catalogue_become_current_together(tmp_path):
    folder, movies_origin = tmp_path / "deep" / "model", tmp_path / "movies.txt"
    fingerprints = []
    for number in (1, 2):
        fingerprints.append(save(folder, number, movies_origin=movies_origin))
        model = load_model(folder)
        assert assert_whole(model) == number
        assert model.fingerprint == fingerprints[-1]
        assert movies_origin.read_bytes() == catalogue_of(number)
        assert (model.folder / "training_curve.png").read_bytes() == b"curve"
    assert fingerprints[0] != fingerprints[1]
    assert sorted(saved_catalogues(folder)) == [catalogue_of(1), catalogue_of(2)]
    assert names_in(tmp_path) == {"deep", "movies.txt"}
    assert len(names_in(folder)) == 3, "the manifest, this version and the one before"


def test_catalogue_keeps_its_link_and_its_permissions(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    save(tmp_path / "model", 1, movies_origin=link)
    assert link.is_symlink()
    assert target.read_bytes() == catalogue_of(1)
    assert target.stat().st_mode & 0o777 == 0o640


class Failure(Exception):
    pass


def fail_halfway(failure):
    def save_towers(version):
        (version / "user_tower.json").write_text("half")
        raise failure

    return save_towers


FAILURES = {
    "full disk": ({"save_towers": fail_halfway(OSError(28, "No space left on device"))}, ModelError),
    "failure of Paddle": ({"save_towers": fail_halfway(Failure())}, Failure),
    "interruption": ({"save_towers": fail_halfway(KeyboardInterrupt())}, KeyboardInterrupt),
    "catalogue in a missing folder": ({"movies_origin": Path("missing/movies_origin.txt")}, RecommenderError),
}


@pytest.mark.parametrize(("options", "error"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_new", [False, True], ids=["replaces a model", "new folder"])
def test_failed_writer_leaves_everything_as_it_was(tmp_path, monkeypatch, options, error, is_new):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    if not is_new:
        save(folder, 1)
    before = {path: content for path, (_, content) in snapshot(tmp_path).items() if path != folder}
    with pytest.raises(error) as caught:
        save(folder, 2, **options)
    if isinstance(caught.value, RecommenderError):
        assert "cannot write" in str(caught.value)
    after = {path: content for path, (_, content) in snapshot(tmp_path).items() if path != folder}
    assert after == before, "no part of a version or of a file is left"
    save(folder, 3)
    assert assert_whole(load_model(folder)) == 3


def start_saving(folder, number, times):
    command = [sys.executable, PROJECT / "tests" / "small_model.py", folder, str(number), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.server)])
def test_kill_while_writing_the_model_loses_nothing(tmp_path, times):
    folder = tmp_path / "model"
    for delay in np.random.default_rng(0).uniform(0, 0.3, times):
        with start_saving(folder, 3, 100_000) as writer:
            assert writer.stdout.readline() == "saved\n"
            time.sleep(delay)
            writer.kill()
        assert_whole(load_model(folder))
        assert (tmp_path / "movies_origin.txt").read_bytes() == catalogue_of(3)


@pytest.mark.parametrize("times", [20, pytest.param(200, marks=pytest.mark.server)])
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


def test_writers_that_remove_the_same_stale_versions(tmp_path):
    """Two trainings at once, each of which finds what killed ones left and the other's unfinished files."""
    folder = tmp_path / "model"
    save(folder, 1)
    stale, errors = set(), []

    def leave_stale_files(number, trial):
        version = folder / f"files-{number}{trial:011x}"
        version.mkdir()
        (version / "profiles.npy").write_bytes(b"x")
        partial = folder / f".manifest.json.{version.name}.partial"
        partial.write_text("x")
        for path in (version, partial):
            os.utime(path, (LONG_AGO, LONG_AGO))
            stale.add(path.name)

    def save_often(number):
        try:
            for trial in range(100):
                leave_stale_files(number, trial)
                save(folder, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save_often, args=[number]) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert assert_whole(load_model(folder)) in (2, 3)
    assert len(stale) == 400
    assert not names_in(folder) & stale
    assert not [name for name in names_in(folder) if name.endswith(".partial")]


def make_old(folder):
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


def test_replaced_versions_are_removed_when_no_process_can_be_using_them(tmp_path):
    folder = tmp_path / "model"
    for number in (1, 2):
        save(folder, number)
    abandoned, foreign, note = folder / "files-0123456789ab", folder / "notes", folder / "notes.txt"
    for path in (abandoned, foreign):
        path.mkdir()
    note.write_text("x")
    partial = folder / ".manifest.json.files-0123456789ab.partial"
    partial.write_text("x")
    make_old(folder)
    young = folder / "files-ba9876543210"
    young.mkdir()
    before = current_version(folder)
    save(folder, 3)
    expected = {"manifest.json", before.name, current_version(folder).name, foreign.name, note.name, young.name}
    assert names_in(folder) == expected, "the version before, the new one, a new one of another writer, foreign files"


def test_reader_of_a_version_that_was_replaced_twice_is_told_to_try_again(tmp_path):
    folder = tmp_path / "model"
    save(folder, 1)
    model, other = load_model(folder), load_model(folder)
    save(folder, 2)
    assert assert_whole(model) == 1
    make_old(folder)
    save(folder, 3)
    with pytest.raises(ModelError, match="replaced while it was being read; run the command again"):
        assert_whole(other)
