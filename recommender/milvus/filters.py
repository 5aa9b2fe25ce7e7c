"""Filter expressions in Milvus' language. All string literals and id lists of this program are written here."""

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN_YEAR = 0
"""The stored year of a movie whose title has none."""
NO_MOVIE = "id < 0"
"""The condition that no movie meets."""
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


@dataclass(frozen=True)
class MovieFilter:
    """Which movies a search may return; the defaults admit all."""

    genres: tuple[str, ...] = ()
    """Genres of which a movie has at least one."""
    not_genres: tuple[str, ...] = ()
    """Genres of which a movie has none."""
    first_year: int | None = None
    last_year: int | None = None
    min_ratings: int | None = None
    """Lower bound on training ratings."""
    max_ratings: int | None = None
    """Upper bound on training ratings."""
    among: tuple[int, ...] | None = None
    """The ids of the movies that are admitted; None for all."""


def string_literal(text: str) -> str:
    r"""Returns a string literal, such as `"Æon Flux"`.

    Milvus and Milvus Lite (3.2.2) know the escapes `\" \\ \n \r \t`; Lite refuses others, such as JSON's `\u00e6`.
    """
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def is_in(field: str, values: Iterable[str | int]) -> str:
    """Returns the condition that a field has one of some values."""
    literals = _literals(values)
    return f"{field} in [{literals}]" if literals else NO_MOVIE


def is_not_in(field: str, values: Iterable[str | int]) -> str:
    """Returns the condition that a field has none of some values; "" admits all."""
    literals = _literals(values)
    return f"{field} not in [{literals}]" if literals else ""


def _literals(values: Iterable[str | int]) -> str:
    return ", ".join(string_literal(value) if isinstance(value, str) else str(int(value)) for value in values)


def all_of(*conditions: str) -> str:
    """Returns the conjunction of some conditions; "" admits all."""
    return " and ".join(filter(None, conditions))


def range_conditions(movie_filter: MovieFilter) -> list[str]:
    """Returns the conditions on year and number of ratings; a movie without a year is in no span of years."""
    first, last = movie_filter.first_year, movie_filter.last_year
    conditions = []
    if first is not None or last is not None:
        conditions.append(f"year >= {max(first or 0, UNKNOWN_YEAR + 1)}")
    if last is not None:
        conditions.append(f"year <= {last}")
    if movie_filter.min_ratings is not None:
        conditions.append(f"num_ratings >= {movie_filter.min_ratings}")
    if movie_filter.max_ratings is not None:
        conditions.append(f"num_ratings <= {movie_filter.max_ratings}")
    return conditions
