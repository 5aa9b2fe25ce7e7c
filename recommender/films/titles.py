"""Title text: name and year, normalized words, lookup keys, names as people read them."""

import re
import unicodedata
from collections.abc import Sequence

ARTICLES = (
    "the a an la le les l' un une il lo i gli uno una el los las os as um uma der die das ein eine det den de het"
).split()
"""Articles that MovieLens moves behind the name."""

MAX_TITLE_CHARACTERS = 1000
ID_PREFIX = "id:"
"""Begins a movie id where a title may stand, as in `id:1214`."""

_YEAR = re.compile(r"\((\d{4})(?:\s?[-\u2013]\s?(?:\d{4})?)?\)")
_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]?")
_TRAILING_ARTICLE = re.compile(rf"^(.*), ({'|'.join(ARTICLES)})$", re.IGNORECASE)
_SEGMENT_END = re.compile(r":\s|\s[-\u2013]\s|(?P<possessive>['\u2019]s\s|s['\u2019]\s)|\sor:?\s")
_PLURAL = re.compile(r"(?:ve)?s$|f$")
_FUNCTION_WORDS = frozenset("the a an of and in et le la les part episode volume chapter us what about".split())
"""Words that a name may lack."""
_BRACKETS = re.compile(r"(?<=.)\(([^()]*)\)")
_ALSO_KNOWN_AS = re.compile(r"^a\.?k\.?a\.? ", re.IGNORECASE)
_INSIDE_WORDS = re.compile(r"[.'`*\u2019\u00b4\u00b7]|(?<=\d),(?=\d)")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_LETTERS = str.maketrans(dict(zip("æœøđðþłħ♥\u0131", "ae oe o d d th l h heart i".split(), strict=True)))
_UNACCENTED_SCRIPTS = ("LATIN", "GREEK", "HEBREW", "ARABIC")
_OPTIONAL_IN_CYRILLIC = {"\u0435\u0308", *(vowel + "\u0301" for vowel in "аеиоуыэюяєі")}
"""The dots of yo and the stress; other marks make another letter, such as ї."""
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLINGS = {
    **{word: str(value) for value, word in enumerate(_NUMBER_WORDS.split())},
    **{word: str(10 * value) for value, word in enumerate(_TENS.split(), 2)},
    **{word: str(value) for value, word in enumerate("ii iii iv v vi vii viii ix".split(), 2)},
    **dict(pair.split("=") for pair in "colour=color colours=colors grey=gray theatre=theater vol=volume".split()),
    **dict(pair.split("=") for pair in "pt=part dr=doctor mr=mister monsieur=mister vs=versus third=3".split()),
}
"""Words by other spellings, and numbers by numerals and words."""


def split_title(title: str) -> tuple[str, int | None]:
    """Splits `Toy Story (1995)` into name and year; the year is None where the title has none.

    The blank before the year may be missing, as in movie 1001 of ml-1m. Of a series, `(2006-2007)` or `(2016-)`, the
    first year counts. A year alone is a name.
    """
    text = title.strip()
    bracket = text.rfind("(")  # Not one regular expression: those that find name and year take quadratic time.
    match = _YEAR.fullmatch(text, bracket) if bracket > 0 else None
    return (text[:bracket].rstrip(), int(match[1])) if match else (title, None)


def display_name(name: str) -> str:
    """Returns a name with its article in front: `Shining, The` is `The Shining`, also before a name in brackets."""
    main, bracket, rest = name.partition(" (")
    return _article_first(main) + bracket + rest


def display_title(title: str) -> str:
    """Returns a title as people write it: `The Shining (1980)`."""
    name, year = split_title(title)
    return display_name(name) + (f" ({year})" if year else "")


def alternative_names(title: str) -> list[str]:
    """Returns the main name without its year, then the names in brackets: `Postino, Il`, `The Postman`."""
    name, _ = split_title(title.strip())
    brackets = [_ALSO_KNOWN_AS.sub("", bracket) for bracket in _BRACKETS.findall(name)]
    others = [other for bracket in brackets for other in bracket.split("/")]
    return [_BRACKETS.sub(" ", name).strip(), *others]


def normalize_words(name: str, article: bool = False) -> list[str]:
    """Splits a name into lower-case words without accents and leading article; `The Godfather: Part II` ends in 2."""
    text = _without_accents(
        _article_first(name.strip()).casefold().translate(_LETTERS).replace("&", " and ").replace("+", " and ")
    )
    words = [_SPELLINGS.get(word, word) for word in _split_words(_INSIDE_WORDS.sub("", text))]
    return words[1:] if not article and len(words) > 1 and words[0] in ("the", "a", "an") else words


def stems(words: Sequence[str]) -> list[str]:
    """Returns the words that carry meaning, without plural endings: `The Bicycle Thieves` is `bicycle`, `thie`."""
    return [_PLURAL.sub("", word) if len(word) > 3 else word for word in words if word not in _FUNCTION_WORDS]


def name_parts(name: str) -> tuple[list[tuple[list[str], list[str]]], list[list[str]]]:
    """Returns the beginnings of a name, each with what follows, and its ends: those before and behind a colon.

    Both are words. `Monty Python's Life of Brian` has the end `life of brian`, but no beginning. An end has three
    words; behind a possessive two.
    """
    name, heads, tails = display_name(name), [], []
    for cut in _SEGMENT_END.finditer(name):
        head, tail = (normalize_words(part) for part in (name[: cut.start()], name[cut.end() :]))
        is_possessive = cut["possessive"] is not None
        if head and tail and not is_possessive:
            heads.append((head, tail))
        if len(normalize_words(name[cut.end() :], article=True)) > 2 - is_possessive:
            tails.append(tail)
    return heads, tails


def title_key(title: str) -> str:
    """Returns the key that all spellings of a title share: `Matrix, The (1999)` and `the matrix` both give `matrix`."""
    return "".join(normalize_words(alternative_names(title)[0]))


def printable(text: str, width: int = 60) -> str:
    """Returns text of a person's file for a message: one line, shortened, without control characters."""
    text = " ".join(_ESCAPE_SEQUENCE.sub("", text[: 10 * width]).split())
    text = "".join(char for char in text if char.isprintable())
    return text if len(text) <= width else text[: width - 3] + "..."


def _article_first(name: str) -> str:
    match = _TRAILING_ARTICLE.fullmatch(name)
    return match[2] + " " * (match[2][-1] != "'") + match[1] if match else name


def _without_accents(text: str) -> str:
    """Removes marks from letters of the scripts in which people leave them out; in others they are letters.

    Source: a Japanese or Thai mark makes another word; Latin, Greek, Hebrew and Arabic ones are optional in typing.
    """
    if text.isascii():
        return text
    kept: list[str] = []
    is_optional = False
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.combining(char) == 0:
            is_optional = unicodedata.name(char, "").startswith(_UNACCENTED_SCRIPTS)
        elif is_optional or "".join(kept[-1:]) + char in _OPTIONAL_IN_CYRILLIC:
            continue
        kept.append(char)
    return unicodedata.normalize("NFKC", "".join(kept))


def _split_words(text: str) -> list[str]:
    """Splits at everything but letters, digits and the marks that belong to letters, as in Hindi and Thai."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    kept = [char if char.isalnum() or unicodedata.category(char) in ("Mn", "Mc") else " " for char in text]
    return "".join(kept).split()
