"""Builds the movie collection: a new one beside the current one, checked by search, then given the alias."""

import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from tqdm import tqdm

from recommender.errors import Step, pluralize
from recommender.films.titles import title_key
from recommender.milvus.collection import (
    ALIAS,
    METADATA_PROPERTY,
    CollectionMetadata,
    count_movies,
    current_collection,
    read_metadata,
    search_collection,
)
from recommender.milvus.connection import MILVUS_FAILURES, DataType, MilvusClient, MilvusConnection, MilvusError
from recommender.milvus.filters import UNKNOWN_YEAR
from recommender.movielens.catalogue import Movie

INSERT_BATCH = 1000
"""Rows per message: about 2 MB, of the 64 MB that gRPC allows."""
MAX_VARCHAR_BYTES = 65_535
MAX_CHECKED = 10_000
FLAT_MAX_ROWS = 50_000
"""Movies up to which a server's index is FLAT, which is exact; beyond it is HNSW, which is approximate and fast.

Milvus Lite's index is always FLAT: its HNSW (3.2.2) finds nothing under a narrow filter, and is hardly faster.
"""
INDEX_PARAMS: dict[str, dict[str, int]] = {"FLAT": {}, "HNSW": {"M": 32, "efConstruction": 200}}
MIN_SELF_RECALL = {"FLAT": 1.0, "HNSW": 0.99}
"""Lower bound on the share of searches that find the exact nearest movie, before the collection gets the alias."""
STALE_AFTER_SECONDS = 24 * 3600.0
"""Age from which an unfinished collection is dropped; until then another process may be building it."""


def build_collection(
    connection: MilvusConnection,
    movies: Sequence[Movie],
    vectors: np.ndarray,
    num_ratings: np.ndarray,
    fingerprint: str,
    index_type: str | None = None,
) -> None:
    """Builds a collection, checks by search that it finds its movies, and only then gives it the alias.

    Args:
        connection: The connection to Milvus.
        movies: The movies.
        vectors: float32[movies, dim], one per movie.
        num_ratings: int[movies], their numbers of training ratings.
        fingerprint: The fingerprint of the model that computed the vectors.
        index_type: A key of `INDEX_PARAMS`; by default chosen by `FLAT_MAX_ROWS`.

    Raises:
        MilvusError: The build failed; the current collection is unchanged.
    """
    client = connection.client
    index_type = index_type or ("HNSW" if connection.is_server and len(movies) > FLAT_MAX_ROWS else "FLAT")
    if index_type != "FLAT" and not connection.is_server:
        raise MilvusError(f"{index_type} on Milvus Lite misses movies; it needs a server")
    if not np.isfinite(vectors).all():
        raise MilvusError("the model's vectors are not finite", Step.TRAIN)
    name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
    years = sorted(movie.year for movie in movies if movie.year)
    metadata = CollectionMetadata(
        fingerprint=fingerprint,
        num_movies=len(movies),
        dim=vectors.shape[1],
        genres=sorted({"|".join(movie.genres) for movie in movies}),
        first_year=years[0] if years else None,
        last_year=years[-1] if years else None,
        rating_percentiles=np.percentile(num_ratings, range(101)).astype(int).tolist(),
        created=time.time(),
    )
    with connection.translate_errors("cannot build the collection; the current one, if any, is unchanged"):
        if ALIAS in client.list_collections():
            raise MilvusError(f"{connection.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
        _drop_stale_collections(connection)
        try:
            _create_collection(client, name, metadata, index_type)
            _insert_movies(client, name, _rows(movies, vectors, num_ratings))
            check_searches(connection, name, movies, vectors, MIN_SELF_RECALL[index_type])
            replaced = current_collection(connection)
            try:
                client.create_alias(name, ALIAS)
            except MILVUS_FAILURES:  # The alias exists, though its collection may not.
                client.alter_alias(name, ALIAS)
        except BaseException:
            with suppress(*MILVUS_FAILURES):  # The failure itself is what counts; a later build drops what is left.
                if current_collection(connection) != name:
                    client.drop_collection(name)
            raise
        if replaced:
            with suppress(*MILVUS_FAILURES):  # Another build may have dropped it.
                client.drop_collection(replaced)


def _create_collection(client: MilvusClient, name: str, metadata: CollectionMetadata, index_type: str) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in ("id", "tmdb_id", "year", "num_ratings"):
        schema.add_field(field, DataType.INT64, is_primary=field == "id")
    for field in ("title", "title_key", "genres", "imdb_id"):
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=metadata.dim)
    index = client.prepare_index_params()
    params = {"params": INDEX_PARAMS[index_type]}  # Nested, as Milvus Lite expects it.
    index.add_index("vector", index_type=index_type, metric_type="IP", params=params)
    properties = {METADATA_PROPERTY: json.dumps(metadata._asdict())}
    # With Strong consistency each read would wait 0.2 s for a server's clock.
    client.create_collection(name, schema=schema, properties=properties, consistency_level="Bounded")
    client.create_index(name, index, sync=False)  # Otherwise pymilvus 3.0 sleeps, though the collection is empty.


def _rows(movies: Sequence[Movie], vectors: np.ndarray, num_ratings: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "id": movie.movie_id,
            "title": movie.title,
            "title_key": title_key(movie.title),
            "genres": "|".join(movie.genres),
            "imdb_id": movie.imdb_id,
            "tmdb_id": movie.tmdb_id,
            "year": movie.year or UNKNOWN_YEAR,
            "num_ratings": int(count),
            "vector": vector,
        }
        for movie, count, vector in zip(movies, num_ratings, vectors, strict=True)
    ]


def _insert_movies(client: MilvusClient, name: str, rows: list[dict[str, Any]]) -> None:
    for start in tqdm(range(0, len(rows), INSERT_BATCH), "inserting", unit="batch", disable=None):
        client.insert(name, rows[start : start + INSERT_BATCH])
    client.flush(name)
    while client.describe_index(name, "vector").get("pending_index_rows"):
        time.sleep(0.5)  # A server searches a collection without index row by row.
    client.load_collection(name)


def check_searches(
    connection: MilvusConnection, name: str, movies: Sequence[Movie], vectors: np.ndarray, min_recall: float
) -> None:
    """Compares searches with an exact comparison of all vectors.

    The queries are the movies' own vectors, `MAX_CHECKED` at most, as the work grows with their number squared.

    Raises:
        MilvusError: Movies are missing, or fewer than `min_recall` (0..1) of the searches find the nearest movie.
    """
    count = count_movies(connection, name, consistency_level="Strong")
    if count != len(movies):
        raise MilvusError(f"{connection.uri}: {count:,} of {pluralize(len(movies), 'movie')} arrived", Step.INDEX)
    row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
    queries = vectors[:: max(1, -(-len(movies) // MAX_CHECKED))]
    num_found = 0
    for start in range(0, len(queries), INSERT_BATCH):
        batch = queries[start : start + INSERT_BATCH]
        products = batch @ vectors.T  # float32[queries, movies]
        for hits, exact in zip(search_collection(connection, name, batch, 1), products, strict=True):
            found = exact[row_of[hits[0].id]] if hits else -np.inf
            num_found += bool(np.isclose(found, exact.max(), rtol=1e-4))  # Of two equal vectors either will do.
    if num_found < min_recall * len(queries):
        missed = pluralize(len(queries) - num_found, "movie")
        raise MilvusError(f"{connection.uri}: searches miss {missed} of {len(queries):,}", Step.INDEX)


def _drop_stale_collections(connection: MilvusConnection) -> None:
    """Drops collections of this program that killed builds left; others are never touched, whatever their name."""
    current = current_collection(connection)
    for name in connection.client.list_collections():
        if name != current and name.startswith(f"{ALIAS}_"):
            metadata = read_metadata(connection, name)
            if metadata and (not connection.is_server or time.time() - metadata.created > STALE_AFTER_SECONDS):
                connection.client.drop_collection(name)
