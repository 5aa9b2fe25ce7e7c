"""Every layout of a MovieLens release, on small files written from the releases' READMEs."""

import zipfile

import numpy as np
import pytest
from conftest import fail, succeed

from recommender.movielens.split import held_out_rows, split_and_encode
from recommender.movielens.download import RELEASES
from recommender.errors import DataError
from recommender.movielens.catalogue import Movie, User, format_movies, parse_movies
from recommender.movielens.releases import GENRES_100K, OCCUPATIONS_100K, parse_users_100k, read_movielens

FLAGS = {"Drama": "0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0", "unknown": "1" + "|0" * 18}
ML_100K = {
    "u.user": "1|24|M|technician|85711\n2|13|F|student|T8H1N\n3|60|F|none|0\n",
    "u.item": f"1|L\xe9on (1994)|01-Jan-1994||http://x|{FLAGS['Drama']}\n267|unknown||||{FLAGS['unknown']}\n",
    "u.data": "1\t267\t3\t881250949\n2\t1\t5\t881250949\n3\t1\t1\t0\n",
}
ML_10M = {
    "movies.dat": "1::Toy Story (1995)::Adventure|Animation\n2::Hyena Road::(no genres listed)\n",
    "ratings.dat": "1::2::3.5::838985046\n7::1::5::838983525\n",
    "tags.dat": "1::2::dull::1215184630\n",
}
ML_CSV = {
    "movies.csv": 'movieId,title,genres\r\n1,"Professional, The (Léon) (1994)",Crime|IMAX\r\n'
    "2,Death Note: Desu nôto (2006–2007),(no genres listed)\r\n3,Moonlight,Drama\r\n",
    "ratings.csv": "userId,movieId,rating,timestamp\r\n1,1,0.5,1\r\n1,2,4.0,1\r\n9,3,4.5,1\r\n",
    "links.csv": "movieId,imdbId,tmdbId\r\n1,0110413,101\r\n2,0877057,\r\n3,4975722,376867\r\n",
}


def write(folder, files, encoding="utf-8"):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(encoding))
    return folder


def test_ml_100k(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_100K, "latin-1"))
    assert data.users == [User(1, "M", 18, 17), User(2, "F", 1, 10), User(3, "F", 56, 19)]
    assert data.movies == [Movie(1, "Léon (1994)", ("Drama",)), Movie(267, "unknown", ("unknown",))]
    assert data.ratings.to_numpy().tolist() == [[1, 267, 3], [2, 1, 5], [3, 1, 1]]
    assert (data.has_demographics, data.has_links) == (True, False)


def test_every_occupation_of_ml_100k_is_mapped():
    lines = "".join(f"{row}|30|M|{name}|0\n" for row, name in enumerate([*OCCUPATIONS_100K, "student"], 1))
    assert len(parse_users_100k(lines.encode(), "u.user")) == 21
    assert len(GENRES_100K) == 19


def test_ml_10m_has_half_stars_and_no_demographics(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_10M))
    assert data.users == [User(1), User(7)]
    assert data.ratings.rating.tolist() == [3.5, 5.0]
    assert (data.has_demographics, data.has_links) == (False, False)


def test_csv_releases(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_CSV))
    assert data.movies == [
        Movie(1, "Professional, The (Léon) (1994)", ("Crime", "IMAX"), "tt0110413", 101),
        Movie(2, "Death Note: Desu nôto (2006–2007)", ("(no genres listed)",), "tt0877057", 0),
        Movie(3, "Moonlight", ("Drama",), "tt4975722", 376867),
    ]
    assert [movie.year for movie in data.movies] == [1994, 2006, None]
    assert data.users == [User(1), User(9)]
    assert data.ratings.rating.tolist() == [0.5, 4.0, 4.5]
    assert (data.has_demographics, data.has_links) == (False, True)
    assert parse_movies(format_movies(data.movies).encode(), "again") == data.movies


@pytest.mark.parametrize("files", [ML_100K, ML_10M, ML_CSV], ids=["100k", "10m", "csv"])
def test_archive_reads_like_its_folder(tmp_path, files):
    folder = write(tmp_path / "d", files)
    inside = tmp_path / "ml-x"
    inside.mkdir()
    for archive in (tmp_path / "any.zip", inside / "ml-x.zip"):
        with zipfile.ZipFile(archive, "w") as opened:
            for name in files:
                opened.write(folder / name, f"some-folder/{name}")
    whole = read_movielens(folder)
    for data_dir in (tmp_path / "any.zip", inside):
        data = read_movielens(data_dir)
        assert (data.users, data.movies) == (whole.users, whole.movies)
        assert data.ratings.equals(whole.ratings)


MALFORMED = {
    "user: age": (ML_100K, "u.user", "1|old|M|writer|0", "u.user, line 1: age 'old'"),
    "user: occupation": (ML_100K, "u.user", "1|24|M|astronaut|0", "u.user, line 1: unknown occupation 'astronaut'"),
    "user: fields": (ML_100K, "u.user", "1|24|M|writer", "u.user, line 1: 4 fields instead of 5"),
    "item: flags": (ML_100K, "u.item", "1|A (1990)|||" + "|2" * 19, "u.item, line 1: genre flags"),
    "item: fields": (ML_100K, "u.item", "1|A (1990)|0|1", "u.item, line 1: 4 fields instead of 24"),
    "data: rating": (ML_100K, "u.data", "1\t1\t3.5\t0", "u.data, line 1: rating 3.5; a rating is one of 1, 2, 3, 4, 5"),
    "data: blanks": (ML_100K, "u.data", "1 1 3 0", "u.data, line 1: 1 field instead of 4"),
    "data: user": (ML_100K, "u.data", "9\t1\t3\t0", "u.data, line 1: unknown user 9"),
    "10m: a third": (ML_10M, "ratings.dat", "1::1::3.3::0", "ratings.dat, line 1: rating 3.3; a rating is one of 0.5,"),
    "10m: movie": (ML_10M, "ratings.dat", "1::9::3.5::0", "ratings.dat, line 1: unknown movie 9"),
    "csv: header": (ML_CSV, "ratings.csv", "user,movie,rating,timestamp", "ratings.csv, line 1: another header"),
    "csv: movies header": (ML_CSV, "movies.csv", "id,title,genres", "movies.csv, line 1: another header"),
    "csv: rating": (ML_CSV, "ratings.csv", "userId,movieId,rating,timestamp\n1,1,good,0", "line 2: rating 'good'"),
    "csv: zero": (ML_CSV, "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,0\n1,2,0,0", "line 3: rating 0;"),
    "csv: id": (ML_CSV, "ratings.csv", "userId,movieId,rating,timestamp\n1.5,1,4,0", "line 2: userId '1.5'"),
    "csv: twice": (ML_CSV, "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,0\n1,1,3,0", "line 3: user 1 rates"),
    "csv: fields": (ML_CSV, "movies.csv", "movieId,title,genres\n1,A, B (1990),Drama", "movies.csv, line 2: 4 fields"),
    "csv: link": (ML_CSV, "links.csv", "movieId,imdbId,tmdbId\n1,x,5", "movies.csv, line 2: IMDb id 'ttx'"),
}


@pytest.mark.parametrize(("files", "name", "text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_line_is_named(tmp_path, files, name, text, message):
    with pytest.raises(DataError) as caught:
        read_movielens(write(tmp_path / "d", {**files, name: text + "\n"}))
    assert message in str(caught.value)
    assert ";" in str(caught.value), "the remedy is missing"


def test_users_without_demographics_have_unknown_ones(tmp_path):
    data = read_movielens(write(tmp_path / "d", ML_10M))
    split = split_and_encode(data, np.zeros(2, bool))
    assert split.train.profiles[-2:, 1:].tolist() == [[0, 0, 0]] * 2


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
    return write(folder, dict(zip(names, texts, strict=True)))


@pytest.fixture(scope="module")
def modern(tmp_path_factory, new_place):
    """A folder after the three commands on an invented release without demographics, and its environment."""
    folder = tmp_path_factory.mktemp("modern")
    environment = {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in new_place().items()}
    release = invented_release(folder / "ml-invented")
    assert held_out_rows(10).shape == (10,)
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

    with pytest.raises(SystemExit, match="0"):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in RELEASES)
