"""The movie collection: opens it, searches it, reads movies and titles.

The same code serves Milvus Lite and a server. The alias `recommender_demo` points to the current collection; `-i`
builds a new one beside it, checks it, and then moves the alias.
"""

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recommender.errors import RecommenderError, Step
from recommender.films.title_index import Title
from recommender.milvus.connection import MILVUS_FAILURES, MilvusConnection, MilvusError
from recommender.milvus.filters import MovieFilter, all_of, in_range, in_years, is_in, is_not_in
from recommender.movielens.catalogue import Movie
from recommender.movielens.encoding import genre_key

ALIAS = "recommender_demo"
METADATA_PROPERTY = "catalogue"
"""The property of a collection that holds what it records about itself, as JSON.

    fingerprint             of the model that computed the vectors
    num_movies, dim         the number of movies and the length of their vectors
    genres                  all combinations of genres that a movie has, each joined by |
    first_year, last_year   of a movie; null where no movie has a year
    rating_percentiles      percentiles 0 to 100 of the movies' numbers of training ratings
"""
BATCH = 1000
"""Rows per message: about 2 MB, of the 64 MB that gRPC allows."""
SEARCH_BATCH = 50
"""Queries per message, at most; more are no faster."""
OVERFETCH = 1.2
"""Factor: k + 1.2 √(k n) hits suffice for 85 % of users with n excluded movies at k 10, for 96 % at k 100 (ml-1m).

Milvus Lite takes as long as there are hits, as it reads the whole row of each, its vector too.
"""
MAX_TOP_K = 16_384
"""The most rows that Milvus returns for one query."""
Hits = dict[int, float]
"""What a search finds: inner products of query and movie by movie id, best first."""
TITLE_FIELDS = ("id", "title", "num_ratings", "imdb_id", "tmdb_id")
"""What `Title` holds, in its order."""
MIN_GENRE_SIMILARITY = 0.85
"""Lower bound on `difflib`'s ratio, 0..1, of a genre and its misspelling: `comdy` has 0.91."""

T = TypeVar("T")


class StoredMovie(NamedTuple):
    """A movie as stored in Milvus."""

    movie: Movie
    num_ratings: int
    """Number of training ratings."""
    vector: np.ndarray
    """float32[dim]"""


class MovieCollection:
    """The current collection of a Milvus.

    Attributes:
        num_movies: The number of movies.
        dim: The length of the vectors.
        first_year: The earliest year of a movie, or None.
        last_year: The latest year of a movie, or None.
        rating_percentiles: int64[101], percentiles 0 to 100 of the movies' numbers of training ratings.

    Args:
        connection: The connection to Milvus.
        fingerprint: The fingerprint of the model whose vectors the collection must hold.

    Raises:
        MilvusError: There is no collection of this model, or rows are missing.
    """

    def __init__(self, connection: MilvusConnection, fingerprint: str) -> None:
        self.connection = connection
        self._fingerprint = fingerprint
        self._open()

    def _open(self) -> None:
        connection = self.connection
        with connection.translate_errors("cannot open the collection"):
            description = describe_current(connection)
            metadata = json.loads(description.get("properties", {}).get(METADATA_PROPERTY, "{}"))
            if metadata.get("fingerprint") != self._fingerprint:
                raise MilvusError(f"{connection.uri}: there are no movies of this model here", Step.INDEX)
            name = description["collection_name"]
            connection.client.load_collection(name)
            count = count_movies(connection, name, consistency_level="Strong")  # Later reads then see all rows too.
        if count != metadata["num_movies"]:
            raise MilvusError(f"{connection.uri}: {count:,} movies instead of {metadata['num_movies']:,}", Step.INDEX)
        self._name, self.num_movies, self.dim = name, count, metadata["dim"]
        self.first_year, self.last_year = metadata["first_year"], metadata["last_year"]
        self.rating_percentiles = np.array(metadata["rating_percentiles"])
        self._genres = {text: {genre_key(genre) for genre in text.split("|")} for text in metadata["genres"]}
        self._genre_names = {genre_key(genre): genre for text in metadata["genres"] for genre in text.split("|")}
        self._fetched: dict[int, StoredMovie] = {}

    def search(
        self, vectors: np.ndarray, k: int, filter: str = "", exclude_ids: Sequence[Collection[int]] | None = None
    ) -> list[Hits]:
        """Finds the k movies with the largest inner product with each vector.

        Args:
            vectors: float32[queries, dim]
            k: The number of movies; fewer are returned where fewer qualify, and never more than `MAX_TOP_K`.
            filter: An expression from `build_filter`.
            exclude_ids: For each query the ids of movies that must not be returned.

        Returns:
            The hits of each query.

        Raises:
            MilvusError: The search failed.
            ValueError: A vector is not finite or not of length `dim`, or `exclude_ids` is not as long as `vectors`.
        """
        excluded = [()] * len(vectors) if exclude_ids is None else exclude_ids
        if vectors.shape != (len(excluded), self.dim) or not np.isfinite(vectors).all():
            raise ValueError(f"{len(excluded)} finite vectors of length {self.dim} expected, not {vectors.shape}")
        return self._read(lambda: self._search(vectors, k, filter, excluded))

    def _search(self, vectors: np.ndarray, k: int, filter: str, excluded: Sequence[Collection[int]]) -> list[Hits]:
        """Searches in batches, whose queries share a filter: so they fetch more, and again where too few remain."""
        client, found = self.connection.client, [Hits() for _ in vectors]
        by_depth = sorted(range(len(vectors)), key=lambda query: len(excluded[query]))
        for pending in batches(by_depth, SEARCH_BATCH):
            most = len(excluded[pending[-1]])
            limit = k + min(most, int(OVERFETCH * (k * most) ** 0.5))
            while pending:
                limit = min(limit, MAX_TOP_K)
                results = client.search(self._name, vectors[pending], filter, limit=limit, output_fields=["id"])
                for query, hits in zip(pending, results, strict=True):
                    products = dict(zip(hits.ids, hits.distances, strict=True))
                    unseen = [movie_id for movie_id in products if movie_id not in excluded[query]]
                    found[query] = {movie_id: products[movie_id] for movie_id in unseen[:k]}
                is_all = len(results[0]) < limit or limit == MAX_TOP_K  # Of each query, as they share a filter.
                pending = [] if is_all else [query for query in pending if len(found[query]) < k]
                limit += limit // 2
        return found

    def fetch(self, movie_ids: Iterable[int]) -> dict[int, StoredMovie]:
        """Returns movies by id, reading each once; ids that are not in the collection are left out."""
        wanted = set(movie_ids)
        # Of a successor, which `_read` may open, nothing has been fetched.
        fields = (*TITLE_FIELDS, "genres", "vector")
        rows = self._read(lambda: self._query(fields, "id", sorted(wanted - self._fetched.keys())))
        for row in rows:
            movie = Movie(row["id"], row["title"], tuple(row["genres"].split("|")), row["imdb_id"], row["tmdb_id"])
            self._fetched[movie.movie_id] = StoredMovie(movie, row["num_ratings"], np.array(row["vector"], np.float32))
        return {movie_id: self._fetched[movie_id] for movie_id in wanted & self._fetched.keys()}

    def titles(self, field: str = "", values: Iterable[str | int] = ()) -> list[Title]:
        """Returns the titles of the movies whose field has one of the values.

        Args:
            field: `id`, `title_key`, `year`, `imdb_id` or `tmdb_id`; "" for all movies, of which Lite reads 25,000 a
                second.
            values: What the field may be.
        """
        unique = list(dict.fromkeys(values))
        rows = self._read(lambda: self._query(TITLE_FIELDS, field, unique))
        return [Title(*(row[name] for name in TITLE_FIELDS)) for row in rows]

    def _query(self, fields: Sequence[str], field: str, values: Sequence[str | int]) -> list[dict[str, Any]]:
        """Returns the fields of the movies whose `field` has one of the values; of all movies if it is ""."""
        filters = [is_in(field, batch) for batch in batches(values, BATCH)] if field else ["id >= 0"]
        query = self.connection.client.query  # Its query_iterator takes 0.06 s longer.
        return [row for filter in filters for row in query(self._name, filter, list(fields))]

    def resolve_genre(self, text: str) -> str:
        """Returns the genre that a text means, regardless of case, punctuation and a typo.

        Raises:
            RecommenderError: There is no such genre.
        """
        names = self._genre_names
        similar = difflib.get_close_matches(genre_key(text), names, 1, MIN_GENRE_SIMILARITY)
        if not similar:
            raise RecommenderError(f"no genre {text[:40]!r}; choose one of: {', '.join(sorted(names.values()))}")
        return names[similar[0]]

    def build_filter(self, movie_filter: MovieFilter) -> str:
        """Returns a filter as an expression for `search`.

        Raises:
            RecommenderError: There is no such genre.
        """
        wanted = {genre_key(self.resolve_genre(text)) for text in movie_filter.genres}
        unwanted = {genre_key(self.resolve_genre(text)) for text in movie_filter.not_genres}
        # On Milvus Lite an ARRAY field is ten times slower.
        combinations = [text for text, keys in self._genres.items() if keys & (wanted or keys) and not keys & unwanted]
        return all_of(
            is_in("genres", combinations) if wanted or unwanted else "",
            in_years(movie_filter.years),
            in_range("num_ratings", movie_filter.min_ratings, movie_filter.max_ratings),
            "" if movie_filter.among is None else is_in("id", movie_filter.among),
            is_not_in("id", movie_filter.not_among),
        )

    def _read(self, read: Callable[[], T]) -> T:
        """Reads from one version of the collection; if another build replaced it meanwhile, again from its successor.

        A collection that is being dropped may answer with nothing (Milvus 2.3). It is dropped only after the alias has
        moved, so what was read counts if the alias is where it was.
        """
        while True:
            with self.connection.translate_errors("cannot read"):
                try:
                    result = read()
                    if not self._is_replaced():
                        return result
                except MILVUS_FAILURES:
                    if not self._is_replaced():
                        raise
            self._open()

    def _is_replaced(self) -> bool:
        """Whether the alias has moved, which no other process can do in Milvus Lite."""
        return self.connection.is_server and describe_current(self.connection).get("collection_name") != self._name


def batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yields at most `size` values at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def describe_current(connection: MilvusConnection) -> dict[str, Any]:
    """Returns Milvus' description of the collection that the alias points to; {} if there is none."""
    # Not by describe_alias, which in Milvus 2.3 knows one database only.
    return connection.client.describe_collection(ALIAS) if connection.client.has_collection(ALIAS) else {}


def count_movies(connection: MilvusConnection, name: str, filter: str = "", **options: str) -> int:
    """Returns the number of rows that a filter admits."""
    return int(connection.client.query(name, filter, ["count(*)"], **options)[0]["count(*)"])
