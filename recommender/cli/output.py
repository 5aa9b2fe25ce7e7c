"""Lists and predictions as text, made safe for a terminal and for spreadsheets."""

import json
import shutil
import sys
import textwrap

import pandas as pd

from recommender.api import Prediction

MIN_TITLE_WIDTH = 33
"""Lower bound on the width of titles, also on narrow terminals."""
NAME_WIDTH = 12
"""Width to which names of users are cut in headings, where they remain different."""
FORMULA_START = r"^(?=[=@+\-\t\r])"
"""Matches before a text that a spreadsheet would take for a formula."""


def format_csv(frame: pd.DataFrame, header: bool = True) -> str:
    """Returns a list as CSV; texts that a spreadsheet would run as formulas get a quote in front."""
    safe = frame.replace(FORMULA_START, "'", regex=True)
    return safe.to_csv(index=False, header=header, lineterminator="\n")


def format_letterboxd(frame: pd.DataFrame) -> str:
    """Returns a list in Letterboxd's import format."""
    names = {"title": "Title", "year": "Year", "imdb_id": "imdbID", "tmdb_id": "tmdbID"}
    return format_csv(frame.filter(list(names)).rename(columns=names))


def format_json(frame: pd.DataFrame) -> str:
    """Returns a list as a JSON array of objects; in ASCII where standard output is not Unicode."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, ensure_ascii=not is_unicode) + "\n"


def format_table(frame: pd.DataFrame) -> str:
    """Returns for whom a list is, and the list as a table; reasons stand below each title, wrapped to the terminal.

    The numbers are Score, Pick and, by `similar`, Similar; of several users the Pick of each or, by stars, the Score.
    """
    users, kind = frame.attrs["user"], "score" if frame.attrs["by"] == "stars" else "pick"
    lines = [f"rows in collection recommender_demo: {frame.attrs['movies']}"]
    if isinstance(users, str):
        headings = {column: column.capitalize() for column in ("score", "pick", "similar") if column in frame}
        lines.append(f"recommended for: {users}")
    else:
        short = {name[:NAME_WIDTH]: name for name in users}
        names = short if len(short) == len(users) else users
        headings = {f"{name}: {kind}": text for name, text in zip(users, names, strict=True)}
        lines += [f"recommended for: {name}: {user.removeprefix(f'{name}: ')}" for name, user in users.items()]
        lines.append(f"{kind.capitalize()} of each:")
    rows = frame.to_dict("records")
    if not rows:
        return "\n".join([*lines, "no movies\n"])
    numbers = "".join(f"  {heading:>6}" for heading in headings.values())
    titles = [str(row["title"]) + ("" if pd.isna(row["year"]) else f" ({row['year']})") for row in rows]
    room = shutil.get_terminal_size().columns - 24 - len(numbers)
    width = max(MIN_TITLE_WIDTH, min(max(map(len, titles)), room))
    reasons = [str(column) for column in frame if str(column).endswith("why")]
    indent = " " * 15
    lines.append(f"{'Top':>3}  {'Ids':>6}  {'Title':<{width}}{numbers}  Ratings")
    for row, title in zip(rows, titles, strict=True):
        first, *rest = textwrap.wrap(title, width) or [""]
        numbers = "".join(f"  {row[column]:>{max(6, len(heading))}.2f}" for column, heading in headings.items())
        lines.append(f"{row['top']:>3}  {row['movie_id']:>6}  {first:<{width}}{numbers}  {row['ratings']:>7,}")
        lines += [indent[2:] + line for line in rest]
        for column in reasons:
            if row[column]:
                text = column.removesuffix("why") + row[column]
                lines += textwrap.wrap(text, width + 30, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*lines, ""])


def format_prediction(prediction: Prediction) -> str:
    """Returns what a user would think of one movie, and that Milvus and Paddle agree."""
    view = prediction.movie
    facts = {
        "Score": f"{view.score:.2f} stars",
        "Pick": f"{view.pick:.2f}",
        "Place": f"{prediction.place:,} on the list by {prediction.by}" if prediction.place else "",
        "Why": ", ".join(f"{reason.label} {reason.contribution:+.2f}" for reason in view.reasons),
        "Actual": prediction.actual,
        "check": f"score through Milvus {prediction.milvus_score:.4f}, by Paddle {prediction.paddle_score:.4f}",
    }
    lines = [f"{prediction.user} on {view.movie.movie_id} {view.movie.title}"]
    return "\n".join([*lines, *(f"{name:<8}{fact}" for name, fact in facts.items() if fact), ""])


FORMATS = {"table": format_table, "json": format_json, "csv": format_csv, "letterboxd": format_letterboxd}
"""Functions that return a list as text, by the name of the format."""
