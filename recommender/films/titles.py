"""Title text: name and year, normalized words, lookup keys, names as people read them."""

import re
import unicodedata

ARTICLES = (
    "the a an la le les l' un une il lo i gli uno una el los las os as um uma der die das ein eine det den de het"
).split()
"""Articles that MovieLens moves behind the name."""

_TITLE_AND_YEAR = re.compile(r"\s*(\S.*?)\s*\((\d{4})(?:\s?[-\u2013]\s?(?:\d{4})?)?\)\s*")
_TRAILING_ARTICLE = re.compile(rf"^(.*), ({'|'.join(ARTICLES)})$", re.IGNORECASE)
_SEGMENT_END = re.compile(r":\s|\s[-\u2013]\s|['\u2019]s\s|s['\u2019]\s")
_BRACKETS = re.compile(r"(?<=.)\(([^()]*)\)")
_ALSO_KNOWN_AS = re.compile(r"^a\.?k\.?a\.? ", re.IGNORECASE)
_INSIDE_WORDS = re.compile(r"[.'`*\u2019\u00b4\u00b7]|(?<=\d),(?=\d)")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ł": "l",
        "ħ": "h",
        "♥": "heart",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)
_UNACCENTED_SCRIPTS = ("LATIN", "GREEK", "HEBREW", "ARABIC")
_OPTIONAL_IN_CYRILLIC = {"\u0435\u0308", *(vowel + "\u0301" for vowel in "аеиоуыэюяєі")}
"""The dots of yo and the stress; other marks make another letter, such as ї."""
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ROMAN_NUMERALS = {"ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMERALS = {
    **{word: str(value) for value, word in enumerate(_NUMBER_WORDS.split())},
    **{word: str(10 * value) for value, word in enumerate(_TENS.split(), 2)},
    **{word: str(value) for word, value in _ROMAN_NUMERALS.items()},
}
_SPELLINGS = {
    "colour": "color",
    "colours": "colors",
    "grey": "gray",
    "theatre": "theater",
    "vol": "volume",
    "pt": "part",
    "dr": "doctor",
    "mr": "mister",
}


def split_title(title: str) -> tuple[str, int | None]:
    """Splits `Toy Story (1995)` into name and year; the year is None where the title has none.

    The blank before the year may be missing, as in movie 1001 of ml-1m. Of a series, `(2006-2007)` or `(2016-)`, the
    first year counts. A year alone is a name.
    """
    match = _TITLE_AND_YEAR.fullmatch(title)
    return (match[1], int(match[2])) if match else (title, None)


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


def normalize_words(name: str) -> list[str]:
    """Splits a name into lower-case words without accents and leading article; `The Godfather: Part II` ends in 2."""
    text = _without_accents(
        _article_first(name.strip()).casefold().translate(_LETTERS).replace("&", " and ").replace("+", " and ")
    )
    words = [_SPELLINGS.get(word, word) for word in _split_words(_INSIDE_WORDS.sub("", text))]
    words = [_NUMERALS.get(word, word) for word in words]
    return words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words


def segment_keys(name: str) -> list[str]:
    """Returns the keys of the parts of a name: `Mad Max: Fury Road` has two, `National Lampoon's Vacation` as well."""
    return ["".join(normalize_words(segment)) for segment in _SEGMENT_END.split(name)]


def title_key(title: str) -> str:
    """Returns the key that all spellings of a title share: `Matrix, The (1999)` and `the matrix` both give `matrix`."""
    return "".join(normalize_words(alternative_names(title)[0]))


def _article_first(name: str) -> str:
    match = _TRAILING_ARTICLE.fullmatch(name)
    if match is None:
        return name
    return match[2] + ("" if match[2].endswith("'") else " ") + match[1]


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
