"""Files of films as tables of text: files, zips and folders, encodings, CSV dialects, JSON."""

import csv
import html
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from recommender.errors import DataError
from recommender.files import read_bytes
from recommender.films.title_index import Looseness
from recommender.films.titles import MAX_TITLE_CHARACTERS

SUFFIXES = (".csv", ".json", ".tsv", ".txt")
SKIPPED_FOLDERS = {"lists", "deleted", "orphaned", "__MACOSX"}
"""Folders of Letterboxd's export that do not say what a person has seen, and one of macOS."""
DELIMITERS = ",;\t|"
HEADER_ROWS = 30
"""Number of first rows among which the header is looked for: lists of Letterboxd begin with lines of their own."""
_MOJIBAKE = re.compile("[\u00c2\u00c3\u00c4\u00c5\u00e2][\u0080-\uffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
COLUMNS = {
    "title": "title name filmname movietitle filmtitle moviename movie film titles primarytitle titulo título titel "
    "titre titolo название",
    "original title": "originaltitle originalname englishtitle русскоеназвание",
    "year": "year releaseyear releasedate released movieyear filmyear año annee année jahr anno год",
    "rating": "yourrating yourated rating10 myrating userrating rating score stars myscore yourscore grade оценка",
    "imdb_id": "imdbid const imdb tconst imdburl",
    "tmdb_id": "tmdbid tmdb themoviedbid",
    "movie_id": "movieid movielensid",
    "user": "user userid username",
    "date": "ratedat daterated date watchedat watcheddate lastwatchedat listedat collectedat hiddenat created",
    "type": "entitytype titletype mediatype type",
    "status": "watchlist status type",
}
"""Columns by role; the first that has values counts."""
_ID_ROLES = {"imdb_id", "tmdb_id", "movie_id"}


class Table(NamedTuple):
    """The rows of one file."""

    file: str
    columns: dict[str, str]
    """The names of the columns as written, by key."""
    rows: list[tuple[int, dict[str, str], str]]
    """Lines as an editor counts, in JSON the numbers of items; cells by key; what is wrong with a row."""
    looseness: Looseness = Looseness.FILE
    """Whether a person wrote it: a list of titles, which has no header."""


def read_members(path: Path) -> list[tuple[str, bytes]]:
    """Returns names and contents of a file, or of all that may hold films in a zip or a folder.

    Raises:
        DataError: A file cannot be read, or is encrypted.
    """
    if path.is_dir():
        paths = [child for child in path.rglob("*") if _may_hold_films(child.relative_to(path))]
        return [(str(child), read_bytes(child)) for child in sorted(paths)]
    raw = read_bytes(path, "give an export of films, or a list of titles")
    if not raw.startswith(b"PK\x03\x04"):
        return [(str(path), raw)]
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        names = sorted(name for name in archive.namelist() if _may_hold_films(PurePosixPath(name)))
        return [(f"{path}/{name}", archive.read(name)) for name in names]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # The last: encrypted.
        raise DataError(f"{path}: cannot read the zip: {error}; unpack it and give the folder") from error


def _may_hold_films(path: PurePath) -> bool:
    is_skipped = any(part in SKIPPED_FOLDERS or part.startswith(".") for part in path.parts)
    return path.suffix.casefold() in SUFFIXES and not is_skipped


def decode(raw: bytes) -> tuple[str, str]:
    """Returns a file's text, and a note if its encoding had to be guessed."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), "it is not UTF-8 and was read as Windows-1252"


def column_key(name: str) -> str:
    """Returns what spellings of a column name share: `Your Rating` and `your_rating` give `yourrating`."""
    return re.sub(r"[\W_]", "", clean(name).casefold())


def clean(cell: str) -> str:
    """Returns a cell in NFC, on one line, without entities of HTML, control characters and UTF-8 read as cp1252.

    No film has a title of more than `MAX_TITLE_CHARACTERS`; the end of a longer cell is cut off.
    """
    text = html.unescape(cell[:MAX_TITLE_CHARACTERS])
    if _MOJIBAKE.search(text):
        with suppress(UnicodeError):  # If it fails, the letters are what they look like.
            text = text.encode("cp1252").decode("utf-8")
    return unicodedata.normalize("NFC", " ".join(_CONTROL.sub(" ", text).split()))


def read_table(text: str, file: str, is_alone: bool) -> Table | None:
    """Returns the films in a text: JSON, CSV or a title per line; None if no column names a film.

    Args:
        text: The content of the file.
        file: Its name.
        is_alone: Whether it was given alone; in an archive a title is not enough, as other files have names too.
    """
    table = _read_json(text, file) or _read_csv(text, file) or _read_list(text, file)
    return table if table and _rank(table.columns, is_alone) else None


def _rank(keys: Collection[str], is_alone: bool = True) -> int:
    """Returns how many columns of a header tell of a film; 0 where none names one."""
    film_roles = ("title", "year", "rating", *_ID_ROLES)
    roles = {role for role in film_roles if not set(COLUMNS[role].split()).isdisjoint(keys)}
    return len(roles) if roles & _ID_ROLES or ("title" in roles and (is_alone or len(roles) > 1)) else 0


def _read_csv(text: str, file: str) -> Table | None:
    """Returns the table below the best header among the first rows; one known column is a header in the first only."""
    lines = _split_lines(text)
    best, header_line, header, delimiter = 0, 0, list[str](), ","
    for candidate in DELIMITERS:
        for number, (line, fields, _) in enumerate(islice(_read_rows(lines, candidate), HEADER_ROWS)):
            score = _rank([column_key(name) for name in fields])
            if score > best and (score > 1 or number == 0):
                best, header_line, header, delimiter = score, line, fields, candidate
    if not best:
        return None
    keys = [column_key(name) for name in header]
    table = Table(file, dict(zip(keys, map(clean, header), strict=True)), [])
    for line, fields, problem in _read_rows(lines, delimiter):
        if not problem and any(map(str.strip, fields[len(keys) :])):
            problem = f"{len(fields)} cells instead of {len(keys)}; quote a title that holds {delimiter!r}"
        if line > header_line:
            table.rows.append((line, dict(zip(keys, map(clean, fields), strict=False)), problem))
    return table


def _read_list(text: str, file: str) -> Table | None:
    """Returns a text of titles, one per line, as a table; None if it looks like something else."""
    lines = _split_lines(text)
    is_table = any(map(lines[0].count, DELIMITERS)) and file.casefold().endswith((".csv", ".tsv"))
    if is_table or file.casefold().endswith(".json") or "\0" in text:
        return None
    rows = [(number, {"title": clean(line)}, "") for number, line in enumerate(lines, 1) if clean(line)]
    return Table(file, {"title": "title"}, rows, Looseness.LIST)


def _split_lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline="")) or [""]


def _read_rows(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yields line, fields and problem of all rows but blank ones; after a row that is not CSV it goes on below it."""
    start = 0
    while start < len(lines):
        reader, row = csv.reader(lines[start:], delimiter=delimiter, strict=True), start
        try:
            for fields in reader:
                if any(map(str.strip, fields)):
                    yield row + 1, fields, ""
                row = start + reader.line_num
            return
        except csv.Error:
            yield row + 1, [lines[row]], "a double quote is not closed"
            start = row + 1


def _read_json(text: str, file: str) -> Table | None:
    """Returns the objects in a JSON list, or in the lists of a JSON object, as a table; None if there are none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    lists = value.values() if isinstance(value, dict) else [value]
    items = [item for items in lists if isinstance(items, list) for item in items if isinstance(item, dict)]
    table = Table(file, {}, [])
    for number, item in enumerate(items, 1):
        cells = item | ({"type": item.get("type", "show")} if "show" in item else {})
        for part in ("movie", "show", "film", "ids"):
            if isinstance(cells.get(part), dict):
                cells = cells[part] | {"rating": None} | cells  # A movie's own rating is what the public gave.
        names = {column_key(name): name for name in cells if isinstance(cells[name], str | int | float)}
        table.columns.update(names)
        table.rows.append((number, {key: clean(str(cells[name])) for key, name in names.items()}, ""))
    return table if items else None
