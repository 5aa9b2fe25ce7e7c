"""Reads every MovieLens release, recognized by its files, from a folder or from the archive.

Formats: the README of each release, such as https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
"""

import csv
import io
import zipfile
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from recommender.movielens.lines import DataError, decode_lines, line_error, split_fields
from recommender.movielens.catalogue import (
    AGE_CODES,
    GENDERS,
    OCCUPATIONS,
    Movie,
    MovieLens,
    User,
    parse_id,
    parse_movie,
    parse_movies,
    require_unique,
)
from recommender.movielens.ratings_table import CSV, DAT, DAT_HALF_STARS, TABS, parse_ratings
from recommender.files import read_bytes

DEFAULT_DATA_DIR = Path("data/ml-1m")
NOTICE = "notice.txt"
RELEASE_FILES = (
    "ratings.csv and movies.csv, or ratings.dat and movies.dat with users.dat or tags.dat, or u.data, u.item and u.user"
)
EXPECTED = "--data-dir takes the folder or the zip of a MovieLens release, see --help"

GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western".split("|")
)
"""Genres of ml-100k, in the order of its flags."""
STUDENT, COLLEGE_STUDENT, K12_STUDENT = "student", "college/grad student", "K-12 student"
OCCUPATIONS_100K = {
    "administrator": "clerical/admin",
    "artist": "artist",
    "doctor": "doctor/health care",
    "educator": "academic/educator",
    "engineer": "technician/engineer",
    "entertainment": "artist",
    "executive": "executive/managerial",
    "healthcare": "doctor/health care",
    "homemaker": "homemaker",
    "lawyer": "lawyer",
    "librarian": "academic/educator",
    "marketing": "sales/marketing",
    "none": "unemployed",
    "other": "other",
    "programmer": "programmer",
    "retired": "retired",
    "salesman": "sales/marketing",
    "scientist": "scientist",
    "technician": "technician/engineer",
    "writer": "writer",
}
"""ml-1m's occupation for each of ml-100k's but `student`, of which age decides."""


class DataFiles:
    """The files of a data set, in a folder or a zip archive, which is read without being unpacked.

    Args:
        data_dir: A folder with the files, a folder with the archive of the same name, or the archive.

    Raises:
        DataError: There is no such folder or archive.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir
        self.archive: Path | None = None
        self.members: dict[str, str] = {}
        if not data_dir.exists():
            raise DataError(f"{data_dir}: there is no such file or folder; {EXPECTED}")
        self.archive = find_archive(data_dir)
        if self.archive is None:
            self.names = {path.name for path in data_dir.iterdir()}
            return
        with _archive_errors(self.archive, "its list of files"), zipfile.ZipFile(self.archive) as opened:
            self.members = {member.split("/")[-1]: member for member in reversed(opened.namelist())}
        self.names = set(self.members)

    def read(self, name: str) -> tuple[bytes, str]:
        """Returns a file's content, and its name for messages."""
        if self.archive is None:
            return read_bytes(self.folder / name), str(self.folder / name)
        with _archive_errors(self.archive, name), zipfile.ZipFile(self.archive) as opened:
            return opened.read(self.members[name]), f"{self.archive}/{self.members[name]}"


@contextmanager
def _archive_errors(archive: Path | None, name: str) -> Iterator[None]:
    """Turns whatever zipfile raises for a damaged archive, such as zlib.error or struct.error, into a DataError."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{archive}: damaged, cannot read {name}: {error}; get the file again") from error


def find_archive(data_dir: Path) -> Path | None:
    """Returns the zip that `data_dir` is, or holds without its unpacked files, if any."""
    if data_dir.is_file():
        return data_dir
    has_files = any((data_dir / name).is_file() for name in ("ratings.dat", "ratings.csv", "u.data"))
    archives = [] if has_files else sorted(data_dir.glob("ml-*.zip"))
    return archives[0] if len(archives) == 1 else None


def read_movielens(data_dir: Path) -> MovieLens:
    """Reads a MovieLens release: ml-100k, ml-1m, ml-10m, or one of those with CSV files.

    Args:
        data_dir: A folder with the release's files or its archive, or the archive.

    Raises:
        DataError: A file is missing, or one of its lines is malformed.
    """
    files = DataFiles(data_dir)
    if {"ratings.csv", "movies.csv"} <= files.names:
        movies = parse_movies_csv(files)
        users, layout, ratings_file = None, CSV, "ratings.csv"
    elif {"u.data", "u.item", "u.user"} <= files.names:
        movies = parse_movies_100k(*files.read("u.item"))
        users, layout, ratings_file = parse_users_100k(*files.read("u.user")), TABS, "u.data"
    elif {"ratings.dat", "movies.dat", "users.dat"} <= files.names:
        movies = parse_movies(*files.read("movies.dat"))
        users, layout, ratings_file = parse_users_dat(*files.read("users.dat")), DAT, "ratings.dat"
    elif {"ratings.dat", "movies.dat", "tags.dat"} <= files.names:  # Only ml-10m has tags and no users.
        movies = parse_movies(*files.read("movies.dat"))
        users, layout, ratings_file = None, DAT_HALF_STARS, "ratings.dat"
    else:
        raise DataError(f"{data_dir}: no MovieLens release here, which has {RELEASE_FILES}; {EXPECTED}")
    raw, name = files.read(ratings_file)
    user_ids = None if users is None else [user.user_id for user in users]
    ratings = parse_ratings(raw, name, layout, user_ids, [movie.movie_id for movie in movies])
    notice = decode_lines(*files.read(NOTICE))[0] if NOTICE in files.names else ""
    return MovieLens(users or _users_of(ratings), movies, ratings, notice)


def _users_of(ratings: pd.DataFrame) -> list[User]:
    return [User(user_id) for user_id in sorted(ratings.user_id.unique().tolist())]


def parse_users_dat(raw: bytes, file: str) -> list[User]:
    """Parses users.dat of ml-1m; `file` names it in messages.

    Raises:
        DataError: A line is not `UserID::Gender::Age::Occupation::Zip-code`, or an id is there twice.
    """
    users = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = split_fields(line, "UserID::Gender::Age::Occupation::Zip-code", file, number)
        user_id, gender, age, occupation = fields[:4]
        if gender not in GENDERS:
            raise line_error(file, number, f"unknown gender {gender!r}", f"it must be one of {', '.join(GENDERS)}")
        if age not in map(str, AGE_CODES):
            codes = ", ".join(map(str, AGE_CODES))
            raise line_error(file, number, f"unknown age code {age!r}", f"it must be one of {codes}")
        if occupation not in map(str, range(len(OCCUPATIONS))):
            remedy = f"it must be a whole number from 0 to {len(OCCUPATIONS) - 1}"
            raise line_error(file, number, f"unknown occupation {occupation!r}", remedy)
        users.append(User(parse_id(user_id, "user id", file, number), gender, int(age), int(occupation)))
    require_unique([user.user_id for user in users], "user id", file)
    return users


def parse_users_100k(raw: bytes, file: str) -> list[User]:
    """Parses u.user of ml-100k, and maps ages in years and occupations to the groups of ml-1m.

    Raises:
        DataError: A line is not `user id|age|gender|occupation|zip code`, or an id is there twice.
    """
    users = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = split_fields(line, "user id|age|gender|occupation|zip code", file, number, "|")
        user_id, age, gender, occupation = fields[:4]
        if gender not in GENDERS:
            raise line_error(file, number, f"unknown gender {gender!r}", f"it must be one of {', '.join(GENDERS)}")
        years = parse_id(age, "age", file, number)
        if occupation != STUDENT and occupation not in OCCUPATIONS_100K:
            names = ", ".join([*OCCUPATIONS_100K, STUDENT])
            raise line_error(file, number, f"unknown occupation {occupation[:40]!r}", f"it must be one of {names}")
        age_code = AGE_CODES[max(0, bisect(AGE_CODES, years) - 1)]
        student = K12_STUDENT if age_code == AGE_CODES[0] else COLLEGE_STUDENT
        label = OCCUPATIONS_100K.get(occupation, student)
        user = User(parse_id(user_id, "user id", file, number), gender, age_code, OCCUPATIONS.index(label))
        users.append(user)
    require_unique([user.user_id for user in users], "user id", file)
    return users


def parse_movies_100k(raw: bytes, file: str) -> list[Movie]:
    """Parses u.item of ml-100k.

    Raises:
        DataError: A line is not id, title, three other fields and a flag per genre, or an id is there twice.
    """
    layout = "movie id|title|release date|video release date|URL|" + "|".join(GENRES_100K)
    movies = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        movie_id, title, _, _, _, *flags = split_fields(line, layout, file, number, "|")
        if not set(flags) <= {"0", "1"}:
            raise line_error(file, number, f"genre flags {'|'.join(flags)!r}", "each is 0 or 1")
        genres = [genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]
        text = "|".join(genres or GENRES_100K[:1])
        movies.append(parse_movie(movie_id, title, text, file=file, number=number))
    require_unique([movie.movie_id for movie in movies], "movie id", file)
    return movies


def parse_movies_csv(files: DataFiles) -> list[Movie]:
    """Parses movies.csv and, where it is there, links.csv.

    Raises:
        DataError: A line is malformed, or an id is there twice.
    """
    links: dict[str, tuple[str, str]] = {}
    if "links.csv" in files.names:
        for _, _, (movie_id, imdb, tmdb) in _read_csv(*files.read("links.csv"), "movieId,imdbId,tmdbId"):
            links[movie_id] = (f"tt{imdb}" if imdb else "", tmdb)
    movies = []
    for file, number, (movie_id, title, genres) in _read_csv(*files.read("movies.csv"), "movieId,title,genres"):
        movies.append(parse_movie(movie_id, title, genres, *links.get(movie_id, ()), file=file, number=number))
    require_unique([movie.movie_id for movie in movies], "movie id", str(files.folder / "movies.csv"))
    return movies


def _read_csv(raw: bytes, file: str, header: str) -> Iterator[tuple[str, int, list[str]]]:
    """Yields the file, line and fields of each line of a CSV file below its header."""
    lines = decode_lines(raw, file)
    columns = header.split(",")
    if lines[0].strip() != header:
        raise line_error(file, 1, "another header", f"the first line reads {header}")
    for number, line in enumerate(lines[1:], 2):
        fields = next(csv.reader(io.StringIO(line)), [])
        if len(fields) != len(columns):
            raise line_error(file, number, f"{len(fields)} fields instead of {len(columns)}", f"a line reads {header}")
        yield file, number, [field.strip() for field in fields]
