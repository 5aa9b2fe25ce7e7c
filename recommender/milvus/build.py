"""Builds the movie collection: a new one beside the current one, checked by search, then given the alias."""

import json
import math
import re
import uuid
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from recommender.errors import Step, pluralize
from recommender.films.titles import title_key
from recommender.milvus.collection import ALIAS, BATCH, METADATA_PROPERTY, batches, count_movies, describe_current
from recommender.milvus.connection import MILVUS_FAILURES, DataType, MilvusClient, MilvusConnection, MilvusError
from recommender.milvus.filters import UNKNOWN_YEAR
from recommender.movielens.catalogue import Movie

MAX_VARCHAR_BYTES = 65_535
MAX_CHECKED = 10_000


def build_collection(
    connection: MilvusConnection, movies: list[Movie], vectors: np.ndarray, num_ratings: np.ndarray, fingerprint: str
) -> None:
    """Builds a collection, checks by search that it finds its movies, and only then gives it the alias.

    Args:
        connection: The connection to Milvus.
        movies: The movies.
        vectors: float32[movies, dim], one per movie.
        num_ratings: int[movies], their numbers of training ratings.
        fingerprint: The fingerprint of the model that computed the vectors.

    Raises:
        MilvusError: The build failed; the current collection is unchanged.
    """
    client = connection.client
    table = pd.DataFrame(movies).rename(columns={"movie_id": "id"})
    table["title_key"] = table["title"].map(title_key)
    table["genres"] = table["genres"].str.join("|")
    table["year"] = [movie.year or UNKNOWN_YEAR for movie in movies]
    table["num_ratings"], table["vector"] = num_ratings, list(vectors)
    years = [movie.year for movie in movies if movie.year]
    metadata = {
        "fingerprint": fingerprint,
        "num_movies": len(movies),
        "dim": vectors.shape[1],
        "genres": sorted(set(table["genres"])),
        "first_year": min(years, default=None),
        "last_year": max(years, default=None),
        "rating_percentiles": np.percentile(num_ratings, range(101)).astype(int).tolist(),
    }
    name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
    with connection.translate_errors("cannot build the collection; the current one, if any, is unchanged"):
        if ALIAS in client.list_collections():
            raise MilvusError(f"{connection.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
        try:
            _fill_collection(client, name, table, metadata)
            check_searches(connection, name, movies, vectors)
            with suppress(*MILVUS_FAILURES):  # The alias exists, though its collection may not.
                client.create_alias(name, ALIAS)
            client.alter_alias(name, ALIAS)
        finally:
            with suppress(*MILVUS_FAILURES):  # A later build drops what is left.
                _drop_unused_collections(connection)


def _fill_collection(client: MilvusClient, name: str, table: pd.DataFrame, metadata: dict[str, Any]) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in ("id", "tmdb_id", "year", "num_ratings"):
        schema.add_field(field, DataType.INT64, is_primary=field == "id")
    for field in ("title", "title_key", "genres", "imdb_id"):
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=metadata["dim"])
    properties = {METADATA_PROPERTY: json.dumps(metadata)}
    # With Strong consistency each read would wait 0.2 s for a server's clock.
    client.create_collection(name, schema=schema, properties=properties, consistency_level="Bounded")
    index = client.prepare_index_params("vector", index_type="FLAT", metric_type="IP")
    client.create_index(name, index, sync=False)  # Otherwise pymilvus 3.0 sleeps, though the collection is empty.
    for start in tqdm(range(0, len(table), BATCH), "inserting", unit="batch", disable=None):
        client.insert(name, table[start : start + BATCH].to_dict("records"))
    client.flush(name)
    client.load_collection(name)


def check_searches(connection: MilvusConnection, name: str, movies: list[Movie], vectors: np.ndarray) -> None:
    """Compares searches with an exact comparison of all vectors.

    The queries are the movies' own vectors, `MAX_CHECKED` at most, as the work grows with their number squared.

    Raises:
        MilvusError: Movies are missing, or a search does not find the nearest movie.
    """
    count = count_movies(connection, name, consistency_level="Strong")
    if count != len(movies):
        raise MilvusError(f"{connection.uri}: {count:,} of {pluralize(len(movies), 'movie')} arrived", Step.INDEX)
    row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
    rows = range(0, len(movies), -(-len(movies) // MAX_CHECKED))
    for batch in batches(rows, BATCH):
        queries = vectors[batch]
        results = connection.client.search(name, queries, limit=1, output_fields=["id"])
        for hits, products in zip(results, queries @ vectors.T, strict=True):
            found = [products[row_of[hit.id]] for hit in hits]  # Of two equal vectors either will do.
            if not found or not math.isclose(found[0], products.max(), rel_tol=1e-4):
                raise MilvusError(f"{connection.uri}: searches miss movies", Step.INDEX)


def _drop_unused_collections(connection: MilvusConnection) -> None:
    """Drops what this program built, now or before, but for the current collection; others are never touched."""
    current = describe_current(connection).get("collection_name")
    for name in connection.client.list_collections():
        if name != current and re.fullmatch(rf"{ALIAS}_[0-9a-f]{{12}}", name):
            connection.client.drop_collection(name)
