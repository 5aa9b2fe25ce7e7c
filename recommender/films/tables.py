"""Files of films as tables of text: files, zips and folders, encodings, CSV dialects, JSON."""

import csv
import html
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from recommender.errors import DataError
from recommender.files import read_bytes
from recommender.films.titles import printable

SUFFIXES = (".csv", ".json", ".tsv", ".txt")
SKIPPED_FOLDERS = {"lists", "deleted", "orphaned", "__MACOSX"}
"""Folders of Letterboxd's export that do not say what a person has seen, and one of macOS."""
DELIMITERS = ",;\t|"
HEADER_ROWS = 30
"""Number of first rows among which the header is looked for: lists of Letterboxd begin with lines of their own."""
_MOJIBAKE = re.compile("[\u00c2\u00c3\u00c4\u00c5\u00e2][\u0080-\uffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)


class SkippedRow(NamedTuple):
    """A row that is not read."""

    file: str
    line: int
    film: str
    reason: str


class Table(NamedTuple):
    """The rows of one file."""

    file: str
    columns: dict[str, str]
    """The names of the columns as written, by key."""
    rows: list[tuple[int, dict[str, str]]]
    """Lines as an editor counts, in JSON the numbers of items, and cells."""
    skipped: list[SkippedRow]
    is_list: bool = False
    """Whether it is a list of titles, which has no header."""


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


def decode(raw: bytes) -> tuple[str, list[str]]:
    """Returns a file's text, and a note if its encoding had to be guessed."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace"), []
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), ["it is not UTF-8 and was read as Windows-1252"]


def column_key(name: str) -> str:
    """Returns what spellings of a column name share: `Your Rating` and `your_rating` give `yourrating`."""
    return re.sub(r"[\W_]", "", clean(name).casefold())


def clean(cell: str) -> str:
    """Returns a cell in NFC, on one line, without entities of HTML, control characters and UTF-8 read as cp1252."""
    text = html.unescape(cell)
    if _MOJIBAKE.search(text):
        with suppress(UnicodeError):  # If it fails, the letters are what they look like.
            text = text.encode("cp1252").decode("utf-8")
    return unicodedata.normalize("NFC", " ".join(_CONTROL.sub(" ", text).split()))


def read_csv(text: str, file: str, rank: Callable[[Sequence[str]], int]) -> Table | None:
    """Returns the table in a text, None if no row looks like a header.

    Args:
        text: The content of the file.
        file: Its name, for messages.
        rank: Returns how good a header some column keys are, 0 if they are none.
    """
    lines = _split_lines(text)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    separator = _SEPARATOR_LINE.fullmatch(lines[first])
    lines[first] = "\n" if separator else lines[first]
    best, header_line, delimiter = 0, 0, ","
    for candidate in separator[1] if separator else DELIMITERS:
        for line, fields, _ in islice(_read_rows(lines, candidate), HEADER_ROWS):
            score = rank([column_key(name) for name in fields])
            if score > best and (score > 1 or line == first + 1):
                best, header_line, delimiter = score, line, candidate
    table, keys = Table(file, {}, [], []), list[str]()
    for line, fields, problem in _read_rows(lines, delimiter) if best else ():
        if line == header_line:
            keys = [column_key(name) for name in fields]
            table.columns.update(zip(keys, map(clean, fields), strict=True))
        elif line > header_line:
            if not problem and any(map(str.strip, fields[len(keys) :])):
                problem = f"{len(fields)} cells instead of {len(keys)}; quote a title that holds {delimiter!r}"
            if problem:
                table.skipped.append(SkippedRow(file, line, printable(delimiter.join(fields)), problem))
            else:
                table.rows.append((line, dict(zip(keys, map(clean, fields), strict=False))))
    return table if best else None


def read_list(text: str, file: str) -> Table | None:
    """Returns a text of titles, one per line, as a table; None if it looks like something else."""
    lines = _split_lines(text)
    rows = [(number, {"title": clean(line)}) for number, line in enumerate(lines, 1) if clean(line)]
    is_table = file.casefold().endswith((".csv", ".tsv")) and any(map(lines[0].count, DELIMITERS))
    is_list = rows and not is_table and "\0" not in text
    return Table(file, {"title": "title"}, rows, [], is_list=True) if is_list else None


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


def read_json(text: str, file: str) -> Table | None:
    """Returns the objects in a JSON text as a table, whichever lists they are in; None if it is no JSON."""
    try:
        items = list(_find_items(json.loads(text)))
    except (ValueError, RecursionError):
        return None
    table = Table(file, {}, [], [])
    for number, item in enumerate(items, 1):
        cells = dict(_flatten(item, "")) | ({"type": item.get("type", "show")} if "show" in item else {})
        table.rows.append((number, {column_key(name): clean(str(cell)) for name, cell in cells.items()}))
        table.columns.update({column_key(name): name for name in cells})
    return table


def _find_items(value: Any) -> Iterator[dict[str, Any]]:
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(child, dict) and isinstance(value, list):
            yield child
        else:
            yield from _find_items(child)


def _flatten(item: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yields names and values; those of a movie or show are the item's own, those of other objects get a prefix."""
    for key, value in item.items():
        if isinstance(value, dict):
            yield from _flatten(value, prefix if key in ("movie", "show", "film", "ids") else f"{prefix}{key} ")
        elif isinstance(value, str | int | float):
            yield prefix + key, str(value)
