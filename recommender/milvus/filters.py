"""Filter expressions in Milvus' language."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

UNKNOWN_YEAR = 0
"""The stored year of a movie whose title has none."""


class MovieFilter(NamedTuple):
    """Which movies a search may return; the defaults admit all."""

    genres: tuple[str, ...] = ()
    """Genres of which a movie has at least one."""
    not_genres: tuple[str, ...] = ()
    """Genres of which a movie has none."""
    years: tuple[tuple[int | None, int | None], ...] = ()
    """Spans of years, first and last included, None for an open end. A movie is in at least one of them."""
    min_ratings: int | None = None
    """Lower bound on training ratings."""
    max_ratings: int | None = None
    """Upper bound on training ratings."""
    among: tuple[int, ...] | None = None
    """The ids of the movies that are admitted; None for all."""
    not_among: tuple[int, ...] = ()
    """The ids of movies that are not admitted."""


def is_in(field: str, values: Iterable[str | int]) -> str:
    """Returns the condition that a field has one of these values."""
    return f"{field} in {_json_list(values)}"


def is_not_in(field: str, values: Sequence[str | int]) -> str:
    """Returns the condition that a field has none of these values; "" admits all."""
    return f"{field} not in {_json_list(values)}" if values else ""


def _json_list(values: Iterable[str | int]) -> str:
    r"""Returns values as JSON, but for `\u00e6` and the like, which Milvus Lite (3.2.2) refuses."""
    return json.dumps(list(values), ensure_ascii=False, default=int)


def all_of(*conditions: str) -> str:
    """Returns the conjunction of the conditions; "" admits all."""
    return " and ".join(filter(None, conditions))


def in_range(field: str, first: int | None, last: int | None) -> str:
    """Returns the condition that a field lies within two bounds, None for no bound; Lite cannot chain `a <= x <= b`."""
    bounds = ((">=", first), ("<=", last))
    return all_of(*(f"{field} {sign} {int(bound)}" for sign, bound in bounds if bound is not None))


def in_years(spans: Iterable[tuple[int | None, int | None]]) -> str:
    """Returns the condition that the year is in one of these spans; a movie without a year is in none."""
    conditions = [in_range("year", max(first or 0, UNKNOWN_YEAR + 1), last) for first, last in spans]
    return f"({' or '.join(f'({condition})' for condition in conditions)})" if conditions else ""
