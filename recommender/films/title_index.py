"""The names of a catalogue's movies, and the ladder of rules by which a title finds them."""

import re
from collections import Counter, defaultdict
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
)

MIN_LETTERS = 10
"""Number of letters from which on a name that nobody checks may have a slip."""
MIN_SIMILARITY = 75.0
"""Lower bound on `rapidfuzz.fuzz.ratio`, 0..100, of a title that is offered where nothing matches."""
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

    The first rule of a ladder that holds for any movie decides: the whole name in that year; the whole name, article
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
        for difference, rows in self._ladder(names, year, looseness):
            if rows:
                return [self.titles[row] for row in sorted(set(rows))], difference
        return [], ""

    def _ladder(self, names: Sequence[str], year: int | None, looseness: Looseness) -> Iterator[tuple[str, list[int]]]:
        """Yields, rule by rule, how movies differ and their rows."""
        words = [normalize_words(name) for name in names]
        if not any(words):
            return
        keys = ["".join(name) for name in words if name]
        whole = [row for key in keys for row in self._rows.get(key, [])]
        main = [row for row in self._rows.get(keys[0], []) if "".join(self._words[row][0]) == keys[0]]
        if year is None:
            yield "", main if looseness == Looseness.TYPED else whole
            yield "", whole
        else:
            yield from (("", self._dated(rows, year, 0)) for rows in (main, self._rows.get(keys[0], []), whole))
            # In the year beside the article must be right too: `The Fear (1995)` is not `Fear (1996)`.
            exact, of_name = "".join(normalize_words(names[0], article=True)), self._rows.get(keys[0], [])
            beside = [row for row in self._dated(of_name, year, 1) if exact in self._exact_keys(row)]
            yield from (("of the year beside", [row for row in beside if row in rows]) for rows in (main, of_name))
            yield "", [row for row in main if self._years[row] is None]
            yield from (("a name almost the same", rows) for rows in self._alike(names[0], words[0], year))
        for rows in self._loose(words[0], looseness):
            dated = [rows] if year is None else [self._dated(rows, year, distance) for distance in (0, 1)]
            yield from (("a name almost the same", near) for near in dated)

    def _dated(self, rows: Iterable[int], year: int, distance: int) -> list[int]:
        return [row for row in rows if abs((self._years[row] or 0) - year) == distance]

    def _exact_keys(self, row: int) -> list[str]:
        return ["".join(normalize_words(name, article=True)) for name in self._names[row]]

    def _alike(self, name: str, words: list[str], year: int) -> Iterator[list[int]]:
        """Yields rows of that very year whose names differ in words that names may lack, in a subtitle, in a slip."""
        clues, key, content = self._clues, "".join(words), _content(words)
        yield self._like(clues[year, f"all {content}"], lambda own: _numbers_agree(own, words))
        heads, tails = name_parts(name)
        parts = tails + [head for head, _ in heads if len(head) > 2 or (len(head) > 1 and head[-1][-1].isdigit())]
        of_parts = [row for part in parts for row in self._dated(self._rows.get("".join(part), []), year, 0)]
        yield clues[year, f"part {key}"] + of_parts
        shared = Counter(row for word in content for row in clues[year, word])
        yield self._like([row for row in shared if shared[row] > 3], lambda own: _is_most_of(own, words))
        if len(key) >= MIN_LETTERS:
            near = clues[year, f"begins {key[0]}"]
            yield self._like(near, lambda own: _has_slips(own, words, Looseness.FILE))

    def _like(self, rows: Iterable[int], is_like: Callable[[list[str]], bool]) -> list[int]:
        return [row for row in rows if any(map(is_like, self._words[row]))]

    @cached_property
    def _clues(self) -> dict[tuple[int | None, str], list[int]]:
        """Rows by year and what a name that differs may share: all its content, a part, a word, the first letter."""
        clues: dict[tuple[int | None, str], list[int]] = defaultdict(list)
        for row, names in enumerate(self._words):
            for name, words in zip(self._names[row], names, strict=True):
                content = _content(words)
                heads, tails = name_parts(name)
                for head, rest in heads:
                    is_number = re.match(r"(part|episode|volume|chapter) (i|\d+)\b", " ".join(rest))
                    if len(head) > 3 or re.search(r"\D ?\d+$", " ".join(head)) or (is_number and len(head) > 1):
                        tails.append(head)
                own = {f"all {content}", *content, *(f"part {''.join(part)}" for part in tails)} if content else set()
                for clue in own | {f"begins {''.join(words)[:1]}"}:
                    clues[self._years[row], clue].append(row)
        return clues

    def _loose(self, words: list[str], looseness: Looseness) -> Iterator[list[int]]:
        """Yields rows of any year: whose main name begins with the words, or that have a slip; if typed, far more."""
        rows, text = range(len(self.titles)), f" {' '.join(words)} "
        is_typed = looseness == Looseness.TYPED
        if is_typed or (looseness == Looseness.LIST and len(words) > 1):
            yield [row for row in rows if self._words[row][0][: len(words)] == words]
        if is_typed:
            yield self._like(rows, lambda own: text in f" {' '.join(own)} ")
            yield self._like(rows, lambda own: _in_order(own, words, _begins))
        if is_typed or (looseness == Looseness.LIST and len("".join(words)) >= MIN_LETTERS):
            yield self._like(rows, lambda own: _has_slips(own, words, looseness))
        if is_typed:
            yield self._like(rows, lambda own: _in_order(own, words, is_typo))

    def similar(self, text: str) -> list[Title]:
        """Returns titles with similar letters, to be offered."""
        words = normalize_words(text)
        names = [" ".join(names[0]) for names in self._words]
        near = process.extract(
            " ".join(words), names, scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY, limit=MAX_OFFERED
        )
        return [self.titles[row] for _, _, row in near]


def _content(words: Sequence[str]) -> list[str]:
    """Returns the words that carry meaning, without numbers; nothing where there is only one."""
    content = [word for word in stems(words) if not word.isdigit()]
    return content if len(content) > 1 else []


def _numbers_agree(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether names of the same content have the same numbers, or one lacks a number that is within it."""
    numbers, other_numbers = ({word for word in side if word.isdigit()} for side in (name, words))
    numbered = stems(name if numbers else words) or [""]
    is_within = not (numbered[0].isdigit() or numbered[-1].isdigit())
    is_number_missing = not (numbers and other_numbers) and is_within
    return _content(name) == _content(words) != [] and (numbers == other_numbers or is_number_missing)


def _is_most_of(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether one name has at least two thirds of the other's words, four or more, in the same order."""
    shorter, longer = sorted((stems(name), stems(words)), key=len)
    return len(shorter) > 3 and 3 * len(shorter) >= 2 * len(longer) and _in_order(longer, shorter, str.__eq__)


def _in_order(name: Sequence[str], words: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Returns whether each word is, in this order, the same as a word of the name."""
    rest = iter(name)
    return all(any(same(candidate, word) for candidate in rest) for word in words)


def _begins(candidate: str, word: str) -> bool:
    """Returns whether a word is the beginning of the candidate; a number must be whole."""
    return candidate == word if word.isdigit() else candidate.startswith(word)


def _has_slips(name: Sequence[str], words: Sequence[str], looseness: Looseness) -> bool:
    """Returns whether two names have the same words but for slips; if typed, or the same letters but for them."""
    is_typed = looseness == Looseness.TYPED
    if len(name) == len(words) and all(is_typo(*pair, not is_typed) for pair in zip(name, words, strict=True)):
        return True
    return is_typed and is_typo("".join(name), "".join(words))


def is_typo(candidate: str, word: str, is_strict: bool = False) -> bool:
    """Returns whether two words are equal but for a few letters that are wrong, missing or swapped."""
    if candidate == word:
        return True
    digits = re.sub(r"\D", "", word)
    if digits != re.sub(r"\D", "", candidate) or (word + candidate).isdigit() or abs(len(candidate) - len(word)) > 3:
        return False
    if digits or candidate[:1] != word[:1]:
        return bool(digits) and OSA.distance(candidate, word) < 2
    if len(word) > 3 and stems([candidate]) == stems([word]):
        return True
    length = min(len(word), len(candidate)) - is_strict
    return OSA.distance(candidate, word) <= (length > 3) + (length > 7)
