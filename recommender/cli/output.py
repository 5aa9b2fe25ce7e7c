"""Recommendations as tables, JSON and CSV."""

import csv
import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from recommender.films.titles import display_title
from recommender.lists import Recommendation

NAME_WIDTH = 12
"""Width to which names of users are cut in headings."""
MIN_TITLE_WIDTH = 33
"""Lower bound on the width of titles, also on narrow terminals."""
SCORE_OF, PICK_OF = "score of ", "pick of "
"""Beginnings of the columns with the predicted ratings and the taste scores of several users."""
COLUMNS = ("top", "movie_id", "title", "year", "genres", "imdb_id", "tmdb_id", "num_ratings", "score", "pick", "why")
LINK_COLUMNS = {"imdb_id", "tmdb_id"}
VERBOSE_COLUMNS = {"year", "genres", "num_ratings"}
"""Columns that the CSV of many users leaves out."""
ORIGINAL_HEADINGS = ("Top", "Ids", "Title", "Score")


def output_columns(ranking: str, explain: bool, has_links: bool = False) -> list[str]:
    """Returns the names of the columns: `pick` where it counts in the ranking, ids where the data set has them."""
    left_out = ({"pick"} if ranking == "stars" else set()) | (set() if explain else {"why"})
    left_out |= set() if has_links else LINK_COLUMNS
    return [name for name in COLUMNS if name not in left_out]


def group_columns(names: Iterable[str], ranking: str, has_links: bool) -> list[str]:
    """Returns the names of the columns for several users together: those of a movie, then each user's taste score.

    By stars it is each user's predicted rating.
    """
    columns = [name for name in output_columns(ranking, False, has_links) if name not in ("score", "pick")]
    return columns + [(SCORE_OF if ranking == "stars" else PICK_OF) + name for name in names]


def to_row(rank: int, found: Recommendation) -> dict[str, Any]:
    """Returns a recommendation as values by column name; ranks begin at 0."""
    why = ", ".join(f"{reason.label} {reason.contribution:+.2f}" for reason in found.reasons)
    movie, genres = found.movie, "|".join(found.movie.genres)
    scores = round(found.predicted_rating, 4), round(found.taste_score, 4)
    movie_values = movie.movie_id, movie.name, movie.year, genres, movie.imdb_id or None, movie.tmdb_id or None
    values = (rank, *movie_values, found.num_ratings, *scores, why)
    return dict(zip(COLUMNS, values, strict=True))


def to_group_row(rank: int, found: Mapping[str, Recommendation]) -> dict[str, Any]:
    """Returns a movie with the scores of each of several users, by name, as values by column name."""
    rows = {name: to_row(rank, one) for name, one in found.items()}
    scores = {SCORE_OF + name: row["score"] for name, row in rows.items()}
    picks = {PICK_OF + name: row["pick"] for name, row in rows.items()}
    return next(iter(rows.values())) | scores | picks


def write_csv(file: TextIO, columns: Sequence[str], rows: Sequence[dict[str, Any]], header: bool = True) -> None:
    """Writes rows as lines of a CSV file."""
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)


def format_json(columns: Sequence[str], rows: Sequence[dict[str, Any]], ascii_only: bool = False) -> str:
    """Returns rows as a JSON array of objects."""
    return json.dumps([{name: row[name] for name in columns} for row in rows], indent=1, ensure_ascii=ascii_only)


def format_original_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the original demo's table: four columns, separated by tabs, titles padded to one width."""
    width = max((len(row["title"]) for row in rows), default=0)
    lines = [ORIGINAL_HEADINGS] + [(row["top"], row["movie_id"], row["title"], f"{row['score']:.4f}") for row in rows]
    return "\n".join(f"{top}\t{movie_id}\t{str(title).ljust(width)}\t{score}" for top, movie_id, title, score in lines)


def format_table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Returns a table with titles as people write them, and reasons below each title, wrapped to the terminal."""
    prefix = SCORE_OF if any(name.startswith(SCORE_OF) for name in columns) else PICK_OF
    headings = _name_headings(columns, prefix)
    lines = [f"{'':13}{prefix.capitalize().rstrip()}"] if headings else []
    headings = headings or {"score": "Score", "pick": "Pick" if "pick" in columns else ""}
    widths = {name: max(5, len(heading)) for name, heading in headings.items()}
    indent = " " * (13 + sum(number + 2 for number in widths.values()))
    width = max(len(indent) + MIN_TITLE_WIDTH, shutil.get_terminal_size().columns)
    lines.append(_align("Top", "Id", [f"{heading:>{widths[name]}}" for name, heading in headings.items()]) + "Title")
    for row in rows:
        numbers = [f"{row[name]:>{number}.2f}" if name in columns else " " * number for name, number in widths.items()]
        title = display_title(row["title"] + (f" ({row['year']})" if row["year"] else ""))
        start = _align(row["top"], row["movie_id"], numbers)
        lines += textwrap.wrap(title, width, initial_indent=start, subsequent_indent=indent)
        if "why" in columns:
            lines += textwrap.wrap(row["why"], width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def _name_headings(columns: Sequence[str], prefix: str) -> dict[str, str]:
    """Returns the headings of a group's columns: names, shortened where that leaves them different."""
    names = {name: name.removeprefix(prefix) for name in columns if name.startswith(prefix)}
    shortened = {column: name[:NAME_WIDTH] for column, name in names.items()}
    return shortened if len(set(shortened.values())) == len(names) else names


def _align(top: object, movie_id: object, numbers: Sequence[str]) -> str:
    """Returns what stands before the title."""
    return f"{top:>3}  {movie_id:>6}  " + "".join(f"{number}  " for number in numbers)
