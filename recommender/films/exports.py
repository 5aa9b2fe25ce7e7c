"""Films in files that people have: exports of services, spreadsheets, lists of titles."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from recommender.errors import DataError, pluralize
from recommender.files import read_bytes
from recommender.films.tables import SkippedRow, Table, clean, decode, read_csv, read_json, read_members
from recommender.films.titles import ID_PREFIX, MAX_TITLE_CHARACTERS, printable, split_title

MAX_NAMED = 5


class Service(NamedTuple):
    """How a service writes films."""

    name: str
    header: str
    """Keys of columns that only this service has together."""
    scale: int = 0
    """Its best rating; 0 if that differs from user to user."""
    columns: Mapping[str, str] = {}
    """Keys of columns by role, where they differ from `COLUMNS`."""
    meaning: str = "seen"
    """What a row without stars means: seen, liked or planned."""
    meanings: Mapping[str, str] = {}
    """What it means by the cell in the column `status`."""
    seen: str = ""
    """Keys of columns that make a row one of a film that was seen."""
    is_whole: bool = False
    """Whether its files have no other columns."""


_TV_TIME = {"title": "moviename", "type": "entitytype", "status": "type"}
SERVICES = (
    Service("Letterboxd", "name letterboxduri", 5),
    Service("a list of Letterboxd", "position name url description"),
    Service("a list of IMDb", "position const", 10, meaning="planned"),
    Service("IMDb", "const yourrating", 10),
    Service("TMDB", "tmdbid type name yourrating", 10),
    Service("Trakt", "ratedat type title traktid", 10),
    Service("Trakt (JSON)", "trakt slug", 10, meaning="planned", seen="watchedat lastwatchedat plays"),
    Service("Simkl", "simklid watchlist", 10, {"status": "watchlist"}, meanings={"plantowatch": "planned"}),
    Service("Simkl (JSON)", "simkl status", 10, {"status": "status"}, meanings={"plantowatch": "planned"}),
    Service("Criticker", "score filmname"),
    Service("MovieLens", "movieid averagerating", 5),
    Service("MovieLens", "userid movieid timestamp", 5),
    Service("TV Time", "moviename entitytype", columns=_TV_TIME, meanings={"follow": "planned"}),
    Service("Letterboxd's import format", "title rating10"),
    Service("Netflix", "title date", is_whole=True),
)
COLUMNS = {
    "title": "title name filmname movietitle filmtitle moviename movie film titles primarytitle titulo título titel "
    "titre titolo название",
    "original": "originaltitle originalname englishtitle tituloriginal русскоеназвание оригинальноеназвание",
    "year": "year releaseyear releasedate released movieyear filmyear año annee année jahr anno год",
    "rating": "yourrating yourated rating10 myrating userrating rating score stars myscore yourscore grade оценка",
    "imdb_id": "imdbid const imdb tconst imdburl",
    "tmdb_id": "tmdbid tmdb themoviedbid",
    "movie_id": "movieid movielensid",
    "user": "user userid username",
    "date": "ratedat daterated date watchedat watcheddate lastwatchedat listedat created",
    "type": "type titletype mediatype",
    "status": "",
}
"""Keys of columns by role; the first that a file has counts."""
TEN_POINT_COLUMNS = {"rating10", "yourrating", "yourated"}
NO_VALUE = {"", "-", "–", "—", "n/a", "na", "nan", "none", "null", "0", "0.0"}
_NO_FILM = re.compile(
    r"series|serie\b|episod|season|staffel|short|kurz|game|spiel|podcast|music ?video|\bshow|^tv$|^serie |^anime$|"
    r"^person$|^list$"
)
_EPISODE = re.compile(r": (season|staffel|saison|temporada|stagione|series|limited series|part \d+:)", re.IGNORECASE)
"""How Netflix, which has no column for the type, names episodes."""
_YEAR = re.compile(r"(?<!\d)(?:18|19|20)\d\d(?!\d)")
_NUMBER = re.compile(r"(\d{1,4}(?:[.,]\d{1,4})?)(?: ?/ ?(5|10|100)| ?(%))?")
_LOOKS_USEFUL = re.compile(r"year|rating|rated|score|stars|imdb|tmdb|id$")


class FilmRow(NamedTuple):
    """A film as a row of a file names it."""

    file: str
    line: int
    """As an editor counts; the number of the item in JSON."""
    title: str
    """Without its year; "" in a row that has only an id."""
    other_titles: tuple[str, ...] = ()
    year: int | None = None
    imdb_id: str = ""
    """Such as `tt0114709`."""
    tmdb_id: int = 0
    movie_id: int = 0
    meaning: str = "seen"
    """One of rated, seen, liked and planned."""
    stars: float = math.nan
    """More than 0, up to 5; NaN for none."""
    user: str = ""
    date: str = ""
    """As ISO, as far as the file says it."""
    is_typed: bool = False
    """Whether a person wrote the title into a list, where slips are corrected and said."""

    @property
    def film(self) -> str:
        """The film for messages: title and year, or its id."""
        if self.title:
            return printable(f"{self.title} ({self.year})" if self.year else self.title)
        return self.imdb_id or (f"TMDB {self.tmdb_id}" if self.tmdb_id else f"{ID_PREFIX}{self.movie_id}")


class FilmFile(NamedTuple):
    """The films in a file, a zip or a folder."""

    rows: list[FilmRow]
    notes: list[str]
    """How the file was understood, a sentence each."""
    skipped: list[SkippedRow]


def read_films(path: Path, many_users: bool = False) -> FilmFile:
    """Reads the films in a file, a zip or a folder, whichever service wrote it; `-` is standard input.

    Args:
        path: A CSV or JSON file, a zip or folder of such files, or a text with a title per line.
        many_users: Whether rows name their users.

    Raises:
        DataError: There is no film to read. The message names the columns that were seen.
    """
    members = read_members(path)
    is_archive = [name for name, _ in members] != [str(path)]
    result, strange_columns = FilmFile([], [], []), [""]
    for file, raw in members:
        text, notes = decode(raw)
        is_json = text.lstrip()[:1] in ("[", "{")
        table = read_json(text, file) if is_json else read_csv(text, file, _rank)
        if table is None and not is_archive and not is_json:
            table = _read_list(text, file)
        if table is None or not _rank(list(table.columns), is_strict=is_archive or is_json):
            strange_columns += list(table.columns.values()) if table else text.strip().split("\n")[:1]
            continue
        read = _read_table(table, many_users)
        result.rows.extend(read.rows)
        result.skipped.extend(read.skipped)
        result.notes.extend(f"{file}: {note}" if is_archive else note for note in notes + read.notes)
    if not result.rows:
        known = ", ".join(dict.fromkeys(service.name for service in SERVICES))
        reasons = [f"line {row.line}: {row.reason}" for row in result.skipped] or [
            *map(printable, filter(None, strange_columns))
        ]
        problem = f"no film in it can be read ({shorten(reasons) or 'it is empty'})"
        raise DataError(f"{path}: {problem}; known are the files of {known}, and any table with a column title")
    users = {row.user for row in result.rows}
    if not many_users and len(users) > 1:
        raise DataError(f"{path}: films of {len(users):,} users; give them to --users FILE --output FILE")
    return result if many_users else result._replace(rows=[row._replace(user="") for row in result.rows])


def parse_user_ids(path: Path) -> list[int]:
    """Returns the user ids in a file, one per line, without repetitions.

    Raises:
        DataError: A line is something else, or there is no id.
    """
    ids: dict[int, None] = {}
    for number, line in enumerate(decode(read_bytes(path, "give user ids, one per line"))[0].splitlines(), 1):
        if line.strip() and not re.fullmatch("[0-9]{1,10}", line.strip()):
            raise DataError(f"{path}, line {number}: {printable(line)!r} is not a user id; write one id per line")
        ids |= {int(line): None} if line.strip() else {}
    if not ids:
        raise DataError(f"{path}: no user ids in it; write one per line")
    return list(ids)


def shorten(texts: Sequence[str], separator: str = "; ") -> str:
    """Returns the first `MAX_NAMED` texts and the number of others."""
    more = f" and {len(texts) - MAX_NAMED:,} more" if len(texts) > MAX_NAMED else ""
    return separator.join(texts[:MAX_NAMED]) + more


def _service(keys: Iterable[str]) -> Service | None:
    present = set(keys)
    for service in SERVICES:
        header = set(service.header.split())
        if present == header or (present > header and not service.is_whole):
            return service
    return None


def _rank(keys: Sequence[str], is_strict: bool = False) -> int:
    """Returns how many columns of a header are known; 0 where no film is named, many where the service is known.

    Args:
        keys: The keys of the columns.
        is_strict: Whether a title alone is not enough, as in files of an archive that hold something else.
    """
    if _service(keys):
        return 100
    roles = {role for role, names in COLUMNS.items() if not set(names.split()).isdisjoint(keys)}
    names_film = {"title", "original", "imdb_id", "tmdb_id", "movie_id"} & roles
    useful = {"year", "rating", "imdb_id", "tmdb_id"} & roles
    return len(roles) if names_film and (useful or not is_strict) else 0


def _read_list(text: str, file: str) -> Table | None:
    """Returns a text of titles, one per line, as a table; None if it looks like a table without known columns."""
    lines = [(number, clean(line)) for number, line in enumerate(re.split("\r\n|\r|\n", text), 1)]
    lines = [(number, line) for number, line in lines if line]
    for delimiter in ",;\t|":
        counts = {line.count(delimiter) for _, line in lines[:5]}
        if len(lines) > 1 and len(counts) == 1 and counts.pop() > 1:
            return None
    if "\0" in text or not lines:
        return None
    return Table(file, {"title": "title"}, [(number, {"title": line}) for number, line in lines], [], is_list=True)


def _read_table(table: Table, many_users: bool) -> FilmFile:
    """Returns the films of one table, with notes on how it was understood."""
    service = _service(table.columns) or Service("a list of titles" if table.is_list else "a table", "")
    columns = {role: _find_column(table, service.columns.get(role, names)) for role, names in COLUMNS.items()}
    columns = {role: key for role, key in columns.items() if key}
    rows = [(line, {role: cells.get(key, "") for role, key in columns.items()}, cells) for line, cells in table.rows]
    numbers: dict[str, list[float]] = {}
    for _, cells, _ in rows:
        match = _NUMBER.fullmatch(cells.get("rating", ""))
        values = numbers.setdefault(cells.get("user", "") if many_users else "", [])
        values += [_to_float(match[1])] if match and not match[2] else []
    is_ten_point = columns.get("rating") in TEN_POINT_COLUMNS
    scales = {user: service.scale or (10 if is_ten_point else _guess_scale(values)) for user, values in numbers.items()}
    result = FilmFile([], [], list(table.skipped))
    for line, cells, all_cells in rows:
        meaning = service.meanings.get(cells.get("status", "").casefold(), _unrated_meaning(table.file, service))
        if any(all_cells.get(key) for key in service.seen.split()):
            meaning = "seen"
        scale = scales[cells.get("user", "") if many_users else ""]
        draft = FilmRow(table.file, line, "", meaning=meaning, user=cells.get("user", ""), is_typed=table.is_list)
        row = "no user" if many_users and not draft.user else _read_row(draft, cells, scale)
        if isinstance(row, str):
            result.skipped.append(SkippedRow(table.file, line, printable(cells.get("title", "")), row))
        else:
            result.rows.append(row)
    result.notes.extend(_notes(table, service, columns, scales, result))
    return result


def _find_column(table: Table, names: str) -> str:
    """Returns the first of some columns that has a value, else the first that is there, else ""."""
    present = [name for name in names.split() if name in table.columns]
    return next((name for name in present if any(cells.get(name) for _, cells in table.rows)), (*present, "")[0])


def _guess_scale(numbers: Sequence[float]) -> int:
    """Returns 5, 10 or 100 for what a column holds; some rows may be slips, and are out of range then."""
    if sum(number > 10 for number in numbers) * 4 > len(numbers):
        return 100
    return 10 if sum(number > 5 for number in numbers) * 10 > len(numbers) else 5


def _unrated_meaning(file: str, service: Service) -> str:
    """Returns what rows without stars mean; Letterboxd says it by the names of its files."""
    path = PurePath(file)
    if path.stem.casefold().startswith("watchlist") and not service.seen:
        return "planned"
    is_likes = service.name == "Letterboxd" and (path.stem == "films" or path.stem.startswith("likes"))
    return "liked" if is_likes else service.meaning


def _read_row(draft: FilmRow, cells: Mapping[str, str], scale: int) -> FilmRow | str:
    """Returns a row's film, or why the row is skipped.

    Args:
        draft: What is known of the row without its cells.
        cells: Its cells by role.
        scale: The best rating.
    """
    value = {role: "" if cell.casefold() in NO_VALUE else cell for role, cell in cells.items()}
    kind = value.get("type", "")
    if _NO_FILM.search(kind.casefold()) or ("type" not in value and _EPISODE.search(value.get("title", ""))):
        return f"no film: {printable(kind or 'episode', 20)}"
    title = cells.get("title") or cells.get("original", "")
    typed_id = re.fullmatch(rf"{ID_PREFIX}([0-9]{{1,9}})(?: (.*))?", title)
    name, title_year = split_title(typed_id[2] or "" if typed_id else title)
    if len(title) > MAX_TITLE_CHARACTERS:
        return f"a title of {len(title):,} characters"
    year_cell = value.get("year", "")
    years = [int(year) for year in _YEAR.findall(year_cell)[:1]]
    if year_cell and not years and not re.search(r"\d[./-]\d", year_cell):
        return f"year {printable(year_cell, 20)!r}"
    if years and title_year and abs(years[0] - title_year) > 1:
        return f"the title says {title_year}, the column {years[0]}"
    imdb_id = re.search(r"(?<![0-9a-z])(?:tt)?([0-9]{5,10})(?![0-9])", value.get("imdb_id", ""))
    tmdb_id, movie_id = (re.fullmatch(r"([0-9]{1,9})(?:\.0)?", value.get(role, "")) for role in ("tmdb_id", "movie_id"))
    rating = value.get("rating", "")
    number = _NUMBER.fullmatch(rating)
    if rating and not number:
        return f"rating {printable(rating, 20)!r}"
    stars = (
        5 * _to_float(number[1]) / (int(number[2]) if number[2] else 100 if number[3] else scale)
        if number
        else math.nan
    )
    if stars > 5:
        return f"rating {printable(rating, 20)!r} out of {scale}"
    row = draft._replace(
        title=name,
        other_titles=tuple({cells.get("original", "")} - {"", title}),
        year=years[0] if years else title_year,
        imdb_id=f"tt{imdb_id[1]:>07}" if imdb_id else "",
        tmdb_id=int(tmdb_id[1]) if tmdb_id else 0,
        movie_id=int(typed_id[1]) if typed_id else int(movie_id[1]) if movie_id else 0,
        meaning="rated" if stars > 0 else draft.meaning,
        stars=max(0.5, stars) if stars > 0 else math.nan,
        date=_to_iso(value.get("date", "")),
    )
    return row if row.title or row.imdb_id or row.tmdb_id or row.movie_id else "no title"


def _to_float(text: str) -> float:
    return float(text.replace(",", "."))


def _to_iso(date: str) -> str:
    """Returns a date as ISO: from `2024-01-31T10:00:00Z` or `31-12-2023 21:50`; "" from those that can be two."""
    day_first = re.match(r"(\d\d)[-.](\d\d)[-.](\d{4})(.*)", date)
    if day_first:
        return f"{day_first[3]}-{day_first[2]}-{day_first[1]}{day_first[4]}"
    return date if re.match(r"\d{4}-\d\d-\d\d", date) else ""


def _notes(
    table: Table, service: Service, columns: Mapping[str, str], scales: Mapping[str, int], result: FilmFile
) -> list[str]:
    """Returns how a table was understood: its service, columns and scale, those not used, rows that were skipped."""
    used = [f"{role.replace('_', ' ')} from {printable(table.columns[key], 30)!r}" for role, key in columns.items()]
    if any(row.stars > 0 for row in result.rows):
        used.append(f"ratings out of {' or '.join(map(str, sorted(set(scales.values()))))}")
    unused = [
        repr(printable(name, 30))
        for key, name in table.columns.items()
        if key not in columns.values() and _LOOKS_USEFUL.search(key)
    ]
    notes = [f"read as {service.name}: {', '.join(used)}" + (f"; not used: {', '.join(unused)}" if unused else "")]
    no_films = [row.reason.removeprefix("no film: ") for row in result.skipped if row.reason.startswith("no film: ")]
    odd = [f"line {row.line}: {row.reason}" for row in result.skipped if not row.reason.startswith("no film: ")]
    if no_films:
        kinds = shorten(sorted(set(no_films)), ", ")
        notes.append(f"{pluralize(len(no_films), 'row')} skipped that are no films: {kinds}")
    if odd:
        notes.append(f"{pluralize(len(odd), 'row')} skipped: {shorten(odd)}")
    return notes
