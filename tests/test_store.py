"""The model folder: what was saved is read again, what is damaged is refused, and a failure leaves what was there."""

import errno
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_model import GONE, NEW_MOVIE, ONLY_TEST_RATINGS, USER_IDS, create_movies, save_small_model

from recommender import embed, vectors
from recommender.errors import RecommenderError
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES, Vocabularies, Vocabulary
from recommender.store import FORMAT_VERSION, Facts, ModelError, SavedModel, check_output, save_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The arrays that were saved, and the folder that they became. Tests change copies of it."""
    folder = tmp_path_factory.mktemp("store") / "model"
    save_small_model(folder)
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}, folder


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved[1], tmp_path / "model"))


def load_everything(folder):
    """Loads all files of a model, which no single query does."""
    model = SavedModel(folder)
    return model.vocabularies, model.movies


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def save_letters(folder, words="ab", towers=lambda folder: None, size=3, **files):
    """Saves a model that cannot be loaded, quickly; returns its fingerprint."""
    vocabularies = Vocabularies(Vocabulary(words), Vocabulary("c"), Vocabulary([1, 2]))
    contents = {f"{name}.png": content for name, content in files.items()}
    return save_model(folder, {"numbers": np.arange(size)}, vocabularies, contents, towers, {"metrics": {"rmse": 0.8}})


def test_reads_what_was_written(saved):
    arrays, folder = saved
    model = SavedModel(folder)
    assert model.manifest["format_version"] == FORMAT_VERSION
    assert model.facts == Facts(True, True, 1.0, 5.0, "")
    taste = [*model.taste.inputs, *model.taste.outputs, model.taste.demographics, model.taste.variances]
    names = "inputs_by_id inputs_by_content outputs_by_id outputs_by_content demographics variances"
    for name, array in zip(names.split(), taste, strict=True):
        np.testing.assert_array_equal(array, arrays[f"taste_{name}"])
    for name in ("user_ids", "profiles", "profile_vectors", "movie_ids"):
        np.testing.assert_array_equal(getattr(model, name), arrays[name])
    assert list(model.movies.values()) == create_movies()
    words = {word for movie in create_movies() for word in movie.name.lower().split()}
    assert model.vocabularies.words.tokens == sorted(words)
    assert model.vocabularies.genres.tokens == ["childrens", "comedy", "drama", "filmnoir", "scifi", "war"]
    assert model.vocabularies.movies.tokens == arrays["movie_ids"].tolist()
    np.testing.assert_array_equal(model.user_prior.covariance, arrays["prior_covariance"])


def test_users_and_their_ratings(saved):
    arrays, folder = saved
    model = SavedModel(folder)
    for row, user_id in enumerate(USER_IDS):
        assert model.profile_row(user_id) == NUM_DEMOGRAPHIC_PROFILES + row
        start, end = arrays["ratings_indptr"][row : row + 2]
        assert model.ratings_of(user_id).tolist() == arrays["ratings"][start:end].tolist()
    for unknown in (-1, 0, 2, 400, 10**9):
        with pytest.raises(ModelError, match=f"no user {unknown} in .*there are 200 users, with ids from 1 to 399"):
            model.profile_row(unknown)


def test_number_of_training_ratings_of_each_movie(saved):
    arrays, folder = saved
    model = SavedModel(folder)
    counts = Counter(movie_id for movie_id, _, held_out in arrays["ratings"].tolist() if not held_out)
    movie_ids = [*model.movies, NEW_MOVIE.movie_id]
    assert model.count_ratings(np.array(movie_ids)).tolist() == [counts[movie_id] for movie_id in movie_ids]
    assert counts[ONLY_TEST_RATINGS] == 0 < counts[GONE]


def test_movie_indices_are_those_of_the_vocabulary(saved):
    """A movie without training ratings has the unknown index."""
    model = SavedModel(saved[1])
    movie_ids = [*model.movies, 0, 99999, ONLY_TEST_RATINGS]
    expected = [model.vocabularies.movies.index(movie_id) for movie_id in movie_ids]
    assert model.movie_idx(np.array(movie_ids)).tolist() == expected
    assert model.movie_idx(np.array([ONLY_TEST_RATINGS])).tolist() == [1]


def edit_manifest(**changes):
    def damage(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def edit_facts(**changes):
    def damage(folder):
        facts = json.loads((folder / "manifest.json").read_text())["data"]
        edit_manifest(data={name: value for name, value in (facts | changes).items() if value is not None})(folder)

    return damage


def edit_array(name, edit):
    def damage(folder):
        np.save(folder / f"{name}.npy", edit(np.load(folder / f"{name}.npy")))

    return damage


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def remove(name):
    return lambda folder: (folder / name).unlink()


DAMAGE = {
    "no folder": (shutil.rmtree, "no model here"),
    "no manifest": (remove("manifest.json"), "no model here"),
    "truncated manifest": (write("manifest.json", b'{"format'), "manifest.json: missing or damaged"),
    "manifest is no object": (write("manifest.json", b"[]"), "manifest.json: missing or damaged"),
    "older format": (edit_manifest(format_version=4), f"format 4, this program reads {FORMAT_VERSION}"),
    "no facts": (edit_manifest(data={}), "damaged"),
    "an unknown fact": (edit_facts(colour="red"), "damaged"),
    "a missing fact": (edit_facts(has_links=None), "damaged"),
    "missing array": (remove("profile_vectors.npy"), "profile_vectors.npy: missing or damaged"),
    "array is no array": (write("profiles.npy", b"x"), "profiles.npy: missing or damaged"),
    "narrow vectors": (edit_array("profile_vectors", lambda array: array[:, 1:]), "profile_vectors.npy: damaged"),
    "wide profiles": (edit_array("profiles", lambda array: np.pad(array, ((0, 0), (0, 1)))), "profiles.npy: damaged"),
    "small covariance": (edit_array("prior_covariance", lambda array: array[1:]), "prior_covariance.npy: damaged"),
    "float64": (edit_array("profile_vectors", lambda array: array.astype(float)), "damaged, it holds float64"),
    "other records": (edit_array("ratings", lambda array: array["movie_id"]), "ratings.npy: damaged"),
    "a pickle": (write("profiles.npy", b"\x80\x04N."), "profiles.npy: missing or damaged"),
    "pickled objects": (edit_array("profiles", lambda array: array.astype(object)), "profiles.npy: missing or damaged"),
    "no vocabularies": (remove("vocabularies.json"), "vocabularies.json: missing or damaged"),
    "vocabulary lacks genres": (write("vocabularies.json", b'[["a"]]'), "vocabularies.json: missing or damaged"),
    "lowest rating 5": (edit_facts(min_rating=5.0), "manifest.json: missing or damaged"),
    "lowest rating is no number": (edit_facts(min_rating="1.0"), "manifest.json: missing or damaged"),
    "no catalogue": (remove("movies_origin.txt"), "movies_origin.txt: cannot read it"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_model_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(RecommenderError, match=message) as caught:
        load_everything(folder)
    assert str(caught.value).endswith("; run: python train.py")
    assert len(str(caught.value)) < 400


def test_half_stars_are_no_damage(folder):
    edit_facts(min_rating=0.5, has_links=False, notice="Invented.")(folder)
    assert SavedModel(folder).facts == Facts(True, False, 0.5, 5.0, "Invented.")


def test_new_model_replaces_the_old_one(tmp_path):
    folder = tmp_path / "made" / "model"
    first = save_letters(folder, "ab", old=b"x")
    second = save_letters(folder, "abz")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert first != second == manifest["fingerprint"]
    assert manifest["metrics"] == {"rmse": 0.8}
    assert names_in(folder.parent) == ["model"], "nothing else is left"
    assert names_in(folder) == ["manifest.json", "movie_ids.npy", "numbers.npy", "vocabularies.json"]
    assert json.loads((folder / "vocabularies.json").read_text()) == [["a", "b", "z"], ["c"]]


def test_fingerprint_is_that_of_all_files_but_the_picture(tmp_path):
    def write_tower(text):
        return lambda folder: (folder / "user_tower.json").write_text(text)

    plain = save_letters(tmp_path / "a", towers=write_tower("a"), training_curve=b"red")
    assert save_letters(tmp_path / "b", towers=write_tower("a"), training_curve=b"blue") == plain
    assert save_letters(tmp_path / "c", towers=write_tower("b")) != plain
    assert save_letters(tmp_path / "d", towers=write_tower("a"), other=b"blue") != plain
    assert save_letters(tmp_path / "e", towers=write_tower("a"), size=4) != plain
    assert len(plain) == 16


def test_another_layout_of_the_joined_vector_is_another_format():
    """Where this fails, raise `FORMAT_VERSION`: a collection with the old layout must not answer new questions."""
    sizes = [vectors.TASTE_DIM, embed.WORD_DIM, embed.YEAR_STEP]
    weights = [embed.GENRE_WEIGHT, embed.TITLE_WEIGHT, embed.YEAR_WEIGHT]
    assert (FORMAT_VERSION, sizes, weights) == (5, [100, 64, 10], [0.2, 0.2, 0.15])


def test_folder_that_is_something_else_stays_as_it_is(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("Dear")
    (tmp_path / "file").write_text("x")
    for name in ("letters", "file"):
        for attempt in (check_output, save_letters):
            with pytest.raises(ModelError, match=f"{name}: this is not a model folder, and stays as it is"):
                attempt(tmp_path / name)
    assert (tmp_path / "letters" / "to-mum.txt").read_text() == "Dear"
    assert names_in(tmp_path) == ["file", "letters"]
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing/folder"):
        check_output(tmp_path / name)
        assert save_letters(tmp_path / name)


def fail_as(error):
    def save_towers(folder):
        (folder / "half").write_text("a tower")
        raise error

    return save_towers


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "cannot write the model: No space left on device"),
        (OSError("problem writing element 197632"), "cannot write the model: no space left on device"),
        (KeyboardInterrupt("Ctrl-C"), "Ctrl-C"),
    ],
)
def test_failure_leaves_the_model_that_was_there(tmp_path, error, message):
    fingerprint = save_letters(tmp_path / "model")
    with pytest.raises((ModelError, KeyboardInterrupt), match=message):
        save_letters(tmp_path / "model", "xyz", fail_as(error))
    assert names_in(tmp_path) == ["model"]
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["fingerprint"] == fingerprint
