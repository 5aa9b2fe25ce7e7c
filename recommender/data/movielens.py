"""MovieLens 1M: parsers of the three .dat files, which check every line.

Format: https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.data.lines import DataError, decode_lines, line_error, normalize_newlines, split_fields
from recommender.data.titles import split_title
from recommender.files import read_bytes

DEFAULT_DATA_DIR = Path("data/ml-1m")
ARCHIVE_NAME = "ml-1m.zip"

GENDERS = {"M": "male", "F": "female"}
AGE_GROUPS = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
AGE_CODES = tuple(AGE_GROUPS)
GENDER_LABELS, AGE_LABELS = tuple(GENDERS.values()), tuple(AGE_GROUPS.values())
OCCUPATIONS = tuple(
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|doctor/health care|"
    "executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|retired|sales/marketing|scientist|"
    "self-employed|technician/engineer|tradesman/craftsman|unemployed|writer".split("|")
)
RATINGS = range(1, 6)
MAX_TITLE_CHARACTERS = 1000
MAX_GENRE_CHARACTERS = 30
MAX_ID = 2**31 - 1

CHUNK_BYTES = 1 << 26
"""Bytes of ratings.dat that are parsed at once, as parsing takes several times their memory."""

_RATING_COLUMNS = ["user_id", "movie_id", "rating", "timestamp"]
_RATING_TYPES = {"user_id": np.int32, "movie_id": np.int32, "rating": np.int8}
_GENRE_PUNCTUATION = "'&+.()-"
_GENRE = re.compile(rf"(?! )(?:[^\W_]|[ {re.escape(_GENRE_PUNCTUATION)}]){{1,{MAX_GENRE_CHARACTERS}}}(?<! )")


class Movie(NamedTuple):
    """One line of movies.dat."""

    movie_id: int
    title: str
    """As in the file, with the year: `Toy Story (1995)`."""
    genres: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title without its year."""
        return split_title(self.title)[0]

    @property
    def year(self) -> int | None:
        """The year of release, or None where the title has none."""
        return split_title(self.title)[1]


class User(NamedTuple):
    """One line of users.dat. The zip code is not used."""

    user_id: int
    gender: str
    """A key of `GENDERS`."""
    age: int
    """A key of `AGE_GROUPS`: the lowest age of the group."""
    occupation: int
    """An index into `OCCUPATIONS`, 0..20."""


class MovieLens(NamedTuple):
    """A whole data set; each rating refers to one of its users and movies."""

    users: list[User]
    movies: list[Movie]
    ratings: pd.DataFrame
    """Columns `user_id` and `movie_id`, int32, and `rating`, int8 (stars, 1..5), in file order."""
    notice: str = ""
    """What to tell with every answer, from the file notice.txt of the data set."""


def read_movielens(data_dir: Path) -> MovieLens:
    """Reads users.dat, movies.dat and ratings.dat.

    Args:
        data_dir: A folder with the three files or with ml-1m.zip, or the zip itself.

    Raises:
        DataError: A file is missing, or one of its lines is malformed.
    """
    users = parse_users(*_read_file(data_dir, "users.dat"))
    movies = parse_movies(*_read_file(data_dir, "movies.dat"))
    raw, name = _read_file(data_dir, "ratings.dat")
    notice = data_dir / "notice.txt"
    text = decode_lines(read_bytes(notice), str(notice))[0] if notice.is_file() else ""
    return MovieLens(users, movies, parse_ratings(raw, name, users, movies), text)


def find_archive(data_dir: Path) -> Path | None:
    """Returns the zip that `data_dir` is or holds, if any."""
    candidates = (data_dir, data_dir / ARCHIVE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _read_file(data_dir: Path, file_name: str) -> tuple[bytes, str]:
    """Returns a file's content and its name for messages. An archive is read without being unpacked."""
    path = data_dir / file_name
    if path.is_file():
        return read_bytes(path), str(path)
    expected = f"--data-dir takes a folder that holds users.dat, movies.dat and ratings.dat, or {ARCHIVE_NAME}"
    if not data_dir.exists():
        raise DataError(f"{data_dir}: there is no such file or folder; {expected}")
    archive = find_archive(data_dir)
    if archive is None:
        raise DataError(f"{data_dir}: no {file_name} here; {expected}")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.namelist() if member.split("/")[-1] == file_name]
            if members:
                return opened.read(members[0]), f"{archive}/{members[0]}"
    except Exception as error:  # What zipfile raises depends on which byte is damaged: zlib.error, struct.error, ...
        raise DataError(f"{archive}: damaged, cannot read {file_name}: {error}; get the file again") from error
    raise DataError(f"{archive}: no {file_name} in it; {expected}")


def _parse_id(text: str, what: str, file: str, number: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_ID):
        raise line_error(file, number, f"{what} {text!r}", f"it must be a whole number from 1 to {MAX_ID}")
    return int(text)


def _require_unique(ids: Sequence[int], what: str, file: str) -> None:
    first_line: dict[int, int] = {}
    for number, item_id in enumerate(ids, 1):
        if first_line.setdefault(item_id, number) != number:
            problem = f"{what} {item_id} is there twice, first on line {first_line[item_id]}"
            raise line_error(file, number, problem, "delete one of the two lines")


def parse_users(raw: bytes, file: str) -> list[User]:
    """Parses users.dat; `file` names it in messages.

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
        users.append(User(_parse_id(user_id, "user id", file, number), gender, int(age), int(occupation)))
    _require_unique([user.user_id for user in users], "user id", file)
    return users


def parse_movies(raw: bytes, file: str) -> list[Movie]:
    """Parses movies.dat or movies_origin.txt; `file` names it in messages.

    Raises:
        DataError: A line is not `MovieID::Title::Genres`, or an id is there twice.
    """
    movies = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = split_fields(line, "MovieID::Title::Genres", file, number)
        movies.append(parse_movie(*fields, file=file, number=number))
    _require_unique([movie.movie_id for movie in movies], "movie id", file)
    return movies


def format_movies(movies: Sequence[Movie]) -> str:
    """Returns movies in the format that `parse_movies` reads, one per line."""
    return "".join(f"{movie.movie_id}::{movie.title}::{'|'.join(movie.genres)}\n" for movie in movies)


def parse_movie(movie_id: str, title: str, genres: str, *, file: str, number: int) -> Movie:
    """Returns a movie from its three fields, which are on line `number` of `file`.

    Raises:
        DataError: A field is malformed.
    """
    if not title.strip() or len(title) > MAX_TITLE_CHARACTERS:
        problem = f"a title of {len(title)} characters" if title.strip() else "an empty title"
        raise line_error(file, number, problem, f"a title has 1 to {MAX_TITLE_CHARACTERS} characters")
    labels = tuple(genres.split("|"))
    if not all(_GENRE.fullmatch(label) for label in labels):
        remedy = f"genres are separated by a single |; one has letters, digits, inner blanks and {_GENRE_PUNCTUATION}"
        raise line_error(file, number, f"genres {genres!r}", remedy)
    return Movie(_parse_id(movie_id, "movie id", file, number), title, labels)


def parse_ratings(raw: bytes, file: str, users: Sequence[User], movies: Sequence[Movie]) -> pd.DataFrame:
    """Parses ratings.dat; `file` names it in messages.

    Returns:
        Columns `user_id` and `movie_id`, int32, and `rating`, int8.

    Raises:
        DataError: A line is not `UserID::MovieID::Rating::Timestamp`, a rating is not in 1..5, of an unknown user
            or movie, or there twice.
    """
    known_users, known_movies = [user.user_id for user in users], [movie.movie_id for movie in movies]
    parts: list[pd.DataFrame] = []
    for lines in _chunks(normalize_newlines(raw)):
        part = _parse_digits(lines)
        if part is None:
            raise _malformed_rating(raw, file)
        part.index += sum(map(len, parts))
        _require(part, part.rating.isin(RATINGS), "rating {rating}", "a rating is a whole number from 1 to 5", file)
        for column, known in (("user", known_users), ("movie", known_movies)):
            problem, remedy = f"unknown {column} {{{column}_id}}", f"add it to {column}s.dat or delete the line"
            _require(part, part[f"{column}_id"].isin(known), problem, remedy, file)
        parts.append(part.astype(_RATING_TYPES)[list(_RATING_TYPES)])
    ratings = pd.concat(parts)
    pairs = np.sort(ratings.user_id.to_numpy(np.int64) << 32 | ratings.movie_id.to_numpy())
    if (pairs[1:] == pairs[:-1]).any():  # `duplicated` takes ten times as long, and four times the memory.
        first = ~ratings.duplicated(["user_id", "movie_id"])
        _require(ratings, first, "user {user_id} rates movie {movie_id} again", "delete one of the two lines", file)
    return ratings


def _chunks(content: bytes) -> Iterator[bytes]:
    """Yields a text in chunks of whole lines, each of about `CHUNK_BYTES`."""
    start = 0
    while start == 0 or start < len(content):
        end = content.find(b"\n", start + CHUNK_BYTES) + 1 or len(content)
        yield content[start:end]
        start = end


def _parse_digits(content: bytes) -> pd.DataFrame | None:
    """Parses a chunk in C; returns None where any line is not four numbers."""
    if not re.fullmatch(rb"[\d:\n]+", content) or content.count(b"::") * 2 != content.count(b":"):
        return None
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            ratings = pd.read_csv(
                io.BytesIO(content.replace(b"::", b",")),
                names=_RATING_COLUMNS,
                dtype=np.int64,
                index_col=False,
                skip_blank_lines=False,
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning):
        return None
    return ratings if len(ratings) * (len(_RATING_COLUMNS) - 1) == content.count(b"::") else None


def _require(ratings: pd.DataFrame, valid: pd.Series, problem: str, remedy: str, file: str) -> None:
    """Raises an error for the first rating that is not valid; a rating's index is its line, from 0."""
    if not valid.all():
        row = int(valid.to_numpy().argmin())
        raise line_error(file, 1 + int(ratings.index[row]), problem.format_map(dict(ratings.iloc[row])), remedy)


def _malformed_rating(raw: bytes, file: str) -> DataError:
    """Returns an error that names the first line that is not four numbers."""
    layout = "UserID::MovieID::Rating::Timestamp"
    for number, line in enumerate(decode_lines(raw, file), 1):
        for text, column in zip(split_fields(line, layout, file, number), _RATING_COLUMNS, strict=True):
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                return line_error(file, number, f"{column} {text!r}", f"a line reads {layout}, in digits")
    return DataError(f"{file}: not a file of ratings; a line reads {layout}, in digits")
