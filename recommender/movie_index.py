"""The movie vectors in Milvus: build a collection, open it, search it. All that touches Milvus is here.

The same code serves Milvus Lite (a local `.db` path) and a server (`http://host:port`). The alias `recommender_demo`
points at the one collection that was built whole; a new one is built beside it, checked, and then gets the alias.
"""

import difflib
import logging
import os
import re
import shlex
import time
import unicodedata
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from recommender import RecommenderError
from recommender.movielens import Movie, split_title

# pymilvus reads these when it is imported, and fails on a value that is not an http address.
os.environ["MILVUS_URI"] = os.environ["MILVUS_DEFAULT_CONNECTION"] = ""
for _name in ("no_proxy", "NO_PROXY"):  # A proxy cannot reach this machine's Milvus, and Lite is one too.
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "localhost,127.0.0.1"]))

from grpc import RpcError
from pymilvus import DataType, MilvusClient, MilvusException

logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # It prints what it raises, traceback included.

ALIAS = "recommender_demo"
DEFAULT_URI = "recommender_demo.db"
BUILD_COMMAND = "python infer_milvus.py -i"
SERVER_COMMAND = "docker compose up -d"

FINGERPRINT_PROPERTY = "recommender.fingerprint"
COUNT_PROPERTY = "recommender.movies"
GENRES_PROPERTY = "recommender.genres"
INSERT_BATCH = 1000
"""Rows a message: about 1 MB, of the 64 MB that gRPC takes."""
SEARCH_BATCH = 200
"""Queries a message."""
MAX_TOP_K = 16_384
MAX_VARCHAR_BYTES = 65_535
MAX_CHECKED = 10_000
EXACT_UP_TO = 50_000
"""Movies. Up to here a server's index is FLAT, which is exact; beyond, HNSW, which finds nearly all and stays fast.

Milvus Lite's is always FLAT: under a narrow filter its HNSW finds nothing (3.2.2), and is hardly faster besides.
"""
BUILD_PARAMETERS: dict[str, dict[str, int]] = {"FLAT": {}, "HNSW": {"M": 32, "efConstruction": 200}}
MAX_GENRES = 50
"""Each has a field of its own; a collection has 64."""
TRY_AGAIN_SECONDS = 0.5
LEASE_SECONDS = 1.0
"""For so long an index takes for granted that its collection is served. A builder waits twice as long before it drops
what it has replaced: Milvus 2.3 answers a search of a collection that is being dropped, with nothing."""
UNKNOWN_YEAR = 0
HIT_FIELDS = ["title", "genres", "num_ratings"]


T = TypeVar("T")


class MovieIndexError(RecommenderError):
    """Milvus cannot be reached, or does not hold what is asked for. The message names the remedy."""


class MovieIndexUnavailable(MovieIndexError):
    """Milvus does not answer now, but may later: a server that is starting, a Lite folder that is in use."""


_WAIT = "wait for it: --wait SECONDS"
_DOWN = f"nothing answers there; start it: {SERVER_COMMAND}, or {_WAIT}"
_OTHER_PORT = "that port is not Milvus'; Milvus listens on 19530 unless told otherwise"
_FAULTS = {
    "UNAUTHENTICATED": "it refuses the user or the password; give --token user:password",
    "PERMISSION_DENIED": "this user may not do that; give another --token",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; name its authority's: --tls-ca FILE",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; begin --uri with http://",
    "security handshaker": "--tls-ca is not a file of certificates in PEM form",
    "Socket closed": "it hangs up; if it speaks TLS, begin --uri with https://",
    "http1.x server": _OTHER_PORT,
    "HTTP/2": _OTHER_PORT,
    "UNIMPLEMENTED": _OTHER_PORT,
    "resolving": "there is no host of that name",
}
"""What gRPC says, and what that means to the user. The first that fits counts."""
_PASSING_FAULTS = {
    "holds the lock": f"another process has it open; {_WAIT}, or run a server: {SERVER_COMMAND}",
    "not ready": f"it is still starting; {_WAIT}",
    "UNAVAILABLE": _DOWN,
    "Fail connecting": _DOWN,
}
"""The same of gRPC, Milvus and Milvus Lite, where waiting may help."""


class _LiteLog(logging.Handler):
    """Keeps why Milvus Lite does not open; it tells its log only."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the exception of a record."""
        if record.exc_info:
            self.reason = str(record.exc_info[1])


_lite_log = _LiteLog()
logging.getLogger("milvus_lite.server_manager").addHandler(_lite_log)


class Hit(NamedTuple):
    """A movie that a search found."""

    movie: Movie
    num_ratings: int
    """How many ratings of it the model was trained on."""
    similarity: float
    """Cosine of the two vectors, -1..1."""


class _Opened(NamedTuple):
    """The collection that an index reads from."""

    name: str
    fingerprint: str
    size: int
    sure_until: float
    """Until then, by `time.monotonic`, it is not dropped."""


class MovieIndex:
    """The movies of one Milvus.

    Args:
        uri: A path that ends in `.db` for Milvus Lite, `http://host:port` or `https://host:port` for a server.
        token: `user:password` or an API key, for a server that asks for one. It never shows in a message.
        tls_ca: The PEM file of the authority that signed the server's certificate, if not a public one.
        wait: For how many seconds to try again while Milvus does not answer.
        create: Whether to make the folders of a Lite path that is not there.

    Raises:
        MovieIndexError: The path is not usable, or there is no server.
    """

    def __init__(
        self, uri: str = DEFAULT_URI, token: str = "", tls_ca: Path | None = None, wait: float = 0, create: bool = True
    ) -> None:
        self.uri = re.sub("//[^/]*@", "//", uri)  # An address may hold a password.
        self._rebuild = _rebuild_command(self.uri)
        self._is_server = "://" in uri
        self._if_damaged = ""
        if not self._is_server:
            uri = _lite_path(uri, create)
            self._if_damaged = f"; if its files are damaged, delete the folder and run: {self._rebuild}"
        options = {"server_pem_path": str(tls_ca.expanduser())} if tls_ca else {}
        self._client = self._connect(uri, wait, token=token, **options)
        self._opened = _Opened("", "", 0, 0)

    def _connect(self, uri: str, wait: float, **options: str) -> MilvusClient:
        started = time.monotonic()
        with tqdm(
            desc=f"waiting for {self.uri}", total=wait, unit="s", disable=None if wait else True, leave=False
        ) as progress:
            while True:
                _lite_log.reason = ""
                try:
                    with self._errors("cannot connect", self._if_damaged):
                        client = MilvusClient(uri, **options)
                        client.list_collections()  # A server that is starting lets connect, but does not answer yet.
                        return client
                except MovieIndexUnavailable as error:
                    waited = time.monotonic() - started
                    if waited > wait:
                        tried = f" (tried for {waited:.0f} s)" if wait else ""
                        raise MovieIndexUnavailable(f"{error}{tried}") from error
                    progress.update(round(waited - progress.n))
                    time.sleep(TRY_AGAIN_SECONDS)

    def close(self) -> None:
        """Ends the connection. Milvus Lite lets other processes in only when this one has ended."""
        self._client.close()

    def build(
        self,
        movies: Sequence[Movie],
        vectors: np.ndarray,
        num_ratings: Sequence[int],
        fingerprint: str,
        index_type: str | None = None,
    ) -> None:
        """Builds a collection, finds every movie in it by search, and only then serves it.

        Args:
            movies: The movies.
            vectors: float32[movies, size], unit length.
            num_ratings: How many ratings of each the model was trained on.
            fingerprint: Of the model that made the vectors.
            index_type: A key of `BUILD_PARAMETERS`; unless told, chosen as `EXACT_UP_TO` says.

        Raises:
            MovieIndexError: Something went wrong; the collection that was served before still is.
        """
        index_type = index_type or ("HNSW" if self._is_server and len(movies) > EXACT_UP_TO else "FLAT")
        if index_type != "FLAT" and not self._is_server:
            raise MovieIndexError(f"{index_type} on Milvus Lite misses movies; it needs a server: {SERVER_COMMAND}")
        if len(vectors) != len(movies):
            raise MovieIndexError(f"{len(vectors)} vectors for {len(movies)} movies")
        _check_vectors(vectors)
        genres = sorted({genre for movie in movies for genre in movie.genres})
        if len(genres) > MAX_GENRES:
            raise MovieIndexError(f"{len(genres)} genres are more than the {MAX_GENRES} that a collection has room for")
        name = f"{ALIAS}_{uuid.uuid4().hex[:12]}"
        with self._errors("cannot build the collection; the one before, if any, is untouched"):
            if ALIAS in self._client.list_collections():
                raise MovieIndexError(f"{self.uri}: a foreign collection has the name {ALIAS}; rename or drop it")
            self._drop_unserved()
            properties = {
                FINGERPRINT_PROPERTY: fingerprint,
                COUNT_PROPERTY: str(len(movies)),
                GENRES_PROPERTY: "|".join(genres),
            }
            self._create(name, vectors.shape[1], genres, properties, index_type)
            for start in tqdm(range(0, len(movies), INSERT_BATCH), "inserting", unit="batch", disable=None):
                part = slice(start, start + INSERT_BATCH)
                columns = movies[part], num_ratings[part], vectors[part]
                self._client.insert(name, [_row(genres, *one) for one in zip(*columns, strict=True)])
            self._client.flush(name)
            while self._client.describe_index(name, "vector").get("pending_index_rows"):
                time.sleep(TRY_AGAIN_SECONDS)  # A server that loads what is not indexed yet searches it row by row.
            self._client.load_collection(name)
            self._check(name, movies, vectors, index_type)
            if self._served():
                self._client.alter_alias(name, ALIAS)
                if self._is_server:  # Nobody else searches in Milvus Lite.
                    time.sleep(2 * LEASE_SECONDS)
            else:
                self._client.create_alias(name, ALIAS)
            self._drop_unserved()

    def open(self, fingerprint: str, size: int) -> int:
        """Makes the collection ready for searches.

        Args:
            fingerprint: Of the model whose vectors the collection must hold.
            size: Of the vectors.

        Returns:
            How many movies it holds.

        Raises:
            MovieIndexError: There is none, another model built it, or it has lost rows.
        """
        now = time.monotonic()
        with self._errors("cannot open the collection", self._if_damaged):
            if not (name := self._served()):
                raise MovieIndexError(f"Insert vectors is none! {self.uri} has no movies yet; run: {self._rebuild}")
            description = self._client.describe_collection(name)
            properties = description["properties"]
            sizes = [field["params"]["dim"] for field in description["fields"] if field["name"] == "vector"]
            if properties.get(FINGERPRINT_PROPERTY) != fingerprint or sizes != [size]:
                raise MovieIndexError(f"{self.uri}: its movies are from another model; run: {self._rebuild}")
            self._client.load_collection(name)
            count = self._count(name)
            if str(count) != properties.get(COUNT_PROPERTY):
                expected = properties.get(COUNT_PROPERTY)
                raise MovieIndexError(f"{self.uri}: {count} movies instead of {expected}; run: {self._rebuild}")
        self._opened = _Opened(name, fingerprint, size, now + LEASE_SECONDS)
        return count

    def search(
        self, vectors: np.ndarray, k: int, where: str = "", leave_out: Sequence[Collection[int]] | None = None
    ) -> list[list[Hit]]:
        """Finds the k movies nearest to each vector, all of them in the same collection.

        Args:
            vectors: float32[queries, size], unit length.
            k: How many, 1 to `MAX_TOP_K`; fewer come back only where there are fewer.
            where: Which movies count, from `MovieIndex.where`.
            leave_out: For each vector the ids of movies that it must not find.

        Returns:
            For each vector its hits, best first.

        Raises:
            MovieIndexError: The search failed, or the vectors are not of unit length.
        """
        _check_vectors(vectors)
        return self._read(lambda name: self._search_deeper(name, vectors, k, where, leave_out or [()] * len(vectors)))

    def _search_deeper(
        self, name: str, vectors: np.ndarray, k: int, where: str, leave_out: Sequence[Collection[int]]
    ) -> list[list[Hit]]:
        found: list[list[Hit]] = [[] for _ in vectors]
        pending = list(range(len(vectors)))
        limit = k
        while pending:
            # Those who must not find some movies may have to look deeper; Milvus filters all queries alike.
            limit = min(limit + max(len(leave_out[query]) for query in pending), limit * 2, MAX_TOP_K)
            unfinished = []
            for start in range(0, len(pending), SEARCH_BATCH):
                batch = pending[start : start + SEARCH_BATCH]
                results = self._search(name, vectors[batch], limit, HIT_FIELDS, where)
                for query, hits in zip(batch, results, strict=True):
                    kept = [hit for hit in hits if hit.id not in leave_out[query]][:k]
                    found[query] = [_hit(hit) for hit in kept]
                    if len(kept) < k and len(hits) == limit < MAX_TOP_K:
                        unfinished.append(query)
            pending = unfinished
        return found

    def vectors_of(self, movie_ids: Sequence[int]) -> np.ndarray:
        """Returns float32[movies, size], the vectors of some movies, in the order given.

        Raises:
            MovieIndexError: One is not there.
        """
        rows = self._read(lambda name: self._client.get(name, ids=list(movie_ids), output_fields=["id", "vector"]))
        vectors = {row["id"]: row["vector"] for row in rows}
        if missing := sorted(set(movie_ids) - vectors.keys()):
            raise MovieIndexError(f"{self.uri}: no movie {missing[0]}; ids are in the column Ids of a recommendation")
        return np.array([vectors[movie_id] for movie_id in movie_ids], np.float32)

    def find_movie(self, text: str) -> int:
        """Returns the id of the movie that a person means by an id or a title; see `title_key`.

        Raises:
            MovieIndexError: There is none, or more than one; the message offers some.
        """
        if text.isascii() and text.isdigit() and len(text) <= 18 and self._query(f"id == {int(text)}"):
            return int(text)
        year = split_title(text)[1]
        named = self._query(f'title_key == "{title_key(text)}"')
        rows = [row for row in named if year in (None, row["year"])]
        if len(rows) == 1:
            return int(rows[0]["id"])
        if not rows:
            titles = {title_key(row["title"]): row for row in self._read(self._all_titles)}
            near = difflib.get_close_matches(title_key(text), titles, n=5, cutoff=0.5)
            rows = named or [titles[key] for key in near]
        offer = (
            "choose by id: " + "; ".join(f"{row['id']} {row['title']}" for row in rows) if rows else "none comes near"
        )
        problem = (
            "more than one movie is called" if len(named) > 1 and year is None else "no movie has the id or the title"
        )
        raise MovieIndexError(f"{problem} {text!r}; {offer}")

    def genres(self) -> list[str]:
        """Returns the genres of the movies, sorted."""
        description = self._read(self._client.describe_collection)
        return str(description["properties"][GENRES_PROPERTY]).split("|")

    def where(
        self, genres: Sequence[str] = (), years: tuple[int | None, int | None] = (None, None), min_ratings: int = 0
    ) -> str:
        """Says in Milvus' language which movies count, for `search`.

        Args:
            genres: Any of them will do; case does not matter.
            years: First and last year; None leaves a side open.
            min_ratings: Least number of training ratings.

        Raises:
            MovieIndexError: There is no such genre.
        """
        conditions = []
        if genres:
            known = {genre.casefold(): _genre_field(genre) for genre in self.genres()}
            if unknown := [genre for genre in genres if genre.casefold() not in known]:
                raise MovieIndexError(f"no genre {unknown[0]!r}; choose one of: {', '.join(self.genres())}")
            conditions.append("(" + " or ".join(f"{known[genre.casefold()]} == true" for genre in genres) + ")")
        first, last = years
        if first is not None or last is not None:
            conditions.append(f"year >= {max(first or 0, UNKNOWN_YEAR + 1)}")
        if last is not None:
            conditions.append(f"year <= {last}")
        if min_ratings:
            conditions.append(f"num_ratings >= {min_ratings}")
        return " and ".join(conditions)

    def _read(self, read: Callable[[str], T]) -> T:
        """Reads from the collection that was opened, or, if it has been replaced meanwhile, from its successor."""
        with self._errors("cannot read"):
            while True:
                name, fingerprint, size, sure_until = self._opened
                try:
                    found = read(name)
                except (MilvusException, RpcError):
                    if self._served() == name:
                        raise
                else:
                    if (now := time.monotonic()) < sure_until:
                        return found
                    if self._served() == name:
                        self._opened = self._opened._replace(sure_until=now + LEASE_SECONDS)
                        return found
                self.open(fingerprint, size)

    def _query(self, where: str) -> list[Any]:
        fields = ["id", "title", "year"]
        return list(self._read(lambda name: self._client.query(name, filter=where, output_fields=fields)))

    def _all_titles(self, name: str) -> list[Any]:
        rows = self._client.query_iterator(name, batch_size=INSERT_BATCH, output_fields=["id", "title", "year"])
        titles = []
        while batch := rows.next():
            titles += batch
        rows.close()
        return titles

    def _search(self, name: str, vectors: np.ndarray, k: int, fields: list[str], where: str = "") -> Any:
        return self._client.search(
            name,
            vectors,
            filter=where,
            limit=k,
            output_fields=fields,
            search_params={"metric_type": "IP", "params": {"ef": max(300, 2 * k)}},
            anns_field="vector",
            consistency_level="Bounded",  # Strong waits 0.2 s for a server's clock; `_count`, before any search, does.
        )

    def _create(self, name: str, size: int, genres: Sequence[str], properties: dict[str, str], index_type: str) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("title", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
        schema.add_field("title_key", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
        schema.add_field("genres", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
        schema.add_field("year", DataType.INT32)
        schema.add_field("num_ratings", DataType.INT32)
        for genre in genres:  # On Milvus Lite an ARRAY filter is ten times slower than these.
            schema.add_field(_genre_field(genre), DataType.BOOL)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        index = self._client.prepare_index_params()
        parameters = {"params": BUILD_PARAMETERS[index_type]}  # Nested, as Milvus Lite wants it.
        index.add_index("vector", index_type=index_type, metric_type="IP", params=parameters)
        self._client.create_collection(
            name, schema=schema, index_params=index, properties=properties, consistency_level="Strong"
        )

    def _check(self, name: str, movies: Sequence[Movie], vectors: np.ndarray, index_type: str) -> None:
        """Raises unless a search for a movie's vector finds that movie, or one with the same vector.

        Every movie is looked for, or, as this grows with the square, `MAX_CHECKED` of them, spread evenly. An index
        that is not exact may miss one in a hundred.
        """
        if (count := self._count(name)) != len(movies):
            raise MovieIndexError(f"{self.uri}: {count} of {len(movies)} movies arrived; run the command again")
        row_of = {movie.movie_id: row for row, movie in enumerate(movies)}
        checked = vectors[:: -(-len(movies) // MAX_CHECKED)]
        for start in range(0, len(checked), INSERT_BATCH):
            queries = checked[start : start + INSERT_BATCH]
            hits = self._search(name, queries, 1, ["id"])
            found = np.array([row_of[hit[0].id] for hit in hits if hit], int)
            right = len(found) == len(queries) and np.isclose(vectors[found], queries, atol=1e-3).all(1).mean()
            if right < (1 if index_type == "FLAT" else 0.99):
                raise MovieIndexError(f"{self.uri}: not every movie was found again; run the command again")

    def _count(self, name: str) -> int:
        return int(self._client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def _served(self) -> str | None:
        """Returns the collection that the alias points at; `describe_alias` of Milvus 2.3 knows one database only."""
        if not self._client.has_collection(ALIAS):
            return None
        return str(self._client.describe_collection(ALIAS)["collection_name"])

    def _drop_unserved(self) -> None:
        """Drops what an earlier build left behind: the replaced collection, or a half-built one."""
        served = self._served()
        for name in self._client.list_collections():
            if name.startswith(f"{ALIAS}_") and name != served:
                self._client.drop_collection(name)

    @contextmanager
    def _errors(self, problem: str, remedy: str = "") -> Iterator[None]:
        """Turns what Milvus raises into one line that says what it means."""
        try:
            yield
        except (MilvusException, RpcError, OSError, ValueError) as error:
            said = f"{error} {error.__cause__} {_lite_log.reason}"
            for kind, faults in ((MovieIndexError, _FAULTS), (MovieIndexUnavailable, _PASSING_FAULTS)):
                if meanings := [meaning for sign, meaning in faults.items() if sign in said]:
                    raise kind(f"{self.uri}: {problem}: {meanings[0]}") from error
            reason = _lite_log.reason or getattr(error, "message", None) or str(error)
            raise MovieIndexError(f"{self.uri}: {problem}: {' '.join(reason.split())}{remedy}") from error


def _check_vectors(vectors: np.ndarray) -> None:
    """Raises unless all vectors are of unit length; Milvus Lite takes anything, not-a-number included."""
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
        raise MovieIndexError("a vector is not of unit length; train the model again: python train.py")


def title_key(title: str) -> str:
    """Reduces a title to what people agree on, in letters, digits and single blanks.

    Case, accents, punctuation, the year, alternative titles in brackets and a leading article, also where ml-1m puts
    it behind, do not count: `Matrix, The (1999)` and `the matrix` both give `matrix`.
    """
    name = split_title(title.strip())[0]
    name = re.sub(r"(?<=.)\s*\(.*\)$", "", name)
    name = re.sub(r"^(.*), (the|a|an)$", r"\1", re.sub(r"^(the|a|an)\s+(?=\S)", "", name.casefold().strip()))
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", plain))


def _hit(hit: Any) -> Hit:
    entity = hit["entity"]
    movie = Movie(hit.id, entity["title"], tuple(entity["genres"].split("|")))
    return Hit(movie, entity["num_ratings"], hit.distance)


def _genre_field(genre: str) -> str:
    """Returns the name of a genre's field: `Sci-Fi` is `genre_Sci_2d_Fi`, as Milvus takes only ASCII letters."""
    return "genre_" + re.sub("[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", genre)


def _row(genres: Sequence[str], movie: Movie, num_ratings: int, vector: np.ndarray) -> dict[str, Any]:
    return {
        **{_genre_field(genre): genre in movie.genres for genre in genres},
        "id": movie.movie_id,
        "title": movie.title,
        "title_key": title_key(movie.title),
        "genres": "|".join(movie.genres),
        "year": movie.year or UNKNOWN_YEAR,
        "num_ratings": int(num_ratings),
        "vector": vector,
    }


def _rebuild_command(uri: str) -> str:
    return BUILD_COMMAND + ("" if uri == DEFAULT_URI else f" --uri {shlex.quote(uri)}")


def _lite_path(uri: str, create: bool) -> str:
    """Returns the path as Milvus Lite wants it.

    Raises:
        MovieIndexError: It cannot be one, or there is nothing and nothing is to be made.
    """
    path = Path(uri).expanduser()
    if path.suffix != ".db":
        begins = "a server's address begins with http:// or https://"
        raise MovieIndexError(f"{uri!r}: a Milvus Lite path ends in .db, {begins}")
    if path.is_file():
        raise MovieIndexError(f"{uri}: this is a file, Milvus Lite needs a folder of its own; choose another --uri")
    if not create and not path.is_dir():
        raise MovieIndexError(f"Insert vectors is none! There is no {uri}; run: {_rebuild_command(uri)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MovieIndexError(f"{uri}: cannot make its folder: {error.strerror}; choose another --uri") from error
    return str(path)
