"""The movies in Milvus: build a collection, open it, search it.

The same code serves Milvus Lite and a server. The alias `recommender_demo` points at the one collection that was built
whole; a new one is built beside it, checked, and then gets the alias.
"""

import json
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recommender.data.features import MOVIE_SIZE, genre_key
from recommender.data.movielens import Movie
from recommender.errors import Step
from recommender.index.connection import Milvus, MilvusError
from recommender.inference.titles import Title

ALIAS = "recommender_demo"
READ_BATCH = 1000
"""Rows a message that are read."""
SEARCH_BATCH = 50
"""Queries a message, at most; more are no faster."""
HITS_A_MESSAGE = 20_000
DEPTH = 3.5
"""Nine in ten people who know n movies find their first k others among the first k + `DEPTH` · √n (ml-1m)."""
MAX_TOP_K = 16_384
LEASE_SECONDS = 1.0
"""For so long an index takes for granted that its collection is served. A builder waits twice as long before it drops
what it has replaced: Milvus 2.3 answers a search of a collection that is being dropped, with nothing."""
UNKNOWN_YEAR = 0

LABEL = "recommender"
"""The property of a collection that holds its `Label`."""

T = TypeVar("T")


class Hit(NamedTuple):
    """A movie that a search found."""

    movie_id: int
    product: float
    """The inner product of the two vectors."""


class StoredMovie(NamedTuple):
    """A movie as Milvus holds it."""

    movie: Movie
    num_ratings: int
    """How many ratings of it the model was trained on."""
    vector: np.ndarray
    """float32[size]"""


class Label(NamedTuple):
    """What a collection says of itself."""

    fingerprint: str
    """Of the model that made the vectors."""
    num_movies: int
    genres: list[str]
    """All combinations that a movie has, each separated by |."""
    created: float
    """Seconds since 1970."""
    checksums: dict[str, int]
    """Of its data files, if it is in Milvus Lite."""

    def write(self) -> str:
        """Returns it as a text that `read` understands."""
        text = json.dumps(self)
        return f"{zlib.crc32(text.encode()):08x}{text}"

    @classmethod
    def read(cls, properties: dict[str, str]) -> "Label | None":
        """Finds it among a collection's properties; None if it is not there, or damaged."""
        checksum, text = properties.get(LABEL, "")[:8], properties.get(LABEL, "")[8:]
        return cls(*json.loads(text)) if checksum == f"{zlib.crc32(text.encode()):08x}" else None


class MovieIndex:
    """The movies that one Milvus serves.

    Args:
        milvus: Where.
        fingerprint: Of the model whose vectors the collection must hold.
        size: Of the vectors.

    Raises:
        MilvusError: There is no collection, another model built it, or it is damaged.
    """

    def __init__(self, milvus: Milvus, fingerprint: str, size: int = MOVIE_SIZE) -> None:
        self.milvus = milvus
        self._fingerprint = fingerprint
        self._size = size
        self._open()

    def _open(self) -> None:
        milvus = self.milvus
        self._sure_until = time.monotonic() + LEASE_SECONDS
        with milvus.errors("cannot open the collection"):
            name = served_collection(milvus)
            if name is None:
                raise MilvusError(f"{milvus.uri}: there are no movies here yet", Step.INDEX)
            description = milvus.client.describe_collection(name)
            sizes = [field["params"]["dim"] for field in description["fields"] if field["name"] == "vector"]
            label = Label.read(description["properties"])
            if label is None or label.fingerprint != self._fingerprint or sizes != [self._size]:
                raise MilvusError(f"{milvus.uri}: its movies are from another model", Step.INDEX)
            found = lite_checksums(milvus.lite_folder, name) if milvus.lite_folder else {}
            if not label.checksums.items() <= found.items():
                raise milvus.damaged("its files are not as they were written")
            milvus.client.load_collection(name)
            self.count = count_movies(milvus, name)
            """How many movies there are."""
        if self.count != label.num_movies:
            raise milvus.damaged(f"{self.count} movies instead of {label.num_movies}")
        self._name = name
        self._genres = label.genres
        self._stored: dict[int, StoredMovie] = {}

    def search(
        self, vectors: np.ndarray, k: int, where: str = "", leave_out: Sequence[Collection[int]] | None = None
    ) -> list[list[Hit]]:
        """Finds the k movies of the largest inner product with each vector, all of them in the same collection.

        Args:
            vectors: float32[queries, size]
            k: How many, 1 to `MAX_TOP_K`; fewer come back only where there are fewer.
            where: Which movies count, from `MovieIndex.where`.
            leave_out: For each vector the ids of movies that it must not find.

        Returns:
            For each vector its hits, best first.

        Raises:
            MilvusError: The search failed.
            ValueError: A vector is not a number, or there are not as many `leave_out` as vectors.
        """
        left_out = [set(one) for one in ([()] * len(vectors) if leave_out is None else leave_out)]
        if len(left_out) != len(vectors) or not np.isfinite(vectors).all():
            raise ValueError(f"{len(vectors)} vectors, {len(left_out)} sets of movies to leave out")
        if len(vectors) == 1 and left_out[0]:
            others = f"id not in {sorted(left_out.pop())}"
            where = f"{where} and {others}" if where else others
            left_out.append(set())
        return self._read(lambda: self._search_deeper(vectors, k, where, left_out))

    def _search_deeper(self, vectors: np.ndarray, k: int, where: str, leave_out: Sequence[set[int]]) -> list[list[Hit]]:
        """Looks as deep as each must who is not to find some movies: Milvus filters all queries of a message alike."""
        found: list[list[Hit]] = [[] for _ in vectors]
        depth = [k + int(DEPTH * len(left_out) ** 0.5) for left_out in leave_out]
        pending = list(range(len(vectors)))
        while pending:
            pending.sort(key=lambda query: depth[query])
            size = max(1, min(SEARCH_BATCH, HITS_A_MESSAGE // depth[pending[-1]]))
            unfinished = []
            for start in range(0, len(pending), size):
                batch = pending[start : start + size]
                limit = min(depth[batch[-1]], MAX_TOP_K)
                results = search_collection(self.milvus, self._name, vectors[batch], limit, where)
                for query, hits in zip(batch, results, strict=True):
                    pairs = zip(hits.ids, hits.distances, strict=True)
                    kept = [Hit(*pair) for pair in pairs if pair[0] not in leave_out[query]]
                    found[query] = kept[:k]
                    depth[query] = limit + limit // 2 + 1
                    if len(kept) < k and len(hits) == limit < MAX_TOP_K:
                        unfinished.append(query)
            pending = unfinished
        return found

    def fetch(self, movie_ids: Iterable[int]) -> dict[int, StoredMovie]:
        """Returns some movies by id; each is read from Milvus once.

        Raises:
            MilvusError: One is not there.
        """
        wanted = set(movie_ids)
        new = list(wanted - self._stored.keys())
        for start in range(0, len(new), READ_BATCH):
            self._stored |= self._read(partial(self._get, new[start : start + READ_BATCH]))
        missing = sorted(wanted - self._stored.keys())
        if missing:
            raise MilvusError(f"{self.milvus.uri}: no movie has the id {missing[0]}")
        return {movie_id: self._stored[movie_id] for movie_id in wanted}

    def _get(self, movie_ids: list[int]) -> dict[int, StoredMovie]:
        fields = ["id", "title", "genres", "num_ratings", "vector"]
        rows = self.milvus.client.get(self._name, ids=movie_ids, output_fields=fields)
        return {row["id"]: _stored_movie(row) for row in rows}

    def titles(self, where: str = "") -> list[Title]:
        """Returns the titles of all movies, or of those that count."""
        return self._read(lambda: self._all_titles(where))

    def _all_titles(self, where: str) -> list[Title]:
        fields = ["id", "title", "num_ratings"]
        rows = self.milvus.client.query_iterator(self._name, batch_size=MAX_TOP_K, filter=where, output_fields=fields)
        titles: list[Title] = []
        batch = rows.next()
        while batch:
            titles += [Title(row["id"], row["title"], row["num_ratings"]) for row in batch]
            batch = rows.next()
        rows.close()
        return titles

    def count_where(self, where: str) -> int:
        """Returns how many movies count."""
        rows = self._read(lambda: self.milvus.client.query(self._name, filter=where, output_fields=["count(*)"]))
        return int(rows[0]["count(*)"])

    def genres(self) -> list[str]:
        """Returns the genres of the movies, sorted; of two spellings one."""
        spelling = {genre_key(genre): genre for combination in self._genres for genre in combination.split("|")}
        return [genre for _, genre in sorted(spelling.items())]

    def where(
        self, genres: Iterable[str] = (), years: tuple[int | None, int | None] = (None, None), min_ratings: int = 0
    ) -> str:
        """Says in Milvus' language which movies count, for `search`.

        Args:
            genres: Any of them will do; case does not matter.
            years: First and last year; None leaves a side open.
            min_ratings: Least number of training ratings.

        Raises:
            MilvusError: There is no such genre.
        """
        conditions = []
        wanted = {genre_key(genre): genre for genre in genres}
        if wanted:
            known = {genre_key(genre) for genre in self.genres()}
            unknown = [genre for key, genre in wanted.items() if key not in known]
            if unknown:
                raise MilvusError(f"no genre {unknown[0]!r}; choose one of: {', '.join(self.genres())}")
            # On Milvus Lite an ARRAY filter is ten times slower, and each BOOL field slows every hit.
            held = [one for one in self._genres if wanted.keys() & set(map(genre_key, one.split("|")))]
            conditions.append(f"genres in {string_literals(held)}")
        first, last = years
        if first is not None or last is not None:
            conditions.append(f"year >= {max(first or 0, UNKNOWN_YEAR + 1)}")
        if last is not None:
            conditions.append(f"year <= {last}")
        if min_ratings:
            conditions.append(f"num_ratings >= {min_ratings}")
        return " and ".join(conditions)

    def _read(self, read: Callable[[], T]) -> T:
        """Reads from one collection; if it has been replaced meanwhile, again, from its successor."""
        while True:
            try:
                with self.milvus.errors("cannot read"):
                    found = read()
            except MilvusError:
                self._sure_until = 0.0
                if not self._is_replaced():
                    raise
            else:
                if not self._is_replaced():
                    return found

    def _is_replaced(self) -> bool:
        """Tells whether another collection is served by now, and opens that one."""
        now = time.monotonic()
        if now < self._sure_until or not self.milvus.is_server:  # Nobody else builds in Milvus Lite.
            return False
        with self.milvus.errors("cannot read"):
            served = served_collection(self.milvus)
        if served == self._name:
            self._sure_until = now + LEASE_SECONDS
            return False
        self._open()
        return True


def string_literals(texts: Iterable[str]) -> str:
    """Returns a list of string literals for a filter expression, such as `["War", "Æon Flux"]`.

    Milvus knows the escapes of quotes and backslashes; Milvus Lite (3.2.2) does not know the Unicode escapes that JSON writes.
    """
    escaped = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "[" + ", ".join(f'"{text}"' for text in escaped) + "]"


def _stored_movie(row: dict[str, Any]) -> StoredMovie:
    movie = Movie(row["id"], row["title"], tuple(row["genres"].split("|")))
    return StoredMovie(movie, row["num_ratings"], np.array(row["vector"], np.float32))


def served_collection(milvus: Milvus) -> str | None:
    """Returns the collection that the alias points at; `describe_alias` of Milvus 2.3 knows one database only."""
    if not milvus.client.has_collection(ALIAS):
        return None
    return str(milvus.client.describe_collection(ALIAS)["collection_name"])


def lite_checksums(folder: Path, name: str) -> dict[str, int]:
    """Returns the checksums of a collection's data files, which Milvus Lite (3.2.2) does not check itself."""
    files = sorted(path for path in (folder / "collections" / name).rglob("*") if path.suffix in (".parquet", ".idx"))
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(lambda path: zlib.crc32(path.read_bytes()), files)
        return {str(path.relative_to(folder)): checksum for path, checksum in zip(files, checksums, strict=True)}


def count_movies(milvus: Milvus, name: str) -> int:
    """Returns how many movies a collection holds, all that were inserted before; whoever reads it then sees these."""
    options: dict[str, Any] = {"filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong"}
    return int(milvus.client.query(name, **options)[0]["count(*)"])


def search_collection(milvus: Milvus, name: str, vectors: np.ndarray, k: int, where: str = "") -> Any:
    """Asks Milvus for the k rows of the largest inner product with each vector."""
    return milvus.client.search(
        name,
        vectors,
        filter=where,
        limit=k,
        output_fields=["id"],
        search_params={"metric_type": "IP", "params": {"ef": max(300, 2 * k)}},
        anns_field="vector",
    )
