"""What a typed title means, which movie a row of a file is, and the histories that rows make."""

import math
import os
import random
import time
from pathlib import Path

import pytest
from title_corpus import as_row, corpora, describe, load_from, read_titles

from recommender.films.exports import FilmRow
from recommender.films.matching import TitleError, find_title, match_rows, match_table, to_history
from recommender.films.title_index import Looseness, Title, TitleIndex, is_typo
from recommender.films.titles import alternative_names, display_name, display_title, split_title

TESTS = Path(__file__).parent
SAMPLE = TESTS.parent / "data" / "sample" / "movies.dat"
SHELF = [
    Title(1, "Alien (1979)", 900, "tt0078748", 348),
    Title(2, "Aliens (1986)", 800),
    Title(3, "Alien\u00b3 (1992)", 300),
    Title(4, "Toy Story (1995)", 700),
    Title(5, "Toy Story 2 (1999)", 600),
    Title(6, "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)", 400),
    Title(7, "Psycho (1960)", 500),
    Title(8, "Psycho (1998)", 100),
    Title(9, "Terminator, The (1984)", 850),
    Title(10, "It's a Wonderful Life (1946)", 450),
    Title(11, "Professional, The (a.k.a. Leon: The Professional) (1994)", 350),
    Title(12, "2001: A Space Odyssey (1968)", 750),
    Title(13, "Oscar and Lucinda (a.k.a. Oscar & Lucinda) (1997)", 90),
    Title(14, "Star Wars: Episode IV - A New Hope (1977)", 990),
    Title(15, "Bicycle Thief, The (Ladri di biciclette) (1948)", 120),
    Title(16, "Star Trek II: The Wrath of Khan (1982)", 320),
    Title(17, "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1963)", 550),
    Title(18, "War of the Worlds (2005)", 50, "tt0407304", 74),
    Title(19, "War of the Worlds (2005)", 2, "tt0449040", 34812),
    Title(20, "Disappearance of Eleanor Rigby: Them, The (2014)", 9),
    Title(21, "Monty Python's Life of Brian (1979)", 300),
    Title(22, "Moonlight", 80),
    Title(23, "Fear (1996)", 70),
    Title(24, "Steve Jobs (2015)", 60),
    Title(25, "Submarine (2010)", 60),
    Title(26, "Nymphomaniac: Volume I (2013)", 60),
    Title(27, "Rosemary's Baby (1968)", 60),
    Title(28, "Cape Fear (1962)", 20),
    Title(29, "U.S. Marshalls (1998)", 20),
]
LOAD = load_from(SHELF)


def match(title, year=None, **values):
    [found] = match_rows([FilmRow("mine.csv", 2, title, year=year, **values)], LOAD)
    return found


@pytest.mark.parametrize(
    ("text", "movie_id"),
    [
        ("alien", 1),
        ("alien 1979", 1),
        ("Alien (1980)", 1),
        ("id:1", 1),
        ("id:1 Alien (1979)", 1),
        ("tt0078748", 1),
        ("alien 3", 3),
        ("the magnificent 7", 6),
        ("leon: the professional", 11),
        ("2001", 12),
        ("wonderful life", 10),
        ("no samurai", 6),
        ("wonder li", 10),
        ("toy 2", 5),
        ("Terminater", 9),
        ("bicycle thieves", 15),
        ("Oscar & Lucinda", 13),
        ("wonderfull life", 10),
        ("psycho (1998)", 8),
        ("psycho 1997", 8),
        ("strangelove", 17),
        ("moonlight", 22),
    ],
)
def test_typed_title(text, movie_id):
    assert find_title(text, LOAD).movie_id == movie_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("psycho", "several movies match 'psycho'; choose one by its id: id:7 Psycho (1960); id:8 Psycho (1998)"),
        ("toy", "several movies match 'toy'; choose one by its id: id:4 Toy Story (1995); id:5 Toy Story 2 (1999)"),
        ("toy story 3", "no movie is called 'toy story 3'; choose one by its id: id:5 Toy Story 2 (1999); id:4"),
        ("psycho (1975)", "no movie is called 'psycho (1975)'; choose one by its id: id:7 Psycho (1960); id:8 Psycho"),
        ("dlien", "no movie is called 'dlien'; choose one by its id: id:1 Alien (1979)"),
        ("saturnine mortar", "no movie is called 'saturnine mortar'; no title is similar"),
        ("17", "no movie is called '17'; no title is similar; an id is written id:1214"),
        ("", "no movie is called ''; no title is similar"),
        ("id:99", "no movie has the id 'id:99'; it may be one of another catalogue"),
        ("tt9999999", "no movie has the id 'tt9999999'; it may be"),
        ("id:2 Alien (1979)", "no movie has the id 'id:2 Alien (1979)'; it may be"),
        ("z\x1b\nz" + "z" * 100, f"no movie is called 'z z{'z' * 74}...'; no title is similar"),
    ],
)
def test_typed_title_that_is_none(text, message):
    with pytest.raises(TitleError) as caught:
        find_title(text, LOAD)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "year", "movie_id"),
    [
        ("alien", None, 1),
        ("Alien", 1980, 1),
        ("The Magnificent Seven", 1955, 6),
        ("Alien (Director's Cut)", None, 1),
        ("the magnificent seven", None, 6),
        ("psycho", 1998, 8),
        ("psycho 1998", None, 8),
        ("Star Wars", 1977, 14),
        ("A New Hope", 1977, 14),
        ("Life of Brian", 1979, 21),
        ("Star Trek: The Wrath of Khan", 1982, 16),
        ("Star Trek II: The Wreth of Khan", 1982, 16),
        ("Oscar, Lucinda", 1997, 13),
        ("Bicycle Thieves", 1948, 15),
        ("Vittorio De Sica's The Bicycle Thief", 1948, 15),
        ("Leon (The Professional)", 1994, 11),
        ("US Marshals", 1998, 29),
        ("Moonlight", 2016, 22),
        ("Nymphomaniac: Vol. I", 2013, 26),
        ("Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb", 1964, 17),
    ],
)
def test_row_of_a_file(name, year, movie_id):
    assert match(name, year).title.movie_id == movie_id


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("toy", None),
        ("Star Wars", None),
        ("wonderful life", None),
        ("Terminater", None),
        ("psycho", 1996),
        ("psycho", 1997),
        ("Alien", 1981),
        ("Alien", 2003),
        ("Aliem", 1979),
        ("The Fear", 1995),
        ("Star Trek 5: The Wrath of Khan", 1982),
        ("Star Wars", 1978),
        ("Steve Jobs: The Man in the Machine", 2015),
        ("Submarino", 2010),
        ("Nymphomaniac: Vol. II", 2013),
        ("The Disappearance of Eleanor Rigby: Her", 2014),
        ("Her", 2014),
        ("Baby", 1968),
        ("It", 1946),
        ("Life", 1946),
        ("Dr. Strangelove: Stop Worrying", 1964),
        ("", None),
        ("???", 1979),
    ],
)
def test_row_of_a_film_that_is_not_there(name, year):
    assert match(name, year).title is None


@pytest.mark.parametrize(("name", "movie_id"), [("dr strangelove", 17), ("Bicycle Theif", 15), ("Her", None)])
def test_row_of_a_list_of_titles(name, movie_id):
    """What a person wrote is corrected, and that is said."""
    found = match(name, looseness=Looseness.LIST)
    assert (found.title and found.title.movie_id) == movie_id
    assert found.note.startswith("taken to be " if movie_id else "not in the catalogue")


BY_ID, NOT_THERE = "by its id Alien (1979), though the title differs", "not in the catalogue"
IS_ALIEN, HAS_ANOTHER = ("its id is that of Alien (1979)", "not in the catalogue; id:1 Alien (1979) has another id")


@pytest.mark.parametrize(
    ("row", "movie_id", "note"),
    [
        ({"title": "Alien", "imdb_id": "tt0078748"}, 1, ""),
        ({"title": "Obcy", "year": 1979, "imdb_id": "tt0078748"}, 1, BY_ID),
        ({"title": "Obcy", "year": 1979, "tmdb_id": 348}, 1, BY_ID),
        ({"title": "Obcy", "year": 1979, "movie_id": 1}, None, f"{NOT_THERE}; {IS_ALIEN}"),
        ({"title": "Some Series", "year": 2008, "tmdb_id": 348}, None, f"{NOT_THERE}; {IS_ALIEN}"),
        ({"title": "Toy Story", "year": 1995, "imdb_id": "tt0078748"}, 4, f"matched by title, as {IS_ALIEN}"),
        ({"title": "Toy Story", "year": 1995, "movie_id": 1}, 4, f"matched by title, as {IS_ALIEN}"),
        (
            {"title": "Toy Story", "year": 1995, "movie_id": 5},
            4,
            "matched by title, as its id is that of Toy Story 2 (1999)",
        ),
        ({"title": "Alien", "year": 1979, "imdb_id": "tt1"}, None, HAS_ANOTHER),
        ({"title": "Alien", "year": 1979, "tmdb_id": 5}, None, HAS_ANOTHER),
        ({"title": "Alien", "year": 1979, "movie_id": 5000}, 1, ""),
        ({"title": "Aliens", "year": 1986, "imdb_id": "tt0090605"}, 2, ""),
        ({"title": "", "movie_id": 2}, 2, ""),
        ({"title": "", "movie_id": 5000}, None, NOT_THERE),
        ({"title": "War of the Worlds", "year": 2005, "imdb_id": "tt0449040"}, 19, ""),
        ({"title": "La guerra dei mondi", "other_titles": ("War of the Worlds",), "year": 2005, "tmdb_id": 74}, 18, ""),
    ],
)
def test_ids_come_first_and_must_agree(row, movie_id, note):
    found = match(**row)
    assert (found.title and found.title.movie_id, found.note) == (movie_id, note)
    assert found.twins == ()


def test_films_of_one_name():
    """The better known of one year; of several years none, and none of them is recommended."""
    found = match("War of the Worlds", 2005)
    assert (found.title.movie_id, found.twins) == (18, (19,))
    assert found.note == "the best known of 2 films of that name and year"
    unknown = match("Psycho")
    assert (unknown.title, unknown.twins) == (None, (7, 8))
    assert unknown.note == "several films may be meant: id:7 Psycho (1960); id:8 Psycho (1998)"
    assert to_history([unknown]).exclude == {7, 8}


def test_titles_are_looked_up_by_key_first():
    asked = []

    def load(field, values):
        asked.append(field)
        return LOAD(field, values)

    assert find_title("Alien", load).movie_id == 1
    match_rows([FilmRow("", 2, "Alien", year=1979, movie_id=1), FilmRow("", 3, "Heat", movie_id=2)][:1], load)
    assert asked == ["title_key", "imdb_id", "tmdb_id", "id"]
    match_rows([FilmRow("", 2, "Alien", year=1980)], load)
    assert asked[-1] == ""


# Histories.

NO_STARS = math.nan


def test_history_of_a_person():
    rows = [
        FilmRow("diary", 2, "Alien", year=1979, stars=2.0, meaning="rated", date="2024-01-02"),
        FilmRow("diary", 3, "Alien", year=1979, stars=5.0, meaning="rated", date="2024-05-02"),
        FilmRow("ratings", 2, "Alien", year=1979, stars=3.0, meaning="rated", date="2024-02-02"),
        FilmRow("ratings", 3, "Aliens", year=1986, stars=1.0, meaning="rated"),
        FilmRow("ratings", 4, "Aliens", year=1986, stars=4.0, meaning="rated"),
        FilmRow("watched", 2, "Aliens", year=1986),
        FilmRow("watched", 3, "Toy Story", year=1995),
        FilmRow("likes", 2, "Psycho", year=1960, meaning="liked"),
        FilmRow("likes", 3, "Alien", year=1979, meaning="liked"),
        FilmRow("watchlist", 2, "Toy Story 2", year=1999, meaning="planned"),
        FilmRow("watchlist", 3, "Toy Story", year=1995, meaning="planned"),
        FilmRow("watchlist", 4, "War of the Worlds", year=2005, meaning="planned"),
        FilmRow("watched", 4, "No Such Film", year=1995),
    ]
    history = to_history(match_rows(rows, LOAD))
    assert history.rated == {1: 5.0, 2: 4.0}
    assert (history.liked, history.seen) == ({1, 7}, {4})
    assert history.exclude == {1, 2, 4, 7}


def test_table_of_matches():
    rows = [FilmRow("a.csv", 3, "Alien", year=1979, stars=4.5), FilmRow("a.csv", 5, "Heat", year=1995)]
    table = match_table(match_rows([*rows, FilmRow("a.csv", 4, "Dark", problem="no film: tv")], LOAD))
    assert [list(cells.values()) for cells in table] == [
        ["a.csv", "3", "Alien (1979)", "1", "Alien (1979)", "4.5", ""],
        ["a.csv", "4", "Dark", "", "", "", "no film: tv"],
        ["a.csv", "5", "Heat (1995)", "", "", "", "not in the catalogue"],
    ]
    assert list(table[0]) == ["file", "line", "film", "movie_id", "title", "stars", "note"]


# Typos.


@pytest.mark.parametrize(
    ("candidate", "word", "typed", "file"),
    [
        ("terminator", "terminater", True, True),
        ("submarine", "submarino", True, True),
        ("heat", "haet", True, False),
        ("creed", "creep", True, True),
        ("her", "him", False, False),
        ("alien", "blien", False, False),
        ("thieves", "thief", True, True),
        ("1984", "1985", False, False),
        ("b13", "13", True, True),
    ],
)
def test_is_typo(candidate, word, typed, file):
    assert (is_typo(candidate, word), is_typo(candidate, word, is_strict=True)) == (typed, file)


# What people type, what services export: real titles.


def read_tsv(name):
    return [line.split("\t") for line in (TESTS / name).read_text("utf-8").splitlines()]


def sample_titles():
    rows = [line.split("::") for line in SAMPLE.read_text("latin-1").splitlines()]
    return [Title(int(row[0]), row[1], 1) for row in rows]


def release(name):
    return read_titles(Path(os.environ["ML_DATA_DIR"]), name)


def test_every_title_finds_its_movie():
    """As it is written, in lower case, without its year, with its article in front."""
    titles = sample_titles()
    index = TitleIndex(titles)
    for title in titles:
        name, year = split_title(title.title)
        for text in (title.title, title.title.casefold(), name, display_title(title.title)):
            found, difference = index.find(alternative_names(text), split_title(text)[1], Looseness.TYPED)
            assert (title in found, difference) == (True, ""), text
        assert index.find(alternative_names(display_name(name)), year, Looseness.FILE)[0] == [title]


@pytest.mark.parametrize(
    ("load", "num_typed"),
    [(sample_titles, 121), pytest.param(lambda: release("ml-1m"), 200, marks=pytest.mark.movielens)],
    ids=["sample", "ml-1m"],
)
def test_typed_titles_are_found(load, num_typed):
    """At least 95 % are right or offered first; no single match is wrong."""
    titles = load()
    movie_ids = {title.movie_id for title in titles}
    typed = [(text, int(movie_id)) for text, movie_id in read_tsv("typed_titles.tsv") if int(movie_id) in movie_ids]
    assert len(typed) == num_typed
    load_titles, first, wrong = load_from(titles), 0, []
    for text, movie_id in typed:
        try:
            found = find_title(text, load_titles).movie_id
        except TitleError as error:
            first += f"its id: id:{movie_id} " in str(error)
        else:
            first += found == movie_id
            wrong += [] if found == movie_id else [(text, found)]
    assert wrong == []
    assert first >= 0.95 * num_typed


@pytest.mark.movielens
@pytest.mark.parametrize(
    ("name", "there", "missing", "floor"),
    [
        ("ml-1m", "letterboxd_titles.tsv", "letterboxd_missing.tsv", 0.97),
        ("ml-latest-small", "letterboxd_latest.tsv", "letterboxd_latest_missing.tsv", 0.95),
    ],
)
def test_films_of_letterboxd(name, there, missing, floor):
    load = load_from(release(name))
    films = read_tsv(there)
    matches = match_rows([FilmRow("", 2, film, year=int(year)) for film, year, _ in films], load)
    found = [
        (str(match.title.movie_id), right, match)
        for match, (*_, right) in zip(matches, films, strict=True)
        if match.title
    ]
    assert [match for movie_id, right, match in found if movie_id != right] == []
    assert len(found) >= floor * len(films)
    rows = [FilmRow("", 2, film, year=int(year)) for film, year in read_tsv(missing)]
    assert [match for match in match_rows(rows, load) if match.title] == []


@pytest.mark.movielens
def test_films_that_a_catalogue_lacks():
    """At most 0.05 % of the matched films are other films, 97 % of those that are there are found."""
    num_matched, others = 0, []
    for name, figures in corpora(Path(os.environ["ML_DATA_DIR"]), seed=0):
        print(describe(name, figures))
        assert len(figures.missed) <= 0.03 * figures.num_present
        num_matched += figures.matched
        others += figures.other_films
    assert len(others) <= 0.0005 * num_matched, others


@pytest.mark.movielens
def test_time_for_ten_thousand_rows():
    titles, draw = release("ml-latest-small"), random.Random(0)
    rows = [as_row(draw.choice(titles).title + draw.choice(["", f" {number}"]), draw) for number in range(10_000)]
    load = load_from(titles)
    load("title_key")
    started = time.perf_counter()
    match_rows(rows, load)
    assert time.perf_counter() - started < 5


def test_ids_of_two_films_imdb_counts():
    """The titles agree with both ids, as they are those of twins; IMDb's numbers are the ones that nobody edits."""
    assert match("War of the Worlds", 2005, imdb_id="tt0449040", tmdb_id=74).title.movie_id == 19
    assert match("War of the Worlds", 2005, imdb_id="tt0407304", tmdb_id=34812).title.movie_id == 18
    assert match("War of the Worlds", 2005, tmdb_id=34812, movie_id=18).title.movie_id == 19
