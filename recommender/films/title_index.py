"""The names of a catalogue's movies, and the ladder of rules by which a title finds them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
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
    title_key,
)

MIN_LETTERS = 10
"""Number of letters from which on a name that nobody checks may have a slip."""
MIN_SIMILARITY = 75.0
"""Lower bound on `rapidfuzz.fuzz.ratio`, 0..100, of a title that is offered where nothing matches."""
MIN_LETTERS_BESIDE = 9
"""Number of letters from which on the whole name may be that of a film of the year beside."""
MAX_OFFERED = 5

Looseness = IntEnum("Looseness", "FILE LIST TYPED", start=0)
"""Who wrote a title: a service, in rows that nobody checks; a person, in a list; a person who sees what was found."""


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


class TitleIndex:
    """Finds movies by title.

    The first rule of a ladder that holds for any movie decides: the whole name in that year; a telling name, article
    included, in the year beside; in the very same year a name that differs in what names may lack (`Star Wars`, the
    number of a part, a subtitle) or in a slip. A part of one word is no match, as `Her` is not
    `The Disappearance of Eleanor Rigby: Her`. Lists and typed titles go further, to parts and typos in any year.

    Args:
        titles: The movies to find.
    """

    def __init__(self, titles: Iterable[Title]) -> None:
        self.titles = sorted(set(titles), key=lambda title: (-title.num_ratings, title.movie_id))
        self._years = [title.year for title in self.titles]
        self._names = [alternative_names(title.title) for title in self.titles]
        self._words = [[normalize_words(name) for name in names] for names in self._names]
        self._rows: dict[str, list[int]] = defaultdict(list)
        for row, names in enumerate(self._words):
            for key in {"".join(words) for words in names}:
                self._rows[key].append(row)

    def find(self, names: Sequence[str], year: int | None, looseness: Looseness) -> tuple[list[Title], str]:
        """Returns the movies that match in the best way, best known first, and how they differ: "" for the whole name.

        Args:
            names: The names of one film, its main name first.
            year: Its year, if it is known.
            looseness: Where the ladder ends.
        """
        ladder = self._ladder([name for name in names if normalize_words(name)], year, looseness)
        difference, rows = next((rung for rung in ladder if rung[1]), ("", []))
        return [self.titles[row] for row in sorted(set(rows))], difference

    def _ladder(self, names: Sequence[str], year: int | None, looseness: Looseness) -> Iterator[tuple[str, list[int]]]:
        """Yields, rule by rule, how movies differ and their rows."""
        if not names:
            return
        words, keys = normalize_words(names[0]), ["".join(normalize_words(name)) for name in names]
        of_name = self._rows.get(keys[0], [])
        main = [row for row in of_name if "".join(self._words[row][0]) == keys[0]]
        whole = [row for key in keys for row in self._rows.get(key, [])]
        if year is None:
            yield from (("", rows) for rows in ((main, whole) if looseness == Looseness.TYPED else (whole,)))
        else:
            yield from (("", self._dated(rows, year, 0)) for rows in (main, of_name, whole))
            yield "of the year beside", [row for row in self._dated(of_name, year, 1) if self._is_beside(row, names)]
            yield "", [row for row in main if self._years[row] is None]
            yield from (("a name almost the same", rows) for rows in self._alike(names[0], words, year))
        for rows in self._loose(words, looseness):
            dated = [rows] if year is None else [self._dated(rows, year, distance) for distance in (0, 1)]
            yield from (("a name almost the same", near) for near in dated)

    def _dated(self, rows: Iterable[int], year: int, distance: int) -> list[int]:
        return [row for row in rows if abs((self._years[row] or 0) - year) == distance]

    def _is_beside(self, row: int, names: Sequence[str]) -> bool:
        """Returns whether a movie of the year beside has one of these names.

        Films of one short name one year apart are common. Articles and original names, which stand last, tell them
        apart; else a single word must have five letters, and be the name of a film that is well known.
        """
        *own, last = (title_key(name, article=True) for name in self._names[row])
        words, exact = normalize_words(names[0]), title_key(names[0], article=True)
        is_telling = len(words) > 1 or (len(words[0]) > 4 and 2 * row < len(self.titles))
        is_same = is_telling and last == title_key(names[-1], article=True)
        return exact in (*own, last) and (is_same or len("".join(words)) >= MIN_LETTERS_BESIDE)

    def _alike(self, name: str, words: list[str], year: int) -> Iterator[list[int]]:
        """Yields rows of that very year whose names differ in words that names may lack, in a subtitle, in a slip."""
        clues, key = self._clues, "".join(words)
        sharing = {row for word in stems(words) for row in clues[year, word]}
        yield self._like(sharing, lambda own: _has_same_content(own, words))
        of_parts = [row for part in name_parts(name, 3) for row in self._dated(self._rows.get(part, []), year, 0)]
        yield clues[year, f"part {key}"] + of_parts
        if len(key) >= MIN_LETTERS:
            yield self._like(clues[year, f"begins {key[0]}"], lambda own: _has_slips(own, words, is_strict=True))

    @cached_property
    def _clues(self) -> dict[tuple[int | None, str], list[int]]:
        """Rows by year and what a name that differs may share: a word, a part, the first letter."""
        clues: dict[tuple[int | None, str], list[int]] = defaultdict(list)
        for row, year in enumerate(self._years):
            for name, words in zip(self._names[row], self._words[row], strict=True):
                begins = f"begins {''.join(words)[:1]}"
                for clue in {*stems(words), *(f"part {part}" for part in name_parts(name, 4)), begins}:
                    clues[year, clue].append(row)
        return clues

    def _loose(self, words: list[str], looseness: Looseness) -> Iterator[list[int]]:
        """Yields rows of any year: whose name begins with the words, or that have a slip; if typed, far more."""
        is_typed, is_list = looseness == Looseness.TYPED, looseness == Looseness.LIST
        is_long = len("".join(words)) >= MIN_LETTERS
        rules: list[tuple[bool, Callable[[list[str]], bool]]] = [
            (is_typed or (is_list and len(words) > 1), lambda own: own[: len(words)] == words),
            (is_typed, lambda own: _in_order(own, words, _begins)),
            (is_typed or (is_list and is_long), lambda own: _has_slips(own, words, not is_typed)),
            (is_typed, lambda own: _in_order(own, words, is_typo)),
        ]
        yield from (self._like(range(len(self.titles)), is_like) for applies, is_like in rules if applies)

    def _like(self, rows: Iterable[int], is_like: Callable[[list[str]], bool]) -> list[int]:
        return [row for row in rows if any(map(is_like, self._words[row]))]

    def similar(self, text: str) -> list[Title]:
        """Returns titles with similar letters, to be offered."""
        text, names = " ".join(normalize_words(text)), [" ".join(names[0]) for names in self._words]
        near = process.extract(text, names, scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY, limit=MAX_OFFERED)
        return [self.titles[row] for _, _, row in near]


def _has_same_content(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether names have the same words but for a number within, or one has two thirds of the other's."""
    shorter, longer = sorted((stems(name), stems(words)), key=len)
    content = [word for word in longer if not word.isdigit()]
    if len(content) > 1 and content == [word for word in shorter if not word.isdigit()]:
        ends = {longer[0], longer[-1]}
        return {*longer} <= {*shorter} or (content == shorter and ends <= {*shorter})
    return len(shorter) > 3 and 3 * len(shorter) >= 2 * len(longer) and _in_order(longer, shorter, str.__eq__)


def _in_order(name: Sequence[str], words: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Returns whether each word is, in this order, the same as a word of the name."""
    rest = iter(name)
    return all(any(same(candidate, word) for candidate in rest) for word in words)


def _begins(candidate: str, word: str) -> bool:
    """Returns whether a word is the beginning of the candidate; a number must be whole."""
    return candidate == word if word.isdigit() else candidate.startswith(word)


def _has_slips(name: Sequence[str], words: Sequence[str], is_strict: bool) -> bool:
    """Returns whether two names have the same words but for slips."""
    return len(name) == len(words) and all(is_typo(*pair, is_strict) for pair in zip(name, words, strict=True))


def is_typo(candidate: str, word: str, is_strict: bool = False) -> bool:
    """Returns whether two words are equal but for a plural, or a few letters that are wrong, missing or swapped."""
    digits = re.sub(r"\D", "", word)
    if candidate == word or (len(word) > 3 and stems([candidate]) == stems([word]) != []):
        return True
    if digits != re.sub(r"\D", "", candidate) or (word + candidate).isdigit():
        return False
    length = min(len(word), len(candidate)) - is_strict
    allowed = 1 if digits else (length > 3) + (length > 7)
    return (digits != "" or candidate[:1] == word[:1]) and OSA.distance(candidate, word) <= allowed
