"""Which movie each row of a person's file is, which one a typed title means, and the history that the rows make."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tqdm import tqdm

from recommender.errors import RecommenderError
from recommender.films.exports import FilmRow
from recommender.films.title_index import MAX_OFFERED, Looseness, TitleIndex
from recommender.films.title_index import Title as Title  # Part of the interface.
from recommender.films.titles import (
    ID_PREFIX,
    MAX_TITLE_CHARACTERS,
    TYPED_ID,
    TYPED_IMDB_ID,
    alternative_names,
    display_title,
    printable,
    split_title,
    title_key,
)

LoadTitles = Callable[[str, Iterable[str | int]], list[Title]]
"""Returns the titles whose field ("id", "imdb_id", "tmdb_id", "title_key") has one of the values; all for ""."""
_IDS = ("imdb_id", "tmdb_id", "movie_id")
"""Ids of rows and titles, the most reliable first."""
_YEAR_BEHIND = re.compile(r"(.*) ((?:19|20)\d\d)")
"""A title with a year behind it, without brackets."""


class TitleError(RecommenderError):
    """No movie matches a typed title, or several do. The message offers some."""


class RowMatch(NamedTuple):
    """The movie that a row of a file is."""

    row: FilmRow
    title: Title | None
    note: str = ""
    """Why there is no movie, or how the movie differs from what the row says."""
    twins: tuple[int, ...] = ()
    """Other movies that the row may be; like the movie itself, they must not be recommended."""


@dataclass
class FilmHistory:
    """One person's films, by movie id; one that was rated or seen may be liked besides."""

    rated: dict[int, float] = field(default_factory=dict)
    """Stars, 0.5 to 5; the last rating of a film."""
    liked: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    """Films that were seen and not rated."""
    exclude: set[int] = field(default_factory=set)
    """What must not be recommended: all films that were watched, and their twins."""

    @property
    def watched(self) -> set[int]:
        """All films."""
        return self.rated.keys() | self.seen | self.liked


def match_rows(rows: Sequence[FilmRow], load_titles: LoadTitles) -> list[RowMatch]:
    """Returns the movie of each row, or why there is none.

    Ids come first, and must agree with the title; where they do not, the title decides. Titles match as a whole, or
    almost in the very same year, see `TitleIndex`.

    Args:
        rows: The rows of one or several files.
        load_titles: Looks titles up.
    """
    by_id: dict[str, dict[str | int, Title]] = {}
    for name in _IDS:
        found = load_titles(name.removeprefix("movie_"), {getattr(row, name) for row in rows} - {"", 0})
        by_id[name] = {getattr(title, name): title for title in found}
    index: TitleIndex | None = None
    films: dict[tuple[object, ...], tuple[list[Title], str]] = {}
    matches = []
    for row in tqdm(rows, "Matching films", leave=False, delay=2, disable=None):
        known = next(filter(None, (by_id[name].get(getattr(row, name)) for name in _IDS)), None)
        if row.problem or (known and _fits(row, known)):
            matches.append(RowMatch(row, known, row.problem))
            continue
        film = (row.title, row.other_titles, row.year, row.looseness)
        if film not in films:
            index = index or TitleIndex(load_titles("", ()))
            films[film] = _find(row, index)
        matches.append(_choose(row, known, *films[film]))
    return matches


def _find(row: FilmRow, index: TitleIndex) -> tuple[list[Title], str]:
    """Returns the movies that a row's names find, its title before the original title."""
    main, *brackets = alternative_names(row.title)
    searches = [([main, *row.other_titles, *brackets], row.year), *(([title], row.year) for title in row.other_titles)]
    year_behind = _YEAR_BEHIND.fullmatch(row.title)
    searches += [([year_behind[1]], int(year_behind[2]))] if year_behind and row.year is None else []
    found = (index.find(names, year, row.looseness) for names, year in searches)
    return next((result for result in found if result[0]), ([], ""))


def _fits(row: FilmRow, title: Title) -> bool:
    """Returns whether a row's title, if it has one, is the title of the movie that has its id."""
    if not row.title or title_key(row.title) == title_key(title.title):
        return True
    index = TitleIndex([title])
    return any(_find(row._replace(year=year, looseness=Looseness.FILE), index)[0] for year in (None, row.year))


def _choose(row: FilmRow, known: Title | None, titles: list[Title], difference: str) -> RowMatch:
    """Returns the match of a row that has a title.

    Args:
        row: The row.
        known: The movie that has the row's id, and another title.
        titles: The movies that have its title.
        difference: How they differ from it.
    """
    named = display_title(known.title) if known else ""
    if known and not titles:
        is_near = abs((known.year or 0) - row.year) <= 1 if row.year else row.imdb_id == known.imdb_id
        if is_near and (row.imdb_id == known.imdb_id != "" or row.tmdb_id == known.tmdb_id != 0):
            return RowMatch(row, known, f"by its id {named}, though the title differs")
    candidates = [title for title in titles if known or not _has_other_id(row, title)]
    if not candidates:
        reason = f"; {titles[0].with_id} has another id" if titles else f"; its id is that of {named}" if known else ""
        return RowMatch(row, None, f"not in the catalogue{reason}")
    best, *others = candidates
    twins = tuple(title.movie_id for title in others)
    if others and (difference or any(title.year != best.year for title in others)):
        note = f"several films may be meant: {'; '.join(title.with_id for title in candidates[:MAX_OFFERED])}"
        return RowMatch(row, None, note, () if difference else (best.movie_id, *twins))
    notes = [f"taken to be {display_title(best.title)}: {difference}"] if difference else []
    notes += [f"matched by title, as its id is that of {named}"] if known else []
    notes += [f"the best known of {len(candidates)} films of that name and year"] if twins else []
    return RowMatch(row, best, "; ".join(notes), twins)


def _has_other_id(row: FilmRow, title: Title) -> bool:
    ids = (row.imdb_id, title.imdb_id), (row.tmdb_id, title.tmdb_id)
    return any(own and other and own != other for own, other in ids)


def find_title(text: str, load_titles: LoadTitles) -> Title:
    """Returns the movie that a typed title, a part of one, or an id means: `alien 1979`, `id:1214`, `tt0078748`.

    Raises:
        TitleError: No movie matches, or several do.
    """
    text, shown = text.strip()[:MAX_TITLE_CHARACTERS], repr(printable(text, 80))
    typed_id = TYPED_ID.fullmatch(text)
    if typed_id or TYPED_IMDB_ID.fullmatch(text):
        titles = load_titles("id", [int(typed_id[1])]) if typed_id else load_titles("imdb_id", [text])
        if not titles or (typed_id and typed_id[2] and title_key(typed_id[2]) != title_key(titles[0].title)):
            raise TitleError(f"no movie has the id {shown}; it may be one of another catalogue")
        return titles[0]
    name, year = split_title(text)
    row = FilmRow("", 0, name, year=year, looseness=Looseness.TYPED)
    for field_name, values in (("title_key", [title_key(text)]), ("", [])):  # Few titles, then all.
        index = TitleIndex(load_titles(field_name, values))
        titles, difference = _find(row, index)
        if titles and not difference:
            break
    if len(titles) == 1:
        return titles[0]
    problem = "several movies match" if titles else "no movie is called"
    offered = "; ".join(title.with_id for title in (titles or index.similar(row.title))[:MAX_OFFERED])
    advice = f"choose one by its id: {offered}" if offered else f"no title is similar; an id is written {ID_PREFIX}1214"
    raise TitleError(f"{problem} {shown}; {advice}")


def to_history(matches: Iterable[RowMatch]) -> FilmHistory:
    """Returns the history that one person's rows make; planned films are not part of it.

    Of several ratings of a film the latest by date counts; if none has a date, the last in the files.
    """
    history = FilmHistory()
    for row, title, _, twins in sorted(matches, key=lambda match: match.row.date):
        if row.meaning == "planned":
            continue
        history.exclude.update(twins)
        if title and row.meaning == "rated":
            history.rated[title.movie_id] = row.stars
        elif title:
            getattr(history, row.meaning).add(title.movie_id)
    history.seen -= history.rated.keys()
    history.exclude |= history.watched
    return history


def match_table(matches: Iterable[RowMatch]) -> list[dict[str, str]]:
    """Returns the rows of the CSV of all matches: `file`, `line`, `film`, `movie_id`, `title`, `stars` and `note`."""
    columns = ("file", "line", "film", "movie_id", "title", "stars", "note")
    table = []
    for row, title, note, _ in sorted(matches, key=lambda match: (match.row.file, match.row.line)):
        movie = (title.movie_id, display_title(title.title)) if title else ("", "")
        stars = "" if math.isnan(row.stars) else f"{row.stars:g}"
        cells = (row.file, row.line, row.film, *movie, stars, note)
        table.append(dict(zip(columns, map(str, cells), strict=True)))
    return table
