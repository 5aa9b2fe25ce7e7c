import time

import numpy as np
import pytest

from recommender.data.movielens import Movie
from recommender.evaluation.metrics import exact_top_k
from recommender.index.build import Catalogue, build_index
from recommender.index.collection import ALIAS, LABEL, Label, MovieIndex
from recommender.index.connection import Milvus, MilvusError
from recommender.inference.recommend import find_movie
from recommender.inference.titles import Title


def unit_vectors(count, seed=0, size=16):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def movies(count):
    return [Movie(3 * row + 1, f"Film {row} (19{row % 100:02})", ("Drama", "War")) for row in range(count)]


def connect(place):
    return Milvus(**place, create=True)


@pytest.fixture
def milvus(new_place):
    with connect(new_place()) as milvus:
        yield milvus


def build(milvus, catalogue, vectors, fingerprint, num_ratings=None, **options):
    num_ratings = [100] * len(catalogue) if num_ratings is None else num_ratings
    build_index(milvus, Catalogue(catalogue, vectors, num_ratings, fingerprint), **options)


def ids(hits):
    return [hit.movie_id for hit in hits]


def collections(milvus):
    return milvus.client.list_collections()


def test_search_equals_exact_search(milvus):
    """Also with vectors of any length, of which one need not be its own nearest."""
    lengths = np.random.default_rng(2).uniform(0.2, 3, (2345, 1)).astype(np.float32)
    catalogue, vectors, queries = movies(2345), lengths * unit_vectors(2345), 4 * unit_vectors(30, seed=1)
    build(milvus, catalogue, vectors, "f1")
    index = MovieIndex(milvus, "f1", 16)
    assert index.count == 2345
    rows, products = exact_top_k(queries, vectors, 10)
    for hits, expected, similarity in zip(index.search(queries, 10), rows, products, strict=True):
        assert ids(hits) == [catalogue[row].movie_id for row in expected]
        np.testing.assert_allclose([hit.product for hit in hits], similarity, atol=1e-4)


def test_approximate_index_finds_nearly_all(milvus):
    catalogue, vectors, queries = movies(2345), unit_vectors(2345), unit_vectors(30, seed=1)
    if not milvus.is_server:
        with pytest.raises(MilvusError, match="HNSW on Milvus Lite misses movies"):
            build(milvus, catalogue, vectors, "f1", index_type="HNSW")
        return
    build(milvus, catalogue, vectors, "f1", index_type="HNSW")
    index = MovieIndex(milvus, "f1", 16)
    rows, _ = exact_top_k(queries, vectors, 10)
    found = index.search(queries, 10)
    assert [len(hits) for hits in found] == [10] * 30
    best = [{catalogue[row].movie_id for row in query} for query in rows]
    assert np.mean([len(expected & set(ids(hits))) for expected, hits in zip(best, found, strict=True)]) >= 9.9
    assert [ids(hits) for hits in index.search(queries[:2], 10, "id == 301")] == [[301], [301]]


def test_fewer_movies_than_asked_for(milvus):
    build(milvus, movies(3), unit_vectors(3), "f1")
    assert len(MovieIndex(milvus, "f1", 16).search(unit_vectors(1), 10)[0]) == 3


def test_movies_with_equal_vectors_are_found(milvus):
    build(milvus, movies(4), np.repeat(unit_vectors(2), 2, axis=0), "f1")
    assert MovieIndex(milvus, "f1", 16).count == 4


def test_titles_are_stored_literally(milvus):
    titles = ["a'b\"c", "back\\slash", "50% off", 'id > 0 or title == "x"', "😀" * 500, "年 Léon"]
    build(milvus, [Movie(row, title, ("Drama",)) for row, title in enumerate(titles)], unit_vectors(6), "f1")
    index = MovieIndex(milvus, "f1", 16)
    assert [index.fetch([row])[row].movie.title for row in range(6)] == titles
    assert sorted(index.titles()) == [Title(row, title, 100) for row, title in enumerate(titles)]


ALPHABETS = [
    "Æon Flux (2005)",
    "七人の侍 (1954)",
    "기생충 (2019)",
    "Левиафан (2014)",
    "Ζορμπάς (1964)",
    "ואלס עם באשיר (2008)",
]


def test_titles_in_any_alphabet_are_found(milvus):
    build(milvus, [Movie(row, title, ("Drama",)) for row, title in enumerate(ALPHABETS)], unit_vectors(6), "f1")
    index = MovieIndex(milvus, "f1", 16)
    for row, title in enumerate(ALPHABETS):
        assert find_movie(index, title).movie_id == row
        assert find_movie(index, title[:-7]).movie_id == row


def test_rebuild_replaces_and_leaves_one_collection(milvus):
    for count in (5, 8):
        build(milvus, movies(count), unit_vectors(count), f"f{count}")
        assert MovieIndex(milvus, f"f{count}", 16).count == count
    assert len(collections(milvus)) == 1


def test_refused_vectors_leave_the_old_collection(milvus):
    build(milvus, movies(5), unit_vectors(5), "f1")
    for bad in (np.nan, 0.0):
        vectors = unit_vectors(6)
        vectors[3] = bad
        with pytest.raises(MilvusError, match=r"zero or not a number; run: python train.py"):
            build(milvus, movies(6), vectors, "f2")
    assert MovieIndex(milvus, "f1", 16).count == 5


def test_failed_insert_leaves_the_old_collection(milvus):
    build(milvus, movies(5), unit_vectors(5), "f1")
    too_long = [Movie(1, "x" * 70_000, ("Drama",))]
    with pytest.raises(MilvusError, match="the one before, if any, is untouched"):
        build(milvus, too_long, unit_vectors(1), "f2")
    assert MovieIndex(milvus, "f1", 16).count == 5
    half_built = set(collections(milvus))
    build(milvus, movies(4), unit_vectors(4), "f3")
    left = len(collections(milvus))
    assert left == (2 if milvus.is_server else 1), f"on a server somebody may be building it: {half_built}"


def test_other_collections_are_left_alone(milvus):
    """Whatever their names, unless this program has marked them as its own and nobody can be building them."""
    backup, abandoned, in_the_making = (f"{ALIAS}_{name}" for name in ("backup_2024", "abandoned", "in_the_making"))
    for name, age in ((backup, None), (abandoned, 100 * 3600), (in_the_making, 0)):
        milvus.client.create_collection(name, dimension=4)
        if age is not None:
            label = Label("f0", 0, [], time.time() - age, {})
            milvus.client.alter_collection_properties(name, {LABEL: label.write()})
    build(milvus, movies(5), unit_vectors(5), "f1")
    kept = {backup, in_the_making} if milvus.is_server else {backup}
    assert {name for name in collections(milvus) if name.startswith(f"{ALIAS}_") and name[-1] in "4dg"} >= kept
    assert abandoned not in collections(milvus)


def test_nothing_indexed_yet(milvus):
    with pytest.raises(MilvusError, match=r"there are no movies here yet; run: python infer_milvus.py -i$"):
        MovieIndex(milvus, "f1", 16)


def test_collection_of_another_model(milvus):
    build(milvus, movies(5), unit_vectors(5), "f1")
    for fingerprint, size in (("f2", 16), ("f1", 8)):
        with pytest.raises(MilvusError, match=r"another model; run: python infer_milvus.py -i$"):
            MovieIndex(milvus, fingerprint, size)


def test_lost_rows_are_noticed(milvus):
    build(milvus, movies(5), unit_vectors(5), "f1")
    milvus.client.delete(ALIAS, ids=[4])
    with pytest.raises(MilvusError, match=r"4 movies instead of 5.*; run: python infer_milvus.py -i$"):
        MovieIndex(milvus, "f1", 16)


def test_foreign_collection_is_not_touched(milvus):
    milvus.client.create_collection(ALIAS, dimension=4)
    with pytest.raises(MilvusError, match="foreign collection"):
        build(milvus, movies(5), unit_vectors(5), "f1")
    assert collections(milvus) == [ALIAS]


@pytest.mark.server
def test_replaced_collection_is_read_no_more(server):
    """An index that was opened before is answered by the successor, if that is of the same model."""
    with connect(server.new_place()) as milvus:
        build(milvus, movies(5), unit_vectors(5), "f1")
        index = MovieIndex(milvus, "f1", 16)
        build(milvus, movies(8), unit_vectors(8), "f1")
        assert len(index.search(unit_vectors(1), 10)[0]) == 8
        build(milvus, movies(8), unit_vectors(8), "f2")
        with pytest.raises(MilvusError, match="another model"):
            index.search(unit_vectors(1), 10)


@pytest.mark.parametrize("leave_out", [[], [()], [(), (), ()]])
def test_misuse_is_no_fault_of_milvus(filled, leave_out):
    with pytest.raises(ValueError, match="2 vectors, "):
        filled.search(unit_vectors(2), 3, leave_out=leave_out)


def random_catalogue():
    """500 films over all decades and genres, some without a year, and how often each was rated."""
    random = np.random.default_rng(2)
    genres = ["Comedy", "Drama", "Film-Noir", "War"]
    catalogue = [
        Movie(
            row + 1,
            f"Film {row} ({random.integers(1920, 2001)})" if row % 9 else f"Film {row}",
            tuple(random.choice(genres, random.integers(1, 4), replace=False).tolist()),
        )
        for row in range(500)
    ]
    return catalogue, random.integers(0, 100, 500)


@pytest.fixture(scope="module")
def filled(new_place):
    """An index of `random_catalogue`."""
    with connect(new_place()) as milvus:
        catalogue, num_ratings = random_catalogue()
        build(milvus, catalogue, unit_vectors(500), "f1", num_ratings)
        yield MovieIndex(milvus, "f1", 16)


FILTERS = [
    {},
    {"genres": ["War"]},
    {"genres": ["War", "Film-Noir"]},
    {"years": (1990, 1999)},
    {"years": (1990, None)},
    {"years": (None, 1930)},
    {"min_ratings": 50},
    {"genres": ["Comedy"], "years": (1950, 1960), "min_ratings": 20},
    {"years": (2050, None)},
]


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
@pytest.mark.parametrize("leave_out", [0, 3, 120])
def test_filters_agree_with_a_naive_loop(filled, wanted, leave_out):
    vectors, queries = unit_vectors(500), unit_vectors(4, seed=1)
    catalogue, num_ratings = random_catalogue()
    random = np.random.default_rng(3)
    hidden = [set(random.choice(500, leave_out, replace=False).tolist()) for _ in queries]
    first, last = wanted.get("years", (None, None))
    for query, hits, left_out in zip(
        queries, filled.search(queries, 10, filled.where(**wanted), hidden), hidden, strict=True
    ):
        expected = [
            catalogue[row].movie_id
            for row in np.argsort(-(vectors @ query))
            if catalogue[row].movie_id not in left_out
            and (not wanted.get("genres") or set(wanted["genres"]) & set(catalogue[row].genres))
            and (first is None or (catalogue[row].year or 0) >= first)
            and (last is None or 0 < (catalogue[row].year or 0) <= last)
            and num_ratings[row] >= wanted.get("min_ratings", 0)
        ]
        assert ids(hits) == expected[:10]


def test_fetch(filled):
    vectors = unit_vectors(500)
    catalogue, num_ratings = random_catalogue()
    for wanted in ([7, 1, 7], range(1, 501), []):
        stored = filled.fetch(wanted)
        assert stored.keys() == set(wanted)
        for movie_id, (movie, count, vector) in stored.items():
            assert (movie, count) == (catalogue[movie_id - 1], num_ratings[movie_id - 1])
            np.testing.assert_allclose(vector, vectors[movie_id - 1], atol=1e-6)
    with pytest.raises(MilvusError, match=r"no movie has the id 0$"):
        filled.fetch([1, 0])


def test_genres(filled):
    assert filled.genres() == ["Comedy", "Drama", "Film-Noir", "War"]


def test_two_spellings_of_a_genre_are_one(milvus):
    catalogue = [
        Movie(1, "A", ("Drama",)),
        Movie(2, "B", ("drama", "War")),
        Movie(3, "C", ("DRAMA",)),
        Movie(4, "D", ("War",)),
    ]
    build(milvus, catalogue, unit_vectors(4), "f1")
    index = MovieIndex(milvus, "f1", 16)
    assert [genre.casefold() for genre in index.genres()] == ["drama", "war"]
    for spelling in ("Drama", "drama"):
        assert sorted(ids(index.search(unit_vectors(1), 4, index.where(genres=[spelling]))[0])) == [1, 2, 3]


def test_unknown_genre_names_the_known_ones(filled):
    with pytest.raises(MilvusError, match=r"no genre 'War\" or \"'; choose one of: Comedy, Drama, Film-Noir, War"):
        filled.where(genres=["War", 'War" or "'])


def test_count_where(filled):
    catalogue, num_ratings = random_catalogue()
    wars = [row for row, movie in enumerate(catalogue) if "War" in movie.genres]
    assert filled.count_where(filled.where()) == 500
    assert filled.count_where(filled.where(["War"])) == len(wars)
    assert filled.count_where(filled.where(["War"], min_ratings=50)) == sum(num_ratings[row] >= 50 for row in wars)
