"""MovieLens releases: downloaded, recognized by their files, read from a folder or from the zip.

Formats: the README of each release, such as https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
"""

import csv
import os
import sys
import warnings
import zipfile
import zlib
from bisect import bisect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.errors import DataError
from recommender.movielens.catalogue import LAYOUT, MAX_ID, Movie, Record, parse_id, parse_movie, parse_records
from recommender.movielens.encoding import AGE_CODES, AGE_GROUPS, GENDERS, OCCUPATIONS
from recommender.movielens.encoding import User as User

DEFAULT_DATA_DIR = Path("data/ml-1m")
SAMPLE = Path(__file__).parents[2] / "data" / "sample"
"""The invented data set that comes with the project."""
EXPECTED = "--data-dir takes the folder or the zip of a MovieLens release, see --help"
GROUPLENS_URL = "https://files.grouplens.org/datasets/movielens/{}.zip"
RELEASES = ("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small", "ml-latest")
"""Names of what GroupLens offers; docs/data.md has the sizes."""
LICENCE = "MovieLens data are for research, and must not be redistributed; the README in the archive has the licence"
STARS = np.arange(0.5, 5.5, 0.5)
GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western".split("|")
)
"""Genres of ml-100k, in the order of its flags."""
OCCUPATIONS_100K = dict(
    pair.split("=")
    for pair in "administrator=clerical/admin|doctor=doctor/health care|educator=academic/educator|none=unemployed|"
    "engineer=technician/engineer|entertainment=artist|executive=executive/managerial|healthcare=doctor/health care|"
    "librarian=academic/educator|marketing=sales/marketing|salesman=sales/marketing|student=college/grad student|"
    "technician=technician/engineer".split("|")
)
"""ml-1m's occupation for those of ml-100k with another name; a `student` under 18 is a K-12 student."""

DataFile = Path | zipfile.Path


class MovieLens(NamedTuple):
    """A whole data set; each rating refers to one of its users and movies."""

    users: list[User]
    movies: list[Movie]
    ratings: pd.DataFrame
    """Columns `user_id` and `movie_id`, int32, and `rating`, float32 (stars, 0.5..5), in file order."""
    has_demographics: bool = False
    """Whether gender, age and occupation of the users are known."""
    has_links: bool = False
    """Whether IMDb ids of the movies are known."""
    notice: str = ""
    """What to tell with every answer, from the file notice.txt of the data set."""


def ensure_downloaded(data_dir: Path, url: str = GROUPLENS_URL) -> None:
    """Downloads the release that a missing or empty folder is called like, such as `data/ml-32m`.

    The archive appears when it is complete.

    Raises:
        DataError: The download failed. The message explains the download by hand.
    """
    name = data_dir.name
    if name not in RELEASES or data_dir.is_file() or any(data_dir.glob("*.*")):
        return
    import pooch  # Only here: queries do without it.

    archive, url = data_dir / f"{name}.zip", url.format(name)
    new_folders = [folder for folder in (data_dir, data_dir.parent) if not folder.exists()]
    print(f"Downloading {name}. {LICENCE}.", file=sys.stderr)
    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(url, None, archive.name, data_dir, progressbar=sys.stderr.isatty())
        zipfile.ZipFile(archive).close()  # Its files have checksums of their own.
    except (OSError, zipfile.BadZipFile) as error:
        archive.unlink(missing_ok=True)
        for folder in filter(Path.exists, new_folders):
            folder.rmdir()
        sample = f", or train on invented ratings: --data-dir {os.path.relpath(SAMPLE)}" if SAMPLE.is_dir() else ""
        problem = f"cannot download {name}: {url} does not answer, or does not send a whole zip"
        raise DataError(f"{problem}; get it another way and put it at {archive}{sample}") from error


def read_movielens(data_dir: Path) -> MovieLens:
    """Reads any MovieLens release: a folder with its files or its zip, or the zip, which is not unpacked.

    Raises:
        DataError: A file is missing or damaged, or one of its lines is malformed.
    """
    try:
        return _read_release(data_dir)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: a password.
        raise DataError(f"{data_dir}: cannot read it: {error}; {EXPECTED}") from error


def _read_release(data_dir: Path) -> MovieLens:
    files = _find_files(data_dir)

    def read(name: str, layout: str, parse: Callable[[list[str]], Record], separator: str) -> list[Record]:
        return parse_records(files[name].read_bytes(), str(files[name]), layout, parse, separator)

    users: list[User] = []
    if files.keys() >= {"ratings.csv", "movies.csv"}:
        ratings_name, separator = "ratings.csv", ","
        rows = read("links.csv", "movieId,imdbId,tmdbId", _parse_links, ",") if "links.csv" in files else []
        links = {movie_id: ids for movie_id, *ids in rows}
        layout = "movieId,title,genres"
        movies = read("movies.csv", layout, lambda fields: parse_movie([*fields, *links.get(fields[0], ())]), ",")
    elif files.keys() >= {"u.data", "u.item", "u.user"}:
        ratings_name, separator = "u.data", "\t"
        users = read("u.user", "user id|age|gender|occupation|zip code", _parse_user_100k, "|")
        layout = "movie id|title|release date|video release date|URL|" + "|".join(GENRES_100K)
        movies = read("u.item", layout, _parse_movie_100k, "|")
    elif files.keys() >= {"ratings.dat", "movies.dat"} and files.keys() & {"users.dat", "tags.dat"}:
        ratings_name, separator = "ratings.dat", "::"
        movies = read("movies.dat", LAYOUT, parse_movie, "::")
        if "users.dat" in files:  # Not in ml-10m.
            users = read("users.dat", "UserID::Gender::Age::Occupation::Zip-code", _parse_user, "::")
    else:
        expected = "ratings.csv and movies.csv; ratings.dat, movies.dat and users.dat; or u.data, u.item and u.user"
        raise DataError(f"{data_dir}: this is no MovieLens release, which has {expected}; {EXPECTED}")
    ratings = _read_ratings(files[ratings_name], separator, users, movies)
    all_users = users or [User(user_id) for user_id in sorted(ratings.user_id.unique().tolist())]
    notice = files["notice.txt"].read_text("utf-8").partition("\n")[0] if "notice.txt" in files else ""
    return MovieLens(all_users, movies, ratings, bool(users), "links.csv" in files, notice)


def _find_files(data_dir: Path) -> dict[str, DataFile]:
    """Returns the files of a folder, or those of the zip that `data_dir` is or that alone lies there, by name."""
    paths = [data_dir] if data_dir.is_file() else [*data_dir.iterdir()]
    files: dict[str, DataFile] = {path.name: path for path in paths}
    archives = [path for path in paths if path.suffix == ".zip"]
    if len(archives) == 1 and not files.keys() & {"ratings.csv", "ratings.dat", "u.data"}:
        archive = zipfile.ZipFile(archives[0])
        files = {name.split("/")[-1]: zipfile.Path(archive, name) for name in archive.namelist()}
    return files


def _parse_links(fields: list[str]) -> tuple[str, str, str]:
    """Returns the ids of a line of links.csv: the movie's, IMDb's with its prefix, TMDB's."""
    movie_id, imdb_id, tmdb_id = fields
    return movie_id, imdb_id and f"tt{imdb_id}", tmdb_id


def _parse_user(fields: list[str]) -> User:
    """Returns the user of a line of users.dat."""
    user_id, gender, age, occupation, _ = fields
    if gender not in GENDERS or int(age) not in AGE_GROUPS or int(occupation) not in range(len(OCCUPATIONS)):
        raise ValueError("unknown gender, age or occupation")
    return User(parse_id(user_id), gender, int(age), int(occupation))


def _parse_user_100k(fields: list[str]) -> User:
    """Returns the user of a line of u.user of ml-100k, with the groups of ml-1m for age in years and occupation."""
    user_id, years, gender, label, zip_code = fields
    age = AGE_CODES[max(0, bisect(AGE_CODES, int(years)) - 1)]
    name = "K-12 student" if label == "student" and age == AGE_CODES[0] else OCCUPATIONS_100K.get(label, label)
    return _parse_user([user_id, gender, str(age), str(OCCUPATIONS.index(name)), zip_code])


def _parse_movie_100k(fields: list[str]) -> Movie:
    """Returns the movie of a line of u.item of ml-100k, which has a flag for each genre."""
    movie_id, title, _, _, _, *flags = fields
    genres = [genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]
    return parse_movie([movie_id, title, "|".join(genres) or "unknown"])


def _read_ratings(file: DataFile, separator: str, users: list[User], movies: list[Movie]) -> pd.DataFrame:
    """Reads a file of ratings, with a header where the separator is a comma; without users it admits all.

    Raises:
        DataError: A line is malformed, is of an unknown user or movie, or is there twice. The message names the first.
    """
    fields = ["userId", "movieId", "rating", "timestamp"]
    layout = f"a line reads {separator.join(fields)}"
    # To pandas, `::` is two separators around an empty field.
    header, columns = (0, fields[:3]) if separator == "," else (None, [0, len(separator), 2 * len(separator)])
    try:
        # Pandas warns of texts among numbers; they become NaN.
        with file.open("rb") as stream, warnings.catch_warnings(action="ignore", category=pd.errors.DtypeWarning):
            table = pd.read_csv(stream, sep=separator[0], header=header, usecols=columns, quoting=csv.QUOTE_NONE)
        ratings = table[columns].apply(pd.to_numeric, errors="coerce")
    except (ValueError, KeyError) as error:  # KeyError: a first line of fewer fields.
        raise DataError(f"{file}: cannot read the ratings: {error}; {layout}") from error
    ratings = ratings.set_axis(["user_id", "movie_id", "rating"], axis=1)
    is_id = ratings.user_id.between(1, MAX_ID) & (ratings.user_id % 1 == 0)
    is_valid = ratings.user_id.isin([user.user_id for user in users]) if users else is_id
    is_valid &= ratings.movie_id.isin([movie.movie_id for movie in movies]) & ratings.rating.isin(STARS)
    is_valid &= ~ratings.duplicated(["user_id", "movie_id"])
    if not is_valid.all():
        line = int(is_valid.argmin()) + (1 if header is None else 2)
        problem = "its user or movie is unknown, it has no 0.5, 1, ... or 5 stars, or the pair is there twice"
        raise DataError(f"{file}, line {line}: {problem}; {layout}")
    return ratings.astype({"user_id": np.int32, "movie_id": np.int32, "rating": np.float32})
