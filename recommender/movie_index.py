"""The movie vectors in Milvus: build a collection, open it, search it. All that touches Milvus is here.

The same code serves Milvus Lite (a local `.db` path) and a server (`http://host:port`). The alias `recommender_demo`
points at the one collection that was built whole; a new one is built beside it, checked, and then gets the alias.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from recommender.movielens import MAX_TITLE_CHARACTERS, Movie

# pymilvus reads these when it is imported, and fails on a value that is not an http address.
os.environ["MILVUS_URI"] = os.environ["MILVUS_DEFAULT_CONNECTION"] = ""

from grpc import RpcError
from pymilvus import DataType, MilvusClient, MilvusException

ALIAS = "recommender_demo"
DEFAULT_URI = "recommender_demo.db"
BUILD_COMMAND = "python infer_milvus.py -i"

FINGERPRINT_PROPERTY = "recommender.fingerprint"
COUNT_PROPERTY = "recommender.movies"
INSERT_BATCH = 1000
"""Rows a message: about 1 MB, of the 64 MB that gRPC takes."""
MAX_TOP_K = 16_384
UNKNOWN_YEAR = 0


class MovieIndexError(Exception):
    """Milvus cannot be reached, or does not hold what is asked for. The message names the remedy."""


class Hit(NamedTuple):
    """A movie that a search found."""

    movie_id: int
    title: str
    """With the year."""
    similarity: float
    """Cosine of user and movie vector, -1..1."""


class MovieIndex:
    """The movies of one Milvus.

    Args:
        uri: A path that ends in `.db` for Milvus Lite, `http://host:port` for a server.
        token: `user:password` or an API key, for a server that asks for one.

    Raises:
        MovieIndexError: The path is not usable, or there is no server.
    """

    def __init__(self, uri: str = DEFAULT_URI, token: str = "") -> None:
        self.uri = uri
        if "://" not in uri:
            uri = _lite_path(uri)
        with self._errors("cannot open it"):
            self._client = MilvusClient(uri, token=token)

    def close(self) -> None:
        """Ends the connection. Milvus Lite lets other processes in only when this one has ended."""
        self._client.close()

    def build(self, movies: Sequence[Movie], vectors: np.ndarray, fingerprint: str) -> None:
        """Builds a collection, finds every movie in it by search, and only then serves it.

        Args:
            movies: The movies.
            vectors: float32[movies, size], unit length.
            fingerprint: Of the model that made the vectors.

        Raises:
            MovieIndexError: Something went wrong; the collection that was served before still is.
        """
        if vectors.shape[:1] != (len(movies),) or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise MovieIndexError(f"{len(movies)} movies need as many unit vectors; train the model again")
        name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
        with self._errors("cannot build the collection; the one before, if any, is untouched"):
            if ALIAS in self._client.list_collections():
                raise MovieIndexError(f"{self.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
            self._drop_unserved()
            self._create(name, vectors.shape[1], {FINGERPRINT_PROPERTY: fingerprint, COUNT_PROPERTY: str(len(movies))})
            for start in tqdm(range(0, len(movies), INSERT_BATCH), "inserting", unit="batch", disable=None):
                part = slice(start, start + INSERT_BATCH)
                self._client.insert(name, [_row(*both) for both in zip(movies[part], vectors[part], strict=True)])
            self._client.flush(name)
            self._client.load_collection(name)
            self._check(name, movies, vectors)
            if self._served():
                self._client.alter_alias(name, ALIAS)
            else:
                self._client.create_alias(name, ALIAS)
            self._drop_unserved()

    def open(self, fingerprint: str) -> int:
        """Makes the collection ready for searches.

        Args:
            fingerprint: Of the model whose vectors the collection must hold.

        Returns:
            How many movies it holds.

        Raises:
            MovieIndexError: There is none, another model built it, or it has lost rows.
        """
        with self._errors("cannot open the collection"):
            if not (name := self._served()):
                raise MovieIndexError(f"Insert vectors is none! {self.uri} has no movies yet; run: {BUILD_COMMAND}")
            properties = self._client.describe_collection(name)["properties"]
            if properties.get(FINGERPRINT_PROPERTY) != fingerprint:
                raise MovieIndexError(f"{self.uri}: its movies are from another model; run: {BUILD_COMMAND}")
            self._client.load_collection(name)
            count = self._count(name)
            if str(count) != properties.get(COUNT_PROPERTY):
                expected = properties.get(COUNT_PROPERTY)
                raise MovieIndexError(f"{self.uri}: {count} movies instead of {expected}; run: {BUILD_COMMAND}")
            return count

    def search(self, vectors: np.ndarray, k: int) -> list[list[Hit]]:
        """Finds the k movies nearest to each vector.

        Args:
            vectors: float32[queries, size], unit length.
            k: How many, 1 to `MAX_TOP_K`; fewer come back where there are fewer movies.

        Returns:
            For each vector its hits, best first.
        """
        with self._errors("cannot search"):
            found = self._search(ALIAS, vectors, k, ["title"])
        return [[Hit(hit.id, hit["entity"]["title"], hit.distance) for hit in hits] for hits in found]

    def _search(self, name: str, vectors: np.ndarray, k: int, fields: list[str]) -> Any:
        return self._client.search(
            name, vectors, limit=k, output_fields=fields, search_params={"metric_type": "IP"}, anns_field="vector"
        )

    def _create(self, name: str, size: int, properties: dict[str, str]) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("title", DataType.VARCHAR, max_length=4 * MAX_TITLE_CHARACTERS)
        schema.add_field("genres", DataType.VARCHAR, max_length=4 * MAX_TITLE_CHARACTERS)
        schema.add_field("year", DataType.INT32)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            name, schema=schema, index_params=index, properties=properties, consistency_level="Strong"
        )

    def _check(self, name: str, movies: Sequence[Movie], vectors: np.ndarray) -> None:
        """Raises unless a search for each movie's vector finds that movie, or one with the same vector."""
        if (count := self._count(name)) != len(movies):
            raise MovieIndexError(f"{self.uri}: {count} of {len(movies)} movies arrived; run the command again")
        row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
        for start in range(0, len(movies), INSERT_BATCH):
            queries = vectors[start : start + INSERT_BATCH]
            hits = self._search(name, queries, 1, ["id"])
            found = vectors[[row_of[hit[0].id] for hit in hits]]
            if not np.allclose(found, queries, atol=1e-3):
                raise MovieIndexError(f"{self.uri}: not every movie was found again; run the command again")

    def _count(self, name: str) -> int:
        return int(self._client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def _served(self) -> str | None:
        """Returns the collection that the alias points at."""
        if not self._client.has_collection(ALIAS):
            return None
        return str(self._client.describe_alias(ALIAS)["collection_name"])

    def _drop_unserved(self) -> None:
        """Drops what an earlier build left behind: the replaced collection, or a half-built one."""
        served = self._served()
        for name in self._client.list_collections():
            if name.startswith(f"{ALIAS}_") and name != served:
                self._client.drop_collection(name)

    @contextmanager
    def _errors(self, problem: str) -> Iterator[None]:
        try:
            yield
        except (MilvusException, RpcError, OSError) as error:
            if "Open local milvus failed" in str(error):
                remedy = "another process has it open, or it is not a Milvus Lite folder; wait, or choose another --uri"
                raise MovieIndexError(f"{self.uri}: {problem}: {remedy}") from error
            raise MovieIndexError(f"{self.uri}: {problem}: {error}") from error


def _row(movie: Movie, vector: np.ndarray) -> dict[str, Any]:
    return {
        "id": movie.movie_id,
        "title": movie.title,
        "genres": f"|{'|'.join(movie.genres)}|",
        "year": movie.year or UNKNOWN_YEAR,
        "vector": vector,
    }


def _lite_path(uri: str) -> str:
    """Returns the path as Milvus Lite wants it; its folder exists afterwards.

    Raises:
        MovieIndexError: It cannot be one.
    """
    path = Path(uri).expanduser()
    if path.suffix != ".db":
        raise MovieIndexError(f"{uri}: a Milvus Lite path ends in .db, a server's address begins with http://")
    if path.is_file():
        raise MovieIndexError(f"{uri}: this is a file, Milvus Lite needs a folder of its own; choose another --uri")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MovieIndexError(f"{uri}: cannot make its folder: {error.strerror}; choose another --uri") from error
    for name in ("no_proxy", "NO_PROXY"):  # Milvus Lite talks to itself over loopback.
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1"]))
    return str(path)
