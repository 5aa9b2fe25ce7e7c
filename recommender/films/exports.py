"""Ratings that new users bring: CSV files as Letterboxd, IMDb, MovieLens and spreadsheets write them."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from recommender.errors import DataError
from recommender.movielens.catalogue import CONTROL_CHARACTER, decode_lines, line_error
from recommender.movielens.catalogue import ID_PREFIX, MAX_TITLE_CHARACTERS, parse_id
from recommender.films.titles import split_title
from recommender.errors import pluralize

DELIMITERS = ",;\t"
COLUMNS = {
    "user": "user",
    "userid": "user",
    "movieid": "movie_id",
    "const": "imdb_id",
    "imdbid": "imdb_id",
    "tmdbid": "tmdb_id",
    "title": "title",
    "name": "title",
    "year": "year",
    "rating": "rating",
    "yourrating": "rating",
}
"""Meanings of column names; case, blanks and underscores do not matter. Other columns are ignored."""
TEN_POINT_COLUMN = "yourrating"
"""IMDb's column, whose ratings are 1 to 10."""
LETTERBOXD_LIST = re.compile(r"Letterboxd list export.*?^(?=Position,)", re.DOTALL | re.MULTILINE)
"""The head of a list that Letterboxd exports: its name and description, before the table of films."""
NO_RATINGS = "no ratings in it: its films count as seen, without stars; to rank films not yet seen, give it to --among"
FORMULA_STARTS = "=+-@"
"""First characters that make a spreadsheet run a cell as a formula."""


class FilmReference(NamedTuple):
    """A film as a file names it."""

    movie_id: int | None
    """The MovieLens id, where the file has one; title and year are then empty."""
    title: str
    """The title without its year."""
    year: int | None
    imdb_id: str = ""
    """Such as `tt0114709`, where the file has one."""
    tmdb_id: int = 0

    def __str__(self) -> str:
        if self.title:
            return f"{self.title} ({self.year})" if self.year else self.title
        return self.imdb_id or (f"TMDB {self.tmdb_id}" if self.tmdb_id else f"id:{self.movie_id}")


class CsvRating(NamedTuple):
    """One line of a file of ratings."""

    user: str
    """The user's name, "" in a file of one person's ratings."""
    film: FilmReference
    rating: float
    """Stars, 0.5 to 5; NaN for a film that was seen and not rated."""


class RatingsCsv(NamedTuple):
    """A parsed file of ratings."""

    ratings: list[CsvRating]
    notes: list[str]
    """How the file was understood, for the user to check: its scale, a missing column."""


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]
    """By the values of `COLUMNS`; "" where the file has no such column."""


def parse_ratings_csv(raw: bytes, file: str, *, many_users: bool = False) -> RatingsCsv:
    """Parses a CSV file with a header, separated by commas, semicolons or tabs.

    Needed are a title or an id of MovieLens, IMDb or TMDB, and with `many_users` a user. Without a column of ratings
    the films count as seen. Ratings are out of 10 in IMDb's column, and of a user who gives more than 5; all others
    are out of 5.

    Args:
        raw: The file's content.
        file: The file's name, for messages.
        many_users: Whether the file holds the ratings of several users.

    Raises:
        DataError: The file is no such CSV file, or one of its lines is malformed.
    """
    header, columns, rows = _read_table(_decode(raw, file), file, many_users)
    users = [_parse_user(row, file) if many_users else "" for row in rows]
    if not many_users and len({row.cells["user"] for row in rows}) > 1:
        raise DataError(f"{file}: ratings of several users; give them to --users FILE --output FILE")
    numbers = [_parse_number(row, file) for row in rows]
    rating_column = header[columns["rating"]] if "rating" in columns else ""
    is_ten_point = _column_key(rating_column) == TEN_POINT_COLUMN
    highest: dict[str, float] = {}
    for user, number in zip(users, numbers, strict=True):
        highest[user] = max(highest.get(user, 0), number) if number == number else highest.get(user, 0)
    ten_point_users = {user for user, rating in highest.items() if is_ten_point or rating > 5}
    ratings = [
        CsvRating(user, _parse_film(row, file), _to_stars(number, 10 if user in ten_point_users else 5, row, file))
        for user, number, row in zip(users, numbers, rows, strict=True)
    ]
    return RatingsCsv(ratings, _notes(highest, len(ten_point_users), rating_column if is_ten_point else None))


def parse_films(raw: bytes, file: str) -> list[FilmReference]:
    """Parses a list of films: a CSV file, see `parse_ratings_csv`, or a title per line, such as `Alien (1979)`.

    Raises:
        DataError: A line is malformed, or there is no film.
    """
    text = _decode(raw, file)
    if any(_column_key(name) in COLUMNS for header in _split_header(text).values() for name in header):
        return [_parse_film(row, file) for row in _read_table(text, file, False)[2]]
    lines = re.split("\r\n|\r|\n", text)
    rows = [_create_row(file, number, {"title": line}) for number, line in enumerate(lines, 1) if line.strip()]
    films = [_parse_film(row, file) for row in rows]
    if not films:
        raise DataError(f"{file}: no films in it; write a title per line")
    return films


def parse_user_ids(raw: bytes, file: str) -> list[int]:
    """Parses one user id per line, without repetitions; blank lines are ignored.

    Raises:
        DataError: A line is something else, or there is no id.
    """
    user_ids = []
    for number, line in enumerate(decode_lines(raw), 1):
        text = line.strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise line_error(file, number, f"{text[:40]!r} is not a user id", "write one id per line")
        if text:
            user_ids.append(int(text))
    if not user_ids:
        raise DataError(f"{file}: no user ids in it; write one per line")
    return list(dict.fromkeys(user_ids))


def _decode(raw: bytes, file: str) -> str:
    """Returns the text; the head of a list that Letterboxd exports is blanked."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = 1 + raw[: error.start].count(b"\n")
        problem = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise line_error(file, number, problem, "save the file as UTF-8 (in Excel: CSV UTF-8)") from error
    head = LETTERBOXD_LIST.match(text)
    return "\n" * head[0].count("\n") + text[head.end() :] if head else text


def _column_key(name: str) -> str:
    return re.sub(r"[\s_]", "", name).casefold()


def _read_table(text: str, file: str, many_users: bool) -> tuple[list[str], dict[str, int], list[_Row]]:
    """Returns the column names, the positions of columns by meaning, and the rows, of which there is at least one."""
    delimiter, header = _read_header(text, file)
    columns = _find_columns(header, file, many_users)
    rows = list(_read_rows(text, delimiter, header, columns, file))
    if not rows:
        raise DataError(f"{file}: no films in it; write one per line, below the names of the columns")
    return header, columns, rows


def _split_header(text: str) -> dict[str, list[str]]:
    """Returns the first line, split at each of `DELIMITERS`."""
    first_line = re.split("[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0][: csv.field_size_limit()]
    return {delimiter: next(csv.reader([first_line], delimiter=delimiter), []) for delimiter in DELIMITERS}


def _read_header(text: str, file: str) -> tuple[str, list[str]]:
    """Returns the delimiter and the column names; the delimiter is the one that gives the most known names."""
    headers = _split_header(text)

    def num_known(delimiter: str) -> int:
        return sum(_column_key(name) in COLUMNS for name in headers[delimiter])

    delimiter = max(DELIMITERS, key=num_known)
    if num_known(delimiter) == 0:
        expected = "the first line names the columns, such as title,year,rating"
        raise DataError(f"{file}: no CSV file of ratings; {expected}")
    return delimiter, headers[delimiter]


def _find_columns(header: Sequence[str], file: str, many_users: bool) -> dict[str, int]:
    """Returns the position of each column by its meaning.

    Raises:
        DataError: A column is missing, or two columns have one meaning.
    """
    columns: dict[str, int] = {}
    for position, name in enumerate(header):
        meaning = COLUMNS.get(_column_key(name))
        if meaning in columns:
            other = header[columns[meaning]]
            raise DataError(f"{file}: columns {other!r} and {name!r} both mean {meaning}; delete or rename one")
        if meaning:
            columns[meaning] = position
    missing = [] if {"movie_id", "title", "imdb_id", "tmdb_id"} & columns.keys() else ["title"]
    missing += ["user"] if many_users and "user" not in columns else []
    if missing:
        layout = "user,title,year,rating" if many_users else "title,year,rating"
        raise DataError(f"{file}: no column {' and no column '.join(missing)}; the first line names them: {layout}")
    return columns


def _read_rows(text: str, delimiter: str, header: Sequence[str], columns: dict[str, int], file: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    is_header = True
    line = 1
    try:
        for fields in reader:
            start, line = line, reader.line_num + 1
            if not any(map(str.strip, fields)):
                continue
            if is_header:
                is_header = False
                continue
            if len(fields) < len(header) or any(map(str.strip, fields[len(header) :])):
                problem = f"{pluralize(len(fields), 'field')} instead of {len(header)}"
                remedy = f"put a title that contains {delimiter!r} into double quotes"
                raise line_error(file, start, problem, remedy)
            yield _create_row(file, start, {meaning: fields[position] for meaning, position in columns.items()})
    except csv.Error as error:
        raise line_error(file, line, f"no valid CSV: {error}", "close each double quote that is opened") from error


def _create_row(file: str, line: int, cells: dict[str, str]) -> _Row:
    """Returns a row whose cells have single blanks and no control characters."""
    cells = {meaning: " ".join(cell.split()) for meaning, cell in cells.items()}
    for meaning, cell in cells.items():
        bad = CONTROL_CHARACTER.search(cell)
        if bad:
            raise line_error(file, line, f"{meaning} with control character {bad[0]!r}", "delete it")
    return _Row(line, dict.fromkeys(COLUMNS.values(), "") | cells)


def _parse_user(row: _Row, file: str) -> str:
    user = row.cells["user"]
    if not user:
        raise line_error(file, row.line, "no user", "write whose rating it is, or delete the line")
    if user[0] in FORMULA_STARTS or len(user) > MAX_TITLE_CHARACTERS:
        remedy = f"a name has up to {MAX_TITLE_CHARACTERS} characters and begins with none of {FORMULA_STARTS}"
        raise line_error(file, row.line, f"user {user[:40]!r}", remedy)
    return user


def _parse_film(row: _Row, file: str) -> FilmReference:
    movie_id, title, year, imdb_id, tmdb_id = (
        row.cells[name] for name in ("movie_id", "title", "year", "imdb_id", "tmdb_id")
    )
    if not movie_id and re.fullmatch(f"{ID_PREFIX}[0-9]+", title):
        movie_id = title.removeprefix(ID_PREFIX)
    if movie_id:
        return FilmReference(parse_id(movie_id, "movie id", file, row.line), "", None)
    if imdb_id and not re.fullmatch(r"(tt)?[0-9]{6,10}", imdb_id):
        raise line_error(file, row.line, f"IMDb id {imdb_id[:40]!r}", "it reads tt0114709, or the cell is empty")
    imdb = f"tt{imdb_id.removeprefix('tt'):>07}" if imdb_id else ""
    tmdb = parse_id(tmdb_id, "TMDB id", file, row.line) if tmdb_id else 0
    if not title and (imdb or tmdb):
        return FilmReference(None, "", None, imdb, tmdb)
    if not title or len(title) > MAX_TITLE_CHARACTERS:
        problem = f"a title of {len(title)} characters" if title else "no title"
        raise line_error(file, row.line, problem, f"a title has 1 to {MAX_TITLE_CHARACTERS} characters")
    if not re.fullmatch(r"([0-9]{4})?", year):
        raise line_error(file, row.line, f"year {year[:40]!r}", "a year has four digits, or the cell is empty")
    name, title_year = split_title(title)
    if year and title_year and int(year) != title_year:
        raise line_error(file, row.line, f"{title!r} and year {year}", "correct one of the two years")
    return FilmReference(None, name, int(year) if year else title_year, imdb, tmdb)


def _parse_number(row: _Row, file: str) -> float:
    """Returns the rating as the file has it, NaN for none."""
    text = row.cells["rating"]
    if not text:
        return math.nan
    if not re.fullmatch(r"[0-9]{1,3}([.,][0-9]{1,3})?", text):
        raise line_error(file, row.line, f"rating {text[:40]!r}", "a rating is a number, or the cell is empty")
    return float(text.replace(",", "."))


def _to_stars(number: float, scale: int, row: _Row, file: str) -> float:
    if math.isnan(number):
        return number
    if not 0.5 <= number <= scale or number * 2 % 1:
        remedy = f"a rating is a number from 0.5 to {scale} in steps of a half, or the cell is empty"
        raise line_error(file, row.line, f"rating {row.cells['rating']!r}", remedy)
    return max(0.5, number * 5 / scale)


def _notes(highest: Mapping[str, float], num_ten_point: int, ten_point_column: str | None) -> list[str]:
    """Returns how a file was understood.

    Args:
        highest: Each user's highest rating as the file has it, 0 for none.
        num_ten_point: The number of users whose ratings are out of 10.
        ten_point_column: The name of IMDb's column, if that is the column of ratings.
    """
    if not any(highest.values()):
        return [NO_RATINGS]
    if ten_point_column is not None:
        return [f"{ten_point_column!r} is out of 10: halved"]
    if num_ten_point:
        whose = f" of {num_ten_point} of {pluralize(len(highest), 'user')}" if len(highest) > 1 else ""
        return [f"ratings{whose} go above 5, so they are out of 10: halved"]
    return []
