"""Puts movies into Milvus: a collection is built beside the one that is served, checked, and then served."""

import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recommender.data.features import encode_movies
from recommender.data.movielens import Movie
from recommender.errors import Step, counted
from recommender.index.collection import (
    ALIAS,
    LABEL,
    LEASE_SECONDS,
    UNKNOWN_YEAR,
    Label,
    count_movies,
    lite_checksums,
    search_collection,
    served_collection,
)
from recommender.index.connection import SERVER_COMMAND, DataType, Milvus, MilvusError, MilvusException
from recommender.inference.model_folder import SavedModel
from recommender.inference.titles import title_key

INSERT_BATCH = 1000
"""Rows a message: about 1 MB, of the 64 MB that gRPC takes."""
MAX_VARCHAR_BYTES = 65_535
MAX_CHECKED = 10_000
EXACT_UP_TO = 50_000
"""Movies. Up to here a server's index is FLAT, which is exact; beyond, HNSW, which finds nearly all and stays fast.

Milvus Lite's is always FLAT: under a narrow filter its HNSW finds nothing (3.2.2), and is hardly faster besides.
"""
BUILD_PARAMETERS: dict[str, dict[str, int]] = {"FLAT": {}, "HNSW": {"M": 32, "efConstruction": 200}}
FOUND_AGAIN = {"FLAT": 1.0, "HNSW": 0.99}
"""The least share of the movies that a search must find again before the collection is served."""
INDEXING_SECONDS = 0.5
ABANDONED_SECONDS = 24 * 3600.0
"""A collection of ours that is not served is dropped when it is so old: until then somebody may be building it."""


class Catalogue(NamedTuple):
    """What goes into a collection."""

    movies: Sequence[Movie]
    vectors: np.ndarray
    """float32[movies, size]"""
    num_ratings: Sequence[int]
    """How many ratings of each the model was trained on."""
    fingerprint: str
    """Of the model that made the vectors."""


def embed_catalogue(model: SavedModel, movies: list[Movie]) -> Catalogue:
    """Embeds all movies in one pass: stars by the movie tower, in Paddle, and behind them the taste."""
    from recommender.training.two_tower import embed_movies  # Imports Paddle, which a mere query does not need.

    features = encode_movies(movies, model.vocabularies)
    stars = embed_movies(model.load_tower("movie_tower"), features)
    vectors = np.hstack([stars, model.taste.target_of(features, model.vocabularies)])
    count_of = model.count_ratings()
    return Catalogue(movies, vectors, [count_of.get(movie.movie_id, 0) for movie in movies], model.fingerprint)


def build_index(milvus: Milvus, catalogue: Catalogue, index_type: str | None = None) -> None:
    """Builds a collection, finds its movies in it by search, and only then serves it.

    Args:
        milvus: Where.
        catalogue: The movies.
        index_type: A key of `BUILD_PARAMETERS`; unless told, chosen as `EXACT_UP_TO` says.

    Raises:
        MilvusError: Something went wrong; the collection that was served before still is.
    """
    index_type = index_type or ("HNSW" if milvus.is_server and len(catalogue.movies) > EXACT_UP_TO else "FLAT")
    if index_type != "FLAT" and not milvus.is_server:
        raise MilvusError(f"{index_type} on Milvus Lite misses movies; it needs a server: {SERVER_COMMAND}")
    if not np.isfinite(catalogue.vectors).all() or not catalogue.vectors.any(1).all():
        raise MilvusError("a vector is zero or not a number", Step.TRAIN)
    name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
    with milvus.errors("cannot build the collection; the one before, if any, is untouched"):
        if ALIAS in milvus.client.list_collections():
            raise MilvusError(f"{milvus.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
        _drop_abandoned(milvus)
        genres = sorted({"|".join(movie.genres) for movie in catalogue.movies})
        label = Label(catalogue.fingerprint, len(catalogue.movies), genres, time.time(), {})
        _create(milvus, name, label, catalogue.vectors.shape[1], index_type)
        _insert(milvus, name, catalogue)
        _check(milvus, name, catalogue, FOUND_AGAIN[index_type])
        if milvus.lite_folder:
            label = label._replace(checksums=lite_checksums(milvus.lite_folder, name))
            milvus.client.alter_collection_properties(name, {LABEL: label.write()})
        _serve(milvus, name)


def _create(milvus: Milvus, name: str, label: Label, size: int, index_type: str) -> None:
    schema = milvus.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("title_key", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("genres", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    schema.add_field("year", DataType.INT32)
    schema.add_field("num_ratings", DataType.INT32)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
    index = milvus.client.prepare_index_params()
    parameters = {"params": BUILD_PARAMETERS[index_type]}  # Nested, as Milvus Lite wants it.
    index.add_index("vector", index_type=index_type, metric_type="IP", params=parameters)
    properties = {LABEL: label.write()}
    milvus.client.create_collection(  # Strong would let each read wait 0.2 s for a server's clock; `count_movies` does.
        name, schema=schema, index_params=index, properties=properties, consistency_level="Bounded"
    )


def _insert(milvus: Milvus, name: str, catalogue: Catalogue) -> None:
    for start in tqdm(range(0, len(catalogue.movies), INSERT_BATCH), "inserting", unit="batch", disable=None):
        part = slice(start, start + INSERT_BATCH)
        columns = catalogue.movies[part], catalogue.num_ratings[part], catalogue.vectors[part]
        milvus.client.insert(name, [_row(*one) for one in zip(*columns, strict=True)])
    milvus.client.flush(name)
    while milvus.client.describe_index(name, "vector").get("pending_index_rows"):
        time.sleep(INDEXING_SECONDS)  # A server that loads what is not indexed yet searches it row by row.
    milvus.client.load_collection(name)


def _row(movie: Movie, num_ratings: int, vector: np.ndarray) -> dict[str, Any]:
    return {
        "id": movie.movie_id,
        "title": movie.title,
        "title_key": title_key(movie.title),
        "genres": "|".join(movie.genres),
        "year": movie.year or UNKNOWN_YEAR,
        "num_ratings": int(num_ratings),
        "vector": vector,
    }


def _check(milvus: Milvus, name: str, catalogue: Catalogue, least_share: float) -> None:
    """Raises unless searches find what comparing with every movie finds.

    The question is each movie's own vector or, as this grows with the square, that of `MAX_CHECKED` of them.
    """
    movies, vectors = catalogue.movies, catalogue.vectors
    count = count_movies(milvus, name)
    if count != len(movies):
        raise MilvusError(f"{milvus.uri}: {count} of {counted(len(movies), 'movie')} arrived", Step.INDEX)
    row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
    step = max(1, len(movies) // MAX_CHECKED)
    checked = vectors[::step]
    num_right = 0
    for start in range(0, len(checked), INSERT_BATCH):
        queries = checked[start : start + INSERT_BATCH]
        products = queries @ vectors.T
        for hits, mine in zip(search_collection(milvus, name, queries, 1), products, strict=True):
            found = mine[row_of[hits[0].id]] if hits else -np.inf
            num_right += bool(np.isclose(found, mine.max(), rtol=1e-4))
    if num_right < least_share * len(checked):
        wrong = len(checked) - num_right
        raise MilvusError(f"{milvus.uri}: {counted(wrong, 'movie')} of {len(checked)} not found again", Step.INDEX)


def _serve(milvus: Milvus, name: str) -> None:
    """Points the alias at a collection, and drops the one before when nobody can be searching it any more."""
    replaced = served_collection(milvus)
    try:
        milvus.client.create_alias(name, ALIAS)
    except MilvusException:  # It exists, though what it points at may not.
        milvus.client.alter_alias(name, ALIAS)
    if replaced:
        if milvus.is_server:  # Nobody else searches in Milvus Lite.
            time.sleep(2 * LEASE_SECONDS)
        milvus.client.drop_collection(replaced)


def _drop_abandoned(milvus: Milvus) -> None:
    """Drops what killed builds left behind: collections that this program has marked as its own, and no other's."""
    served = served_collection(milvus)
    for name in milvus.client.list_collections():
        if name == served or not name.startswith(f"{ALIAS}_"):
            continue
        label = Label.read(milvus.client.describe_collection(name)["properties"])
        if label and (not milvus.is_server or time.time() - label.created > ABANDONED_SECONDS):
            milvus.client.drop_collection(name)
