"""Builds the movie collection: a new one beside the current one, checked by search, then given the alias."""

import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
from tqdm import tqdm

from recommender.errors import Step, pluralize
from recommender.films.titles import title_key
from recommender.milvus.collection import (
    ALIAS,
    BATCH,
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
    years = [movie.year for movie in movies if movie.year]
    first, last = min(years, default=None), max(years, default=None)
    genres = sorted({"|".join(movie.genres) for movie in movies})
    percentiles = np.percentile(num_ratings, range(101)).astype(int).tolist()
    dim, created = vectors.shape[1], time.time()
    metadata = CollectionMetadata(fingerprint, len(movies), dim, genres, first, last, percentiles, created)
    name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
    with connection.translate_errors("cannot build the collection; the current one, if any, is unchanged"):
        if ALIAS in client.list_collections():
            raise MilvusError(f"{connection.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
        _drop_stale_collections(connection)
        unused: str | None = name
        try:
            _create_collection(client, name, metadata, index_type)
            _insert_movies(client, name, movies, vectors, num_ratings)
            check_searches(connection, name, movies, vectors, MIN_SELF_RECALL[index_type])
            replaced = current_collection(connection)
            try:
                client.create_alias(name, ALIAS)
            except MILVUS_FAILURES:  # The alias exists, though its collection may not.
                client.alter_alias(name, ALIAS)
            unused = replaced
        finally:
            with suppress(*MILVUS_FAILURES):  # Another build may have dropped it; a later one drops what is left.
                if unused and unused != current_collection(connection):
                    client.drop_collection(unused)


def _create_collection(client: MilvusClient, name: str, metadata: CollectionMetadata, index_type: str) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in ("id", "tmdb_id", "year", "num_ratings"):
        schema.add_field(field, DataType.INT64, is_primary=field == "id")
    for field in ("title", "title_key", "genres", "imdb_id"):
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=metadata.dim)
    properties = {METADATA_PROPERTY: json.dumps(metadata._asdict())}
    # With Strong consistency each read would wait 0.2 s for a server's clock.
    client.create_collection(name, schema=schema, properties=properties, consistency_level="Bounded")
    params = {"params": INDEX_PARAMS[index_type]}  # Nested, as Milvus Lite expects it.
    index = client.prepare_index_params("vector", index_type=index_type, metric_type="IP", params=params)
    client.create_index(name, index, sync=False)  # Otherwise pymilvus 3.0 sleeps, though the collection is empty.


def _insert_movies(
    client: MilvusClient, name: str, movies: Sequence[Movie], vectors: np.ndarray, num_ratings: np.ndarray
) -> None:
    table = pd.DataFrame(movies).rename(columns={"movie_id": "id"})
    table["title_key"] = table["title"].map(title_key)
    table["genres"] = table["genres"].str.join("|")
    table["year"] = [movie.year or UNKNOWN_YEAR for movie in movies]
    table["num_ratings"], table["vector"] = num_ratings, list(vectors)
    for start in tqdm(range(0, len(table), BATCH), "inserting", unit="batch", disable=None):
        client.insert(name, table[start : start + BATCH].to_dict("records"))
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
    queries = vectors[:: -(-len(movies) // MAX_CHECKED)]
    num_missed = 0
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        products = batch @ vectors.T  # float32[queries, movies]
        for hits, exact in zip(search_collection(connection, name, batch, 1), products, strict=True):
            found = [exact[row_of[hit.id]] for hit in hits]
            num_missed += not np.isclose(found, exact.max(), rtol=1e-4).any()  # Of two equal vectors either will do.
    if len(queries) - num_missed < min_recall * len(queries):
        missed = f"{pluralize(num_missed, 'movie')} of {len(queries):,}"
        raise MilvusError(f"{connection.uri}: searches miss {missed}", Step.INDEX)


def _drop_stale_collections(connection: MilvusConnection) -> None:
    """Drops collections of this program that killed builds left; others are never touched, whatever their name."""
    current = current_collection(connection)
    for name in connection.client.list_collections():
        if name != current and name.startswith(f"{ALIAS}_"):
            metadata = read_metadata(connection, name)
            if metadata and (not connection.is_server or time.time() - metadata.created > STALE_AFTER_SECONDS):
                connection.client.drop_collection(name)
