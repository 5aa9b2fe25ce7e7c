"""The movie collection on Milvus Lite and on a server: build, search, filters, reads, swapped alias."""

import dataclasses
import time

import numpy as np
import pytest

from recommender.movielens.catalogue import Movie
from recommender.films.titles import title_key
from recommender.milvus.build import Catalogue, _check_recall, build_collection
from recommender.milvus.collection import ALIAS, MovieCollection, current_collection
from recommender.milvus.connection import DataType, MilvusConnection, MilvusError
from recommender.milvus.filters import MovieFilter, all_of, is_in
from recommender.milvus.metadata import METADATA_PROPERTY, CollectionMetadata
from recommender.films.matching import Title
from recommender.scoring import exact_top_k


def unit_vectors(count, seed=0, dim=16):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def movies(count):
    return [Movie(3 * row + 1, f"Film {row} (19{row % 100:02})", ("Drama", "War")) for row in range(count)]


def connect(options):
    return MilvusConnection(**options, create=True)


@pytest.fixture
def connection(new_place):
    with connect(new_place()) as connection:
        yield connection


def build(connection, catalogue, vectors, fingerprint, num_ratings=None, **options):
    num_ratings = [100] * len(catalogue) if num_ratings is None else num_ratings
    build_collection(connection, Catalogue(catalogue, vectors, num_ratings, fingerprint), **options)


def open_collection(connection, fingerprint="f1", dim=16):
    return MovieCollection(connection, fingerprint, dim)


def ids(hits):
    return [hit.movie_id for hit in hits]


def collection_names(connection):
    return connection.client.list_collections()


@pytest.fixture(scope="module")
def large_collection(new_place):
    """A collection that takes several messages to read, with vectors of any length."""
    lengths = np.random.default_rng(2).uniform(0.2, 3, (2345, 1)).astype(np.float32)
    catalogue, vectors = movies(2345), lengths * unit_vectors(2345)
    with connect(new_place()) as connection:
        build(connection, catalogue, vectors, "f1")
        yield open_collection(connection), catalogue, vectors


def test_search_equals_exact_search(large_collection):
    """Also with vectors of any length, of which one need not be its own nearest."""
    (collection, catalogue, vectors), queries = large_collection, 4 * unit_vectors(30, seed=1)
    assert collection.num_movies == 2345
    rows, products = exact_top_k(queries, vectors, 10)
    for hits, expected, product in zip(collection.search(queries, 10), rows, products, strict=True):
        assert ids(hits) == [catalogue[row].movie_id for row in expected]
        np.testing.assert_allclose([hit.product for hit in hits], product, atol=1e-4)


def test_reads_of_several_messages(large_collection):
    collection, catalogue, _ = large_collection
    movie_ids = [movie.movie_id for movie in catalogue]
    assert {key: stored.movie for key, stored in collection.fetch(movie_ids).items()} == dict(
        zip(movie_ids, catalogue, strict=True)
    )
    assert sorted(title.movie_id for title in collection.titles_with_ids(movie_ids)) == movie_ids
    assert sorted(title.movie_id for title in collection.titles()) == movie_ids
    assert collection.movie_ids_by("id", movie_ids) == dict(zip(movie_ids, movie_ids, strict=True))


def test_approximate_index_finds_nearly_all(connection):
    catalogue, vectors, queries = movies(2345), unit_vectors(2345), unit_vectors(30, seed=1)
    if not connection.is_server:
        with pytest.raises(MilvusError, match="HNSW on Milvus Lite misses movies; it needs a server"):
            build(connection, catalogue, vectors, "f1", index_type="HNSW")
        return
    build(connection, catalogue, vectors, "f1", index_type="HNSW")
    collection = open_collection(connection)
    rows, _ = exact_top_k(queries, vectors, 10)
    found = collection.search(queries, 10)
    assert [len(hits) for hits in found] == [10] * 30
    best = [{catalogue[row].movie_id for row in query} for query in rows]
    assert np.mean([len(expected & set(ids(hits))) for expected, hits in zip(best, found, strict=True)]) >= 9.9
    assert [ids(hits) for hits in collection.search(queries[:2], 10, "id == 301")] == [[301], [301]]


def test_few_movies_with_equal_vectors(connection):
    """All are found, though a search for one's own vector may return its twin; fewer than asked for are no error."""
    build(connection, movies(4), np.repeat(unit_vectors(2), 2, axis=0), "f1")
    assert sorted(ids(open_collection(connection).search(unit_vectors(1), 10)[0])) == [1, 4, 7, 10]


def test_rebuild_replaces_and_leaves_one_collection(connection):
    for count in (5, 8):
        build(connection, movies(count), unit_vectors(count), f"f{count}")
        assert open_collection(connection, f"f{count}").num_movies == count
    assert len(collection_names(connection)) == 1


def test_refused_vectors_leave_the_old_collection(connection):
    build(connection, movies(5), unit_vectors(5), "f1")
    for bad in (np.nan, np.inf, 0.0):
        vectors = unit_vectors(6)
        vectors[3] = bad
        with pytest.raises(MilvusError, match=r"a vector is zero or not finite; run: python train.py$"):
            build(connection, movies(6), vectors, "f2")
    assert open_collection(connection).num_movies == 5
    assert len(collection_names(connection)) == 1


TOO_LONG = [Movie(1, "x" * 70_000, ("Drama",))]
UNCHANGED = "cannot build the collection; the current one, if any, is unchanged"


def test_failed_build_drops_its_own_collection(connection):
    """Milvus refuses a title of 70,000 characters after the collection has been created."""
    with pytest.raises(MilvusError, match=UNCHANGED):
        build(connection, TOO_LONG, unit_vectors(1), "f2")
    assert collection_names(connection) == []
    build(connection, movies(5), unit_vectors(5), "f1")
    [current] = collection_names(connection)
    with pytest.raises(MilvusError, match=UNCHANGED):
        build(connection, TOO_LONG, unit_vectors(1), "f2")
    assert collection_names(connection) == [current]
    assert open_collection(connection).num_movies == 5


def test_build_that_loses_movies_is_refused(tmp_path):
    """Milvus Lite keeps one of two rows with the same id."""
    with connect({"uri": str(tmp_path / "movies.db")}) as connection:
        build(connection, movies(5), unit_vectors(5), "f1")
        with pytest.raises(MilvusError, match=r": 4 of 5 movies arrived; run: python infer_milvus.py -i$"):
            build(connection, [*movies(4), movies(1)[0]], unit_vectors(5), "f2")
        assert open_collection(connection).num_movies == 5
        assert len(collection_names(connection)) == 1


def test_collection_whose_searches_miss_is_refused(random_collection):
    """As with an index that is not exact: here the vectors that are stored are those of other movies."""
    catalogue, num_ratings = random_catalogue()
    connection, name = random_collection.connection, current_collection(random_collection.connection)
    stored = Catalogue(catalogue, unit_vectors(500), num_ratings, "f1")
    _check_recall(connection, name, stored, 1.0)
    other = stored._replace(vectors=np.roll(stored.vectors, 1, axis=0))
    with pytest.raises(MilvusError, match=r": searches miss \d+ movies of 500; run: python infer_milvus.py -i$"):
        _check_recall(connection, name, other, 0.99)
    one_wrong = stored.vectors.copy()
    one_wrong[7] = unit_vectors(1, seed=9)
    _check_recall(connection, name, stored._replace(vectors=one_wrong), 0.99)
    with pytest.raises(MilvusError, match=": searches miss 1 movie of 500"):
        _check_recall(connection, name, stored._replace(vectors=one_wrong), 1.0)


def create_foreign_collection(connection, name):
    """Creates a collection as another program might; without an index, for which pymilvus waits half a second."""
    schema = connection.client.create_schema()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=4)
    connection.client.create_collection(name, schema=schema)


def test_other_collections_are_left_alone(connection):
    """Whatever their names, unless this program has marked them as its own and nobody can be building them."""
    backup, abandoned, unfinished = (f"{ALIAS}_{name}" for name in ("backup_2024", "abandoned", "unfinished"))
    for name, age in ((backup, None), (abandoned, 100 * 3600), (unfinished, 0)):
        create_foreign_collection(connection, name)
        if age is not None:
            metadata = CollectionMetadata("f0", 0, [], time.time() - age, False, {})
            connection.client.alter_collection_properties(name, {METADATA_PROPERTY: metadata.to_property()})
    build(connection, movies(5), unit_vectors(5), "f1")
    names = set(collection_names(connection))
    kept = {backup, unfinished} if connection.is_server else {backup}
    assert names & {backup, abandoned, unfinished} == kept
    assert len(names) == len(kept) + 1


def test_no_collection_yet(connection):
    with pytest.raises(MilvusError, match=r"there are no movies here yet; run: python infer_milvus.py -i$"):
        open_collection(connection)


def test_collection_of_another_model(connection):
    """Another fingerprint, another dimension, no metadata, damaged metadata."""
    message = r"the collection was built with a different model; run: python infer_milvus.py -i$"
    build(connection, movies(5), unit_vectors(5), "f1")
    for fingerprint, dim in (("f2", 16), ("f1", 8)):
        with pytest.raises(MilvusError, match=message):
            open_collection(connection, fingerprint, dim)
    assert open_collection(connection).num_movies == 5
    for damaged in ("", "00000000[]", "x"):
        connection.client.alter_collection_properties(collection_names(connection)[0], {METADATA_PROPERTY: damaged})
        with pytest.raises(MilvusError, match=message):
            open_collection(connection)


def test_lost_rows_are_noticed(connection):
    build(connection, movies(5), unit_vectors(5), "f1")
    connection.client.delete(ALIAS, ids=[4])
    with pytest.raises(MilvusError, match=r"4 movies instead of 5.*; run: python infer_milvus.py -i$"):
        open_collection(connection)


def test_foreign_collection_is_not_touched(connection):
    create_foreign_collection(connection, ALIAS)
    with pytest.raises(MilvusError, match="foreign collection"):
        build(connection, movies(5), unit_vectors(5), "f1")
    assert collection_names(connection) == [ALIAS]


@pytest.mark.server
def test_replaced_collection_is_not_read(server):
    """A collection that was opened before is answered by its successor, if that is of the same model."""
    with connect(server.new_place()) as connection:
        build(connection, movies(5), unit_vectors(5), "f1")
        collection = open_collection(connection)
        assert len(collection.fetch(range(1, 30))) == 5
        build(connection, movies(8), unit_vectors(8), "f1")
        assert len(collection.search(unit_vectors(1), 10)[0]) == 8
        assert len(collection.fetch(range(1, 30))) == 8
        build(connection, movies(9), -unit_vectors(9), "f1")
        stored = collection.fetch(range(1, 30))
        found = [stored[movie.movie_id].vector for movie in movies(9)]
        np.testing.assert_allclose(found, -unit_vectors(9), atol=1e-6, err_msg="read before and read again")
        build(connection, movies(8), unit_vectors(8), "f2")
        with pytest.raises(MilvusError, match="a different model"):
            collection.search(unit_vectors(1), 10)


@pytest.mark.parametrize("exclude_ids", [[], [()], [(), (), ()]])
def test_wrong_number_of_excluded_sets(random_collection, exclude_ids):
    with pytest.raises(ValueError, match="2 finite vectors expected, "):
        random_collection.search(unit_vectors(2), 3, exclude_ids=exclude_ids)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_finite(random_collection, bad):
    with pytest.raises(ValueError, match="1 finite vectors expected"):
        random_collection.search(np.full((1, 16), bad, np.float32), 3)


def random_catalogue():
    """Returns 500 films over all decades and genres, some without year or links, and their numbers of ratings."""
    random = np.random.default_rng(2)
    genres = ["Comedy", "Drama", "Film-Noir", "War"]
    catalogue = [
        Movie(
            row + 1,
            f"Film {row} ({random.integers(1920, 2001)})" if row % 9 else f"Film {row}",
            tuple(random.choice(genres, random.integers(1, 4), replace=False).tolist()),
            f"tt{7000 + row:07}" if row % 3 else "",
            90_000 + row if row % 2 else 0,
        )
        for row in range(500)
    ]
    return catalogue, random.integers(0, 100, 500)


@pytest.fixture(scope="module")
def random_collection(new_place):
    """A collection of `random_catalogue`."""
    with connect(new_place()) as connection:
        catalogue, num_ratings = random_catalogue()
        build(connection, catalogue, unit_vectors(500), "f1", num_ratings)
        yield open_collection(connection)


FILTERS = [
    MovieFilter(),
    MovieFilter(("War",)),
    MovieFilter(("War", "Film-Noir")),
    MovieFilter(first_year=1990, last_year=1999),
    MovieFilter(first_year=1990),
    MovieFilter(last_year=1930),
    MovieFilter(min_ratings=50),
    MovieFilter(("Comedy",), (), 1950, 1960, 20),
    MovieFilter(first_year=2050),
    MovieFilter(max_ratings=20),
    MovieFilter(min_ratings=10, max_ratings=20),
    MovieFilter(not_genres=("Comedy",)),
    MovieFilter(("War", "Film-Noir"), not_genres=("Drama", "Comedy")),
    MovieFilter(among=(3, 7, 500, 99_999)),
    MovieFilter(("Comedy",), first_year=1950, among=tuple(range(1, 200))),
    MovieFilter(among=()),
]


def admits(movie_filter, movie, num_ratings):
    """Returns what a filter means, in Python."""
    has_span = movie_filter.first_year is not None or movie_filter.last_year is not None
    return (
        (not movie_filter.genres or bool(set(movie_filter.genres) & set(movie.genres)))
        and (not has_span or movie.year is not None)
        and (movie.year or 0) >= (movie_filter.first_year or 0)
        and (movie.year or 0) <= (movie_filter.last_year or 9999)
        and (movie_filter.min_ratings or 0) <= num_ratings <= (movie_filter.max_ratings or 10**9)
        and not set(movie_filter.not_genres) & set(movie.genres)
        and (movie_filter.among is None or movie.movie_id in movie_filter.among)
    )


@pytest.mark.parametrize("movie_filter", FILTERS, ids=str)
@pytest.mark.parametrize("num_excluded", [0, 3, 120])
@pytest.mark.parametrize("num_queries", [1, 4])
def test_filters_agree_with_a_naive_loop(random_collection, movie_filter, num_excluded, num_queries):
    vectors, queries = unit_vectors(500), unit_vectors(num_queries, seed=1)
    catalogue, num_ratings = random_catalogue()
    random = np.random.default_rng(3)
    exclude_ids = [set(random.choice(500, num_excluded, replace=False).tolist()) for _ in queries]
    found = random_collection.search(queries, 10, random_collection.build_filter(movie_filter), exclude_ids)
    for query, hits, excluded in zip(queries, found, exclude_ids, strict=True):
        expected = [
            catalogue[row].movie_id
            for row in np.argsort(-(vectors @ query))
            if catalogue[row].movie_id not in excluded and admits(movie_filter, catalogue[row], num_ratings[row])
        ]
        assert ids(hits) == expected[:10]


@pytest.mark.parametrize("num_excluded", [50, 400, 495])
def test_movies_are_found_behind_many_excluded_ones(random_collection, num_excluded):
    """The nearest are excluded, of one query all the others: more hits are fetched until there are enough."""
    vectors, queries = unit_vectors(500), unit_vectors(3, seed=4)
    ranked = np.argsort(-(queries @ vectors.T)) + 1
    exclude_ids = [set(ranked[0, :num_excluded].tolist()), set(), set(ranked[2, :num_excluded].tolist())]
    found = random_collection.search(queries, 10, "", exclude_ids)
    expected = [ranked[0, num_excluded:][:10], ranked[1, :10], ranked[2, num_excluded:][:10]]
    assert [ids(hits) for hits in found] == [movie_ids.tolist() for movie_ids in expected]


@pytest.mark.parametrize("movie_filter", FILTERS, ids=str)
def test_counts(random_collection, movie_filter):
    pairs = list(zip(*random_catalogue(), strict=True))
    expected = sum(admits(movie_filter, *pair) for pair in pairs)
    assert random_collection.count(random_collection.build_filter(movie_filter)) == expected
    without_minimum = dataclasses.replace(movie_filter, min_ratings=0)
    below = [pair[0].movie_id for pair in pairs if admits(without_minimum, *pair) and not admits(movie_filter, *pair)]
    assert random_collection.count_below_min_ratings(movie_filter) == len(below)
    exclude_ids = {*below[::3], 99_998}
    assert random_collection.count_below_min_ratings(movie_filter, exclude_ids) == len(set(below) - exclude_ids)


def test_titles_of_the_training_data_are_not_read_from_milvus(connection):
    """Only where the collection has the same ones."""
    catalogue = movies(5)
    training = [Title(movie.movie_id, movie.title, 9).with_names() for movie in catalogue]
    for has_training_titles in (True, False):
        built = Catalogue(catalogue, unit_vectors(5), [1] * 5, "f1", has_training_titles)
        build_collection(connection, built)
        collection = MovieCollection(connection, "f1", 16, load_training_titles=lambda: training)
        assert {title.num_ratings for title in collection.titles()} == {9 if has_training_titles else 1}
        [found] = collection.titles_with_keys([title_key(catalogue[2].title), "nosuchkey"])
        assert (found.movie_id, found.num_ratings) == (catalogue[2].movie_id, 9 if has_training_titles else 1)


def test_fetch(random_collection):
    vectors = unit_vectors(500)
    catalogue, num_ratings = random_catalogue()
    for movie_ids in ([7, 1, 7], range(1, 501), []):
        stored = open_collection(random_collection.connection).fetch(movie_ids)
        assert stored.keys() == set(movie_ids)
        for movie_id, (movie, count, vector) in stored.items():
            assert (movie, count) == (catalogue[movie_id - 1], num_ratings[movie_id - 1])
            np.testing.assert_allclose(vector, vectors[movie_id - 1], atol=1e-6)


def test_ids_that_are_not_there_are_left_out(random_collection):
    assert random_collection.fetch([0, 1, 501]).keys() == {1}
    assert random_collection.fetch_all([1, 2]).keys() == {1, 2}
    with pytest.raises(MilvusError, match="movie 501 is not in the collection"):
        random_collection.fetch_all([1, 502, 501])
    assert [title.movie_id for title in random_collection.titles_with_ids([0, 2, 501])] == [2]


def test_movies_by_their_ids_elsewhere(random_collection):
    catalogue, _ = random_catalogue()
    for field in ("imdb_id", "tmdb_id"):
        expected = {getattr(movie, field): movie.movie_id for movie in catalogue if getattr(movie, field)}
        assert 200 < len(expected) < 500
        assert random_collection.movie_ids_by(field, expected) == expected
        value = next(iter(expected))
        assert random_collection.movie_ids_by(field, [value, value]) == {value: expected[value]}
        assert random_collection.movie_ids_by(field, []) == {}
    assert random_collection.movie_ids_by("imdb_id", ["tt9999999", 'x"] or id > 0 or imdb_id in ["']) == {}


def test_titles(random_collection):
    catalogue, num_ratings = random_catalogue()
    expected = [Title(movie.movie_id, movie.title, count) for movie, count in zip(catalogue, num_ratings, strict=True)]
    assert sorted(random_collection.titles()) == expected
    assert random_collection.titles_with_ids([3, 3]) == [expected[2]]
    assert sorted(random_collection.titles_with_keys(["film0", "film7", "none"])) == [expected[0], expected[7]]
    many = [f"film{number}" for number in reversed(range(3000))]
    assert sorted(random_collection.titles_with_keys(many)) == expected, "in several messages"


def test_genres(random_collection):
    assert random_collection.genres() == ["Comedy", "Drama", "Film-Noir", "War"]


@pytest.mark.parametrize(
    ("text", "genre"),
    [("War", "War"), ("war", "War"), ("film noir", "Film-Noir"), ("FILMNOIR", "Film-Noir"), ("comdy", "Comedy")],
)
def test_genres_are_found_in_any_spelling(random_collection, text, genre):
    assert random_collection.resolve_genre(text) == genre
    filters = (random_collection.build_filter(MovieFilter((name,))) for name in (text, genre))
    assert next(filters) == next(filters)


@pytest.mark.parametrize("text", ['War" or "', "", "Horror", "%"])
def test_unknown_genre_names_the_known_ones(random_collection, text):
    with pytest.raises(MilvusError) as caught:
        random_collection.build_filter(MovieFilter(("War", text)))
    assert str(caught.value) == f"no genre {text!r}; choose one of: Comedy, Drama, Film-Noir, War"


def test_two_spellings_of_a_genre_are_one(connection):
    catalogue = [
        Movie(1, "A", ("Sci-Fi",)),
        Movie(2, "B", ("sci fi", "War")),
        Movie(3, "C", ("SCI-FI",)),
        Movie(4, "D", ("War",)),
    ]
    build(connection, catalogue, unit_vectors(4), "f1")
    collection = open_collection(connection)
    assert [genre.casefold().replace("-", " ") for genre in collection.genres()] == ["sci fi", "war"]
    for spelling in ("Sci-Fi", "scifi"):
        condition = collection.build_filter(MovieFilter((spelling,)))
        assert sorted(ids(collection.search(unit_vectors(1), 4, condition)[0])) == [1, 2, 3]


def test_conditions_can_be_joined(random_collection):
    condition = all_of(is_in("id", [1, 2, 3]), "", random_collection.build_filter(MovieFilter(min_ratings=0)))
    assert random_collection.count(condition) == 3
