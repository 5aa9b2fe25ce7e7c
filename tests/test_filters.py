"""Filter expressions, and titles in any script: stored, found by --like and --ratings, also on a server."""

import csv
import shutil
import sys
import unicodedata

import numpy as np
import pytest
from conftest import milvus_environment, succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.films.titles import title_key
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import MovieFilter, all_of, is_in, is_not_in, range_conditions, string_literal
from recommender.store import load_model
from recommender.films.matching import find_movie


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("", '""'),
        ("Æon Flux 七 😀", '"Æon Flux 七 😀"'),
        ('a"b', r'"a\"b"'),
        ("a'b", '"a\'b"'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\rc\td", r'"a\nb\rc\td"'),
    ],
)
def test_string_literals(text, literal):
    assert string_literal(text) == literal


def test_conditions():
    assert is_in("id", [3, 1]) == "id in [3, 1]"
    assert is_in("title", ['a" in [', "b"]) == r'title in ["a\" in [", "b"]'
    assert is_not_in("title", ["x in [y"]) == 'title not in ["x in [y"]'
    assert is_in("id", []) == "id < 0", "which no movie meets"
    assert is_not_in("id", []) == ""
    assert is_in("id", np.array([7])) == "id in [7]"
    assert all_of("", "a == 1", "", "b == 2") == "a == 1 and b == 2"
    assert all_of() == all_of("") == ""


@pytest.mark.parametrize(
    ("movie_filter", "conditions"),
    [
        (MovieFilter(), []),
        (MovieFilter(first_year=1990), ["year >= 1990"]),
        (MovieFilter(last_year=1930), ["year >= 1", "year <= 1930"]),
        (MovieFilter(("War",), (), 1990, 1999, 5), ["year >= 1990", "year <= 1999", "num_ratings >= 5"]),
        (MovieFilter(min_ratings=5, max_ratings=9), ["num_ratings >= 5", "num_ratings <= 9"]),
        (MovieFilter(max_ratings=0), ["num_ratings <= 0"]),
    ],
)
def test_range_conditions(movie_filter, conditions):
    """A movie without a year, stored as 0, is in no span of years."""
    assert range_conditions(movie_filter) == conditions


SCRIPTS = {
    "Latin": ("Æon Flux", "Død snø", "Straße nach Łódź", "Kış Uykusu", "Þór og Ðuro"),
    "Greek": ("Ζορμπάς", "Το λιβάδι που δακρύζει"),
    "Cyrillic": ("Левиафан", "Ёлки", "Тіні забутих предків"),
    "Armenian": ("Նռան գույնը",),
    "Georgian": ("მონანიება", "სხვისი სახლი"),
    "Hebrew": ("ואלס עם באשיר", "בופור"),
    "Arabic": ("ذيب", "جدایی نادر از سیمین"),
    "Devanagari": ("मुग़ल-ए-आज़म", "लगान"),
    "Bengali": ("পথের পাঁচালী", "চারুলতা"),
    "Gurmukhi": ("ਅੰਗਰੇਜ਼",),
    "Gujarati": ("હેલ્લારો",),
    "Tamil": ("நாயகன்", "அன்பே சிவம்"),
    "Telugu": ("మాయాబజార్",),
    "Kannada": ("ತಿಥಿ",),
    "Malayalam": ("എലിപ്പത്തായം",),
    "Sinhala": ("රේඛාව",),
    "Thai": ("ลุงบุญมีระลึกชาติ", "องค์บาก"),
    "Khmer": ("រូបភាពដែលបាត់",),
    "Burmese": ("မုန်း",),
    "Tibetan": ("ཕོར་པ།",),
    "Ethiopic": ("ጤዛ",),
    "Han": ("霸王別姬", "英雄"),
    "Japanese": ("七人の侍", "となりのトトロ", "ゴジラ"),
    "Hangul": ("기생충", "올드보이"),
}
ODD_TITLES = (
    "a'b\"c",
    '"Quoted"',
    "back\\slash",
    "ends in \\",
    "\\\\server\\path",
    "\\u00e6on",
    "50% off_",
    'id > 0 or title == "x"',
    'y" or id > 0 or title == "',
    "Smile 😀 twice 😀",
    "🏳️‍🌈 Flag",
    "Cafe\N{COMBINING ACUTE ACCENT} noir",
    "Name, with; commas",
    "=HYPERLINK",
    "{braces} [brackets] <b>",
    "$100 & more",
    "x" * 500,
    "七" * 500,
    "words " * 83 + "to 500",
)


def sixty_titles():
    """Returns titles of 24 scripts, and others that a filter, a CSV file or a terminal might misread."""
    names = [name for names in SCRIPTS.values() for name in names] + list(ODD_TITLES)
    return [f"{name} ({1950 + row})" for row, name in enumerate(names)]


def test_there_are_sixty_titles_with_keys_of_their_own():
    titles = sixty_titles()
    assert len(SCRIPTS) >= 20
    assert len(titles) >= 60
    assert len({title_key(title) for title in titles}) == len(titles)
    assert {len(title) for title in titles} >= {507}


def random_titles(count):
    """Returns titles with different keys, of random letters of one script each and of characters with a meaning."""
    random = np.random.default_rng(0)
    by_script = {}
    for char in map(chr, range(sys.maxunicode)):
        if unicodedata.category(char) in ("Ll", "Lu", "Lo", "Lm", "Nd"):
            by_script.setdefault(unicodedata.name(char, "?").split()[0], []).append(char)
    alphabets = [letters for letters in by_script.values() if len(letters) > 20]
    punctuation = list("\"'\\%_[]{}<>&,;!?*$=+-😀🎬")
    titles = {}
    while len(titles) < count:
        alphabet = alphabets[random.integers(len(alphabets))]
        words = ["".join(random.choice(alphabet, random.integers(2, 8))) for _ in range(random.integers(1, 5))]
        for _ in range(random.integers(0, 4)):
            words.insert(random.integers(0, len(words) + 1), str(random.choice(punctuation)))
        title = str(random.choice(["", " "])).join(words).strip() + f" ({random.integers(1900, 2030)})"
        titles.setdefault(title_key(title), title)
    return list(titles.values())


def store_titles(trained, tmp_path, place, titles):
    """Returns a folder with a catalogue of one's own that ends with some titles, after steps two and three."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    lines = [f"{10_001 + row}::{title}::Drama\n" for row, title in enumerate(titles)]
    with (folder / "movies_origin.txt").open("a", encoding="utf-8") as file:
        file.writelines(lines)
    succeed("get_movies_data.py", "-f", "movies_origin.txt", cwd=folder)
    succeed("infer_milvus.py", "-i", cwd=folder, **milvus_environment(place))
    return folder


def write_ratings(path, titles):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Title", "Rating"), *((title, 4) for title in titles)])


def find_stored_titles(folder, place, titles):
    """Checks that all titles are stored and found, with and without their year."""
    with MilvusConnection(**place) as connection:
        collection = MovieCollection(connection, load_model(folder / MODEL_FOLDER).fingerprint)
        movie_ids = range(10_001, 10_001 + len(titles))
        stored = collection.fetch(movie_ids)
        assert [stored[movie_id].movie.title for movie_id in movie_ids] == titles
        for movie_id, title in zip(movie_ids, titles, strict=True):
            assert find_movie(collection, title).movie_id == movie_id, title
            assert find_movie(collection, stored[movie_id].movie.name).movie_id == movie_id, title
            assert collection.count(is_in("title", [title])) == 1, title


def test_titles_in_any_script(trained, tmp_path, new_place):
    titles, place = sixty_titles(), new_place()
    folder = store_titles(trained, tmp_path, place, titles)
    environment = milvus_environment(place)
    options = [f"--like={title}" for title in titles]
    done = succeed("infer_milvus.py", *options, "--why", cwd=folder, **environment)
    assert f"; likes {', '.join(titles)}\n" in done.stdout
    write_ratings(folder / "mine.csv", [*titles, "Not There (2001)"])
    done = succeed("infer_milvus.py", "--ratings", "mine.csv", "-k", 300, "--format", "csv", cwd=folder, **environment)
    assert f"mine.csv: {len(titles)} of {len(titles) + 1} films matched\n" in done.stderr
    assert "  not in the catalogue: Not There (2001)\n" in done.stderr
    recommended = {row["title"] for row in csv.DictReader(done.stdout.splitlines())}
    assert len(recommended) > 200
    assert not recommended & {title[:-7] for title in titles}, "rated, so not recommended"
    everything = ("infer_milvus.py", "-k", 300, "--by", "picks", "--format", "csv")
    done = succeed(*everything, cwd=folder, **environment)
    assert {row["title"] for row in csv.DictReader(done.stdout.splitlines())} >= {title[:-7] for title in titles}
    find_stored_titles(folder, place, titles)


@pytest.mark.server
def test_a_thousand_random_titles(trained, tmp_path, new_place):
    titles, place = random_titles(1000), new_place()
    folder = store_titles(trained, tmp_path, place, titles)
    find_stored_titles(folder, place, titles)
    write_ratings(folder / "mine.csv", titles)
    done = succeed("infer_milvus.py", "--ratings", "mine.csv", cwd=folder, **milvus_environment(place))
    assert "mine.csv: 1,000 of 1,000 films matched\n" in done.stderr
