"""The movie collection, on Milvus Lite and on a server, compared with plain numpy and Python."""

from typing import NamedTuple

import numpy as np
import pytest

from recommender.errors import RecommenderError
from recommender.films.matching import Title
from recommender.films.titles import title_key
from recommender.milvus.build import build_collection, check_searches
from recommender.milvus.collection import ALIAS, MovieCollection, count_movies, describe_current
from recommender.milvus.connection import DataType, MilvusConnection, MilvusError
from recommender.milvus.filters import MovieFilter, is_in
from recommender.movielens.catalogue import Movie

GENRES = ["Comedy", "Drama", "Film-Noir", "War"]
DIM = 16


def random_vectors(count, seed=0):
    """Returns vectors of various lengths, of which one need not be its own nearest."""
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def random_movies(count):
    """Returns films of all decades and genres; there are films without a year and without ids elsewhere."""
    random = np.random.default_rng(2)
    return [
        Movie(
            3 * row + 1,
            f"Film {row} ({random.integers(1920, 2001)})" if row % 9 else f"Film {row}",
            tuple(random.choice(GENRES, random.integers(1, 4), replace=False).tolist()),
            f"tt{7000 + row:07}" if row % 3 else "",
            90_000 + row if row % 2 else 0,
        )
        for row in range(count)
    ]


def build(connection, count, fingerprint="f1"):
    build_collection(connection, random_movies(count), random_vectors(count), [100] * count, fingerprint)


@pytest.fixture
def connection(new_place):
    with MilvusConnection(**new_place()) as connection:
        yield connection


class Films(NamedTuple):
    collection: MovieCollection
    movies: list[Movie]
    vectors: np.ndarray
    num_ratings: np.ndarray


@pytest.fixture(scope="module")
def films(new_place):
    """A collection that takes several messages to read."""
    content = random_movies(1200), random_vectors(1200), np.random.default_rng(3).integers(0, 100, 1200)
    with MilvusConnection(**new_place()) as connection:
        build_collection(connection, *content, "f1")
        yield Films(MovieCollection(connection, "f1"), *content)


def random_filter(random, movies):
    def sometimes(value, default):
        return value if random.random() < 0.3 else default

    first, last = sorted(random.integers(1915, 2005, 2).tolist())
    spans = [(first, last), (last, None), (None, first), (None, None), (first, first)]
    ids = random.permutation([movie.movie_id for movie in movies]).tolist()
    return MovieFilter(
        genres=sometimes(tuple(random.choice(GENRES, 2).tolist()), ()),
        not_genres=sometimes((str(random.choice(GENRES)),), ()),
        years=sometimes(tuple(spans[number] for number in random.integers(0, 5, random.integers(1, 4))), ()),
        min_ratings=sometimes(int(random.integers(0, 60)), None),
        max_ratings=sometimes(int(random.integers(40, 100)), None),
        among=sometimes(tuple(ids[: random.integers(0, 900)]), None),
        not_among=sometimes(tuple(ids[: random.integers(0, 900)]), ()),
    )


def admits(movie_filter, movie, num_ratings):
    """Says what a filter means, in Python."""
    spans = [(first or 1, last or 9999) for first, last in movie_filter.years]
    return (
        (not movie_filter.genres or bool(set(movie_filter.genres) & set(movie.genres)))
        and not set(movie_filter.not_genres) & set(movie.genres)
        and (not spans or any(first <= (movie.year or 0) <= last for first, last in spans))
        and (movie_filter.min_ratings is None or num_ratings >= movie_filter.min_ratings)
        and (movie_filter.max_ratings is None or num_ratings <= movie_filter.max_ratings)
        and (movie_filter.among is None or movie.movie_id in movie_filter.among)
        and movie.movie_id not in movie_filter.not_among
    )


@pytest.mark.parametrize("seed", range(20))
def test_search_and_count_equal_a_naive_loop(films, seed):
    """With random filters, and exclusions that differ between the queries: any movies, or just the nearest."""
    random, (collection, movies, vectors, num_ratings) = np.random.default_rng(seed), films
    movie_filter = random_filter(random, movies)
    condition = collection.build_filter(movie_filter)
    admitted = {row for row, movie in enumerate(movies) if admits(movie_filter, movie, num_ratings[row])}
    assert count_movies(collection.connection, ALIAS, condition) == len(admitted)

    k, queries = int(random.choice([1, 10, 100])), random_vectors(random.choice([1, 3, 53]), seed)
    rankings = np.argsort(-(queries @ vectors.T))
    excluded = [
        {movies[row].movie_id for row in random.permutation(ranking)[:50]} if number % 2 else
        {movies[row].movie_id for row in ranking[: random.choice([0, 7, 100]) if number else 1195]}
        for number, ranking in enumerate(rankings)
    ]  # fmt: skip
    found = collection.search(queries, k, condition, excluded)
    for query, ranking, hits, ids in zip(queries, rankings, found, excluded, strict=True):
        allowed = [row for row in ranking if row in admitted and movies[row].movie_id not in ids]
        rows = [(movie_id - 1) // 3 for movie_id in hits]
        assert len(set(rows)) == len(rows) == min(k, len(allowed))
        assert set(rows) <= set(allowed)
        products = vectors[rows] @ query  # Not the ids, as two products may differ less than Milvus' rounding.
        np.testing.assert_allclose(products, vectors[allowed[:k]] @ query, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(list(hits.values()), products, rtol=1e-4, atol=1e-4)


def test_search_refuses_wrong_arguments(films):
    for vectors in (np.full((1, DIM), np.nan), np.full((1, DIM), np.inf), np.ones((1, DIM + 1)), np.ones(DIM)):
        with pytest.raises(ValueError, match=f" finite vectors of length {DIM} expected, not "):
            films.collection.search(vectors.astype(np.float32), 3)
    with pytest.raises(ValueError, match=r"3 finite vectors of length 16 expected, not \(2, 16\)"):
        films.collection.search(random_vectors(2), 3, exclude_ids=[(), (), ()])


def test_what_a_collection_says_of_its_movies(films):
    collection, movies, _, num_ratings = films
    years = [movie.year for movie in movies if movie.year]
    assert (collection.num_movies, collection.dim) == (1200, DIM)
    assert (collection.first_year, collection.last_year) == (min(years), max(years))
    ranked = np.sort(num_ratings)
    assert len(collection.rating_percentiles) == 101
    assert collection.rating_percentiles[[0, 50, 100]].tolist() == [ranked[0], ranked[600], ranked[-1]]


def test_fetch(films):
    collection, movies, vectors, num_ratings = films
    for rows in ([7, 1, 7], range(1200), []):
        stored = collection.fetch([movies[row].movie_id for row in rows])
        assert stored.keys() == {movies[row].movie_id for row in rows}
        for row in rows:
            movie, count, vector = stored[movies[row].movie_id]
            assert (movie, count) == (movies[row], num_ratings[row])
            np.testing.assert_allclose(vector, vectors[row], atol=1e-6)
    assert collection.fetch([0, 1, 2]).keys() == {1}, "others are not there"


@pytest.mark.parametrize("field", ["id", "imdb_id", "tmdb_id", "title_key", "year"])
def test_titles_by_field(films, field):
    collection, movies, _, num_ratings = films
    values = {
        "id": [movie.movie_id for movie in movies],
        "title_key": [title_key(movie.title) for movie in movies],
    }.get(field) or [getattr(movie, field) for movie in movies]
    titles = [
        Title(movie.movie_id, movie.title, count, movie.imdb_id, movie.tmdb_id)
        for movie, count in zip(movies, num_ratings, strict=True)
    ]
    assert sorted(collection.titles(field, iter([values[7], values[7]]))) == [
        title for title, value in zip(titles, values, strict=True) if value == values[7]
    ]
    known = [value for value in values if value]
    found = collection.titles(field, [*known, *(["none"] if isinstance(known[0], str) else [-5])])
    assert sorted(found) == [title for title, value in zip(titles, values, strict=True) if value]
    assert collection.titles(field, []) == []
    assert sorted(collection.titles()) == titles


def test_genres_are_found_in_any_spelling(films, connection):
    for text, genre in (("war", "War"), ("film noir", "Film-Noir"), ("FILMNOIR", "Film-Noir"), ("comdy", "Comedy")):
        assert films.collection.resolve_genre(text) == genre
    for text in ('War" or "', "", "Horror", "%"):
        with pytest.raises(RecommenderError) as caught:
            films.collection.build_filter(MovieFilter(("War", text)))
        assert str(caught.value) == f"no genre {text!r}; choose one of: Comedy, Drama, Film-Noir, War"
    movies = [Movie(row, "A", (genre,)) for row, genre in enumerate(("Sci-Fi", "sci fi", "SCI-FI", "War"))]
    build_collection(connection, movies, random_vectors(4), [0] * 4, "f1")
    collection = MovieCollection(connection, "f1")
    assert count_movies(collection.connection, ALIAS, collection.build_filter(MovieFilter(("scifi",)))) == 3


def test_builds_replace_each_other_and_failed_ones_leave_nothing(connection):
    """Milvus refuses a title of 70,000 characters when the new collection already exists."""

    def fail_to_build(message, movies, vectors):
        with pytest.raises(MilvusError, match=message):
            build_collection(connection, movies, vectors, [1] * len(movies), "f2")

    too_long = [Movie(1, "x" * 70_000, ("Drama",))]
    unchanged = "cannot build the collection; the current one, if any, is unchanged"
    fail_to_build(unchanged, too_long, random_vectors(1))
    assert connection.client.list_collections() == []
    for count in (5, 8):
        build(connection, count, f"f{count}")
        assert len(MovieCollection(connection, f"f{count}").titles()) == count
        with pytest.raises(
            MilvusError, match=r"there are no movies of this model here; run: python infer_milvus.py -i$"
        ):
            MovieCollection(connection, "f1")
    fail_to_build(unchanged, too_long, random_vectors(1))
    fail_to_build(f"searches miss movies|{unchanged}", random_movies(5), np.full((5, DIM), np.nan, np.float32))
    assert len(MovieCollection(connection, "f8").titles()) == 8
    assert len(connection.client.list_collections()) == 1


def test_searches_that_miss_movies_are_noticed(films):
    """Here the vectors that are stored are those of other movies."""
    connection = films.collection.connection
    name, one_wrong = describe_current(connection)["collection_name"], films.vectors.copy()
    one_wrong[7] = 9 * random_vectors(1, seed=9)
    check_searches(connection, name, films.movies, films.vectors)
    for vectors in (one_wrong, np.roll(films.vectors, 1, axis=0)):
        with pytest.raises(MilvusError, match=r": searches miss movies; run: python infer_milvus.py -i$"):
            check_searches(connection, name, films.movies, vectors)
    with pytest.raises(MilvusError, match=": 1,200 of 1,199 movies arrived"):
        check_searches(connection, name, films.movies[1:], films.vectors[1:])


def test_lost_rows_are_noticed(connection):
    with pytest.raises(MilvusError, match=r"there are no movies of this model here; run: python infer_milvus.py -i$"):
        MovieCollection(connection, "f1")
    build(connection, 5)
    connection.client.delete(ALIAS, ids=[4])
    with pytest.raises(MilvusError, match=r"4 movies instead of 5; run: python infer_milvus.py -i$"):
        MovieCollection(connection, "f1")


def create_foreign_collection(connection, name):
    """Creates a collection as another program might; without an index, for which pymilvus waits half a second."""
    schema = connection.client.create_schema()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=4)
    connection.client.create_collection(name, schema=schema)


def test_collections_that_killed_builds_left(connection):
    """A later build drops them; others are left alone, whatever their names."""
    foreign, unfinished = f"{ALIAS}_backup_2024", f"{ALIAS}_0123456789ab"
    build(connection, 5)
    for name in (foreign, unfinished):
        create_foreign_collection(connection, name)
    build(connection, 5)
    assert set(connection.client.list_collections()) == {foreign, describe_current(connection)["collection_name"]}


def test_foreign_collection_of_our_name_is_not_touched(connection):
    create_foreign_collection(connection, ALIAS)
    with pytest.raises(MilvusError, match="a foreign collection has the name recommender_demo; rename or drop it"):
        build(connection, 5)
    assert connection.client.list_collections() == [ALIAS]


def test_few_movies_with_equal_vectors(connection):
    """All are found, though a search for one's own vector may return its twin."""
    vectors = np.repeat(random_vectors(2), 2, axis=0)
    build_collection(connection, random_movies(4), vectors, [1] * 4, "f1")
    collection = MovieCollection(connection, "f1")
    assert sorted(collection.search(random_vectors(1), 10)[0]) == [1, 4, 7, 10]
    assert count_movies(collection.connection, ALIAS, is_in("title", ["Film 0"])) == 1
