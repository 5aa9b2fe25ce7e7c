"""What a person means by a title: articles, accents, numerals, parts and slips of a letter do not matter."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from recommender.data.movielens import split_title

MAX_OFFERED = 5
ID_PREFIX = "id:"
"""What makes a text an id for sure."""
LEAST_LIKENESS = 75.0
"""Of a title that is offered though nothing fits, 0..100, as `rapidfuzz.fuzz.ratio` counts: not just its letters."""
SLIPS = ((4, 1), (8, 2))
"""Words of at least so many letters may have so many letters wrong, but not the first."""

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ROMAN = {"ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
_NUMERALS = {word: str(value) for word, value in [*zip(_NUMBERS.split(), range(17), strict=True), *_ROMAN.items()]}
_ARTICLE_BEHIND = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|lo|el|los|las|der|die|das)$", re.IGNORECASE)
_BRACKETS = re.compile(r"(?<=.)\(([^()]*)\)")
_INSIDE_WORDS = re.compile(r"[.'`*\u2019\u00b4\u00b7]|(?<=\d),(?=\d)")
_WORD = re.compile(r"[^\W_]+")
_ALSO_KNOWN_AS = re.compile(r"^a\.?k\.?a\.? ", re.IGNORECASE)


class Title(NamedTuple):
    """A movie, as far as its title goes."""

    movie_id: int
    title: str
    num_ratings: int
    """How well known it is."""


def title_words(text: str) -> list[str]:
    """Reduces a name to lower-case words without accents and leading article: `The Godfather: Part II` ends in 2."""
    text = _ARTICLE_BEHIND.sub(r"\2 \1", text.strip()).casefold().replace("&", " and ")
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    words = [_NUMERALS.get(word, word) for word in _WORD.findall(_INSIDE_WORDS.sub("", plain))]
    return words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words


def title_key(title: str) -> str:
    """Returns what two spellings of one title agree on: `Matrix, The (1999)` and `the matrix` both give `matrix`."""
    return "".join(title_words(_names(title)[0]))


def _names(title: str) -> list[str]:
    """Returns the name without its year, then the ones in brackets: `Postino, Il`, `The Postman`."""
    name, _ = split_title(title.strip())
    others = [_ALSO_KNOWN_AS.sub("", other) for other in _BRACKETS.findall(name)]
    return [_BRACKETS.sub(" ", name).strip(), *others]


class Fit(IntEnum):
    """In what way a movie fits a text; the first is the best."""

    NAME = 0
    OTHER_NAME = 1
    BEGINNING = 2
    PART = 3
    BEGINNINGS_OF_WORDS = 4
    SLIP = 5
    PART_WITH_SLIPS = 6


class Found(NamedTuple):
    """The movies that a text may mean."""

    titles: list[Title]
    """Best known first."""
    way: Fit | None
    """In which all of them fit; None if they only come near."""


def _in_order(name: Sequence[str], words: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Tells whether each word is, in that order, the same as a word of the name."""
    left = iter(name)
    return all(any(same(candidate, word) for candidate in left) for word in words)


def _begins(candidate: str, word: str) -> bool:
    return candidate == word if word.isdigit() else candidate.startswith(word)


def _is_slip(candidate: str, word: str) -> bool:
    """Tells whether a word is meant, though a letter or two of it are wrong, missing or swapped."""
    if candidate == word:
        return True
    same_numbers = re.findall(r"\d+", candidate) == re.findall(r"\d+", word)
    return same_numbers and candidate[:1] == word[:1] and OSA.distance(candidate, word) <= _allowed_slips(word)


def _allowed_slips(word: str) -> int:
    return max((slips for least, slips in SLIPS if len(word) >= least), default=0)


class TitleIndex:
    """Finds movies by what people type.

    Args:
        titles: Of all movies.
    """

    def __init__(self, titles: Iterable[Title]) -> None:
        self._titles = sorted(titles, key=lambda title: (-title.num_ratings, title.movie_id))
        self._years = [split_title(title.title)[1] for title in self._titles]
        self._names = [[title_words(name) for name in _names(title.title)] for title in self._titles]
        self._keys = [["".join(name) for name in names] for names in self._names]
        self._rows: dict[str, list[int]] = {}
        for row, keys in enumerate(self._keys):
            for key in set(keys):
                self._rows.setdefault(key, []).append(row)

    def find(self, text: str, whole: bool = False) -> Found:
        """Returns the movies that fit a text in the best way in which any does, see `Fit`.

        Args:
            text: A title, or a part of one; a year at its end must be the movie's, or one beside it.
            whole: Whether the text is a whole title, of which no part will do.
        """
        year = split_title(text.strip())[1]
        name = _names(text)[0]
        found = self._best(title_words(name), year, whole)
        year_behind = re.fullmatch(r"(.*) ((?:19|20)\d\d)", name)
        if not found and year is None and year_behind:
            found = self._best(title_words(year_behind[1]), int(year_behind[2]), whole)
        return found or Found(self._near(title_words(name)), None)

    def _best(self, words: list[str], year: int | None, whole: bool) -> Found | None:
        for way, rows in self._ways(words, whole) if words else []:
            for tolerance in (0, 1):  # Services differ by a year, of a film that was first shown abroad.
                fits = [row for row in rows if year is None or abs((self._years[row] or 0) - year) <= tolerance]
                if fits:
                    return Found([self._titles[row] for row in fits], way)
        return None

    def _ways(self, words: list[str], whole: bool) -> Iterator[tuple[Fit, list[int]]]:
        """Yields the rows of the movies that fit in each way, the best way first."""
        key = "".join(words)
        same = self._rows.get(key, [])
        yield Fit.NAME, [row for row in same if self._keys[row][0] == key]
        yield Fit.OTHER_NAME, same
        if not whole:
            inside = f" {' '.join(words)} "
            yield Fit.BEGINNING, self._where(lambda names: names[0][: len(words)] == words)
            yield Fit.PART, self._where(lambda names: any(inside in f" {' '.join(name)} " for name in names))
            yield (
                Fit.BEGINNINGS_OF_WORDS,
                self._where(lambda names: any(_in_order(name, words, _begins) for name in names)),
            )
        slips = _allowed_slips(key)
        near = process.extract(key, list(self._rows), scorer=OSA.distance, score_cutoff=slips, limit=None)
        yield Fit.SLIP, sorted({row for other, _, _ in near if _is_slip(other, key) for row in self._rows[other]})
        if not whole:
            yield (
                Fit.PART_WITH_SLIPS,
                self._where(lambda names: any(_in_order(name, words, _is_slip) for name in names)),
            )

    def _where(self, fits: Callable[[list[list[str]]], bool]) -> list[int]:
        return [row for row, names in enumerate(self._names) if fits(names)]

    def _near(self, words: list[str]) -> list[Title]:
        names = {row: " ".join(names[0]) for row, names in enumerate(self._names)}
        near = process.extract(
            " ".join(words), names, scorer=fuzz.ratio, score_cutoff=LEAST_LIKENESS, limit=MAX_OFFERED
        )
        return [self._titles[row] for _, _, row in near]
