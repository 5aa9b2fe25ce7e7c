"""Comparison of names as lists of normalized words: parts, order, typos."""

import re
from collections.abc import Callable, Mapping, Sequence

from rapidfuzz.distance import OSA

MAX_TYPOS = ((4, 1), (8, 2))
"""Pairs of a word length and the number of typos allowed from that length on; a first letter must be right."""
MAX_LENGTH_DIFFERENCE = 3
"""Upper bound on the difference in length of a word and its misspelling, plural endings included."""
FUNCTION_WORDS = frozenset("the a an of and in et le la les part episode".split())
"""Words that a name may lack."""


def in_order(name: Sequence[str], words: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Returns whether each word is, in this order, the same as a word of the name."""
    rest = iter(name)
    return all(any(same(candidate, word) for candidate in rest) for word in words)


def contains(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether the words are a contiguous part of the name."""
    return f" {' '.join(words)} " in f" {' '.join(name)} "


def is_part(words: Sequence[str], name: Sequence[str]) -> bool:
    """Returns whether two words or more are a contiguous part of a longer name."""
    return 2 <= len(words) < len(name) and contains(name, words)


def are_in_order(words: Sequence[str], name: Sequence[str]) -> bool:
    """Returns whether three words or more occur in a longer name, in this order."""
    return 3 <= len(words) < len(name) and in_order(name, words, str.__eq__)


def have_same_content(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether two names differ in typos, words like `the` and numerals that one of them lacks, at most."""
    content, other = ([word for word in one if word not in FUNCTION_WORDS] for one in (name, words))
    numbers, other_numbers = ([word for word in one if word.isdigit()] for one in (content, other))
    if numbers and other_numbers and numbers != other_numbers:
        return False
    content, other = ([word for word in one if not word.isdigit()] for one in (content, other))
    return len(content) > 1 and is_same_with_typos(content, other)


def begins(candidate: str, word: str) -> bool:
    """Returns whether a word is the beginning of the candidate; a number must be whole."""
    return candidate == word if word.isdigit() else candidate.startswith(word)


def is_typo(candidate: str, word: str) -> bool:
    """Returns whether two words are equal but for a few letters that are wrong, missing or swapped."""
    if candidate == word:
        return True
    if candidate[:1] != word[:1] or abs(len(candidate) - len(word)) > MAX_LENGTH_DIFFERENCE:
        return False
    if len(word) > 3 and _stem(candidate) == _stem(word):
        return True
    same_numbers = re.findall(r"\d+", candidate) == re.findall(r"\d+", word)
    return same_numbers and OSA.distance(candidate, word) <= allowed_typos(word)


def is_same_with_typos(name: Sequence[str], words: Sequence[str]) -> bool:
    """Returns whether two names have the same words but for typos."""
    return len(name) == len(words) and all(map(is_typo, name, words))


def _stem(word: str) -> str:
    """Returns a word without its plural ending: `thieves` is `thief`."""
    return re.sub(r"s$", "", re.sub(r"ies$", "y", re.sub(r"ves$", "f", word)))


def allowed_typos(word: str) -> int:
    """Returns the number of typos that a word of this length may have."""
    return max((typos for length, typos in MAX_TYPOS if len(word) >= length), default=0)


def closest_name(text: str, names: Mapping[str, str]) -> str | None:
    """Returns the value of the one key that a text equals but for typos; None where there is not exactly one."""
    near = [value for key, value in names.items() if is_typo(key, text)]
    return near[0] if len(near) == 1 else None
