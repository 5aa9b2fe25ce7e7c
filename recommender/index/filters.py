"""Filter expressions in Milvus' language. All string literals and id lists of this program are written here."""

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN_YEAR = 0
"""The stored year of a movie whose title has none."""
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


@dataclass(frozen=True)
class MovieFilter:
    """Which movies a search may return; the defaults admit all."""

    genres: tuple[str, ...] = ()
    """Genres of which a movie has at least one."""
    first_year: int | None = None
    last_year: int | None = None
    min_ratings: int = 0
    """Lower bound on training ratings."""


def string_literal(text: str) -> str:
    r"""Returns a string literal, such as `"Æon Flux"`.

    Milvus and Milvus Lite (3.2.2) know the escapes `\" \\ \n \r \t`; Lite refuses others, such as JSON's `\u00e6`.
    """
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def is_in(field: str, values: Iterable[str | int]) -> str:
    """Returns the condition that a field has one of some values."""
    literals = [string_literal(value) if isinstance(value, str) else str(int(value)) for value in values]
    return f"{field} in [{', '.join(literals)}]"


def is_not_in(field: str, values: Iterable[str | int]) -> str:
    """Returns the condition that a field has none of some values."""
    return is_in(field, values).replace(" in [", " not in [", 1)


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
    if movie_filter.min_ratings:
        conditions.append(f"num_ratings >= {movie_filter.min_ratings}")
    return conditions
