"""Titles: their parts, their keys, names as people read them."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.films.title_index import Looseness, Title, TitleIndex
from recommender.films.titles import (
    alternative_names,
    display_name,
    display_title,
    name_parts,
    normalize_words,
    printable,
    split_title,
    title_key,
)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Metropolis (1927)", ("Metropolis", 1927)),
        ("Associate, The (L'Associe)(1982)", ("Associate, The (L'Associe)", 1982)),
        ("Metropolis", ("Metropolis", None)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
        ("(1963)", ("(1963)", None)),
        (" A  (1963) ", ("A", 1963)),
        (" A ", (" A ", None)),
    ],
)
def test_split_title(title, expected):
    assert split_title(title) == expected


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Shining, The (1980)", "The Shining (1980)"),
        ("Avventura, L' (The Adventure) (1960)", "L'Avventura (The Adventure) (1960)"),
        ("Boot, Das", "Das Boot"),
        ("Hate (Haine, La) (1995)", "Hate (La Haine) (1995)"),
        ("Leon (a.k.a. Professional, The)", "Leon (a.k.a. The Professional)"),
        ("(500) Days, The (Other, The)", "The (500) Days (The Other)"),
        ("Bitter (Sweet), The", "Bitter (Sweet), The"),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly (1966)"),
        ("Me, Myself and I", "Me, Myself and I"),
        ("(1963)", "(1963)"),
    ],
)
def test_display_title(title, shown):
    assert display_title(title) == shown
    assert display_name(split_title(title)[0]) == shown.removesuffix(f" ({split_title(title)[1]})")


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Postino, Il (The Postman) (1994)", ["Postino, Il", "The Postman"]),
        ("Leon (a.k.a. The Professional) (1994)", ["Leon", "The Professional"]),
        (
            "Seven Samurai (The Magnificent Seven) (Shichinin) (1954)",
            ["Seven Samurai", "The Magnificent Seven", "Shichinin"],
        ),
        ("(500) Days of Summer (2009)", ["(500) Days of Summer"]),
        ("Alien", ["Alien"]),
    ],
)
def test_alternative_names(title, names):
    assert [" ".join(name.split()) for name in alternative_names(title)] == names


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Matrix, The (1999)", "matrix"),
        ("the matrix", "matrix"),
        ("MATRIX, THE", "matrix"),
        ("Clockwork Orange, A (1971)", "clockworkorange"),
        ("Amélie (Le Fabuleux destin d'Amélie Poulain) (2001)", "amelie"),
        ("Schindler's List (1993)", "schindlerslist"),
        ("E.T. the Extra-Terrestrial (1982)", "ettheextraterrestrial"),
        ("Godfather: Part II, The (1974)", "godfatherpart2"),
        ("the godfather part two", "godfatherpart2"),
        ("Twelve Monkeys (1995)", "12monkeys"),
        ("Boot, Das (1981)", "dasboot"),
        ("Beauty & the Beast", "beautyandthebeast"),
        ("M*A*S*H (1970)", "mash"),
        ("$1,000,000 Duck (1971)", "1000000duck"),
        ("Alien\u00b3 (1992)", "alien3"),
        ("Three Colours: Grey", "3colorsgray"),
        ('x" or id > 0 or title == "', "xorid0ortitle"),
        ("The The", "the"),
        ("(500) Days (2009)", "500days"),
        ("(1963)", "1963"),
        ("A", "a"),
        ("100%_\\", "100"),
        ("???", ""),
        ("\U0001f600", ""),
        ("Æon Flux", "aeonflux"),
        ("Œuvre", "oeuvre"),
        ("Łódź", "lodz"),
        ("Đorđe Søren Ħal Ísland", "dordesorenhalisland"),
        ("Maße", "masse"),
        ("Þór og Ið", "thorogid"),
        ("Isı", "isi"),
        ("Ο Ζορμπάς", "οζορμπασ"),
        ("Ёлки", "елки"),
        ("Чайко\u0301вский", "чайковский"),
        ("Київ", "київ"),
        ("וַאלְס עִם בָּאשִׁיר", "ואלסעםבאשיר"),
        ("بَابُ الحَدِيد", "بابالحديد"),
        ("می\u200cخواهم", "میخواهم"),
        ("मदर इंडिया", "मदरइंडिया"),
        ("ข้าว", "ข้าว"),
        ("ひ\u3099ょういん", "びょういん"),
        ("ドラえもん・のび太", "ドラえもんのび太"),
        ("기생충", "기생충"),
        ("ＡＬＩＥ\u0301Ｎ", "alien"),
    ],
)
def test_title_key(title, key):
    assert title_key(title) == key


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (" ?! ", []),
        ("E.T. the Extra-Terrestrial", ["et", "the", "extra", "terrestrial"]),
        ("Schindler's List", ["schindlers", "list"]),
        ("Ocean\u2019s Eleven", ["oceans", "11"]),
        ("$1,000,000 Duck", ["1000000", "duck"]),
        ("Pt. 2, Vol. II", ["part", "2", "volume", "2"]),
        ("Cook, the Thief, The", ["cook", "the", "thief"]),
        ("ไม้ & ต้น", ["ไม้", "and", "ต้น"]),
    ],
)
def test_normalize_words(name, words):
    assert normalize_words(name) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Alien", "Alien"),
        (" two\nlines\t", "two lines"),
        ("\x1b[31mred\x1b[0m\x07", "[31mred[0m"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("x" * 61, "x" * 57 + "..."),
        ("Amélie 七人の侍", "Amélie 七人の侍"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["a{}b", "a{}(1999", "({}", "{}(1999)", "a, {}the", "a: {}", "x' s{}"])
@pytest.mark.parametrize("filler", [" ", "(", ")", ": ", "a ", "1", "' "])
def test_odd_titles_take_no_time(text, filler):
    title = text.format(filler * 30_000)
    started = time.perf_counter()
    for function in (split_title, display_title, alternative_names, title_key, printable):
        function(title)
    name_parts(title[:1000], 3)
    assert time.perf_counter() - started < 1, "half a minute when it is quadratic"


# Scripts: a title, and one that differs in a single letter.

SCRIPTS = {
    "Latin, æ": ("Ærlig talt", "Ørlig talt"),
    "Latin, ø": ("Søster", "Suster"),
    "Latin, ł": ("Miłość", "Mirość"),
    "Latin, đ": ("Đavo", "Davi"),
    "Latin, ß": ("Die Straße", "Die Strafe"),
    "Latin, accents": ("Les Misérables", "Les Misérablas"),
    "Greek": ("Στέλλα", "Στέλλο"),
    "Cyrillic, Russian": ("Ирония судьбы", "Ирония судьбе"),
    "Cyrillic, й": ("Мой", "Мои"),
    "Cyrillic, Ukrainian": ("Київ", "Киів"),
    "Cyrillic, Macedonian": ("Куќа", "Кука"),
    "Hebrew": ("ואלס עם באשיר", "ואלס עם באשור"),
    "Arabic": ("باب الحديد", "باب الحديث"),
    "Persian": ("پرواز", "برواز"),
    "Hindi, vowel": ("दिन", "दीन"),
    "Hindi, vowel or none": ("कल", "काल"),
    "Hindi, anusvara": ("पंथ", "पथ"),
    "Hindi, nukta": ("सज़ा", "सजा"),
    "Hindi, virama": ("सत्य", "सतय"),
    "Bengali": ("শোলে", "শালে"),
    "Bengali, chandrabindu": ("পাঁচালী", "পাচালী"),
    "Tamil": ("நாயகன்", "நயகன்"),
    "Tamil, pulli": ("படம்", "படம"),
    "Thai, tone mark": ("ไม้", "ไม่"),
    "Thai, tone mark or none": ("ข้าว", "ขาว"),
    "Thai, sara am": ("น้ำ", "น้า"),
    "Georgian": ("მონანიება", "მონანიობა"),
    "Armenian": ("Նռան գույնը", "Նռան գույնի"),
    "Amharic": ("ሀገር", "ሁገር"),
    "Korean": ("기생충", "기생총"),
    "Japanese, dakuten": ("か", "が"),
    "Japanese, handakuten": ("はば", "はぱ"),
    "Japanese, small kana": ("びょういん", "びよういん"),
    "Japanese, long vowel": ("コーヒー", "コーヒ"),
    "Japanese, kanji": ("七人の侍", "七人の待"),
    "Chinese": ("卧虎藏龙", "卧虎藏尨"),
    "Chinese, numeral": ("叶问二", "叶问三"),
    "emoji beside letters": ("Wall\U0001f916E", "Will\U0001f916E"),
    "quotes": ("\"Crocodile\" Dundee's 'List'", "\"Crocodile\" Dundee's 'Lost'"),
    "backslashes": ("C:\\New\\Table", "C:\\New\\Cable"),
    "operators": ('x" or id > 0 or "', 'x" or id < 0 of "'),
    "wildcards": ("100% Wolf_", "100% Golf_"),
    "500 characters": ("Long " * 99 + "Title", "Long " * 99 + "Tidle"),
    "500 characters of 3 bytes": ("侍" * 500, "侍" * 499 + "待"),
}
PAIRS = [title for pair in SCRIPTS.values() for title in pair]
EACH_SCRIPT = pytest.mark.parametrize(("title", "other"), SCRIPTS.values(), ids=SCRIPTS)


@EACH_SCRIPT
def test_title_of_any_script_is_found_alone(title, other):
    index = TitleIndex(Title(row, f"{spelt} (1990)", row) for row, spelt in enumerate(PAIRS))
    for text in (title, other):
        for form in ("NFC", "NFD"):
            spelt = unicodedata.normalize(form, text)
            for looseness in Looseness:
                for year in (None, 1990):
                    found, difference = index.find([spelt], year, looseness)
                    assert ([movie.movie_id for movie in found], difference) == ([PAIRS.index(text)], "")


@EACH_SCRIPT
def test_other_letter_is_another_title(title, other):
    for text, present in ((title, other), (other, title)):
        for year in (None, 1988):
            found, difference = TitleIndex([Title(1, f"{present} (1990)", 1)]).find([text], year, Looseness.FILE)
            assert not found, difference
    assert title_key(title) != title_key(other)


@EACH_SCRIPT
def test_title_key_is_stable(title, other):
    """Normal form, case, blanks and year make no difference; the key of a key is the key."""
    key = title_key(title)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert title_key(unicodedata.normalize(form, title)) == key
    for spelt in (title.upper(), title.lower(), title.title(), f"  {title} ", f"{title} (1990)", f"The {title}"):
        assert title_key(spelt) == key
    assert title_key(key) == key


@pytest.mark.parametrize(
    ("title", "typed"),
    [
        ("Æon Flux", "Aeon Flux"),
        ("Łódź", "Lodz"),
        ("Straße", "STRASSE"),
        ("Στέλλα", "ΣΤΕΛΛΑ"),
        ("Ёлки", "Елки"),
        ("شِعر", "شعر"),
        ("שָׁלוֹם", "שלום"),
        ("İstanbul", "istanbul"),
        ("ＡＬＩＥＮ", "alien"),
        ("Rocky Ⅳ", "rocky 4"),
    ],
)
def test_marks_that_people_leave_out_are_optional(title, typed):
    assert title_key(title) == title_key(typed)


@given(st.text(max_size=60))
def test_any_title(title):
    """A title finds itself unless it has no letters."""
    name, year = split_title(title)
    assert name in title
    assert year is None or 0 <= year <= 9999
    key = title_key(title)
    assert all(char.isalnum() or unicodedata.category(char) in ("Mn", "Mc") for char in key)
    has_words = any(map(normalize_words, alternative_names(title)))
    index = TitleIndex([Title(1, title, 1), Title(2, "Metropolis (1927)", 1)])
    for looseness in (Looseness.FILE, Looseness.TYPED):
        found, difference = index.find(alternative_names(title), year, looseness)
        assert (1 in [movie.movie_id for movie in found] and not difference) == has_words
