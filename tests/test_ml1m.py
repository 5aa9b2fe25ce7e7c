"""The three commands on real MovieLens 1M. The bounds lie around what docs/measurements.md reports."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, load_everything, run_process, succeed
from evaluate import load
from options import Lists, pair_gains

from recommender.cli.arguments import LITE_URI, MODEL_FOLDER
from recommender.movielens.split import held_out_rows
from recommender.movielens.encoding import demographic_profile_row, encode_movies
from recommender.movielens.catalogue import read_movies_data
from recommender.movielens.releases import read_movielens
from recommender.films.titles import split_title
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import MovieFilter
from recommender.store import load_model
from recommender.lists import Query, recommend, taste_similarities
from recommender.users import UserProfile
from recommender.stars.embed import embed_movies, load_tower
from recommender.scoring import exact_top_k

pytestmark = pytest.mark.movielens

QUALITY = re.compile(r"^## Quality$(.*?)^## ", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def data_dir():
    return Path(os.environ["ML_DATA_DIR"]).resolve() / "ml-1m"


@pytest.fixture(scope="module")
def folder(data_dir, tmp_path_factory):
    """A folder after the three commands on MovieLens 1M, with default settings, each in a process of its own."""
    folder = tmp_path_factory.mktemp("ml1m")
    started = time.monotonic()
    print(succeed("train.py", "--data-dir", data_dir, cwd=folder, run=run_process).stdout)
    print(f"train.py took {time.monotonic() - started:.0f} s")
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder, run=run_process)
    print(succeed("infer_milvus.py", "-a", 0, "-g", 1, "-j", 10, "-i", cwd=folder, run=run_process).stdout)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder / MODEL_FOLDER)


@pytest.fixture(scope="module")
def metrics(model):
    return model.manifest["metrics"]


def ask(folder, *options):
    """Returns the recommendations that infer_milvus.py prints as JSON."""
    return json.loads(succeed("infer_milvus.py", *options, "--format", "json", cwd=folder).stdout)


def test_reads_all_of_it_in_two_seconds(data_dir):
    started = time.monotonic()
    data = read_movielens(data_dir)
    assert time.monotonic() - started < 2
    assert (len(data.users), len(data.movies), len(data.ratings)) == (6040, 3883, 1_000_209)
    assert np.bincount(data.ratings.rating).tolist() == [0, 56_174, 107_557, 261_197, 348_971, 226_310]
    assert held_out_rows(len(data.ratings)).sum() == 99_981
    assert any("é" in movie.title for movie in data.movies)
    no_blank = next(movie.title for movie in data.movies if movie.movie_id == 1001)
    assert split_title(no_blank)[1] == 1982


def test_model_is_as_good_as_it_was(metrics):
    assert metrics["test_rmse"] == pytest.approx(0.8438, abs=0.002)
    assert metrics["test_mae"] == pytest.approx(0.6655, abs=0.002)
    assert 0.3195 <= metrics["test_ndcg"]["picks"] < 0.335
    assert 0.314 <= metrics["test_ndcg"]["both"] < metrics["test_ndcg"]["picks"]
    assert metrics["test_ndcg"]["stars"] == pytest.approx(0.075, abs=0.01)


def test_baselines_are_what_they_were(metrics):
    baselines = {name: values["rmse"] for name, values in metrics["test_baselines"].items()}
    assert baselines.pop("this model") == metrics["test_rmse"]
    expected = {"global mean": 1.1207, "movie mean": 0.9829, "user + movie bias": 0.9113}
    assert baselines == pytest.approx(expected, abs=2e-4)
    assert metrics["test_ndcg"]["most popular"] == pytest.approx(0.1230, abs=1e-4)


@pytest.mark.parametrize(
    ("figure_of", "tolerance"),
    [
        (lambda metrics: metrics["test_rmse"], 0.002),
        (lambda metrics: metrics["test_ndcg"]["picks"], 0.003),
        (lambda metrics: metrics["test_ndcg"]["both"], 0.003),
    ],
    ids=["RMSE", "NDCG@10 by picks", "NDCG@10 by both"],
)
def test_readme_has_the_figures_of_this_model(metrics, figure_of, tolerance):
    section = QUALITY.search((PROJECT / "README.md").read_text("utf-8"))[1]
    figures = [float(figure) for figure in re.findall(r"(?<![\d.])0\.\d{3,4}(?!\d)", section)]
    assert figures, "the section has no figures"
    assert min(abs(figure - figure_of(metrics)) for figure in figures) <= tolerance, (figures, figure_of(metrics))


def test_all_files_of_the_model_are_sound(model):
    load_everything(model)
    assert len(model.user_ids) == 6040
    assert len(model.movies) == 3883


def test_two_processes_train_as_good_a_model(data_dir, tmp_path):
    command = [PROJECT / "train.py", "--data-dir", data_dir, "--epochs", "3", "--output"]
    for launcher, output in (([], "one"), (["-m", "paddle.distributed.launch", "--nproc_per_node", "2"], "two")):
        done = subprocess.run(
            [sys.executable, *launcher, *command, output], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    one, two = (load_model(tmp_path / name).manifest["metrics"]["test_rmse"] for name in ("one", "two"))
    assert two == pytest.approx(one, abs=0.003)


def test_milvus_finds_what_exact_search_finds(folder, model):
    movies = read_movies_data(folder / "movies_data.txt", model.fingerprint)[0]
    assert len(movies) == 3883
    features = encode_movies(movies, model.vocabularies)
    vectors = embed_movies(load_tower(model.tower_path("movie_tower")), features)
    for age, gender, job in ((0, 1, 10), (6, 0, 16), (2, 0, 12)):
        found = ask(folder, "-a", age, "-g", gender, "-j", job, "-k", 50, "--min-ratings", 0)
        row = demographic_profile_row(1 + gender, 1 + age, 1 + job)
        rows, products = exact_top_k(model.profile_vectors[[row]], vectors, 50)
        np.testing.assert_allclose([movie["score"] for movie in found], 5 * products[0], atol=1e-4)
        assert len({movie["movie_id"] for movie in found} & {movies[row].movie_id for row in rows[0]}) >= 49


@pytest.mark.parametrize("options", [("-a", 0, "-g", 1, "-j", 10), ("-a", 6, "-g", 0, "-j", 16), ()])
def test_new_users_get_well_known_movies(folder, options):
    found = ask(folder, *options, "-k", 10)
    assert len(found) == 10
    assert min(movie["num_ratings"] for movie in found) >= 50


def test_all_users_get_ten_unseen_movies_in_a_minute(folder, model):
    started = time.monotonic()
    succeed("infer_milvus.py", "--users", "all", "-k", 10, "--output", "all.csv", cwd=folder)
    assert time.monotonic() - started < 60
    rows = pd.read_csv(folder / "all.csv")
    assert len(rows) == 6040 * 10
    for user_id, movie_ids in rows.groupby("user_id").movie_id:
        rated = model.ratings_of(user_id)
        assert not set(movie_ids) & set(rated["movie_id"][~rated["held_out"]].tolist())


@pytest.mark.parametrize(
    ("liked", "expected"),
    [
        (("alien", "blade runner"), {"Aliens", "Terminator, The", "Star Wars: Episode IV - A New Hope"}),
        (("lion king", "aladdin"), {"Beauty and the Beast", "Little Mermaid, The", "Toy Story"}),
    ],
    ids=["science fiction", "musicals for children"],
)
def test_liked_movies_lead_to_movies_like_them(folder, liked, expected):
    options = [word for title in liked for word in ("--like", title)]
    found = ask(folder, *options, "-k", 10)
    assert expected <= {movie["title"] for movie in found}
    reasons = ask(folder, *options, "-k", 10, "--why")
    assert [movie["movie_id"] for movie in reasons] == [movie["movie_id"] for movie in found]
    assert all(movie["why"] for movie in reasons)


@pytest.fixture
def collection(folder, model):
    with MilvusConnection(f"{folder}/{LITE_URI}") as connection:
        yield MovieCollection(connection, model.fingerprint)


def test_watchlists_keep_the_order_of_the_whole_list(collection, model):
    random = np.random.default_rng(0)
    movie_ids = np.array(sorted(model.movies))
    for user_id in random.choice(model.user_ids, 50, replace=False):
        profile = UserProfile.from_user(model, int(user_id))
        ranking = random.choice(["stars", "picks", "both"])

        def order(k, profile=profile, ranking=ranking, **bounds):
            query = Query(ranking, k, collection.build_filter(MovieFilter(**bounds)))
            [found] = recommend(model, collection, [profile], query)
            return [one.movie.movie_id for one in found]

        everything = order(len(movie_ids))
        for _ in range(20):
            wanted = random.choice(movie_ids, random.integers(5, 501), replace=False).tolist()
            expected = [movie_id for movie_id in everything if movie_id in set(wanted)]
            assert order(500, among=tuple(wanted)) == expected


def test_a_watchlist_takes_no_more_time(folder, model, tmp_path):
    titles = [movie.title for movie in model.movies.values()][::8][:450]
    (tmp_path / "wanted.txt").write_text("\n".join(titles))
    seconds = {}
    for options in ((), ("--among", tmp_path / "wanted.txt")):
        runs = []
        for _ in range(5):
            started = time.monotonic()
            ask(folder, "--user", 42, *options)
            runs.append(time.monotonic() - started)
        seconds[options] = min(runs)
    without, with_list = seconds.values()
    assert with_list - without < 0.25, "50 ms on a quiet machine"


def test_genres_left_out_of_1000_lists(collection, model):
    random = np.random.default_rng(0)
    genres = sorted({genre for movie in model.movies.values() for genre in movie.genres})
    for left_out in random.choice(genres, (20, 2)):
        profiles = [UserProfile.from_user(model, int(user_id)) for user_id in random.choice(model.user_ids, 50)]
        movie_filter = collection.build_filter(MovieFilter(not_genres=tuple(left_out)))
        for found in recommend(model, collection, profiles, Query("both", 10, movie_filter)):
            assert len(found) == 10
            assert not any(set(left_out) & set(one.movie.genres) for one in found)


@pytest.fixture(scope="module")
def lists(folder, data_dir):
    """The lists of all users, as benchmarks/evaluate.py evaluates them."""
    evaluated = load(read_movielens(data_dir), folder / MODEL_FOLDER)
    return Lists(evaluated.split, evaluated.catalogue, evaluated.user_vectors)


def test_variety_costs_little(lists):
    usual, varied = lists.filtered(np.ones(len(lists.vectors), bool)), lists.diversified(0.5)
    assert lists.similarity(varied) <= 0.7 * lists.similarity(usual)
    assert lists.test.evaluate(varied).ndcg >= 0.97 * lists.test.evaluate(usual).ndcg


def test_nobody_is_left_out_of_a_list_for_two(lists):
    mean, fused = pair_gains(lists).values()
    assert len(fused) > 900
    assert fused.min(1).mean() >= 1.1 * mean.min(1).mean(), "of the one who is worse off"
    assert fused.mean() >= 0.97 * mean.mean()


def test_tastes_of_random_users_are_not_alike_on_average(collection, model):
    user_ids = np.random.default_rng(0).choice(model.user_ids, 200, replace=False).tolist()
    profiles = [UserProfile.from_user(model, user_id) for user_id in user_ids]
    similarities = taste_similarities(model, collection, profiles)[np.triu_indices(len(profiles), 1)]
    assert abs(similarities.mean()) < 0.1
    assert similarities.std() > 0.1
    assert similarities.max() > 0.7
