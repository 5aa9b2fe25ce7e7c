"""The three commands on real MovieLens 1M. The bands lie around what benchmarks and README report."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, succeed
from test_cli import parse_table

from recommender.cli.arguments import MODEL_FOLDER
from recommender.data.features import anonymous_row, encode_movies, read_movies_data
from recommender.data.movielens import held_out_rows, read_movielens, split_title
from recommender.evaluation.metrics import exact_top_k
from recommender.inference.model_folder import load_model
from recommender.training.two_tower import embed_movies

pytestmark = pytest.mark.ml1m


@pytest.fixture(scope="module")
def data_dir() -> Path:
    return Path(os.environ["ML1M_DIR"]).resolve()


@pytest.fixture(scope="module")
def folder(data_dir, tmp_path_factory) -> Path:
    """A folder after the three commands on MovieLens 1M, with default settings."""
    folder = tmp_path_factory.mktemp("ml1m")
    started = time.monotonic()
    print(succeed("train.py", "--data-dir", data_dir, cwd=folder).stdout)
    print(f"train.py took {time.monotonic() - started:.0f} s")
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    print(succeed("infer_milvus.py", "-a", 0, "-g", 1, "-j", 10, "-i", cwd=folder).stdout)
    return folder


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


def test_model_is_as_good_as_the_readme_says(folder):
    metrics = load_model(folder / MODEL_FOLDER).manifest["metrics"]
    assert 0.83 < metrics["test_rmse"] < 0.850
    assert 0.65 < metrics["test_mae"] < 0.672
    baselines = metrics["test_baselines"]
    assert baselines["global mean"]["rmse"] == pytest.approx(1.1207, abs=1e-4)
    assert baselines["movie mean"]["rmse"] == pytest.approx(0.9829, abs=1e-4)
    assert baselines["user + movie bias"]["rmse"] == pytest.approx(0.911, abs=2e-3)
    ndcg = metrics["test_ndcg"]
    assert ndcg["most popular"] == pytest.approx(0.123, abs=1e-3)
    assert 0.310 < ndcg["picks"] < 0.335
    assert 0.305 < ndcg["both"] < ndcg["picks"]


def test_two_processes_train_as_good_a_model(data_dir, tmp_path):
    command = [PROJECT / "train.py", "--data-dir", data_dir, "--epochs", "3", "--output"]
    for launcher, output in (([], "one"), (["-m", "paddle.distributed.launch", "--nproc_per_node", "2"], "two")):
        done = subprocess.run(
            [sys.executable, *launcher, *command, output], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    one, two = (load_model(tmp_path / name).manifest["metrics"]["test_rmse"] for name in ("one", "two"))
    assert two == pytest.approx(one, abs=0.003)


def test_milvus_finds_what_exact_search_finds(folder):
    model = load_model(folder / MODEL_FOLDER)
    movies = read_movies_data(folder / "movies_data.txt", model.vocabularies)
    assert len(movies) == 3883
    vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(movies, model.vocabularies))
    for age, gender, job in ((0, 1, 10), (6, 0, 16), (2, 0, 12)):
        person = ("-a", age, "-g", gender, "-j", job)
        done = succeed("infer_milvus.py", *person, "-k", 50, "--min-ratings", 0, cwd=folder)
        rows, products = exact_top_k(
            model.arrays.user_vectors[[anonymous_row(1 + gender, 1 + age, 1 + job)]], vectors, 50
        )
        table = parse_table(done.stdout)
        np.testing.assert_allclose([score for _, _, score in table], 5 * products[0], atol=1e-4)
        assert len({movie_id for movie_id, *_ in table} & {movies[row].movie_id for row in rows[0]}) >= 49


def test_new_people_get_well_known_films(folder):
    for person in (("-a", 0, "-g", 1, "-j", 10), ("-a", 6, "-g", 0, "-j", 16), ()):
        rows = json.loads(succeed("infer_milvus.py", *person, "-k", 10, "--format", "json", cwd=folder).stdout)
        assert len(rows) == 10
        assert min(row["num_ratings"] for row in rows) >= 50


def test_everyone_gets_ten_unseen_films_in_a_minute(folder):
    started = time.monotonic()
    succeed("infer_milvus.py", "--users", "all", "-k", 10, "--output", "all.csv", cwd=folder)
    assert time.monotonic() - started < 60
    rows = pd.read_csv(folder / "all.csv")
    assert len(rows) == 6040 * 10
    model = load_model(folder / MODEL_FOLDER)
    for user_id, found in rows.groupby("user_id").movie_id:
        rated = model.ratings_of(user_id)
        assert not set(found) & set(rated["movie_id"][~rated["held_out"]].tolist())


def test_liked_films_lead_to_films_like_them(folder):
    """Read by eye once: science fiction from the one, musicals for children from the other."""
    for liked, expected in (
        (("alien", "blade runner"), {"Aliens", "Terminator, The", "Star Wars: Episode IV - A New Hope"}),
        (("lion king", "aladdin"), {"Beauty and the Beast", "Little Mermaid, The", "Toy Story"}),
    ):
        args = [word for title in liked for word in ("--like", title)]
        rows = json.loads(succeed("infer_milvus.py", *args, "-k", 8, "--format", "json", cwd=folder).stdout)
        assert expected <= {row["title"] for row in rows}
