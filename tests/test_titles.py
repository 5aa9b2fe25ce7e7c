import os
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, SAMPLE

from recommender.data.movielens import Movie, parse_movies, read_movielens
from recommender.index.build import Catalogue, build_index
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus
from recommender.inference.recommend import QuestionError, find_movie
from recommender.inference.titles import Fit, Title, TitleIndex, title_key, title_words


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
        ('x" or id > 0 or title == "', "xorid0ortitle"),
        ("The The", "the"),
        ("(500) Days (2009)", "500days"),
        ("(1963)", "1963"),
        ("A", "a"),
        ("100%_\\", "100"),
        ("???", ""),
    ],
)
def test_title_key(title, key):
    assert title_key(title) == key


def test_words_of_nothing():
    assert title_words(" ?! ") == []


SHELF = [
    Title(1, "Alien (1979)", 900),
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
]


@pytest.mark.parametrize(
    ("text", "found", "way"),
    [
        ("alien", [1], Fit.NAME),
        ("alien 3", [3], Fit.NAME),
        ("shichinin no samurai", [6], Fit.OTHER_NAME),
        ("the magnificent 7", [6], Fit.OTHER_NAME),
        ("leon: the professional", [11], Fit.OTHER_NAME),
        ("toy", [4, 5], Fit.BEGINNING),
        ("2001", [12], Fit.BEGINNING),
        ("wonderful life", [10], Fit.PART),
        ("wonder li", [10], Fit.BEGINNINGS_OF_WORDS),
        ("toy 2", [5], Fit.BEGINNINGS_OF_WORDS),
        ("Terminater", [9], Fit.SLIP),
        ("Oscar & Lucinda", [13], Fit.NAME),
        ("wonderfull life", [10], Fit.PART_WITH_SLIPS),
        ("psycho", [7, 8], Fit.NAME),
        ("psycho (1998)", [8], Fit.NAME),
        ("psycho 1998", [8], Fit.NAME),
        ("toy story 3", [5, 4], None),
        ("saturnine mortar", [], None),
        ("psycho (1975)", [7, 8], None),
        ("", [], None),
        ("(?)", [], None),
    ],
)
def test_what_a_text_may_mean(text, found, way):
    match = TitleIndex(SHELF).find(text)
    assert ([title.movie_id for title in match.titles], match.way) == (found, way)


@pytest.mark.parametrize(("text", "found"), [("toy", []), ("wonderful life", []), ("Terminater", [9]), ("alien", [1])])
def test_a_whole_title_is_no_part_of_another(text, found):
    match = TitleIndex(SHELF).find(text, whole=True)
    assert [title.movie_id for title in match.titles if match.way is not None] == found


def test_every_title_finds_its_movie():
    """As it is written, in lower case, without its year, with its article in front."""
    titles = [Title(movie.movie_id, movie.title, 1) for movie in parse_movies((SAMPLE / "movies.dat").read_bytes(), "")]
    index = TitleIndex(titles)
    for title in titles:
        name = title.title.rpartition(" (")[0]
        front = f"The {name.removesuffix(', The')}" if name.endswith(", The") else name
        for text in (title.title, title.title.casefold(), name, front):
            assert title in index.find(text).titles, text


@pytest.fixture(scope="module")
def hamlets(new_place):
    titles = ["Hamlet (1990)", "Hamlet (1996)", "13 (1979)", "Seven Samurai (Shichinin) (1954)", "Metropolis (1927)"]
    movies = [Movie(10 + row, title, ("Drama",)) for row, title in enumerate(titles)]
    vectors = np.eye(5, 16, dtype=np.float32)
    with Milvus(**new_place(), create=True) as milvus:
        build_index(milvus, Catalogue(movies, vectors, [5, 9, 1, 1, 1], "f1"))
        yield MovieIndex(milvus, "f1", 16)


@pytest.mark.parametrize(
    ("text", "movie_id"),
    [("hamlet (1996)", 11), ("id:13", 13), ("11", 11), ("the seven samurai", 13), ("METROPOLIS", 14), ("samur", 13)],
)
def test_find_movie(hamlets, text, movie_id):
    assert find_movie(hamlets, text).movie_id == movie_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hamlet", r"more than one movie fits 'Hamlet'; choose by id: id:11 Hamlet \(1996\); id:10 Hamlet \(1990\)$"),
        ("13", r"more than one movie fits '13'; .*id:13 Seven Samurai \(Shichinin\) \(1954\); id:12 13 \(1979\)$"),
        ("Hamlet (1948)", r"no movie is called 'Hamlet \(1948\)'; choose by id: id:11 Hamlet \(1996\)"),
        ("Amletto", r"no movie is called 'Amletto'; choose by id: id:11 Hamlet \(1996\); id:10"),
        ("zzz", "none comes near"),
        ("99", "no movie is called '99'; none"),
        ("id:99", "no movie has the id '99'"),
        ("id:x", "no movie has the id 'x'"),
        ('" or id > 0 or title_key == "', "no movie is called"),
        ("", "no movie is called ''"),
    ],
)
def test_find_movie_offers_what_it_could_be(hamlets, text, message):
    with pytest.raises(QuestionError, match=message):
        find_movie(hamlets, text)


def typed(data_dir):
    """What people typed for films of a data set, one way or another, and the ids of the films that they meant."""
    data = read_movielens(data_dir)
    count_of = data.ratings.movie_id.value_counts().to_dict()
    index = TitleIndex(Title(movie.movie_id, movie.title, count_of.get(movie.movie_id, 0)) for movie in data.movies)
    there = {movie.movie_id for movie in data.movies}
    lines = [line.split("\t") for line in (PROJECT / "tests" / "typed_titles.tsv").read_text("utf-8").splitlines()]
    return index, [(text, int(movie_id)) for text, movie_id in lines if int(movie_id) in there]


@pytest.mark.parametrize(
    ("data_dir", "num_typed"),
    [(SAMPLE, 121), pytest.param(Path(os.environ.get("ML1M_DIR", "data/ml-1m")), 200, marks=pytest.mark.ml1m)],
)
def test_what_people_type_is_found(data_dir, num_typed):
    """At least 95 % right or offered first; nothing silently wrong."""
    index, asked = typed(data_dir)
    assert len(asked) == num_typed
    answers = [(index.find(text), movie_id) for text, movie_id in asked]
    first = [found.titles[:1] for found, _ in answers]
    right = [
        bool(titles) and titles[0].movie_id == movie_id for titles, (_, movie_id) in zip(first, asked, strict=True)
    ]
    assert sum(right) >= 0.95 * num_typed
    sure = [found.way is not None and len(found.titles) == 1 for found, _ in answers]
    assert not [
        text for (text, _), is_sure, is_right in zip(asked, sure, right, strict=True) if is_sure and not is_right
    ]
