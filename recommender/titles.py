"""What a person means by a title: articles, accents, numerals, parts and slips of a letter do not matter."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from recommender.movielens import split_title

MAX_OFFERED = 5
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


WHOLE = (Fit.NAME, Fit.OTHER_NAME, Fit.SLIP)


class Found(NamedTuple):
    """The movies that a text may mean."""

    titles: list[Title]
    """Best known first."""
    way: Fit | None
    """In which all of them fit; None if they only come near."""


def fit(names: Sequence[Sequence[str]], words: Sequence[str]) -> Fit | None:
    """Returns in what way a movie fits, if at all.

    Args:
        names: Of each of its names the words.
        words: Of the text, at least one.
    """
    key = "".join(words)
    keys = ["".join(name) for name in names]
    if key == keys[0]:
        return Fit.NAME
    if key in keys:
        return Fit.OTHER_NAME
    if names[0][: len(words)] == words:
        return Fit.BEGINNING
    if any(f" {' '.join(words)} " in f" {' '.join(name)} " for name in names):
        return Fit.PART
    if any(_in_order(name, words, _begins) for name in names):
        return Fit.BEGINNINGS_OF_WORDS
    if any(_is_slip(other, key) for other in keys):
        return Fit.SLIP
    if any(_in_order(name, words, _is_slip) for name in names):
        return Fit.PART_WITH_SLIPS
    return None


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
    allowed = max((slips for least, slips in SLIPS if len(word) >= least), default=0)
    same_numbers = re.findall(r"\d+", candidate) == re.findall(r"\d+", word)
    return same_numbers and candidate[0] == word[0] and OSA.distance(candidate, word, score_cutoff=allowed) <= allowed


class TitleIndex:
    """Finds movies by what people type.

    Args:
        titles: Of all movies.
    """

    def __init__(self, titles: Iterable[Title]) -> None:
        self._titles = sorted(titles, key=lambda title: (-title.num_ratings, title.movie_id))
        self._names = [[title_words(name) for name in _names(title.title)] for title in self._titles]

    def find(self, text: str, whole: bool = False) -> Found:
        """Returns the movies that fit a text best, in one of the ways of `Fit`.

        Args:
            text: A title, or a part of one; a year at its end must be the movie's.
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
        found: dict[Fit, list[Title]] = {}
        for title, names in zip(self._titles, self._names, strict=True):
            if words and year in (None, split_title(title.title)[1]):
                way = fit(names, words)
                if way is not None and (way in WHOLE or not whole):
                    found.setdefault(way, []).append(title)
        best = min(found, default=None)
        return Found(found[best], best) if best is not None else None

    def _near(self, words: list[str]) -> list[Title]:
        names = {row: " ".join(names[0]) for row, names in enumerate(self._names)}
        near = process.extract(
            " ".join(words), names, scorer=fuzz.ratio, score_cutoff=LEAST_LIKENESS, limit=MAX_OFFERED
        )
        return [self._titles[row] for _, _, row in near]
