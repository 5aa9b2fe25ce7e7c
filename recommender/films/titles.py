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
TYPED_ID = re.compile(rf"{ID_PREFIX}([0-9]{{1,18}})(?: (.*))?")
TYPED_IMDB_ID = re.compile(r"tt[0-9]{7,10}")

_YEAR = re.compile(r"\((\d{4})(?:\s?[-\u2013]\s?(?:\d{4})?)?\)")
_TRAILING_ARTICLE = re.compile(
    rf"(^|\((?:a\.?k\.?a\.? )?)((?:^\([^()]*\))?[^()]*?), ({'|'.join(ARTICLES)})(?=\)| \(|$)", re.IGNORECASE
)
"""An article behind a name, or behind one in brackets."""
_SEGMENT_END = re.compile(r":\s|\s[-\u2013]\s|(?P<possessive>['\u2019]s\s|s['\u2019]\s)|\sor:?\s")
_NUMBERED = re.compile(r"(part|episode|volume|chapter) (i|\d+)\b")
_PLURAL = re.compile(r"(?:ve)?s$|f$")
_FUNCTION_WORDS = frozenset("the a an of and in et le la les part episode volume chapter us what about".split())
"""Words that a name may lack."""
_BRACKETS = re.compile(r"(?<=.)\(([^()]*)\)")
_ALSO_KNOWN_AS = re.compile(r"^a\.?k\.?a\.? ", re.IGNORECASE)
_INSIDE_WORDS = re.compile(r"[.'`*\u2019\u00b4\u00b7]|(?<=\d),(?=\d)")
_ASCII_WORD = re.compile("[a-z0-9]+")
_LETTERS = str.maketrans(dict(zip("æœøđðþłħ♥\u0131", "ae oe o d d th l h heart i".split(), strict=True)))
_UNACCENTED_SCRIPTS = ("LATIN", "GREEK", "HEBREW", "ARABIC")
_OPTIONAL_IN_CYRILLIC = {"\u0435\u0308", *(vowel + "\u0301" for vowel in "аеиоуыэюяєі")}
"""The dots of yo and the stress; other marks make another letter, such as ї."""
_SPELLED = (
    "zero=0 one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12 thirteen=13 "
    "fourteen=14 fifteen=15 sixteen=16 twenty=20 thirty=30 forty=40 fifty=50 sixty=60 seventy=70 eighty=80 ninety=90 "
    "third=3 ii=2 iii=3 iv=4 v=5 vi=6 vii=7 viii=8 ix=9 pt=part vol=volume dr=doctor mr=mister monsieur=mister "
    "vs=versus colour=color colours=colors grey=gray theatre=theater"
)
_SPELLINGS = dict(pair.split("=") for pair in _SPELLED.split())
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
    """Returns a name with articles in front, as in `The Shining` and `Hate (La Haine)`."""
    return _TRAILING_ARTICLE.sub(lambda match: match[1] + match[3] + " " * (match[3][-1] != "'") + match[2], name)


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
    text = display_name(name.strip()).casefold().translate(_LETTERS).replace("&", " and ").replace("+", " and ")
    text = _INSIDE_WORDS.sub("", text)
    words = [_SPELLINGS.get(word, word) for word in (_ASCII_WORD.findall(text) if text.isascii() else _words(text))]
    return words[1:] if not article and len(words) > 1 and words[0] in ("the", "a", "an") else words


def _words(text: str) -> list[str]:
    """Splits at all but letters, digits and marks; drops marks in the scripts in which people leave them out.

    Source: a Japanese or Thai mark makes another word; Latin, Greek, Hebrew and Arabic ones are optional in typing.
    """
    kept: list[str] = []
    is_optional = False
    for char in unicodedata.normalize("NFKD", text):
        if unicodedata.category(char) not in ("Mn", "Mc"):
            is_optional = unicodedata.name(char, "").startswith(_UNACCENTED_SCRIPTS)
            kept.append(char if char.isalnum() else " ")
        elif not is_optional and "".join(kept[-1:]) + char not in _OPTIONAL_IN_CYRILLIC:
            kept.append(char)
    return unicodedata.normalize("NFKC", "".join(kept)).split()


def stems(words: Sequence[str]) -> list[str]:
    """Returns the words that carry meaning, without plural endings: `The Bicycle Thieves` is `bicycle`, `thie`."""
    return [_PLURAL.sub("", word) if len(word) > 3 else word for word in words if word not in _FUNCTION_WORDS]


def name_parts(name: str, min_words: int) -> list[str]:
    """Returns the keys of parts of a name that stand for it: what precedes or follows a colon, a dash or a possessive.

    `Monty Python's Life of Brian` has the end `life of brian`, but no beginning. An end has three words; behind a
    possessive two. A beginning has `min_words`, or a number at its end or
    behind it: `Star Wars: Episode IV - A New Hope`.
    """
    name, parts = display_name(name), []
    for cut in _SEGMENT_END.finditer(name):
        head, tail = normalize_words(name[: cut.start()]), name[cut.end() :]
        is_possessive = cut["possessive"] is not None
        if len(normalize_words(tail, article=True)) > 2 - is_possessive:
            parts.append(title_key(tail))
        key, is_counted = "".join(head), _NUMBERED.match(" ".join(normalize_words(tail)))
        is_numbered = (key[-1:].isdigit() and not key.isdigit()) or (is_counted and len(head) > 1)
        if not is_possessive and (len(head) >= min_words or is_numbered):
            parts.append(key)
    return parts


def title_key(title: str, article: bool = False) -> str:
    """Returns the key that all spellings of a title share: `Matrix, The (1999)` and `the matrix` both give `matrix`."""
    return "".join(normalize_words(alternative_names(title)[0], article))


def printable(text: str, width: int = 60) -> str:
    """Returns text of a person's file for a message: one line, shortened, without control characters."""
    text = " ".join("".join(char for char in text[: 10 * width] if char.isprintable() or char.isspace()).split())
    return text if len(text) <= width else text[: width - 3] + "..."
