"""The three commands on an invented release without demographics, with half stars and with ids of IMDb and TMDB."""

import numpy as np
import pytest
from conftest import fail, succeed


def invented_release(folder):
    """An invented release in ml-latest's layout: 150 users with half stars, 60 movies with ids of IMDb and TMDB."""
    rng = np.random.default_rng(0)
    quality, taste, kind = rng.normal(3.5, 0.6, 60), rng.normal(size=(150, 2)), rng.normal(size=(60, 2))
    stars = quality + 0.6 * taste @ kind.T + rng.normal(0, 0.4, (150, 60))
    stars = np.clip(np.rint(stars * 2) / 2, 0.5, 5)
    pairs = np.argwhere(rng.random((150, 60)) < 0.5)
    ratings = "".join(f"{u + 1},{m + 1},{stars[u, m]},0\n" for u, m in pairs)
    genres = ["Drama", "IMAX", "(no genres listed)"]
    movies = "".join(f'{m + 1},"Film {m}, The ({2000 + m % 20})",{genres[m % 3]}\n' for m in range(60))
    links = "".join(f"{m + 1},{m + 1:07},{1000 + m}\n" for m in range(60))
    headers = "userId,movieId,rating,timestamp\n", "movieId,title,genres\n", "movieId,imdbId,tmdbId\n"
    names = "ratings.csv", "movies.csv", "links.csv"
    texts = (header + text for header, text in zip(headers, (ratings, movies, links), strict=True))
    folder.mkdir()
    for name, text in zip(names, texts, strict=True):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def modern(tmp_path_factory, new_place):
    """A folder after the three commands on an invented release without demographics, and its environment."""
    folder = tmp_path_factory.mktemp("modern")
    environment = {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in new_place().items()}
    release = invented_release(folder / "ml-invented")
    succeed("train.py", "--data-dir", release, "--epochs", 1, cwd=folder)
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    succeed("infer_milvus.py", "-i", cwd=folder, **environment)
    return folder, environment


def test_demographics_are_refused_where_the_model_has_none(modern):
    folder, environment = modern
    for option, value in (("-a", 0), ("-g", "F"), ("-j", 10)):
        error = fail("infer_milvus.py", option, value, cwd=folder, **environment)
        assert "trained on data without age, gender and job; leave out -a, -g and -j" in error


QUERIES = ["--user 5 --why", "--user 5 --by stars --why", "--like id:1 --seen id:2 --why", "--year 2005- --by picks"]


@pytest.mark.parametrize("query", [*QUERIES, "--genre imax --min-ratings 0", "--user 1 --movie 3", "--user 9 -k 60"])
def test_every_query_works_without_demographics(modern, query):
    folder, environment = modern
    stdout = succeed("infer_milvus.py", *query.split(), cwd=folder, **environment).stdout
    assert "any age" not in stdout
    assert "any job" not in stdout


def test_export_is_matched_by_imdb_and_tmdb_ids(modern, tmp_path):
    folder, environment = modern
    (tmp_path / "imdb.csv").write_text("Const,Your Rating,Title,Year\ntt0000007,9,Another name,1950\ntt0000008,3,X,\n")
    (tmp_path / "tmdb.csv").write_text("tmdbId,rating\n1010,4.5\n99,1\n")
    query = ("infer_milvus.py", "--ratings", tmp_path / "imdb.csv", "--ratings", tmp_path / "tmdb.csv")
    done = succeed(*query, "-k", 60, "--format", "csv", cwd=folder, **environment)
    assert "3 of 4 films matched" in done.stderr
    assert "not in the catalogue: TMDB 99" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "top,movie_id,title,year,genres,imdb_id,tmdb_id,num_ratings,score,pick"
    shown = {int(line.split(",")[1]) for line in lines[1:]}
    assert shown == set(range(1, 61)) - {7, 8, 11}
    assert any("tt0000001,1000" in line for line in lines)


def test_help_lists_every_release(capsys):
    import train
    from recommender.movielens.releases import RELEASES

    with pytest.raises(SystemExit, match="0"):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in RELEASES)
