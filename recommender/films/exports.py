"""Films in files that people have: exports of services, spreadsheets, lists of titles."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from recommender.errors import DataError, pluralize
from recommender.files import read_bytes
from recommender.films.tables import COLUMNS, Table, decode, read_members, read_table
from recommender.films.title_index import Looseness
from recommender.films.titles import ID_PREFIX, TYPED_ID, printable, split_title


class Service(NamedTuple):
    """How a service writes films."""

    name: str
    header: str
    """Columns that only this service has together, see `column_key`."""
    scale: int = 0
    """Its best rating; 0 if the column or the ratings must tell."""
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
    """A film as a row of a file names it, or what is wrong with the row."""

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
    looseness: Looseness = Looseness.FILE
    """Whether a person wrote the title into a list: slips in it are corrected, and that is said."""
    problem: str = ""
    """Why the row is skipped."""

    @property
    def film(self) -> str:
        """The film for messages: title and year, or its id."""
        name = self.title or self.imdb_id or (f"TMDB {self.tmdb_id}" if self.tmdb_id else f"{ID_PREFIX}{self.movie_id}")
        return printable(f"{name} ({self.year})" if self.year else name)


def read_films(path: Path, many_users: bool = False) -> tuple[list[FilmRow], list[str]]:
    """Returns the films in a file, a zip or a folder, whichever service wrote it, and notes on how they were read.

    Args:
        path: A CSV or JSON file, a zip or folder of such files, or a text with a title per line; `-` is standard input.
        many_users: Whether rows name their users.

    Raises:
        DataError: There is no film to read. The message names the columns that were seen.
    """
    members = read_members(path)
    is_alone = [file for file, _ in members] == [str(path)]
    rows, notes, problems = list[FilmRow](), list[str](), list[str]()
    for file, raw in members:
        prefix = "" if is_alone else f"{file}: "
        text, encoding = decode(raw)
        table = read_table(text, file, is_alone)
        if table:
            new_rows, new_notes = _read_table(table, many_users)
            rows += new_rows
            notes += [f"{prefix}{note}" for note in [encoding, *new_notes] if note]
        else:
            first_line = printable(text[:1000].strip().partition("\n")[0], 200)
            problems.append(f"{prefix}the columns are {first_line or 'none'}")
    users = {row.user for row in rows if not row.problem}
    if not users:
        known = ", ".join(service.name for service in SERVICES if "(" not in service.name)
        seen = shorten(problems + notes) or "it is empty"
        raise DataError(f"{path}: no films in it: {seen}; known are {known}, Netflix and any table with a column title")
    if not many_users and len(users) > 1:
        raise DataError(f"{path}: films of {len(users):,} users; give them to --users FILE --output FILE")
    return rows, notes


def parse_user_ids(path: Path) -> list[int]:
    """Returns the user ids in a file, one per line, without repetitions.

    Raises:
        DataError: Something else is in it, or there is no id.
    """
    lines = decode(read_bytes(path))[0].split("\n")
    ids = {line.strip(): number for number, line in enumerate(lines, 1) if line.strip()} or {"": 1}
    for user_id, number in ids.items():
        if not re.fullmatch("[0-9]{1,10}", user_id):
            raise DataError(f"{path}, line {number}: {printable(user_id)!r} is not a user id; write one id per line")
    return list(dict.fromkeys(map(int, ids)))


def shorten(texts: Sequence[str], separator: str = "; ") -> str:
    """Returns the first `MAX_NAMED` texts and the number of others."""
    more = f" and {len(texts) - MAX_NAMED:,} more" if len(texts) > MAX_NAMED else ""
    return separator.join(texts[:MAX_NAMED]) + more


def _read_table(table: Table, many_users: bool) -> tuple[list[FilmRow], list[str]]:
    """Returns the rows of one table, and notes on how it was understood."""
    # Beside empty ratings of yours, TMDB's `Rating` is what the public gave.
    filled = {key for _, cells, _ in table.rows for key in cells if cells[key]} | {"yourrating"}
    columns: dict[str, str] = {}
    for role, names in COLUMNS.items():
        present = [name for name in names.split() if name in table.columns]
        if present:
            columns[role] = next((name for name in present if name in filled), present[0])
    known = (service for service in SERVICES if {*service.header.split()} <= table.columns.keys())
    service = next(known, Service("a list of titles" if table.looseness == Looseness.LIST else "a table", ""))
    # The scale: the service's or the column's, else what the ratings tell.
    rating = columns.get("rating", "")
    scale = service.scale or (10 if rating in ("rating10", "yourrating", "yourated") else 0)
    scale = scale or _guess_scale(cells.get(rating, "") for _, cells, _ in table.rows)
    # What a row without stars means.
    name = PurePath(table.file).name.casefold()
    is_planned = re.fullmatch(r"watchlist.*\.csv", name) or columns.get("date") in PLANNED
    is_liked = service.name == "Letterboxd" and name in ("films.csv", "likes.csv")  # The file likes/films.csv.
    unrated = "planned" if is_planned else "liked" if is_liked else service.meaning
    rows = []
    for line, cells_by_key, problem in table.rows:
        cells = defaultdict(str, {role: cells_by_key.get(key, "") for role, key in columns.items()})
        meaning = "planned" if cells["status"].casefold() in PLANNED else unrated
        row = FilmRow(table.file, line, cells["title"], meaning=meaning, user=cells["user"], looseness=table.looseness)
        try:
            if problem or (many_users and not row.user):
                raise ValueError(problem or "no user")
            rows.append(_read_row(row, cells, scale))
        except ValueError as error:
            rows.append(row._replace(problem=str(error)))
    used = [f"{role} from {table.columns[key]!r}" for role, key in columns.items()]
    used.append(f"ratings out of {scale}" if "rating" in columns else "no ratings")
    unused = sorted(table.columns[key] for key in table.columns.keys() - columns.values() if _LOOKS_USEFUL.search(key))
    without = f"; not used: {', '.join(unused)}" if unused else ""
    notes = [printable(f"read as {service.name}: {', '.join(used)}{without}", 500)]
    skipped = [f"line {row.line}: {row.problem}" for row in rows if row.problem]
    if skipped:
        notes.append(f"{pluralize(len(skipped), 'row')} skipped: {shorten(skipped)}")
    return rows, notes


def _guess_scale(ratings: Iterable[str]) -> int:
    """Returns 5, 10 or 100 for what a column holds; a few rows may be slips, which are out of range then."""
    matches = (_NUMBER.fullmatch(rating) for rating in ratings if rating not in NO_VALUE)
    numbers = [float(match[1].replace(",", ".")) for match in matches if match]
    if sum(10 < number <= 100 for number in numbers) * 4 > len(numbers):
        return 100
    return 10 if sum(5 < number <= 10 for number in numbers) * 10 > len(numbers) else 5


def _read_row(row: FilmRow, cells: Mapping[str, str], scale: int) -> FilmRow:
    """Returns a row with its film.

    Args:
        row: What is known of the row without its cells.
        cells: Its cells by role.
        scale: The best rating.

    Raises:
        ValueError: The row is skipped; the message says why.
    """
    title, original = cells["title"] or cells["original title"], cells["original title"]
    year, rating = ("" if cells[role].casefold() in NO_VALUE else cells[role] for role in ("year", "rating"))
    kind = cells["type"]
    if _NO_FILM.search(kind.casefold()) or (not kind and _EPISODE.search(title)):
        raise ValueError(f"no film: {printable(kind, 20) or 'an episode'}")
    typed_id = TYPED_ID.fullmatch(title)
    movie, title = (typed_id[1], typed_id[2] or "") if typed_id else (cells["movie_id"], title)
    name, title_year = split_title(title)
    years = [*map(int, _YEAR.findall(year)), *filter(None, [title_year])]
    if (year and not _YEAR.search(year)) or (title_year and abs(years[0] - title_year) > 1):
        raise ValueError(f"year {printable(year, 20)!r} of {printable(title)!r}")
    number = _NUMBER.fullmatch(rating)
    stars = 5 * float(number[1].replace(",", ".")) / int(number[2] or scale) if number else 0.0
    if (rating and not number) or stars > 5:
        raise ValueError(f"rating {printable(rating, 20)!r}, which is no number up to {scale}")
    imdb_id = re.search(r"(?<![0-9a-z])(?:tt)?([0-9]{5,10})(?![0-9])", cells["imdb_id"])
    ids = (cells["tmdb_id"], movie)
    tmdb_id, movie_id = (int(text.removesuffix(".0")) if _ID.fullmatch(text) else 0 for text in ids)
    if not (name or imdb_id or tmdb_id or movie_id):
        raise ValueError("no title")
    date = re.sub(r"^(\d\d)[-.](\d\d)[-.](\d{4})", r"\3-\2-\1", cells["date"])
    return row._replace(
        title=name,
        other_titles=(original,) if original not in ("", title) else (),
        year=years[0] if years else None,
        imdb_id=f"tt{imdb_id[1]:>07}" if imdb_id else "",
        tmdb_id=tmdb_id,
        movie_id=movie_id,
        meaning="rated" if stars else row.meaning,
        stars=max(0.5, stars) if stars else math.nan,
        date=date if re.match(r"\d{4}-\d\d-", date) else "",
    )
