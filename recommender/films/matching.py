"""Title matching: which movies a typed text, or a film in a file, refers to."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rapidfuzz import fuzz, process

from recommender.movielens.catalogue import ID_PREFIX
from recommender.films.exports import FilmReference
from recommender.films.titles import (
    alternative_names,
    display_title,
    normalize_words,
    segment_keys,
    split_title,
    title_key,
)
from recommender.errors import RecommenderError
from recommender.films.name_similarity import (
    allowed_typos,
    are_in_order,
    begins,
    contains,
    have_same_content,
    in_order,
    is_part,
    is_same_with_typos,
    is_typo,
)

if TYPE_CHECKING:
    from recommender.milvus.collection import MovieCollection

YEAR_BEHIND = re.compile(r"(.*) ((?:19|20)\d\d)")
"""A title with a year behind it, without brackets."""
MAX_OFFERED = 5
MIN_SIMILARITY = 75.0
"""Lower bound on `rapidfuzz.fuzz.ratio`, 0..100, of a title that is offered where nothing matches."""
YEAR_TOLERANCE = 1
"""Services differ by a year for films that were first shown abroad or at a festival."""

Names = list[list[str]]
"""The names of one movie, main name first, each as a list of words."""


class TitleError(RecommenderError):
    """No movie matches a title, or several do. The message offers some."""


class Title(NamedTuple):
    """A movie's title as title matching sees it."""

    movie_id: int
    title: str
    num_ratings: int
    """Number of training ratings; the better known of two matches is offered first."""
    imdb_id: str = ""
    tmdb_id: int = 0
    names: tuple[str, ...] = ()
    """The names that the title gives, main name first, as normalized words; "" where they are still to be computed."""

    @property
    def year(self) -> int | None:
        """The year at the title's end."""
        return split_title(self.title)[1]

    @property
    def with_id(self) -> str:
        """The title as it is offered, such as `id:1214 Alien (1979)`."""
        return f"{ID_PREFIX}{self.movie_id} {display_title(self.title)}"

    def with_names(self) -> "Title":
        """Returns the title with its names."""
        if self.names:
            return self
        return self._replace(names=tuple(" ".join(normalize_words(name)) for name in alternative_names(self.title)))


class MatchKind(IntEnum):
    """How a title matches a text; lower is better."""

    NAME = 0
    OTHER_NAME = 1
    BEGINNING = 2
    PART = 3
    WORD_BEGINNINGS = 4
    TYPO = 5
    PART_WITH_TYPOS = 6


class TitleMatch(NamedTuple):
    """The movies that a text may refer to."""

    titles: list[Title]
    """Best known first."""
    kind: MatchKind | None
    """How all of them match; None if they are merely similar."""


class FilmMatches(NamedTuple):
    """The result of `match_films`."""

    movie_ids: dict[FilmReference, int]
    """Movie ids of the matched films."""
    ambiguous: dict[FilmReference, list[Title]]
    """Films that several movies match."""
    unmatched: dict[FilmReference, list[Title]]
    """Films that no movie matches, with similar titles if they were asked for."""


class TitleMatcher:
    """Finds movies by title.

    Args:
        titles: The titles of all movies.
    """

    def __init__(self, titles: Iterable[Title]) -> None:
        self._titles = sorted(titles, key=lambda title: (-title.num_ratings, title.movie_id))
        self._years = [title.year for title in self._titles]
        self._names = [title.with_names().names for title in self._titles]
        self._keys = [[name.replace(" ", "") for name in names] for names in self._names]
        self._rows: dict[str, list[int]] = {}
        self._rows_of_year: dict[int | None, list[int]] = {}
        for row, keys in enumerate(self._keys):
            self._rows_of_year.setdefault(self._years[row], []).append(row)
            for key in dict.fromkeys(keys):
                self._rows.setdefault(key, []).append(row)

    def find(self, text: str) -> TitleMatch:
        """Returns the movies that match a typed text in the best way, see `MatchKind`.

        Args:
            text: A title, or a part of one; a year at its end must be the movie's, or one beside it.
        """
        name, year = split_title(text.strip())
        words = normalize_words(alternative_names(text)[0])
        match = self._best(self._kinds(words), year)
        year_behind = YEAR_BEHIND.fullmatch(name)
        if match is None and year is None and year_behind:
            match = self._best(self._kinds(normalize_words(year_behind[1])), int(year_behind[2]))
        return match or TitleMatch(self._similar(words), None)

    def match(self, film: FilmReference, offer_similar: bool = False) -> TitleMatch:
        """Returns the movies that a film in a file refers to; stricter than `find`, as nobody checks each line.

        A whole name matches. With a year, so does a name with typos, and one with similar words in the same year. Where
        nothing matches, a number at the end is taken as the year, and similar titles are looked for if `offer_similar`
        asks for them.
        """
        words = normalize_words(alternative_names(film.title)[0])
        match = self._best(self._strict_kinds(film, words), film.year)
        year_behind = YEAR_BEHIND.fullmatch(film.title)
        if match is None and film.year is None and year_behind:
            return self.match(film._replace(title=year_behind[1], year=int(year_behind[2])), offer_similar)
        return match or TitleMatch(self._similar(words) if offer_similar else [], None)

    def _best(self, kinds: Iterable[tuple[MatchKind, list[int]]], year: int | None) -> TitleMatch | None:
        """Returns the first kind of match with a movie of the right year."""
        for kind, rows in kinds:
            for tolerance in range(YEAR_TOLERANCE + 1):
                in_year = [row for row in rows if year is None or self._year_distance(row, year) <= tolerance]
                if in_year:
                    return TitleMatch([self._titles[row] for row in in_year], kind)
        return None

    def _year_distance(self, row: int, year: int) -> int:
        """Returns the difference in years; a movie without a year counts as one year off."""
        own_year = self._years[row]
        return YEAR_TOLERANCE if own_year is None else abs(own_year - year)

    def _kinds(self, words: list[str]) -> Iterator[tuple[MatchKind, list[int]]]:
        """Yields the rows of the movies that match in each way, the best way first."""
        if not words:
            return
        yield from self._whole_names(["".join(words)])
        yield MatchKind.BEGINNING, self._where(lambda names: names[0][: len(words)] == words)
        yield MatchKind.PART, self._where(lambda names: any(contains(name, words) for name in names))
        by_beginnings = self._where(lambda names: any(in_order(name, words, begins) for name in names))
        yield MatchKind.WORD_BEGINNINGS, by_beginnings
        yield self._typos(words, range(len(self._titles)))
        with_typos = self._where(lambda names: any(in_order(name, words, is_typo) for name in names))
        yield MatchKind.PART_WITH_TYPOS, with_typos

    def _whole_names(self, keys: Sequence[str]) -> tuple[tuple[MatchKind, list[int]], ...]:
        rows = [row for key in keys for row in self._rows.get(key, []) if key]
        main = [row for row in rows if self._keys[row][0] in keys]
        return (MatchKind.NAME, main), (MatchKind.OTHER_NAME, rows)

    def _strict_kinds(self, film: FilmReference, words: list[str]) -> Iterator[tuple[MatchKind, list[int]]]:
        """Yields whole names; with a year also typos and, in that year, similar words, parts and word order."""
        if not words:
            return
        yield from self._whole_names(["".join(words)])
        if film.year is None:
            return
        others = alternative_names(film.title)[1:]
        yield from self._whole_names(["".join(normalize_words(name)) for name in others])
        years = range(film.year - YEAR_TOLERANCE, film.year + YEAR_TOLERANCE + 1)
        yield self._typos(words, sorted(row for year in years for row in self._rows_of_year.get(year, [])))
        in_year = self._rows_of_year.get(film.year, [])

        def where(matches: Callable[[list[str]], bool]) -> tuple[MatchKind, list[int]]:
            return MatchKind.PART, [row for row in in_year if any(map(matches, self._words(row)))]

        yield where(lambda name: have_same_content(name, words))
        yield where(lambda name: is_part(words, name))
        yield where(lambda name: is_part(name, words))
        key, segments = "".join(words), segment_keys(film.title)
        yield (MatchKind.PART, [row for row in in_year if key in self._segments(row) or self._keys[row][0] in segments])
        yield where(lambda name: are_in_order(words, name) or are_in_order(name, words))

    def _segments(self, row: int) -> list[str]:
        return segment_keys(alternative_names(self._titles[row].title)[0])

    def _typos(self, words: list[str], rows: Iterable[int]) -> tuple[MatchKind, list[int]]:
        """Returns the movies of which a name has the same words with typos, or the same letters with few."""
        key = "".join(words)
        allowed = allowed_typos(key)

        def matches(name: str, other: str) -> bool:
            is_near = abs(len(other) - len(key)) <= allowed
            return (is_near and is_typo(other, key)) or is_same_with_typos(name.split(), words)

        def has_match(row: int) -> bool:
            pairs = zip(self._names[row], self._keys[row], strict=True)
            return any(other[:1] == key[:1] and matches(name, other) for name, other in pairs)

        return MatchKind.TYPO, [row for row in rows if has_match(row)]

    def _where(self, matches: Callable[[Names], bool]) -> list[int]:
        return [row for row, names in enumerate(self._all_words) if matches(names)]

    @cached_property
    def _all_words(self) -> list[Names]:
        return [self._words(row) for row in range(len(self._names))]

    def _words(self, row: int) -> Names:
        return [name.split() for name in self._names[row]]

    def _similar(self, words: list[str]) -> list[Title]:
        """Returns titles to offer: for `die hard 3` the films of the series, else titles with similar letters."""
        if len(words) > 1 and words[-1].isdigit():
            series = self._where(lambda names: names[0][: len(words) - 1] == words[:-1])
            if series:
                return [self._titles[row] for row in sorted(series, key=lambda row: self._years[row] or 0)]
        main_names = [names[0] for names in self._names]
        near = process.extract(
            " ".join(words), main_names, scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY, limit=MAX_OFFERED
        )
        return [self._titles[row] for _, _, row in near]


def find_movie(collection: "MovieCollection", text: str) -> Title:
    """Returns the movie that a typed title, a part of one, or an id like `id:2001` refers to.

    Raises:
        TitleError: No movie matches, or several do.
    """
    if text.startswith(ID_PREFIX):
        number = text.removeprefix(ID_PREFIX)
        is_id = number.isascii() and number.isdigit() and len(number) <= 18
        by_id = collection.titles_with_ids([int(number)]) if is_id else []
        if not by_id:
            raise TitleError(f"no movie has the id {number[:40]!r}")
        return by_id[0]
    match = TitleMatcher(collection.titles_with_keys([title_key(text)])).find(text)
    if match.kind is not MatchKind.NAME:
        match = TitleMatcher(collection.titles()).find(text)
    if match.kind is not None and len(match.titles) == 1:
        return match.titles[0]
    shown = text if len(text) <= 80 else text[:80] + "..."
    offered = "; ".join(title.with_id for title in match.titles[:MAX_OFFERED])
    if match.kind is not None:
        raise TitleError(f"several movies match {shown!r}; choose one by its id: {offered}")
    hint = f"choose one by its id: {offered}" if offered else "nor is a similar one"
    hint += f"; an id is written {ID_PREFIX}{shown}" if text.isdecimal() else ""
    raise TitleError(f"no movie is called {shown!r}; {hint}")


def match_films(
    collection: "MovieCollection", films: Iterable[FilmReference], offer_similar: bool = False
) -> FilmMatches:
    """Matches the films of a file with the movies of a collection, see `TitleMatcher.match`."""
    unique = list(dict.fromkeys(films))
    by_id = _match_ids(collection, unique)
    by_title = [film for film in unique if film not in by_id and film.title]
    keys = {film: title_key(film.title) for film in by_title}
    with_key = TitleMatcher(collection.titles_with_keys(keys.values()))
    matches = {film: with_key.match(film) for film in by_title}
    rest = [film for film, match in matches.items() if match.kind is not MatchKind.NAME]
    if rest:
        all_titles = TitleMatcher(collection.titles())
        matches |= {film: all_titles.match(film, offer_similar) for film in rest}
    result = FilmMatches({}, {}, {})
    for film in unique:
        match = matches.get(film, TitleMatch([], None))
        if film in by_id:
            result.movie_ids[film] = by_id[film]
        elif match.kind is None:
            result.unmatched[film] = match.titles
        elif len(match.titles) == 1:
            result.movie_ids[film] = match.titles[0].movie_id
        else:
            result.ambiguous[film] = match.titles
    return result


def _match_ids(collection: "MovieCollection", films: Sequence[FilmReference]) -> dict[FilmReference, int]:
    """Returns the movie ids of the films that have a MovieLens, IMDb or TMDB id of the collection."""
    matched: dict[FilmReference, int] = {}
    for field, attribute in (("tmdb_id", "tmdb_id"), ("imdb_id", "imdb_id"), ("id", "movie_id")):
        values = {film: getattr(film, attribute) for film in films if getattr(film, attribute)}
        movie_ids = collection.movie_ids_by(field, values.values())
        matched |= {film: movie_ids[value] for film, value in values.items() if value in movie_ids}
    return matched
