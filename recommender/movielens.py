"""MovieLens 1M: find or download the three .dat files, read them, check every line, split the ratings.

Format: https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
"""

import errno
import hashlib
import io
import os
import re
import sys
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd
from tqdm import tqdm

from recommender import RecommenderError

DEFAULT_DATA_DIR = Path("data/ml-1m")
ARCHIVE_NAME = "ml-1m.zip"
ARCHIVE_MD5 = "c4d9eecfca2ab87c1945afe126590906"
ARCHIVE_URLS = (
    "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    "https://dataset.bj.bcebos.com/movielens%2Fml-1m.zip",
)
CONNECT_SECONDS = 20
DOWNLOAD_SECONDS = 600

GENDERS = {"M": "male", "F": "female"}
AGE_GROUPS = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
AGE_CODES = tuple(AGE_GROUPS)
OCCUPATIONS = tuple(
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|doctor/health care|"
    "executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|retired|sales/marketing|scientist|"
    "self-employed|technician/engineer|tradesman/craftsman|unemployed|writer".split("|")
)
RATINGS = range(1, 6)
MAX_TITLE_CHARACTERS = 1000
MAX_GENRE_CHARACTERS = 30
MAX_ID = 2**31 - 1

_TITLE_AND_YEAR = re.compile(r"\s*(\S.*?)\s*\((\d{4})\)\s*")
_GENRE_PUNCTUATION = "'&+.()-"
_GENRE = re.compile(rf"(?! )(?:[^\W_]|[ {re.escape(_GENRE_PUNCTUATION)}]){{1,{MAX_GENRE_CHARACTERS}}}(?<! )")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class DataError(RecommenderError):
    """A data file that is missing or wrong. The message names the file, the line and the remedy."""


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
    """An index into `OCCUPATIONS`."""


class MovieLens(NamedTuple):
    """A whole data set, checked: every rating is by a known user, of a known movie."""

    users: list[User]
    movies: list[Movie]
    ratings: pd.DataFrame
    """int64 columns `user_id`, `movie_id` and `rating` (1..5, stars), in file order."""


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file for writing; it appears under its name only when it is whole.

    Raises:
        DataError: It cannot be written; what was there before still is.
    """
    partial = path.parent / f"{path.name}.partial"
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write it: {error.strerror or error}; choose another place") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def split_title(title: str) -> tuple[str, int | None]:
    """Splits `Toy Story (1995)` into name and year; the year is None where there is none.

    The blank before the year may be missing, as in movie 1001 of ml-1m. A year alone is a name.
    """
    match = _TITLE_AND_YEAR.fullmatch(title)
    return (match[1], int(match[2])) if match else (title, None)


def read_movielens(data_dir: Path) -> MovieLens:
    """Reads users.dat, movies.dat and ratings.dat.

    Args:
        data_dir: A folder with the three files or with ml-1m.zip, or the zip itself.

    Raises:
        DataError: A file is missing, or a line of it is wrong.
    """
    users = parse_users(*_read_file(data_dir, "users.dat"))
    movies = parse_movies(*_read_file(data_dir, "movies.dat"))
    raw, name = _read_file(data_dir, "ratings.dat")
    return MovieLens(users, movies, parse_ratings(raw, name, users, movies))


def has_movielens(data_dir: Path) -> bool:
    """Tells whether `read_movielens` would find something at `data_dir`."""
    archive = _archive_at(data_dir)
    return archive is not None or (data_dir / "ratings.dat").is_file()


def _archive_at(data_dir: Path) -> Path | None:
    candidates = (data_dir, data_dir / ARCHIVE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _read_file(data_dir: Path, file_name: str) -> tuple[bytes, str]:
    """Returns a file's bytes, and its name for messages. An archive is read without unpacking it."""
    path = data_dir / file_name
    try:
        if path.is_file():
            return path.read_bytes(), str(path)
        if archive := _archive_at(data_dir):
            with zipfile.ZipFile(archive) as opened:
                members = [member for member in opened.namelist() if member.split("/")[-1] == file_name]
                if members:
                    return opened.read(members[0]), f"{archive}/{members[0]}"
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{data_dir}: cannot read {file_name}: {error}") from error
    raise DataError(
        f"{data_dir}: no {file_name} here; --data-dir takes a folder that holds users.dat, movies.dat and "
        f"ratings.dat, or {ARCHIVE_NAME}"
    )


def decode_lines(raw: bytes, file: str) -> list[str]:
    """Decodes a text file line by line: UTF-8, and Latin-1 where a line is not UTF-8.

    ml-1m is Latin-1, its re-encodings are UTF-8, and a file that was patched by hand may hold both.

    Raises:
        DataError: The file is empty, or a line holds a byte that is a control character either way.
    """
    lines = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        if bad := _CONTROL_CHARACTER.search(text):
            raise _line_error(file, number, f"control character {bad[0]!r}", "delete it, or save the file as UTF-8")
        lines.append(text)
    if lines == [""]:
        raise DataError(f"{file}: the file is empty; get it again from {ARCHIVE_URLS[0]}")
    return lines


def _line_error(file: str, number: int, problem: str, remedy: str) -> DataError:
    return DataError(f"{file}, line {number}: {problem}; {remedy}")


def _split_fields(line: str, layout: str, file: str, number: int) -> list[str]:
    fields = line.split("::")
    expected = layout.split("::")
    if len(fields) != len(expected):
        raise _line_error(file, number, f"{len(fields)} fields instead of {len(expected)}", f"a line reads {layout}")
    return fields


def _parse_id(text: str, what: str, file: str, number: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_ID):
        raise _line_error(file, number, f"{what} {text!r}", f"it must be a whole number from 1 to {MAX_ID}")
    return int(text)


def _check_unique(ids: Sequence[int], what: str, file: str) -> None:
    first_line: dict[int, int] = {}
    for number, one in enumerate(ids, 1):
        if first_line.setdefault(one, number) != number:
            problem = f"{what} {one} is there twice, first on line {first_line[one]}"
            raise _line_error(file, number, problem, "delete one of the two lines")


def parse_users(raw: bytes, file: str) -> list[User]:
    """Parses users.dat; `file` names it in messages.

    Raises:
        DataError: A line is not `UserID::Gender::Age::Occupation::Zip-code`, or an id is there twice.
    """
    users = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = _split_fields(line, "UserID::Gender::Age::Occupation::Zip-code", file, number)
        user_id, gender, age, occupation = fields[:4]
        if gender not in GENDERS:
            raise _line_error(file, number, f"unknown gender {gender!r}", f"it must be one of {', '.join(GENDERS)}")
        if age not in map(str, AGE_CODES):
            codes = ", ".join(map(str, AGE_CODES))
            raise _line_error(file, number, f"unknown age code {age!r}", f"it must be one of {codes}")
        if occupation not in map(str, range(len(OCCUPATIONS))):
            remedy = f"it must be a whole number from 0 to {len(OCCUPATIONS) - 1}"
            raise _line_error(file, number, f"unknown occupation {occupation!r}", remedy)
        users.append(User(_parse_id(user_id, "user id", file, number), gender, int(age), int(occupation)))
    _check_unique([user.user_id for user in users], "user id", file)
    return users


def parse_movies(raw: bytes, file: str) -> list[Movie]:
    """Parses movies.dat or movies_origin.txt; `file` names it in messages.

    Raises:
        DataError: A line is not `MovieID::Title::Genres`, or an id is there twice.
    """
    movies = []
    for number, line in enumerate(decode_lines(raw, file), 1):
        fields = _split_fields(line, "MovieID::Title::Genres", file, number)
        movies.append(parse_movie(*fields, file=file, number=number))
    _check_unique([movie.movie_id for movie in movies], "movie id", file)
    return movies


def parse_movie(movie_id: str, title: str, genres: str, *, file: str, number: int) -> Movie:
    """Checks the three fields of a movie, found on line `number` of `file`.

    Raises:
        DataError: A field is wrong.
    """
    if not title.strip() or len(title) > MAX_TITLE_CHARACTERS:
        problem = f"a title of {len(title)} characters" if title.strip() else "an empty title"
        raise _line_error(file, number, problem, f"a title has 1 to {MAX_TITLE_CHARACTERS} characters")
    labels = tuple(genres.split("|"))
    if not all(_GENRE.fullmatch(label) for label in labels):
        remedy = f"genres are separated by a single |; one has letters, digits, inner blanks and {_GENRE_PUNCTUATION}"
        raise _line_error(file, number, f"genres {genres!r}", remedy)
    return Movie(_parse_id(movie_id, "movie id", file, number), title, labels)


def parse_ratings(raw: bytes, file: str, users: Sequence[User], movies: Sequence[Movie]) -> pd.DataFrame:
    """Parses ratings.dat; `file` names it in messages.

    Returns:
        int64 columns `user_id`, `movie_id` and `rating`.

    Raises:
        DataError: A line is not `UserID::MovieID::Rating::Timestamp`, a rating is not in 1..5, of an unknown user
            or movie, or there twice.
    """
    layout = "UserID::MovieID::Rating::Timestamp"
    columns = ["user_id", "movie_id", "rating", "timestamp"]
    if not raw.strip():
        decode_lines(raw, file)
    try:  # All at once, in C; only if that finds something wrong, line by line to say where.
        if not re.fullmatch(rb"[\d:\r\n]*", raw) or raw.count(b"::") * 2 != raw.count(b":"):
            raise ValueError
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            ratings = pd.read_csv(
                io.BytesIO(raw.rstrip().replace(b"::", b",")),
                names=columns,
                dtype=np.int64,
                index_col=False,
                skip_blank_lines=False,
            )
        if len(ratings) * (len(columns) - 1) != raw.count(b"::"):
            raise ValueError
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
        for number, line in enumerate(decode_lines(raw, file), 1):
            for text, column in zip(_split_fields(line, layout, file, number), columns, strict=True):
                if not (text.isascii() and text.isdigit() and len(text) <= 18):
                    raise _line_error(file, number, f"{column} {text!r}", f"a line reads {layout}, in digits") from None
        raise DataError(f"{file}: cannot read it: {error}; a line reads {layout}, in digits") from error

    def refuse(wrong: np.ndarray, problem: str, remedy: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise _line_error(file, row + 1, problem.format_map(ratings.iloc[row]), remedy)

    refuse(~ratings.rating.isin(RATINGS).to_numpy(), "rating {rating}", "a rating is a whole number from 1 to 5")
    for column, known, listed in (
        ("user_id", [user.user_id for user in users], "users.dat"),
        ("movie_id", [movie.movie_id for movie in movies], "movies.dat"),
    ):
        unknown = ~ratings[column].isin(known).to_numpy()
        refuse(unknown, f"unknown {column} {{{column}}}", f"add it to {listed} or delete the line")
    repeated = ratings.duplicated(["user_id", "movie_id"]).to_numpy()
    refuse(repeated, "user {user_id} rates movie {movie_id} again", "delete one of the two lines")
    return ratings[["user_id", "movie_id", "rating"]]


def held_out_rows(num_ratings: int) -> np.ndarray:
    """Returns bool[num_ratings], True for the held-out rows: 99,981 of ml-1m's 1,000,209.

    Source: `paddle.dataset.movielens`: `numpy.random.seed(0)`, then for each row `random() < 0.1`.
    """
    return np.random.RandomState(0).random_sample(num_ratings) < 0.1


def download_movielens(
    folder: Path = DEFAULT_DATA_DIR, urls: Sequence[str] = ARCHIVE_URLS, md5: str = ARCHIVE_MD5
) -> Path:
    """Downloads ml-1m.zip into `folder`, from the first of `urls` that delivers what `md5` promises.

    Returns:
        The archive's path. It appears under that name only when it is whole.

    Raises:
        DataError: No address delivered it. The message says what to do by hand.
    """
    archive = folder / ARCHIVE_NAME
    partial = archive.with_suffix(".partial")
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                found = _fetch(url, partial)
            except OSError as error:
                failures.append(f"{url}: {error}")
                continue
            if found == md5:
                os.replace(partial, archive)
                return archive
            failures.append(f"{url}: its md5 is {found}, not {md5}")
    except OSError as error:
        failures.append(str(error))
    finally:
        partial.unlink(missing_ok=True)
    raise DataError(
        f"cannot download {ARCHIVE_NAME} ({'; '.join(failures)}); get {urls[0]} another way and put it at {archive}, "
        "or try the program without it on invented ratings: python train.py --data-dir data/sample"
    )


def _fetch(url: str, path: Path) -> str:
    """Writes what `url` delivers to `path`, with a progress bar, and returns its md5."""
    digest = hashlib.md5(usedforsecurity=False)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0) or None
        with tqdm(desc=ARCHIVE_NAME, total=size, unit="B", unit_scale=True, disable=None) as progress:
            while chunk := response.read(1 << 16):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done after {DOWNLOAD_SECONDS} s")
                file.write(chunk)
                digest.update(chunk)
                progress.update(len(chunk))
    return digest.hexdigest()


def main() -> int:
    """`python -m recommender.movielens`: makes sure that ml-1m is there; exit code 1 if it cannot be had."""
    try:
        found = DEFAULT_DATA_DIR if has_movielens(DEFAULT_DATA_DIR) else download_movielens()
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"MovieLens 1M is in {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
