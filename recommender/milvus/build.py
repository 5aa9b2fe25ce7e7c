"""Builds the movie collection: a new one beside the current one, checked by search, then given the alias."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recommender.movielens.encoding import encode_movies
from recommender.movielens.catalogue import Movie
from recommender.films.titles import title_key
from recommender.errors import Step, pluralize
from recommender.milvus.collection import ALIAS, count_movies, current_collection, search_collection
from recommender.milvus.connection import SERVER_COMMAND, DataType, MilvusConnection, MilvusError, MilvusException
from recommender.milvus.filters import UNKNOWN_YEAR
from recommender.milvus.metadata import METADATA_PROPERTY, CollectionMetadata, lite_checksums
from recommender.store import SavedModel
from recommender.users import join_vectors

INSERT_BATCH = 1000
"""Rows per message: about 2 MB, of the 64 MB that gRPC allows."""
MAX_VARCHAR_BYTES = 65_535
MAX_IMDB_ID = 16
MAX_CHECKED = 10_000
FLAT_MAX_ROWS = 50_000
"""Movies up to which a server's index is FLAT, which is exact; beyond it is HNSW, which is approximate and fast.

Milvus Lite's index is always FLAT: its HNSW (3.2.2) finds nothing under a narrow filter, and is hardly faster.
"""
INDEX_PARAMS: dict[str, dict[str, int]] = {"FLAT": {}, "HNSW": {"M": 32, "efConstruction": 200}}
MIN_SELF_RECALL = {"FLAT": 1.0, "HNSW": 0.99}
"""Lower bound on the share of searches that find the exact nearest movie, before the collection gets the alias."""
POLL_SECONDS = 0.5
STALE_AFTER_SECONDS = 24 * 3600.0
"""Age from which an unfinished collection is dropped; until then another process may be building it."""


class Catalogue(NamedTuple):
    """The content of a collection."""

    movies: Sequence[Movie]
    vectors: np.ndarray
    """float32[movies, dim]"""
    num_ratings: Sequence[int]
    """Numbers of training ratings."""
    fingerprint: str
    """Fingerprint of the model that computed the vectors."""
    has_training_titles: bool = False
    """Whether the movies are those of the training data, with the same titles."""


def embed_catalogue(model: SavedModel, movies: Sequence[Movie]) -> Catalogue:
    """Computes the vectors of all movies: the movie tower's rating vectors, joined with the taste vectors."""
    from recommender.stars.embed import embed_movies, load_tower  # Imports Paddle, which a query does not need.

    features = encode_movies(movies, model.vocabularies)
    rating_vectors = embed_movies(load_tower(model.tower_path("movie_tower")), features)
    taste_vectors = model.taste_outputs.lookup(features, model.vocabularies.genres.size)
    num_ratings = model.count_ratings()
    counts = [num_ratings.get(movie.movie_id, 0) for movie in movies]
    titles, training_titles = ({one.movie_id: one.title for one in some} for some in (movies, model.titles))
    vectors = join_vectors(rating_vectors, taste_vectors)
    return Catalogue(movies, vectors, counts, model.fingerprint, titles == training_titles)


def build_collection(connection: MilvusConnection, catalogue: Catalogue, index_type: str | None = None) -> None:
    """Builds a collection, checks by search that it finds its movies, and only then gives it the alias.

    Args:
        connection: The connection to Milvus.
        catalogue: The movies.
        index_type: A key of `INDEX_PARAMS`; by default chosen by `FLAT_MAX_ROWS`.

    Raises:
        MilvusError: The build failed; the current collection is unchanged.
    """
    use_hnsw = connection.is_server and len(catalogue.movies) > FLAT_MAX_ROWS
    index_type = index_type or ("HNSW" if use_hnsw else "FLAT")
    if index_type != "FLAT" and not connection.is_server:
        raise MilvusError(f"{index_type} on Milvus Lite misses movies; it needs a server: {SERVER_COMMAND}")
    if not np.isfinite(catalogue.vectors).all() or not catalogue.vectors.any(1).all():
        raise MilvusError("a vector is zero or not finite", Step.TRAIN)
    name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
    with connection.translate_errors("cannot build the collection; the current one, if any, is unchanged"):
        if ALIAS in connection.client.list_collections():
            raise MilvusError(f"{connection.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
        _drop_stale_collections(connection)
        genres = sorted({"|".join(movie.genres) for movie in catalogue.movies})
        metadata = CollectionMetadata(
            catalogue.fingerprint, len(catalogue.movies), genres, time.time(), catalogue.has_training_titles, {}
        )
        with _drop_on_failure(connection, name):
            _create_collection(connection, name, metadata, catalogue.vectors.shape[1], index_type)
            _insert_movies(connection, name, catalogue)
            _check_recall(connection, name, catalogue, MIN_SELF_RECALL[index_type])
            if connection.lite_folder:
                metadata = metadata._replace(checksums=lite_checksums(connection.lite_folder, name))
                properties = {METADATA_PROPERTY: metadata.to_property()}
                connection.client.alter_collection_properties(name, properties)
            replaced = current_collection(connection)
            _swap_alias(connection, name)
        if replaced:
            with suppress(MilvusException):  # Another build may have dropped it.
                connection.client.drop_collection(replaced)


@contextmanager
def _drop_on_failure(connection: MilvusConnection, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(Exception):  # The failure itself is what counts; a later build drops what is left.
            if current_collection(connection) != name:
                connection.client.drop_collection(name)
        raise


def _create_collection(
    connection: MilvusConnection, name: str, metadata: CollectionMetadata, dim: int, index_type: str
) -> None:
    client = connection.client
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("title_key", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("genres", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("imdb_id", DataType.VARCHAR, max_length=MAX_IMDB_ID)
    schema.add_field("tmdb_id", DataType.INT64)
    schema.add_field("year", DataType.INT32)
    schema.add_field("num_ratings", DataType.INT32)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    params = {"params": INDEX_PARAMS[index_type]}  # Nested, as Milvus Lite expects it.
    index.add_index("vector", index_type=index_type, metric_type="IP", params=params)
    client.create_collection(
        name,
        schema=schema,
        properties={METADATA_PROPERTY: metadata.to_property()},
        consistency_level="Bounded",  # With Strong each read would wait 0.2 s for a server's clock.
    )
    client.create_index(name, index, sync=False)  # Otherwise pymilvus 3.0 sleeps, though the collection is empty.


def _insert_movies(connection: MilvusConnection, name: str, catalogue: Catalogue) -> None:
    client = connection.client
    for start in tqdm(range(0, len(catalogue.movies), INSERT_BATCH), "inserting", unit="batch", disable=None):
        batch = slice(start, start + INSERT_BATCH)
        columns = catalogue.movies[batch], catalogue.num_ratings[batch], catalogue.vectors[batch]
        client.insert(name, [_to_row(*values) for values in zip(*columns, strict=True)])
    client.flush(name)
    while client.describe_index(name, "vector").get("pending_index_rows"):
        time.sleep(POLL_SECONDS)  # A server searches a collection without index row by row.
    client.load_collection(name)


def _to_row(movie: Movie, num_ratings: int, vector: np.ndarray) -> dict[str, Any]:
    return {
        "id": movie.movie_id,
        "title": movie.title,
        "title_key": title_key(movie.title),
        "genres": "|".join(movie.genres),
        "imdb_id": movie.imdb_id,
        "tmdb_id": movie.tmdb_id,
        "year": movie.year or UNKNOWN_YEAR,
        "num_ratings": int(num_ratings),
        "vector": vector,
    }


def _check_recall(connection: MilvusConnection, name: str, catalogue: Catalogue, min_recall: float) -> None:
    """Raises unless searches find the movies that an exact comparison finds.

    The queries are the movies' own vectors, `MAX_CHECKED` at most, as the work grows with their number squared.
    """
    movies, vectors = catalogue.movies, catalogue.vectors
    count = count_movies(connection, name)
    if count != len(movies):
        raise MilvusError(f"{connection.uri}: {count} of {pluralize(len(movies), 'movie')} arrived", Step.INDEX)
    row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
    queries = vectors[:: max(1, -(-len(movies) // MAX_CHECKED))]
    num_found = 0
    for start in range(0, len(queries), INSERT_BATCH):
        batch = queries[start : start + INSERT_BATCH]
        products = batch @ vectors.T
        for hits, exact in zip(search_collection(connection, name, batch, 1), products, strict=True):
            found = exact[row_of[hits[0].id]] if hits else -np.inf
            num_found += bool(np.isclose(found, exact.max(), rtol=1e-4))
    if num_found < min_recall * len(queries):
        missed = pluralize(len(queries) - num_found, "movie")
        raise MilvusError(f"{connection.uri}: searches miss {missed} of {len(queries)}", Step.INDEX)


def _swap_alias(connection: MilvusConnection, name: str) -> None:
    """Points the alias to a collection."""
    try:
        connection.client.create_alias(name, ALIAS)
    except MilvusException:  # The alias exists, though its collection may not.
        connection.client.alter_alias(name, ALIAS)


def _drop_stale_collections(connection: MilvusConnection) -> None:
    """Drops collections of this program that killed builds left; others are never touched, whatever their name."""
    current = current_collection(connection)
    for name in connection.client.list_collections():
        if name == current or not name.startswith(f"{ALIAS}_"):
            continue
        metadata = CollectionMetadata.from_properties(connection.client.describe_collection(name)["properties"])
        if metadata and (not connection.is_server or time.time() - metadata.created > STALE_AFTER_SECONDS):
            connection.client.drop_collection(name)
