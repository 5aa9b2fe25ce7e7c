"""Films in files that people have: exports of services, spreadsheets, lists of titles."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from recommender.errors import DataError, pluralize
from recommender.files import read_bytes
from recommender.films.tables import SkippedRow, Table, decode, read_csv, read_json, read_list, read_members
from recommender.films.titles import ID_PREFIX, TYPED_ID, printable, split_title


class Service(NamedTuple):
    """How a service writes films. Columns are named by `column_key`."""

    name: str
    header: str
    """Columns that only this service has together."""
    scale: int = 0
    """Its best rating; 0 if the ratings themselves must tell."""
    meaning: str = "seen"
    """What a row without stars means: seen or planned."""


SERVICES = (
    Service("Letterboxd", "name letterboxduri", 5),
    Service("Letterboxd (list)", "position name url description"),
    Service("Letterboxd (import)", "title rating10"),
    Service("IMDb (list)", "position const", 10, "planned"),
    Service("IMDb", "const yourrating", 10),
    Service("TMDB", "tmdbid type name yourrating", 10),
    Service("Trakt", "ratedat type title traktid", 10),
    Service("Trakt (JSON)", "trakt slug", 10),
    Service("Simkl", "simklid watchlist", 10),
    Service("Simkl (JSON)", "simkl status", 10),
    Service("Criticker", "score filmname"),
    Service("MovieLens", "movieid averagerating", 5),
    Service("TV Time", "moviename entitytype"),
)
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
TEN_POINT_COLUMNS = {"rating10", "yourrating", "yourated"}
PLANNED = {"plantowatch", "follow", "listedat", "collectedat", "hiddenat"}
"""States of films, and columns of dates in Trakt's JSON, that do not mean that a film was seen."""
NO_VALUE = {"", "-", "\u2013", "\u2014", "n/a", "na", "nan", "none", "null", "0", "0.0"}
MAX_NAMED = 5
_NO_FILM = re.compile("serie|episod|season|staffel|short|kurz|game|spiel|podcast|music ?video|show|^(tv|anime|person)$")
_EPISODE = re.compile(r": (season|staffel|saison|temporada|stagione|limited series)\b", re.IGNORECASE)
"""How Netflix, which has no column for the type, names episodes."""
_YEAR = re.compile(r"(?<!\d)(?:18|19|20)\d\d(?!\d)")
_NUMBER = re.compile(r"(\d{1,4}(?:[.,]\d{1,4})?)(?: ?/ ?(5|10|100))?")
_ID = re.compile(r"[0-9]{1,9}(\.0)?")
_LOOKS_USEFUL = re.compile(r"year|rating|rated|score|stars|imdb|tmdb|id$")


class FilmRow(NamedTuple):
    """A film as a row of a file names it."""

    file: str
    line: int
    """As an editor counts; in JSON the number of the item."""
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
    """0.5 to 5; NaN for none."""
    user: str = ""
    date: str = ""
    """As ISO; "" where the file has none, or one that can be read in two ways."""
    is_typed: bool = False
    """Whether a person wrote the title into a list: slips in it are corrected, and that is said."""

    @property
    def film(self) -> str:
        """The film for messages: title and year, or its id."""
        name = self.title or self.imdb_id or (f"TMDB {self.tmdb_id}" if self.tmdb_id else f"{ID_PREFIX}{self.movie_id}")
        return printable(f"{name} ({self.year})" if self.year else name)


class FilmFile(NamedTuple):
    """The films in a file, a zip or a folder."""

    rows: list[FilmRow]
    notes: list[str]
    """How the file was understood, a sentence each."""
    skipped: list[SkippedRow]


def read_films(path: Path, many_users: bool = False) -> FilmFile:
    """Returns the films in a file, a zip or a folder, whichever service wrote it; `-` is standard input.

    Args:
        path: A CSV or JSON file, a zip or folder of such files, or a text with a title per line.
        many_users: Whether rows name their users.

    Raises:
        DataError: There is no film to read. The message names the columns that were seen.
    """
    members = read_members(path)
    is_single = [file for file, _ in members] == [str(path)]
    result, problems = FilmFile([], [], []), []
    for file, raw in members:
        text, notes = decode(raw)
        prefix, is_json = "" if is_single else f"{file}: ", text.lstrip()[:1] in ("[", "{")
        table = read_json(text, file) if is_json else read_csv(text, file, _rank)
        table = read_list(text, file) if table is None and is_single else table
        if table is None or not _rank(table.columns, is_strict=is_json or not is_single):
            names = table.columns.values() if table else text[:1000].strip().split("\n")[:1]
            problems.append(f"{prefix}the columns are {printable(', '.join(names), 200) or 'none'}")
            continue
        read = _read_table(table, many_users)
        result.rows.extend(read.rows)
        result.skipped.extend(read.skipped)
        result.notes.extend(prefix + note for note in notes + read.notes)
    if not result.rows:
        known = ", ".join(service.name for service in SERVICES if "(" not in service.name)
        seen = shorten(problems + result.notes) or "it is empty"
        raise DataError(f"{path}: no films in it: {seen}; known are {known}, Netflix and any table with a column title")
    users = {row.user for row in result.rows}
    if not many_users and len(users) > 1:
        raise DataError(f"{path}: films of {len(users):,} users; give them to --users FILE --output FILE")
    return result if many_users else result._replace(rows=[row._replace(user="") for row in result.rows])


def parse_user_ids(path: Path) -> list[int]:
    """Returns the user ids in a file, one per line, without repetitions.

    Raises:
        DataError: A line is something else, or there is no id.
    """
    lines = enumerate(decode(read_bytes(path, "give user ids, one per line"))[0].split("\n"), 1)
    ids = {line.strip(): number for number, line in lines if line.strip()}
    for text, number in ids.items() or (("", 1),):
        if not re.fullmatch("[0-9]{1,10}", text):
            raise DataError(f"{path}, line {number}: {printable(text)!r} is not a user id; write one id per line")
    return list(dict.fromkeys(map(int, ids)))


def shorten(texts: Sequence[str], separator: str = "; ") -> str:
    """Returns the first `MAX_NAMED` texts and the number of others."""
    more = f" and {len(texts) - MAX_NAMED:,} more" if len(texts) > MAX_NAMED else ""
    return separator.join(texts[:MAX_NAMED]) + more


def _service(keys: Iterable[str]) -> Service:
    return next((service for service in SERVICES if {*service.header.split()} <= {*keys}), Service("a table", ""))


def _rank(keys: Iterable[str], is_strict: bool = False) -> int:
    """Returns how many columns of a header are known, 100 for a known service, 0 where no column names a film.

    Args:
        keys: The columns.
        is_strict: Whether a title alone is not enough, as other files of an archive have names too.
    """
    if _service(keys).header:
        return 100
    roles = {role for role, names in COLUMNS.items() if not set(names.split()).isdisjoint(keys)}
    is_film = {"imdb_id", "tmdb_id", "movie_id"} & roles
    return len(roles) if is_film or ("title" in roles and (not is_strict or {"year", "rating"} & roles)) else 0


def _read_table(table: Table, many_users: bool) -> FilmFile:
    """Returns the films of one table, with notes on how it was understood."""
    service = Service("a list of titles", "") if table.is_list else _service(table.columns)
    # Of the columns of a role the first that has values.
    columns: dict[str, str] = {}
    for role, names in COLUMNS.items():
        present = [name for name in names.split() if name in table.columns]
        with_values = (name for name in present if any(cells.get(name) for _, cells in table.rows))
        columns |= {role: next(with_values, present[0])} if present else {}
    none = dict.fromkeys(COLUMNS, "")
    rows = [(line, none | {role: cells.get(key, "") for role, key in columns.items()}) for line, cells in table.rows]
    # The scale: the service's or the column's, else what a user's ratings tell.
    numbers: dict[str, list[float]] = defaultdict(list)
    for _, cells in rows:
        number = _NUMBER.fullmatch(cells["rating"])
        if number:
            numbers[cells["user"]].append(float(number[1].replace(",", ".")))
    scale = service.scale or (10 if columns.get("rating") in TEN_POINT_COLUMNS else 0)
    scales = {user: scale or _guess_scale(values) for user, values in numbers.items()}
    # What a row without stars means.
    name = PurePath(table.file).name.casefold()
    is_planned = re.fullmatch(r"watchlist.*\.csv", name) or columns.get("date") in PLANNED
    is_liked = service.name == "Letterboxd" and name in ("films.csv", "likes.csv")  # The file likes/films.csv.
    unrated = "planned" if is_planned else "liked" if is_liked else service.meaning
    result = FilmFile([], [], list(table.skipped))
    for line, cells in rows:
        meaning = "planned" if cells["status"].casefold() in PLANNED else unrated
        draft = FilmRow(table.file, line, "", meaning=meaning, user=cells["user"], is_typed=table.is_list)
        try:
            if many_users and not draft.user:
                raise ValueError("no user")
            result.rows.append(_read_row(draft, cells, scales.get(draft.user, 5)))
        except ValueError as error:
            result.skipped.append(SkippedRow(table.file, line, printable(cells["title"]), str(error)))
    used = [f"{role} from {table.columns[key]!r}" for role, key in columns.items()]
    used.append(f"ratings out of {' or '.join(map(str, sorted({*scales.values()})))}" if scales else "no ratings")
    unused = [table.columns[key] for key in table.columns.keys() - columns.values() if _LOOKS_USEFUL.search(key)]
    without = f"; not used: {', '.join(sorted(unused))}" if unused else ""
    result.notes.append(printable(f"read as {service.name}: {', '.join(used)}{without}", 500))
    if result.skipped:
        reasons = shorten([f"line {row.line}: {row.reason}" for row in result.skipped])
        result.notes.append(f"{pluralize(len(result.skipped), 'row')} skipped: {reasons}")
    return result


def _guess_scale(numbers: Sequence[float]) -> int:
    """Returns 5, 10 or 100 for what a column holds; a few rows may be slips, which are out of range then."""
    if sum(10 < number <= 100 for number in numbers) * 4 > len(numbers):
        return 100
    return 10 if sum(5 < number <= 10 for number in numbers) * 10 > len(numbers) else 5


def _read_row(draft: FilmRow, cells: Mapping[str, str], scale: int) -> FilmRow:
    """Returns a row's film.

    Args:
        draft: What is known of the row without its cells.
        cells: Its cells by role.
        scale: The best rating.

    Raises:
        ValueError: The row is skipped; the message says why.
    """
    title, original = cells["title"] or cells["original title"], cells["original title"]
    year, rating, imdb, tmdb, movie, kind, date = (
        "" if cells[role].casefold() in NO_VALUE else cells[role]
        for role in ("year", "rating", "imdb_id", "tmdb_id", "movie_id", "type", "date")
    )
    if _NO_FILM.search(kind.casefold()) or (not kind and _EPISODE.search(title)):
        raise ValueError(f"no film: {printable(kind, 20) or 'an episode'}")
    typed_id = TYPED_ID.fullmatch(title)
    movie, title = (typed_id[1], typed_id[2] or "") if typed_id else (movie, title)
    name, title_year = split_title(title)
    years = [*map(int, _YEAR.findall(year)), *filter(None, [title_year])]
    if (year and not _YEAR.search(year)) or (title_year and abs(years[0] - title_year) > 1):
        raise ValueError(f"year {printable(year, 20)!r} of {printable(title)!r}")
    number = _NUMBER.fullmatch(rating)
    stars = 5 * float(number[1].replace(",", ".")) / int(number[2] or scale) if number else 0.0
    if (rating and not number) or stars > 5:
        raise ValueError(f"rating {printable(rating, 20)!r}, which is no number up to {scale}")
    imdb_id = re.search(r"(?<![0-9a-z])(?:tt)?([0-9]{5,10})(?![0-9])", imdb)
    tmdb_id, movie_id = (int(text.removesuffix(".0")) if _ID.fullmatch(text) else 0 for text in (tmdb, movie))
    if not (name or imdb_id or tmdb_id or movie_id):
        raise ValueError("no title")
    date = re.sub(r"^(\d\d)[-.](\d\d)[-.](\d{4})", r"\3-\2-\1", date)
    return draft._replace(
        title=name,
        other_titles=(original,) if original not in ("", title) else (),
        year=years[0] if years else None,
        imdb_id=f"tt{imdb_id[1]:>07}" if imdb_id else "",
        tmdb_id=tmdb_id,
        movie_id=movie_id,
        meaning="rated" if stars else draft.meaning,
        stars=max(0.5, stars) if stars else math.nan,
        date=date if re.match(r"\d{4}-\d\d-", date) else "",
    )
