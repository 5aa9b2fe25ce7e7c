import numpy as np
import pytest

from recommender.evaluation import exact_top_k
from recommender.movie_index import ALIAS, MovieIndex, MovieIndexError, title_key
from recommender.movielens import Movie


def unit_vectors(count, seed=0, size=16):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def movies(count):
    return [Movie(3 * row + 1, f"Film {row} (19{row % 100:02})", ("Drama", "War")) for row in range(count)]


@pytest.fixture
def index(new_place):
    index = MovieIndex(**new_place())
    yield index
    index.close()


def build(index, catalogue, vectors, fingerprint, num_ratings=None, **options):
    num_ratings = [100] * len(catalogue) if num_ratings is None else num_ratings
    index.build(catalogue, vectors, num_ratings, fingerprint, **options)


def open_it(index, fingerprint):
    return index.open(fingerprint, size=16)


def ids(hits):
    return [hit.movie.movie_id for hit in hits]


def collections(index):
    return index._client.list_collections()


def test_search_equals_exact_search(index):
    catalogue, vectors, queries = movies(2345), unit_vectors(2345), unit_vectors(30, seed=1)
    build(index, catalogue, vectors, "f1")
    assert open_it(index, "f1") == 2345
    rows, products = exact_top_k(queries, vectors, 10)
    for hits, expected, similarity in zip(index.search(queries, 10), rows, products, strict=True):
        assert ids(hits) == [catalogue[row].movie_id for row in expected]
        assert [hit.movie.title for hit in hits] == [catalogue[row].title for row in expected]
        np.testing.assert_allclose([hit.similarity for hit in hits], similarity, atol=1e-5)


def test_approximate_index_finds_nearly_all(index):
    catalogue, vectors, queries = movies(2345), unit_vectors(2345), unit_vectors(30, seed=1)
    if not index._is_server:
        with pytest.raises(MovieIndexError, match="HNSW on Milvus Lite misses movies"):
            build(index, catalogue, vectors, "f1", index_type="HNSW")
        return
    build(index, catalogue, vectors, "f1", index_type="HNSW")
    open_it(index, "f1")
    rows, _ = exact_top_k(queries, vectors, 10)
    found = index.search(queries, 10)
    assert [len(hits) for hits in found] == [10] * 30
    best = [{catalogue[row].movie_id for row in query} for query in rows]
    assert np.mean([len(expected & set(ids(hits))) for expected, hits in zip(best, found, strict=True)]) >= 9.9
    assert [ids(hits) for hits in index.search(queries[:2], 10, "id == 301")] == [[301], [301]]


def test_fewer_movies_than_asked_for(index):
    build(index, movies(3), unit_vectors(3), "f1")
    open_it(index, "f1")
    assert len(index.search(unit_vectors(1), 10)[0]) == 3


def test_movies_with_equal_vectors_are_found(index):
    build(index, movies(4), np.repeat(unit_vectors(2), 2, axis=0), "f1")
    assert open_it(index, "f1") == 4


def test_titles_are_stored_literally(index):
    titles = ["a'b\"c", "back\\slash", "50% off", 'id > 0 or title == "x"', "😀" * 500, "年 Léon"]
    build(index, [Movie(row, title, ("Drama",)) for row, title in enumerate(titles)], unit_vectors(6), "f1")
    open_it(index, "f1")
    assert sorted(hit.movie.title for hit in index.search(unit_vectors(1), 6)[0]) == sorted(titles)


def test_rebuild_replaces_and_leaves_one_collection(index):
    for count in (5, 8):
        build(index, movies(count), unit_vectors(count), f"f{count}")
        assert open_it(index, f"f{count}") == count
    assert len(collections(index)) == 1


def test_refused_vectors_leave_the_old_collection(index):
    build(index, movies(5), unit_vectors(5), "f1")
    for bad in (np.nan, 0.0, 3.0):
        vectors = unit_vectors(6)
        vectors[3] = bad
        with pytest.raises(MovieIndexError, match="not of unit length"):
            build(index, movies(6), vectors, "f2")
    assert open_it(index, "f1") == 5


def test_failed_insert_leaves_the_old_collection(index):
    build(index, movies(5), unit_vectors(5), "f1")
    too_long = [Movie(1, "x" * 70_000, ("Drama",))]
    with pytest.raises(MovieIndexError, match="the one before, if any, is untouched"):
        build(index, too_long, unit_vectors(1), "f2")
    assert open_it(index, "f1") == 5
    build(index, movies(4), unit_vectors(4), "f3")
    assert len(collections(index)) == 1, "the half-built collection was not dropped"


def test_nothing_indexed_yet(index):
    with pytest.raises(MovieIndexError, match=r"Insert vectors is none!.*run: python infer_milvus.py -i"):
        open_it(index, "f1")


def test_collection_of_another_model(index):
    build(index, movies(5), unit_vectors(5), "f1")
    with pytest.raises(MovieIndexError, match=r"another model; run: python infer_milvus.py -i"):
        open_it(index, "f2")


def test_collection_of_other_vectors(index):
    build(index, movies(5), unit_vectors(5, size=8), "f1")
    with pytest.raises(MovieIndexError, match=r"another model; run: python infer_milvus.py -i"):
        open_it(index, "f1")


def test_lost_rows_are_noticed(index):
    build(index, movies(5), unit_vectors(5), "f1")
    index._client.delete(ALIAS, ids=[4])
    with pytest.raises(MovieIndexError, match=r"4 movies instead of 5; run: python infer_milvus.py -i"):
        open_it(index, "f1")


def test_foreign_collection_is_not_touched(index):
    index._client.create_collection(ALIAS, dimension=4)
    with pytest.raises(MovieIndexError, match="foreign collection"):
        build(index, movies(5), unit_vectors(5), "f1")
    assert collections(index) == [ALIAS]


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in ("~/Füße und Köpfe/movies.db", str(tmp_path / "new" / "folder" / "movies.db")):
        index = MovieIndex(uri)
        build(index, movies(2), unit_vectors(2), "f1")
        assert open_it(index, "f1") == 2
        index.close()
    (tmp_path / "file.db").write_text("x")
    for uri, message in (("movies", "ends in .db"), (str(tmp_path / "file.db"), "this is a file")):
        with pytest.raises(MovieIndexError, match=message):
            MovieIndex(uri)
    with pytest.raises(MovieIndexError, match=r"There is no .*; run: python infer_milvus.py -i --uri"):
        MovieIndex(str(tmp_path / "typo" / "movies.db"), create=False)
    assert not (tmp_path / "typo").exists()


def test_no_server():
    with pytest.raises(
        MovieIndexError, match=r"http://127.0.0.1:1: cannot connect: nothing answers there; .*docker compose up -d"
    ):
        MovieIndex("http://127.0.0.1:1")


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
    index = MovieIndex(**new_place())
    catalogue, num_ratings = random_catalogue()
    build(index, catalogue, unit_vectors(500), "f1", num_ratings)
    open_it(index, "f1")
    yield index
    index.close()


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
        for hit in hits:
            row = hit.movie.movie_id - 1
            assert (hit.movie, hit.num_ratings) == (catalogue[row], num_ratings[row])


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Matrix, The (1999)", "matrix"),
        ("the matrix", "matrix"),
        ("MATRIX, THE", "matrix"),
        ("Clockwork Orange, A (1971)", "clockwork orange"),
        ("Amélie (Le Fabuleux destin d'Amélie Poulain) (2001)", "amelie"),
        ("Schindler's List (1993)", "schindler s list"),
        ('x" or id > 0 or title == "', "x or id 0 or title"),
        ("The The", "the"),
        ("(500) Days (2009)", "500 days"),
        ("A", "a"),
        ("100%_\\", "100"),
    ],
)
def test_title_key(title, key):
    assert title_key(title) == key


@pytest.fixture(scope="module")
def hamlets(new_place):
    index = MovieIndex(**new_place())
    titles = ["Hamlet (1990)", "Hamlet (1996)", "1941 (1979)", "Seven Samurai (Shichinin) (1954)", "Metropolis (1927)"]
    build(index, [Movie(10 + i, title, ("Drama",)) for i, title in enumerate(titles)], unit_vectors(5), "f1")
    open_it(index, "f1")
    yield index
    index.close()


@pytest.mark.parametrize(
    ("text", "movie_id"),
    [("hamlet (1996)", 11), ("13", 13), ("1941", 12), ("the seven samurai", 13), ("METROPOLIS", 14)],
)
def test_find_movie(hamlets, text, movie_id):
    assert hamlets.find_movie(text) == movie_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hamlet", r"more than one movie is called 'Hamlet'.*10 Hamlet \(1990\); 11 Hamlet \(1996\)"),
        ("Hamlet (1948)", r"no movie has the id or the title 'Hamlet \(1948\)'.*10 Hamlet \(1990\)"),
        ("Metropolish", r"title 'Metropolish'; choose by id: 14 Metropolis \(1927\)"),
        ("zzz", "none comes near"),
        ("99", "no movie has the id or the title '99'"),
        ('" or id > 0 or title_key == "', "no movie has"),
        ("", "no movie has"),
    ],
)
def test_find_movie_offers_what_it_could_be(hamlets, text, message):
    with pytest.raises(MovieIndexError, match=message):
        hamlets.find_movie(text)


def test_vectors_of(index):
    vectors = unit_vectors(5)
    build(index, movies(5), vectors, "f1")
    open_it(index, "f1")
    np.testing.assert_allclose(index.vectors_of([7, 1]), vectors[[2, 0]], atol=1e-6)
    with pytest.raises(MovieIndexError, match="no movie 2;"):
        index.vectors_of([1, 2])


def test_genres(filled):
    assert filled.genres() == ["Comedy", "Drama", "Film-Noir", "War"]


def test_unknown_genre_names_the_known_ones(filled):
    with pytest.raises(MovieIndexError, match=r"no genre 'War\" or \"'; choose one of: Comedy, Drama, Film-Noir, War"):
        filled.where(genres=["War", 'War" or "'])


def test_too_many_genres_are_refused(index):
    with pytest.raises(MovieIndexError, match="51 genres are more than the 50"):
        build(index, [Movie(1, "A", tuple(f"G{number}" for number in range(51)))], unit_vectors(1), "f1")
