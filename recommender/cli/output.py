"""Lists as tables, JSON and CSV; text made safe for a terminal and for spreadsheets."""

import csv
import io
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

Row = Mapping[Any, Any]
"""Values by column name."""
NAME_WIDTH = 12
"""Width to which names of users are cut in headings."""
MIN_TITLE_WIDTH = 33
"""Lower bound on the width of titles, also on narrow terminals."""
FORMULA_STARTS = ("=", "@", "+", "-", "\t", "\r")
"""First characters by which a spreadsheet takes a text for a formula."""


def csv_text(rows: Sequence[Row], columns: Sequence[str] = (), header: bool = True) -> str:
    """Returns rows as lines of CSV; texts that a spreadsheet would run as formulas get a quote in front."""
    file = io.StringIO()
    columns = columns or list(rows[0] if rows else ())
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        writer.writerow({name: _safe_cell(value) for name, value in row.items()})
    return file.getvalue()


def _safe_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return "" if pd.isna(value) else value


def write_letterboxd(rows: Sequence[Row]) -> str:
    """Returns rows as Letterboxd's import format."""
    names = {"title": "Title", "year": "Year", "imdb_id": "imdbID", "tmdb_id": "tmdbID"}
    return csv_text([{names[name]: row[name] for name in names if name in row} for row in rows])


def format_json(frame: pd.DataFrame) -> str:
    """Returns a list as a JSON array of objects; in ASCII where standard output is not Unicode."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    rows = [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")
    ]
    return json.dumps(rows, indent=1, ensure_ascii=not is_unicode) + "\n"


def format_table(rows: Sequence[Row], by: str) -> str:
    """Returns a table; reasons stand below each title, wrapped to the terminal.

    The numbers are Score, Pick and, by `similar`, Similar; of several users the Pick of each or, by stars, the Score.
    """
    if not rows:
        return "no movies"
    kind = "score" if by == "stars" else "pick"
    names = [column.removesuffix(f": {kind}") for column in rows[0] if column.endswith(f": {kind}")]
    if names:
        headings = {f"{name}: {kind}": _short(name, names) for name in names}
    else:
        headings = {"score": "Score", "pick": "Pick"} | ({"similar": "Similar"} if by == "similar" else {})
    widths = {column: max(6, len(heading)) for column, heading in headings.items()}
    width = max((len(_title(row)) for row in rows), default=0)
    room = shutil.get_terminal_size().columns - 24 - sum(number + 2 for number in widths.values())
    width = max(MIN_TITLE_WIDTH, min(width, room))
    indent = " " * 13
    lines = [f"{kind.capitalize()} of each:"] if names else []
    numbers = "".join(f"  {heading:>{widths[column]}}" for column, heading in headings.items())
    lines.append(f"{'Top':>3}  {'Ids':>6}  {'Title':<{width}}{numbers}  Ratings")
    for row in rows:
        first, *rest = textwrap.wrap(_title(row), width) or [""]
        numbers = "".join(f"  {row[column]:>{widths[column]}.2f}" for column in headings)
        lines.append(f"{row['top']:>3}  {row['movie_id']:>6}  {first:<{width}}{numbers}  {row['ratings']:>7,}")
        lines += [indent + line for line in rest]
        for column, value in row.items():
            if str(column).endswith("why") and value:
                text = f"{str(column).removesuffix('why')}{value}"
                lines += textwrap.wrap(text, width + 30, initial_indent=f"{indent}  ", subsequent_indent=f"{indent}  ")
    return "\n".join(lines)


def _title(row: Row) -> str:
    year = row["year"]
    return str(row["title"]) + ("" if year is None or year is pd.NA else f" ({year})")


def _short(name: str, names: Sequence[str]) -> str:
    """Returns a name cut to `NAME_WIDTH`, where the names remain different."""
    shortened = [long[:NAME_WIDTH] for long in names]
    return name[:NAME_WIDTH] if len(set(shortened)) == len(names) else name
