"""Answers as people and programs read them: tables, JSON and CSV."""

import csv
import json
from collections.abc import Sequence
from typing import Any, TextIO

from recommender.inference.recommend import Recommendation

COLUMNS = ("top", "movie_id", "title", "year", "genres", "num_ratings", "score", "pick", "why")
IN_FULL = {"year", "genres", "num_ratings"}
"""Columns that a table and the CSV of many users leave out."""
HEADINGS = {"movie_id": "Ids"}
"""The original's, where a column's own name will not do."""


def columns_of(by: str, why: bool) -> list[str]:
    """Returns what is told of each movie: how likely a pick is, only where that counts in the order."""
    unwanted = {"pick"} if by == "stars" else set()
    return [name for name in COLUMNS if name not in unwanted and (why or name != "why")]


def record(top: int, found: Recommendation) -> dict[str, Any]:
    """Returns all that can be told of a movie, by name."""
    why = ", ".join(f"{reason.what} {reason.added:+.2f}" for reason in found.reasons)
    genres = "|".join(found.movie.genres)
    numbers = found.num_ratings, round(found.score, 4), round(found.pick, 4)
    values = (top, found.movie.movie_id, found.movie.name, found.movie.year, genres, *numbers, why)
    return dict(zip(COLUMNS, values, strict=True))


def write_csv(file: TextIO, columns: Sequence[str], records: Sequence[dict[str, Any]], header: bool = True) -> None:
    """Writes records as lines of a CSV file."""
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(records)


def as_json(columns: Sequence[str], records: Sequence[dict[str, Any]]) -> str:
    """Returns records as JSON."""
    return json.dumps([{name: one[name] for name in columns} for one in records], indent=1)


def as_table(columns: Sequence[str], records: Sequence[dict[str, Any]]) -> str:
    """Returns records as the original's four columns, separated by tabs and aligned, and perhaps more."""
    shown = [name for name in columns if name not in IN_FULL]
    width = max((len(one["title"]) for one in records), default=0)
    rows = [{name: HEADINGS.get(name, name.capitalize()) for name in shown}]
    rows += [one | {name: f"{one[name]:.4f}" for name in ("score", "pick")} for one in records]
    return "\n".join("\t".join(str(row[name]).ljust(width * (name == "title")) for name in shown) for row in rows)
