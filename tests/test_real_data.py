"""The three commands on real MovieLens, in the folder that ML_DATA_DIR names; each release is trained once."""

import csv
import os
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from commands import MINE, PROJECT, SAMPLE, ask, fail, run_process, succeed

from recommender.api import Recommender
from recommender.files import Workdir
from recommender.films.titles import split_title, title_key
from recommender.movielens.releases import read_movielens
from recommender.movielens.split import held_out_rows
from recommender.store import SavedModel

pytestmark = pytest.mark.movielens


class Floors(NamedTuple):
    """What a model must reach on the test rows."""

    max_rmse: float
    min_ndcg: float
    """Of the ten best by picks."""


FLOORS = {"ml-1m": Floors(0.8245, 0.320), "ml-100k": Floors(0.878, 0.34), "ml-latest-small": Floors(0.791, 0.268)}
ALL = pytest.mark.parametrize("name", FLOORS)
WITH_RELATIVES = pytest.mark.parametrize("name", ["ml-1m", "ml-latest-small"])
MIN_RELATED = 0.9
"""Lower bound on the share of films of similar_films.tsv that have a relative in their top ten."""
MIN_SHARING_GENRE = 0.95


@pytest.fixture(scope="session")
def data_dir():
    return Path(os.environ["ML_DATA_DIR"]).resolve()


@pytest.fixture(scope="session")
def workdir(data_dir, tmp_path_factory):
    """Returns a function from a release's name to a folder after the three commands, each in a process of its own."""
    folders = {}

    def prepare(name):
        if name not in folders:
            folder = folders[name] = tmp_path_factory.mktemp(name)
            started = time.monotonic()
            print(succeed("train", "--data-dir", data_dir / name, cwd=folder, run=run_process).stdout)
            print(f"{name}: train.py took {time.monotonic() - started:.0f} s")
            succeed("encode", cwd=folder, run=run_process)
            print(succeed("recommend", "-i", cwd=folder, run=run_process).stdout)
        return folders[name]

    return prepare


@pytest.fixture
def folder(name, workdir):
    return workdir(name)


@pytest.fixture
def model(folder):
    return SavedModel(Workdir(folder).model)


@pytest.fixture
def movies(folder):
    with Recommender.open(folder) as movies:
        yield movies


@ALL
def test_quality(name, model):
    metrics = model.manifest["metrics"]
    print(name, metrics["test_rmse"], metrics["test_ndcg"])
    assert metrics["test_rmse"] <= FLOORS[name].max_rmse
    assert metrics["test_ndcg"]["picks"] >= FLOORS[name].min_ndcg
    assert metrics["test_ndcg"]["both"] >= 0.95 * metrics["test_ndcg"]["picks"]
    assert metrics["test_rmse"] < 0.92 * metrics["test_baselines"]["movie mean"]["rmse"]


def test_ml_1m_is_read_as_it_is(data_dir):
    data = read_movielens(data_dir / "ml-1m")
    assert (len(data.users), len(data.movies), len(data.ratings)) == (6040, 3883, 1_000_209)
    assert np.bincount(data.ratings.rating).tolist() == [0, 56_174, 107_557, 261_197, 348_971, 226_310]
    assert held_out_rows(len(data.ratings)).sum() == 99_981
    assert any("é" in movie.title for movie in data.movies)
    no_blank = next(movie.title for movie in data.movies if movie.movie_id == 1001)
    assert split_title(no_blank)[1] == 1982


@pytest.mark.parametrize("name", ["ml-1m"])
def test_baselines_are_those_of_the_data(model):
    metrics = model.manifest["metrics"]
    baselines = {name: values["rmse"] for name, values in metrics["test_baselines"].items()}
    assert baselines.pop("this model") == metrics["test_rmse"]
    assert baselines == pytest.approx({"movie mean": 0.9829}, abs=2e-4)
    assert metrics["test_ndcg"]["most popular"] == pytest.approx(0.1230, abs=1e-4)


QUERIES = (
    "--user 5 --why",
    "--user 5 --by stars --why",
    "--like fargo --seen scream",
    "--genre drama --year 1990-",
    "--user 7 --with 8 --variety 0.5 --why",
    f"--ratings {MINE} --novelty 0.5 --max-ratings 50%",
)


@ALL
def test_queries(name, folder):
    for query in QUERIES:
        rows = ask(*query.split(), "-k", 10, cwd=folder)
        assert len(rows) == 10, query
    demographics = ("-a", 0, "-g", 1, "-j", 10, "-k", 10)
    if name == "ml-latest-small":
        assert "leave them out" in fail("recommend", *demographics, cwd=folder, code=2)
    else:
        rows = ask(*demographics, cwd=folder)
        assert len(rows) == 10
        assert min(row["ratings"] for row in rows) >= 50


@ALL
def test_all_users_get_unseen_movies(folder, model, tmp_path):
    succeed("recommend", "--users", "all", "-k", 10, "--output", tmp_path / "all.csv", cwd=folder)
    rows = pd.read_csv(tmp_path / "all.csv")
    assert len(rows) >= 9.99 * len(model.user_ids)
    for user_id, movie_ids in rows.groupby("user_id").movie_id:
        rated = model.ratings_of(user_id)
        assert not set(movie_ids) & set(rated["movie_id"][~rated["held_out"]].tolist())


# Films like this one.


def finder(movies):
    """Returns a function from a title with its year to the id of the movie that it means, or None."""
    by_key = defaultdict(list)
    for title in movies.collection.titles():
        by_key[title_key(title.title)].append(title)

    def find(text):
        year = split_title(text)[1]
        near = [title for title in by_key[title_key(text)] if abs((title.year or 0) - year) <= 1]
        return max(near, key=lambda title: title.num_ratings).movie_id if near else None

    return find


@WITH_RELATIVES
def test_relatives_are_in_the_top_ten(name, movies):
    related, missing, find = 0, [], finder(movies)
    for line in (PROJECT / "tests" / "similar_films.tsv").read_text("utf-8").splitlines():
        film, relatives, releases = line.split("\t")
        movie_id = find(film)
        wanted = {find(relative) for relative in relatives.split(" | ")} - {None}
        if name in releases.split() and movie_id and wanted:
            found = set(movies.similar(f"id:{movie_id}")["movie_id"])
            related += bool(wanted & found)
            missing += [] if wanted & found else [film]
    number = related + len(missing)
    print(f"{name}: {related} of {number} films, not {missing}")
    assert number >= 80
    assert related >= MIN_RELATED * number


@WITH_RELATIVES
def test_similar_films_share_a_genre(movies, model):
    ids_of_films = np.random.default_rng(0).choice(sorted(model.movies), 500, replace=False).tolist()
    genres = {movie_id: set(movie.genres) for movie_id, movie in model.movies.items()}
    sharing = []
    for movie_id in ids_of_films:
        if genres[movie_id] != {"(no genres listed)"}:
            found = movies.similar(f"id:{movie_id}")["movie_id"]
            sharing += [bool(genres[movie_id] & genres[other]) for other in found]
    print(np.mean(sharing))
    assert np.mean(sharing) >= MIN_SHARING_GENRE


# Lists.


@ALL
def test_watchlists_keep_the_order_of_the_whole_list(movies, model, tmp_path):
    random = np.random.default_rng(0)
    movie_ids = np.array(sorted(model.movies))
    for user in random.choice(model.user_ids, 5, replace=False).tolist():
        by = str(random.choice(["stars", "picks", "both", "similar"]))
        order = {"user": user, "by": by, "min_ratings": 0, "k": 16384}
        everything = movies.recommend(**order)
        value = everything["pick"] + 0.125 * everything["score"]
        for size in (5, 100, 500):
            wanted = random.choice(movie_ids, size, replace=False).tolist()
            (tmp_path / "list.csv").write_text("movieId\n" + "".join(f"{movie_id}\n" for movie_id in wanted))
            found = movies.recommend(**order, among=tmp_path / "list.csv")["movie_id"].tolist()
            expected = [movie_id for movie_id in everything["movie_id"] if movie_id in set(wanted)]
            assert sorted(found) == sorted(expected)
            column = {"stars": everything["score"], "picks": everything["pick"], "both": value}.get(
                by, everything.get("similar")
            )
            values = dict(zip(everything["movie_id"], column.astype(float), strict=True))
            np.testing.assert_allclose([values[one] for one in found], [values[one] for one in expected], atol=2e-4)


@ALL
def test_genres_left_out(movies, model):
    random = np.random.default_rng(0)
    genres = sorted({genre for movie in model.movies.values() for genre in movie.genres})
    for left_out in random.choice(genres, (5, 2)).tolist():
        users = random.choice(model.user_ids, 50).tolist()
        for frame in movies.recommend_many(users, not_genre=left_out, k=10)[1]:
            assert len(frame) == 500
            assert not any(set(left_out) & set(text.split("|")) for text in frame["genres"])


@ALL
def test_milvus_and_paddle_agree(movies, model):
    """On the score of a movie, for users of the training data and for new ones."""
    random = np.random.default_rng(0)
    people = [{"user": int(user)} for user in random.choice(model.user_ids, 2)] + [{"ratings": MINE}, {"like": "fargo"}]
    for person in people:
        for movie_id in random.choice(sorted(model.movies), 2).tolist():
            found = movies.predict(movie_id, check=True, **person)
            assert found.milvus_score == pytest.approx(found.paddle_score, abs=1e-4)


@pytest.mark.parametrize("name", ["ml-1m"])
def test_variety_makes_lists_less_alike(movies, model):
    """And costs little of what the list is ordered by."""
    users = np.random.default_rng(0).choice(model.user_ids, 100, replace=False).tolist()
    tastes = {movie_id: model.taste.outputs.by_id[row] for row, movie_id in enumerate(model.movie_ids.tolist(), 2)}

    def similarity(variety):
        [frame] = movies.recommend_many(users, k=10, variety=variety)[1]
        means, picks = [], []
        for _, rows in frame.groupby("user_id"):
            vectors = np.array([tastes[movie_id] for movie_id in rows["movie_id"] if movie_id in tastes])
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            means.append((unit @ unit.T)[np.triu_indices(len(unit), 1)].mean())
            picks.append(rows["pick"].mean())
        return np.mean(means), np.mean(picks)

    (alike, pick), (varied, varied_pick) = similarity(0), similarity(0.5)
    assert varied <= 0.8 * alike
    assert varied_pick >= 0.85 * pick


# Files of films.


@pytest.mark.parametrize("name", ["ml-latest-small"])
def test_imdb_export_is_matched_completely(data_dir, folder, tmp_path):
    films = read_movielens(data_dir / "ml-latest-small").movies[::20]
    with (tmp_path / "imdb.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Const", "Your Rating", "Title", "Year"])
        writer.writerows([movie.imdb_id, 1 + row % 10, "", ""] for row, movie in enumerate(films))
    options = ("--ratings", tmp_path / "imdb.csv", "--format", "csv")
    done = succeed("recommend", *options, cwd=folder)
    assert f"{len(films)} of {len(films)} films matched" in done.stderr
    assert all(re.fullmatch("tt[0-9]{7,}", row["imdb_id"]) for row in csv.DictReader(done.stdout.splitlines()))


@pytest.mark.parametrize("name", ["ml-latest-small"])
def test_a_viewer_of_recent_films(folder):
    """The example of the README: good films of this century, none that was rated."""
    rows = ask("--ratings", SAMPLE / "today.csv", "--year", "2000-", "-k", 10, cwd=folder)
    assert min(row["year"] for row in rows) >= 2000
    assert np.median([row["ratings"] for row in rows]) >= 20
    rated = [row["Name"] for row in csv.DictReader((SAMPLE / "today.csv").open(encoding="utf-8"))]
    assert not {row["title"] for row in rows} & set(rated)


LIKED = [
    (("alien", "blade runner"), {"Aliens", "The Terminator", "Star Wars: Episode IV - A New Hope", "The Matrix"}),
    (("lion king", "aladdin"), {"Beauty and the Beast", "The Little Mermaid", "Toy Story"}),
]


@pytest.mark.parametrize("name", ["ml-1m"])
def test_liked_movies_lead_to_movies_like_them(movies):
    for liked, expected in LIKED:
        for by in ("similar", "picks"):
            frame = movies.recommend(like=liked, by=by, k=10, why=True)
            assert len(expected & set(frame["title"])) >= 2, (by, frame["title"].tolist())
            assert all(frame["why"])


# Training.


def test_one_seed_gives_one_fingerprint(data_dir, workdir, tmp_path):
    """In another process, on ml-100k; another seed gives another model."""
    first = SavedModel(Workdir(workdir("ml-100k")).model).fingerprint
    succeed("train", "--data-dir", data_dir / "ml-100k", cwd=tmp_path, run=run_process)
    assert SavedModel(Workdir(tmp_path).model).fingerprint == first
    args = ("--data-dir", data_dir / "ml-100k", "--seed", 1, "--epochs", 1, "--targets", "ratings")
    succeed("train", *args, cwd=tmp_path, run=run_process)
    assert SavedModel(Workdir(tmp_path).model).fingerprint != first
