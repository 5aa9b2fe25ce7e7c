"""The three commands on real ml-100k and ml-latest-small, in the folder that ML_DATA_DIR names."""

import csv
import json
import os
import re
from pathlib import Path

import pytest
from conftest import PROJECT, fail, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.films.exports import FilmReference
from recommender.movielens.releases import read_movielens
from recommender.store import load_model
from recommender.films.matching import Title, TitleMatcher

pytestmark = pytest.mark.movielens

FLOORS = {"ml-100k": (0.8985, 0.338), "ml-latest-small": (0.819, 0.263)}
"""Test RMSE at most, NDCG@10 by picks at least."""


@pytest.fixture(scope="module", params=FLOORS)
def release(request, tmp_path_factory):
    """A release's name, its data, and a folder after the three commands."""
    data_dir = Path(os.environ["ML_DATA_DIR"]).resolve() / request.param
    if not data_dir.is_dir():
        pytest.skip(f"there is no {data_dir}")
    folder = tmp_path_factory.mktemp(request.param)
    succeed("train.py", "--data-dir", data_dir, cwd=folder)
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    succeed("infer_milvus.py", "-i", cwd=folder)
    return request.param, data_dir, folder


def test_quality(release):
    name, _, folder = release
    metrics = load_model(folder / MODEL_FOLDER).manifest["metrics"]
    max_rmse, min_ndcg = FLOORS[name]
    assert metrics["test_rmse"] <= max_rmse
    assert metrics["test_ndcg"]["picks"] >= min_ndcg


@pytest.mark.parametrize(
    "query", ["--user 5 --why", "--user 5 --by stars --why", "--like matrix --seen jaws", "--genre drama --year 1990-"]
)
def test_queries(release, query):
    name, _, folder = release
    if name == "ml-100k":
        query = query.replace("matrix", "fargo").replace("jaws", "scream")
    stdout = succeed("infer_milvus.py", *query.split(), "-k", 10, "--min-ratings", 0, cwd=folder).stdout
    assert len(re.findall(r"^ *\d+\s+\d+\s", stdout, re.MULTILINE)) == 10


def test_demographics(release):
    name, _, folder = release
    query = ("infer_milvus.py", "-a", 0, "-g", 1, "-j", 10)
    if name == "ml-100k":
        assert "female, under 18, K-12 student" in succeed(*query, cwd=folder).stdout
    else:
        assert "leave out -a, -g and -j" in fail(*query, cwd=folder)


def test_imdb_export_is_matched_completely(release, tmp_path):
    name, data_dir, folder = release
    if name == "ml-100k":
        return  # It has no links; the films are matched by title.
    movies = read_movielens(data_dir).movies[::20]
    with (tmp_path / "imdb.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Const", "Your Rating", "Title", "Year"])
        writer.writerows([movie.imdb_id, 1 + row % 10, "x", ""] for row, movie in enumerate(movies))
    options = ("--ratings", tmp_path / "imdb.csv", "--format", "json")
    done = succeed("infer_milvus.py", *options, cwd=folder)
    assert f"{len(movies)} of {len(movies)} films matched" in done.stderr
    assert all(re.fullmatch("tt[0-9]{7,}", row["imdb_id"]) for row in json.loads(done.stdout))


def test_films_as_letterboxd_spells_them(release):
    name, data_dir, _ = release
    if name == "ml-100k":
        return  # The list is of films that ml-latest-small has.
    matcher = TitleMatcher(Title(movie.movie_id, movie.title, 1) for movie in read_movielens(data_dir).movies)
    matched = 0
    lines = (PROJECT / "tests" / "letterboxd_latest.tsv").read_text("utf-8").splitlines()
    for line in lines:
        film, year, movie_id = line.split("\t")
        match = matcher.match(FilmReference(None, film, int(year)))
        found = [title.movie_id for title in match.titles] if match.kind is not None else []
        assert found in ([], [int(movie_id)]) or len(found) > 1, f"{film}: {match}"
        matched += found == [int(movie_id)]
    assert matched >= 0.95 * len(lines)
    for line in (PROJECT / "tests" / "letterboxd_latest_missing.tsv").read_text("utf-8").splitlines():
        film, year = line.split("\t")
        assert matcher.match(FilmReference(None, film, int(year))).kind is None, film


def test_example_of_the_readme(release):
    name, _, folder = release
    if name == "ml-100k":
        return
    text = (PROJECT / "README.md").read_text("utf-8")
    [expected] = re.findall(
        r"^\$ python infer_milvus\.py -i --ratings data/sample/today\.csv.*\n((?:[^`].*\n)+)", text, re.M
    )
    options = ("--ratings", PROJECT / "data/sample/today.csv", "--year", "2000-", "-k", 3)
    done = succeed("infer_milvus.py", *options, cwd=folder)
    heading, *_ = (line for line in done.stdout.splitlines() if line.startswith("Top"))
    assert heading in expected
    shown = set(re.findall(r"^ *\d+ +(\d+) ", done.stdout, re.MULTILINE))
    assert len(shown & set(re.findall(r"^ *\d+ +(\d+) ", expected, re.MULTILINE))) >= 2, "of three"
