"""The movie collection: opens it, searches it, reads movies and titles.

The same code serves Milvus Lite and a server. The alias `recommender_demo` points to the current collection; a new one
is built beside it, checked, and then gets the alias.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recommender.movielens.encoding import INDEX_DIM, genre_key
from recommender.movielens.catalogue import Movie
from recommender.errors import Step
from recommender.milvus.connection import MilvusConnection, MilvusError
from recommender.milvus.filters import MovieFilter, all_of, is_in, is_not_in, range_conditions
from recommender.milvus.metadata import CollectionMetadata, lite_checksums
from recommender.films.name_similarity import closest_name
from recommender.films.matching import Title

ALIAS = "recommender_demo"
READ_BATCH = 1000
"""Rows per message when reading."""
SEARCH_BATCH = 50
"""Queries per message, at most; more are no faster."""
MAX_HITS_PER_MESSAGE = 20_000
OVERFETCH = 3.5
"""Factor: k + 3.5 √n hits suffice for 90 % of users with n excluded movies (ml-1m)."""
MAX_TOP_K = 16_384

T = TypeVar("T")


class Hit(NamedTuple):
    """A search result."""

    movie_id: int
    product: float
    """The inner product of the query and the movie's vector."""


class StoredMovie(NamedTuple):
    """A movie as stored in Milvus."""

    movie: Movie
    num_ratings: int
    """Number of training ratings."""
    vector: np.ndarray
    """float32[dim], rating vector and taste vector joined"""


class MovieCollection:
    """The current collection of a Milvus.

    Args:
        connection: The connection to Milvus.
        fingerprint: The fingerprint of the model whose vectors the collection must hold.
        dim: The length of the vectors.
        load_training_titles: Returns the titles of the training data, which are read from there if the collection has
            the same ones: Milvus Lite takes 2 seconds for 90,000.

    Raises:
        MilvusError: There is no collection, it was built with a different model, or it is damaged.
    """

    def __init__(
        self,
        connection: MilvusConnection,
        fingerprint: str,
        dim: int = INDEX_DIM,
        load_training_titles: Callable[[], list[Title] | None] = lambda: None,
    ) -> None:
        self.connection = connection
        self._fingerprint = fingerprint
        self._dim = dim
        self._load_training_titles = load_training_titles
        self._open()

    def _open(self) -> None:
        connection = self.connection
        with connection.translate_errors("cannot open the collection"):
            name = current_collection(connection)
            if name is None:
                raise MilvusError(f"{connection.uri}: there are no movies here yet", Step.INDEX)
            description = connection.client.describe_collection(name)
            dims = [field["params"]["dim"] for field in description["fields"] if field["name"] == "vector"]
            metadata = CollectionMetadata.from_properties(description["properties"])
            if metadata is None or metadata.fingerprint != self._fingerprint or dims != [self._dim]:
                raise MilvusError(f"{connection.uri}: the collection was built with a different model", Step.INDEX)
            checksums = lite_checksums(connection.lite_folder, name) if connection.lite_folder else {}
            if not metadata.checksums.items() <= checksums.items():
                raise connection.rebuild_error("files of the collection were changed")
            connection.client.load_collection(name)
            self.num_movies = count_movies(connection, name)
        if self.num_movies != metadata.num_movies:
            raise connection.rebuild_error(f"{self.num_movies} movies instead of {metadata.num_movies}")
        self._name = name
        self._genre_combinations = metadata.genres
        self._has_training_titles = metadata.has_training_titles
        self._fetched: dict[int, StoredMovie] = {}

    def search(
        self, vectors: np.ndarray, k: int, filter: str = "", exclude_ids: Sequence[Collection[int]] | None = None
    ) -> list[list[Hit]]:
        """Finds the k movies with the largest inner product with each vector, all in one version of the collection.

        Args:
            vectors: float32[queries, dim]
            k: The number of movies; fewer are returned where fewer qualify, and never more than `MAX_TOP_K`.
            filter: An expression from `build_filter`.
            exclude_ids: For each query the ids of movies that must not be returned.

        Returns:
            The hits of each query, best first.

        Raises:
            MilvusError: The search failed.
            ValueError: A vector is not finite, or `exclude_ids` has another length than `vectors`.
        """
        excluded = [set(ids) for ids in ([()] * len(vectors) if exclude_ids is None else exclude_ids)]
        if len(excluded) != len(vectors) or not np.isfinite(vectors).all():
            raise ValueError(f"{len(vectors)} finite vectors expected, {len(excluded)} sets of excluded ids")
        if len(vectors) == 1 and excluded[0]:
            filter = all_of(filter, is_not_in("id", sorted(excluded[0])))
            excluded = [set()]
        return self._read(lambda: self._search_with_exclusions(vectors, k, filter, excluded))

    def _search_with_exclusions(
        self, vectors: np.ndarray, k: int, filter: str, exclude_ids: Sequence[set[int]]
    ) -> list[list[Hit]]:
        """Over-fetches for each query, and again where too few hits remain: all queries of a message share a filter."""
        found: list[list[Hit]] = [[] for _ in vectors]
        depth = [k + int(OVERFETCH * len(excluded) ** 0.5) for excluded in exclude_ids]
        pending = list(range(len(vectors)))
        while pending:
            pending.sort(key=lambda query: depth[query])
            batch_size = max(1, min(SEARCH_BATCH, MAX_HITS_PER_MESSAGE // depth[pending[-1]]))
            unfinished = []
            for start in range(0, len(pending), batch_size):
                batch = pending[start : start + batch_size]
                limit = min(depth[batch[-1]], MAX_TOP_K)
                results = search_collection(self.connection, self._name, vectors[batch], limit, filter)
                for query, hits in zip(batch, results, strict=True):
                    pairs = zip(hits.ids, hits.distances, strict=True)
                    kept = [Hit(*pair) for pair in pairs if pair[0] not in exclude_ids[query]]
                    found[query] = kept[:k]
                    depth[query] = limit + limit // 2 + 1
                    if len(kept) < k and len(hits) == limit < MAX_TOP_K:
                        unfinished.append(query)
            pending = unfinished
        return found

    def fetch(self, movie_ids: Iterable[int]) -> dict[int, StoredMovie]:
        """Returns movies by id, reading each once; ids that are not in the collection are left out."""
        wanted = set(movie_ids)
        if wanted - self._fetched.keys():  # Of a successor, which is opened meanwhile, nothing has been fetched.
            new = self._read(lambda: self._get(list(wanted - self._fetched.keys())))
            self._fetched |= new
        return {movie_id: self._fetched[movie_id] for movie_id in wanted & self._fetched.keys()}

    def fetch_all(self, movie_ids: Iterable[int]) -> dict[int, StoredMovie]:
        """Returns movies by id, as `fetch` does.

        Raises:
            MilvusError: A movie is not in the collection.
        """
        wanted = set(movie_ids)
        movies = self.fetch(wanted)
        missing = wanted - movies.keys()
        if missing:
            raise MilvusError(f"movie {min(missing)} is not in the collection")
        return movies

    def _get(self, movie_ids: list[int]) -> dict[int, StoredMovie]:
        fields = ["id", "title", "genres", "imdb_id", "tmdb_id", "num_ratings", "vector"]
        movies: dict[int, StoredMovie] = {}
        for batch in _batches(movie_ids):
            rows = self.connection.client.get(self._name, ids=batch, output_fields=fields)
            movies |= {row["id"]: _stored_movie(row) for row in rows}
        return movies

    def titles(self) -> list[Title]:
        """Returns the titles of all movies."""
        return self._training_titles() or self._read(lambda: self._query_titles(""))

    def _training_titles(self) -> list[Title] | None:
        """Returns the titles of the training data if they are those of the collection."""
        return self._load_training_titles() if self._has_training_titles else None

    def movie_ids_by(self, field: str, values: Iterable[str | int]) -> dict[str | int, int]:
        """Returns movie ids by `id`, `imdb_id` or `tmdb_id`; values that no movie has are left out."""
        unique = list(dict.fromkeys(values))
        return self._read(lambda: self._query_ids(field, unique))

    def _query_ids(self, field: str, values: list[str | int]) -> dict[str | int, int]:
        found: dict[str | int, int] = {}
        for batch in _batches(values):
            options = {"filter": is_in(field, batch), "output_fields": ["id", field]}
            found |= {row[field]: row["id"] for row in self.connection.client.query(self._name, **options)}
        return found

    def titles_with_ids(self, movie_ids: Iterable[int]) -> list[Title]:
        """Returns the titles of those movies that have one of some ids."""
        return self._titles_where("id", movie_ids)

    def titles_with_keys(self, keys: Iterable[str]) -> list[Title]:
        """Returns the titles that have one of some keys, see `title_key`."""
        titles, wanted = self._training_titles(), set(keys)
        if titles is None:
            return self._titles_where("title_key", wanted)
        return [title for title in titles if title.names[0].replace(" ", "") in wanted]

    def _titles_where(self, field: str, values: Iterable[str | int]) -> list[Title]:
        unique = list(dict.fromkeys(values))
        return self._read(
            lambda: [title for batch in _batches(unique) for title in self._query_titles(is_in(field, batch))]
        )

    def _query_titles(self, filter: str) -> list[Title]:
        fields = ["id", "title", "num_ratings"]
        rows = self.connection.client.query_iterator(
            self._name, batch_size=MAX_TOP_K, filter=filter, output_fields=fields
        )
        titles: list[Title] = []
        batch = rows.next()
        while batch:
            titles += [Title(row["id"], row["title"], row["num_ratings"]) for row in batch]
            batch = rows.next()
        rows.close()
        return titles

    def count(self, filter: str) -> int:
        """Returns the number of movies that a filter admits."""
        options: dict[str, Any] = {"filter": filter, "output_fields": ["count(*)"]}
        return int(self._read(lambda: self.connection.client.query(self._name, **options)[0]["count(*)"]))

    def genres(self) -> list[str]:
        """Returns the genres of the movies, sorted, each in one spelling."""
        names = {
            genre_key(genre): genre for combination in self._genre_combinations for genre in combination.split("|")
        }
        return [genre for _, genre in sorted(names.items())]

    def resolve_genre(self, text: str) -> str:
        """Returns the genre that a text means, regardless of case, punctuation and a typo.

        Raises:
            MilvusError: There is no such genre.
        """
        names = {genre_key(genre): genre for genre in self.genres()}
        genre = names.get(genre_key(text)) or closest_name(genre_key(text), names)
        if genre is None:
            raise MilvusError(f"no genre {text[:40]!r}; choose one of: {', '.join(names.values())}")
        return genre

    def build_filter(self, movie_filter: MovieFilter) -> str:
        """Returns a filter as an expression for `search` and `count`.

        Raises:
            MilvusError: There is no such genre, or one is both wanted and left out.
        """
        conditions = []
        if movie_filter.genres or movie_filter.not_genres:
            conditions.append(self._genre_condition(movie_filter))
        if movie_filter.among is not None:
            conditions.append(is_in("id", movie_filter.among))
        return all_of(*conditions, *range_conditions(movie_filter))

    def _genre_condition(self, movie_filter: MovieFilter) -> str:
        """Returns the condition on genres as a list of combinations: on Milvus Lite an ARRAY is ten times slower."""
        wanted, unwanted = (
            {genre_key(self.resolve_genre(text)) for text in texts}
            for texts in (movie_filter.genres, movie_filter.not_genres)
        )
        both = [genre for genre in self.genres() if genre_key(genre) in wanted & unwanted]
        if both:
            raise MilvusError(f"{both[0]} is both wanted and left out; omit --genre or --not-genre for it")
        keys = {combination: set(map(genre_key, combination.split("|"))) for combination in self._genre_combinations}
        admitted = [one for one in keys if (wanted & keys[one] or not wanted) and not unwanted & keys[one]]
        return is_in("genres", admitted)

    def count_below_min_ratings(self, movie_filter: MovieFilter, exclude_ids: Collection[int] = ()) -> int:
        """Returns the number of other movies that a filter excludes for their few ratings only."""
        if not movie_filter.min_ratings:
            return 0
        few = replace(movie_filter, min_ratings=None, max_ratings=movie_filter.min_ratings - 1)
        return self.count(all_of(self.build_filter(few), is_not_in("id", sorted(exclude_ids))))

    def _read(self, read: Callable[[], T]) -> T:
        """Reads from one version of the collection; if it was replaced meanwhile, again from its successor.

        A collection that is being dropped answers with nothing (Milvus 2.3). It is dropped only after the alias has
        moved, so what was read counts if the alias is where it was.
        """
        while True:
            try:
                with self.connection.translate_errors("cannot read"):
                    result = read()
            except MilvusError:
                if not self._reopen_if_swapped():
                    raise
            else:
                if not self._reopen_if_swapped():
                    return result

    def _reopen_if_swapped(self) -> bool:
        """Opens the current collection if another one has the alias by now; returns whether it did."""
        if not self.connection.is_server:  # No other process can have built one in Milvus Lite.
            return False
        with self.connection.translate_errors("cannot read"):
            if current_collection(self.connection) == self._name:
                return False
        self._open()
        return True


def _batches(values: list[T]) -> Iterator[list[T]]:
    """Yields at most `READ_BATCH` values at a time."""
    for start in range(0, len(values), READ_BATCH):
        yield values[start : start + READ_BATCH]


def _stored_movie(row: dict[str, Any]) -> StoredMovie:
    movie = Movie(row["id"], row["title"], tuple(row["genres"].split("|")), row["imdb_id"], row["tmdb_id"])
    return StoredMovie(movie, row["num_ratings"], np.array(row["vector"], np.float32))


def current_collection(connection: MilvusConnection) -> str | None:
    """Returns the collection that the alias points to; `describe_alias` of Milvus 2.3 knows one database only."""
    if not connection.client.has_collection(ALIAS):
        return None
    return str(connection.client.describe_collection(ALIAS)["collection_name"])


def count_movies(connection: MilvusConnection, name: str) -> int:
    """Returns the number of rows; strongly consistent, so that later reads with Bounded consistency see all of them."""
    options: dict[str, Any] = {"filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong"}
    return int(connection.client.query(name, **options)[0]["count(*)"])


def search_collection(connection: MilvusConnection, name: str, vectors: np.ndarray, k: int, filter: str = "") -> Any:
    """Returns Milvus' hits: the k rows of the largest inner product with each vector."""
    return connection.client.search(
        name,
        vectors,
        filter=filter,
        limit=k,
        output_fields=["id"],
        search_params={"metric_type": "IP", "params": {"ef": max(300, 2 * k)}},
        anns_field="vector",
    )
