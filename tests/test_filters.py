"""Filter expressions; titles of any script and with characters that have a meaning, stored and found."""

import numpy as np
import pytest

from recommender.films.titles import title_key
from recommender.milvus.build import build_collection
from recommender.milvus.collection import ALIAS, MovieCollection, count_movies
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import all_of, in_range, in_years, is_in, is_not_in
from recommender.movielens.catalogue import Movie


def test_conditions():
    assert is_in("title", ["Æon Flux 七 😀 'a'"]) == "title in [\"Æon Flux 七 😀 'a'\"]"
    assert is_in("title", ['a"b\\c\nd\re\tf']) == r'title in ["a\"b\\c\nd\re\tf"]'
    assert is_in("title", ['a" in [', "b"]) == r'title in ["a\" in [", "b"]'
    assert is_in("id", np.array([3, 1])) == "id in [3, 1]"
    assert is_in("id", []) == "id in []"
    assert is_not_in("title", ["x"]) == 'title not in ["x"]'
    assert is_not_in("id", []) == ""
    assert all_of("", "a == 1", "", "b == 2") == "a == 1 and b == 2"
    assert all_of() == all_of("") == ""


def test_ranges():
    """A movie without a year, stored as 0, is in no span of years."""
    assert in_range("n", None, None) == ""
    assert in_range("n", 5, 9) == "n >= 5 and n <= 9"
    assert in_range("n", None, 0) == "n <= 0"
    assert in_years([]) == ""
    assert in_years([(1990, 1999)]) == "((year >= 1990 and year <= 1999))"
    assert in_years([(None, 1930), (2000, None)]) == "((year >= 1 and year <= 1930) or (year >= 2000))"


TITLES = [
    "Æon Flux", "Død snø", "Straße nach Łódź", "Kış Uykusu", "Το λιβάδι που δακρύζει", "Левиафан", "Ёлки",
    "Тіні забутих предків", "Նռան գույնը", "მონანიება", "ואלס עם באשיר", "جدایی نادر از سیمین", "मुग़ल-ए-आज़म",
    "পথের পাঁচালী", "ਅੰਗਰੇਜ਼", "હેલ્લારો", "நாயகன்", "మాయాబజార్", "ತಿಥಿ", "എലിപ്പത്തായം", "රේඛාව", "ลุงบุญมีระลึกชาติ",
    "រូបភាពដែលបាត់", "မုန်း", "ཕོར་པ།", "ጤዛ", "霸王別姬", "七人の侍", "となりのトトロ", "기생충",
    "a'b\"c", '"Quoted"', "back\\slash", "ends in \\", "\\\\server\\path", "\\u00e6on", "50% off_", "tab\tand\nline",
    'id > 0 or title == "x"', 'y" or id > 0 or title == "', "Smile 😀 twice 😀", "🏳️‍🌈 Flag",
    "Cafe\N{COMBINING ACUTE ACCENT} noir", "Name, with; commas", "=HYPERLINK", "{braces} [brackets] <b>",
    "$100 & more", "x" * 500, "七" * 500, "words " * 83 + "to 500",
]  # fmt: skip


@pytest.fixture(scope="module")
def collection(new_place):
    movies = [Movie(row, f"{name} ({1950 + row})", ("Drama",)) for row, name in enumerate(TITLES)]
    vectors = np.random.default_rng(0).normal(size=(len(movies), 8)).astype(np.float32)
    with MilvusConnection(**new_place()) as connection:
        build_collection(connection, movies, vectors, [1] * len(movies), "f1")
        yield MovieCollection(connection, "f1")


@pytest.mark.parametrize("row", range(len(TITLES)))
def test_titles_in_any_script(collection, row):
    title = f"{TITLES[row]} ({1950 + row})"
    assert collection.fetch([row])[row].movie.title == title
    assert count_movies(collection.connection, ALIAS, is_in("title", [title])) == 1
    assert count_movies(collection.connection, ALIAS, is_not_in("title", [title])) == len(TITLES) - 1
    assert [found.title for found in collection.titles("title_key", [title_key(title)])] == [title]
    assert collection.titles("imdb_id", [title]) == []
