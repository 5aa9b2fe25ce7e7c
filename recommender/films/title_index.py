"""The names of a catalogue's movies, and the ladder of rules by which a title finds them."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, IntEnum
from functools import cached_property
from typing import NamedTuple

from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from recommender.films.titles import (
    ID_PREFIX,
    alternative_names,
    display_title,
    name_parts,
    normalize_words,
    split_title,
    stems,
)

MIN_LETTERS = 10
"""Number of letters from which on a name in a file may have a slip."""
MIN_SIMILARITY = 75.0
"""Lower bound on `rapidfuzz.fuzz.ratio`, 0..100, of a title that is offered where nothing matches."""
MAX_OFFERED = 5
NUMBERED = frozenset("part episode volume chapter".split())


class Title(NamedTuple):
    """A movie's title as title matching sees it."""

    movie_id: int
    title: str
    num_ratings: int
    """Number of training ratings; the better known of two matches comes first."""
    imdb_id: str = ""
    tmdb_id: int = 0

    @property
    def year(self) -> int | None:
        """The year at the title's end."""
        return split_title(self.title)[1]

    @property
    def with_id(self) -> str:
        """The title as it is offered, such as `id:1214 Alien (1979)`."""
        return f"{ID_PREFIX}{self.movie_id} {display_title(self.title)}"


class Looseness(IntEnum):
    """How far a title may be from a movie's name."""

    FILE = 0
    """A service wrote it, and nobody checks each row."""
    LIST = 1
    """A person wrote it into a list of titles, and reads what was corrected."""
    TYPED = 2
    """A person typed it, and sees which movie was found."""


class Rule(Enum):
    """How a title matches."""

    NONE = ""
    WHOLE = "its whole name"
    OTHER_YEAR = "its whole name, a year beside"
    ALIKE = "a name that is almost the same"


class _Year(NamedTuple):
    """The names of one year's movies, by what can be compared with a name that differs."""

    by_content: dict[tuple[str, ...], list[int]]
    """Rows by the words that carry meaning, numbers left out."""
    by_part: dict[str, list[int]]
    """Rows by the keys of a name's beginnings and ends."""
    by_word: dict[str, set[int]]
    keys: list[str]
    rows: list[int]
    """The row of each of `keys`."""


class TitleIndex:
    """Finds movies by title.

    Args:
        titles: The movies to find, of a whole catalogue or of some years.
    """

    def __init__(self, titles: Iterable[Title]) -> None:
        self.titles = sorted(set(titles), key=lambda title: (-title.num_ratings, title.movie_id))
        self._years = [title.year for title in self.titles]
        self._names = [alternative_names(title.title) for title in self.titles]
        self._words = [[normalize_words(name) for name in names] for names in self._names]
        self._rows: dict[str, list[int]] = defaultdict(list)
        self._main_rows: dict[str, list[int]] = defaultdict(list)
        self._year_indices: dict[int, _Year] = {}
        for row, names in enumerate(self._words):
            keys = ["".join(words) for words in names]
            self._main_rows[keys[0]].append(row)
            for key in dict.fromkeys(keys):
                self._rows[key].append(row)

    def find(self, names: Sequence[str], year: int | None, looseness: Looseness) -> tuple[list[Title], Rule]:
        """Returns the movies that match by the first rule that holds for any, best known first, and that rule.

        Args:
            names: The names of one film, its main name first.
            year: Its year, if it is known.
            looseness: Where the ladder ends.
        """
        words = [normalize_words(name) for name in names]
        if not any(words):
            return [], Rule.NONE
        for rule, rows in self._ladder(names, words, year, looseness):
            if rows:
                return [self.titles[row] for row in sorted(set(rows))], rule
        return [], Rule.NONE

    def _ladder(
        self, names: Sequence[str], words: Sequence[list[str]], year: int | None, looseness: Looseness
    ) -> Iterator[tuple[Rule, list[int]]]:
        keys = ["".join(name) for name in words if name]
        main, first = self._main_rows.get(keys[0], []), self._rows.get(keys[0], [])
        whole = [row for key in keys for row in self._rows.get(key, [])]
        if year is None:
            yield from ((Rule.WHOLE, rows) for rows in (main if looseness == Looseness.TYPED else [], first, whole))
        else:
            yield from ((Rule.WHOLE, self._dated(rows, year, 0)) for rows in (main, first, whole))
            # A year beside: the article must be right too, as `The Fear (1995)` is not `Fear (1996)`.
            exact = {"".join(normalize_words(name, article=True)) for name in names}
            beside = [row for row in self._dated(whole, year, 1) if not exact.isdisjoint(self._exact_keys(row))]
            yield from ((Rule.OTHER_YEAR, [row for row in beside if row in rows]) for rows in (main, whole))
            yield Rule.WHOLE, [row for row in main if self._years[row] is None]
            for name, name_words in zip(names, words, strict=True):
                yield from ((Rule.ALIKE, rows) for rows in self._alike(name, name_words, year))
        if looseness >= Looseness.LIST:
            for rows in self._loose(words[0], looseness):
                dated = [rows] if year is None else [self._dated(rows, year, 0), self._dated(rows, year, 1)]
                yield from ((Rule.ALIKE, near) for near in dated)

    def _dated(self, rows: Iterable[int], year: int, distance: int) -> list[int]:
        return [row for row in rows if abs((self._years[row] or 0) - year) == distance]

    def _exact_keys(self, row: int) -> list[str]:
        return ["".join(normalize_words(name, article=True)) for name in self._names[row]]

    def _alike(self, name: str, words: list[str], year: int) -> Iterator[list[int]]:
        """Yields rows of that very year whose names differ in words that names may lack, in a subtitle, in a slip."""
        names, key = self._index_year(year), "".join(words)
        content = _content(words)
        yield [
            row for row in names.by_content.get(content, []) if self._has(row, lambda own: _numbers_agree(own, words))
        ]
        heads, tails = name_parts(name)
        parts = tails + [head for head, _ in heads if len(head) > 2 or self._is_telling(head)]
        of_parts = [row for part in parts for row in self._dated(self._rows.get("".join(part), []), year, 0)]
        yield names.by_part.get(key, []) + of_parts
        shared = Counter(row for word in set(content) for row in names.by_word.get(word, ()))
        yield [
            row for row, count in shared.items() if count > 3 and self._has(row, lambda own: _is_most_of(own, words))
        ]
        if len(key) >= MIN_LETTERS:
            near = process.extract(key, names.keys, scorer=OSA.distance, score_cutoff=4, limit=MAX_OFFERED)
            rows = [names.rows[position] for _, _, position in near]
            yield [row for row in rows if self._has(row, lambda own: _has_slips(own, words, Looseness.FILE))]

    def _has(self, row: int, is_like: Callable[[list[str]], bool]) -> bool:
        return any(map(is_like, self._words[row]))

    def _is_telling(self, part: list[str]) -> bool:
        """Returns whether a part stands for the name: it ends in a number, or is a word of no other movie."""
        if len(part) > 1:
            return part[-1][-1].isdigit()
        return len(part[0]) > 4 and self._num_movies[part[0]] == 1

    @cached_property
    def _num_movies(self) -> Counter[str]:
        """The number of movies with a word in a name."""
        return Counter(word for names in self._words for word in {word for words in names for word in words})

    def _index_year(self, year: int) -> _Year:
        if year in self._year_indices:
            return self._year_indices[year]
        index = _Year(defaultdict(list), defaultdict(list), defaultdict(set), [], [])
        for row in self._rows_of_year.get(year, []):
            for name, words in zip(self._names[row], self._words[row], strict=True):
                index.keys.append("".join(words))
                index.rows.append(row)
                if _content(words):
                    index.by_content[_content(words)].append(row)
                for word in _content(words):
                    index.by_word[word].add(row)
                heads, tails = name_parts(name)
                for head, rest in heads:
                    is_number = rest[0] in NUMBERED and re.fullmatch(r"\d+|i", "".join(rest[1:2]))
                    if len(head) > 3 or re.search(r"\D ?\d+$", " ".join(head)) or (is_number and len(head) > 1):
                        index.by_part["".join(head)].append(row)
                for tail in tails:
                    index.by_part["".join(tail)].append(row)
        return self._year_indices.setdefault(year, index)

    @cached_property
    def _rows_of_year(self) -> dict[int | None, list[int]]:
        rows: dict[int | None, list[int]] = defaultdict(list)
        for row, year in enumerate(self._years):
            rows[year].append(row)
        return rows

    def _loose(self, words: list[str], looseness: Looseness) -> Iterator[list[int]]:
        """Yields rows of any year: whose main name begins with the words, or that have a slip; if typed, far more."""
        key = "".join(words)
        if len(words) > 1 or looseness == Looseness.TYPED:
            yield self._where(lambda names: names[0][: len(words)] == words)
        if looseness == Looseness.TYPED:
            yield self._where(lambda names: any(f" {' '.join(words)} " in f" {' '.join(name)} " for name in names))
            yield self._where(lambda names: any(_in_order(name, words, _begins) for name in names))
        if len(key) >= MIN_LETTERS or looseness == Looseness.TYPED:
            yield self._where(lambda names: any(_has_slips(name, words, looseness) for name in names))
        if looseness == Looseness.TYPED:
            yield self._where(lambda names: any(_in_order(name, words, is_typo) for name in names))

    def _where(self, is_like: Callable[[list[list[str]]], bool]) -> list[int]:
        return [row for row, names in enumerate(self._words) if is_like(names)]

    def similar(self, text: str) -> list[Title]:
        """Returns titles to offer: for `die hard 3` the films of the series, else titles with similar letters."""
        words = normalize_words(text)
        if len(words) > 1 and words[-1].isdigit():
            series = self._where(lambda names: names[0][: len(words) - 1] == words[:-1])
            if series:
                return [self.titles[row] for row in sorted(series, key=lambda row: self._years[row] or 0)][:MAX_OFFERED]
        main_names = [" ".join(names[0]) for names in self._words]
        near = process.extract(
            " ".join(words), main_names, scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY, limit=MAX_OFFERED
        )
        return [self.titles[row] for _, _, row in near]


def _content(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the words that carry meaning, without numbers; nothing where there is only one."""
    content = tuple(word for word in stems(words) if not word.isdigit())
    return content if len(content) > 1 else ()


def _numbers_agree(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether two names have the same numbers, or one lacks a number within the other: `Star Trek II: The...`."""
    if _content(name) != _content(words):
        return False
    numbers, other_numbers = ({word for word in side if word.isdigit()} for side in (name, words))
    if numbers and other_numbers:
        return numbers == other_numbers
    numbered = stems(name if numbers else words)
    return not (numbered[0].isdigit() or numbered[-1].isdigit())


def _is_most_of(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether one name has at least two thirds of the other's words, four or more, in the same order."""
    shorter, longer = sorted((stems(name), stems(words)), key=len)
    is_long = len(shorter) > 3 and 3 * len(shorter) >= 2 * len(longer)
    return is_long and _in_order(longer, shorter, str.__eq__)


def _in_order(name: Sequence[str], words: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Returns whether each word is, in this order, the same as a word of the name."""
    rest = iter(name)
    return all(any(same(candidate, word) for candidate in rest) for word in words)


def _begins(candidate: str, word: str) -> bool:
    """Returns whether a word is the beginning of the candidate; a number must be whole."""
    return candidate == word if word.isdigit() else candidate.startswith(word)


def _has_slips(name: Sequence[str], words: Sequence[str], looseness: Looseness) -> bool:
    """Returns whether two names have the same words but for slips; if typed, also the same letters but for them."""
    if looseness == Looseness.TYPED and is_typo("".join(name), "".join(words)):
        return True
    return len(name) == len(words) and all(
        is_typo(own, word, looseness != Looseness.TYPED) for own, word in zip(name, words, strict=True)
    )


def is_typo(candidate: str, word: str, is_strict: bool = False) -> bool:
    """Returns whether two words are equal but for a few letters that are wrong, missing or swapped."""
    if candidate == word:
        return True
    digits = re.sub(r"\D", "", word)
    if re.sub(r"\D", "", candidate) != digits:
        return False
    if digits:
        return not (word.isdigit() and candidate.isdigit()) and OSA.distance(candidate, word) < 2
    if candidate[:1] != word[:1] or abs(len(candidate) - len(word)) > 3:
        return False
    if len(word) > 3 and stems([candidate]) == stems([word]):
        return True
    length = min(len(word), len(candidate)) - is_strict
    return OSA.distance(candidate, word) <= (length > 3) + (length > 7)
