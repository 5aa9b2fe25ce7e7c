import numpy as np
import pytest

from recommender.evaluation import exact_top_k
from recommender.movie_index import ALIAS, MovieIndex, MovieIndexError
from recommender.movielens import Movie


def unit_vectors(count, seed=0, size=16):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def movies(count):
    return [Movie(3 * row + 1, f"Film {row} (19{row % 100:02})", ("Drama", "War")) for row in range(count)]


@pytest.fixture
def index(tmp_path):
    index = MovieIndex(str(tmp_path / "movies.db"))
    yield index
    index.close()


def collections(index):
    return index._client.list_collections()


def test_search_equals_exact_search(index):
    catalogue, vectors, queries = movies(2345), unit_vectors(2345), unit_vectors(30, seed=1)
    index.build(catalogue, vectors, "f1")
    assert index.open("f1") == 2345
    rows, products = exact_top_k(queries, vectors, 10)
    for hits, expected, similarity in zip(index.search(queries, 10), rows, products, strict=True):
        assert [hit.movie_id for hit in hits] == [catalogue[row].movie_id for row in expected]
        assert [hit.title for hit in hits] == [catalogue[row].title for row in expected]
        np.testing.assert_allclose([hit.similarity for hit in hits], similarity, atol=1e-5)


def test_fewer_movies_than_asked_for(index):
    index.build(movies(3), unit_vectors(3), "f1")
    index.open("f1")
    assert len(index.search(unit_vectors(1), 10)[0]) == 3


def test_movies_with_equal_vectors_are_found(index):
    index.build(movies(4), np.repeat(unit_vectors(2), 2, axis=0), "f1")
    assert index.open("f1") == 4


@pytest.mark.parametrize("title", ["a'b\"c", "back\\slash", "50% off", 'id > 0 or title == "x"', "😀" * 500, "年 Léon"])
def test_titles_are_stored_literally(index, title):
    index.build([Movie(1, title, ("Drama",))], unit_vectors(1), "f1")
    index.open("f1")
    assert index.search(unit_vectors(1), 1)[0][0].title == title


def test_rebuild_replaces_and_leaves_one_collection(index):
    for count in (5, 8):
        index.build(movies(count), unit_vectors(count), f"f{count}")
        assert index.open(f"f{count}") == count
    assert len(collections(index)) == 1


@pytest.mark.parametrize("bad", [np.nan, 0.0, 3.0])
def test_refused_vectors_leave_the_old_collection(index, bad):
    index.build(movies(5), unit_vectors(5), "f1")
    vectors = unit_vectors(6)
    vectors[3] = bad
    with pytest.raises(MovieIndexError, match="unit vectors"):
        index.build(movies(6), vectors, "f2")
    assert index.open("f1") == 5


def test_failed_insert_leaves_the_old_collection(index):
    index.build(movies(5), unit_vectors(5), "f1")
    too_long = [Movie(1, "x" * 5000, ("Drama",))]
    with pytest.raises(MovieIndexError, match="the one before, if any, is untouched"):
        index.build(too_long, unit_vectors(1), "f2")
    assert index.open("f1") == 5
    index.build(movies(4), unit_vectors(4), "f3")
    assert len(collections(index)) == 1, "the half-built collection was not dropped"


def test_nothing_indexed_yet(index):
    with pytest.raises(MovieIndexError, match=r"Insert vectors is none!.*run: python infer_milvus.py -i"):
        index.open("f1")


def test_collection_of_another_model(index):
    index.build(movies(5), unit_vectors(5), "f1")
    with pytest.raises(MovieIndexError, match=r"another model; run: python infer_milvus.py -i"):
        index.open("f2")


def test_lost_rows_are_noticed(index):
    index.build(movies(5), unit_vectors(5), "f1")
    index._client.delete(ALIAS, ids=[4])
    with pytest.raises(MovieIndexError, match=r"4 movies instead of 5; run: python infer_milvus.py -i"):
        index.open("f1")


def test_foreign_collection_is_not_touched(index):
    index._client.create_collection(ALIAS, dimension=4)
    with pytest.raises(MovieIndexError, match="foreign collection"):
        index.build(movies(5), unit_vectors(5), "f1")
    assert collections(index) == [ALIAS]


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in ("~/Füße und Köpfe/movies.db", str(tmp_path / "new" / "folder" / "movies.db")):
        index = MovieIndex(uri)
        index.build(movies(2), unit_vectors(2), "f1")
        assert index.open("f1") == 2
        index.close()
    (tmp_path / "file.db").write_text("x")
    for uri, message in (("movies", "ends in .db"), (str(tmp_path / "file.db"), "this is a file")):
        with pytest.raises(MovieIndexError, match=message):
            MovieIndex(uri)


def test_no_server():
    with pytest.raises(MovieIndexError, match=r"http://127.0.0.1:1: cannot open it: .*Fail connecting to server"):
        MovieIndex("http://127.0.0.1:1")
