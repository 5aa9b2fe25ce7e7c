"""Ratings that visitors bring: CSV files, as Letterboxd, IMDb and others export them."""

import io
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.data.movielens import DataError, decode_lines
from recommender.errors import counted
from recommender.index.collection import MovieIndex
from recommender.inference.recommend import NAMES_A_FILTER, find_titles

MAX_NAMED = 5
COLUMNS = {
    "user": ("user", "user_id"),
    "movie_id": ("movie_id",),
    "title": ("title", "name"),
    "year": ("year",),
    "rating": ("rating", "your rating"),
}
"""What is read, and how columns that hold it are called; case does not matter."""


class FilmRatings(NamedTuple):
    """Which films of the catalogue a file's ratings are of."""

    ratings: pd.DataFrame
    """Columns `user`, `movie_id` and `rating`, of the films that were found; of a film that comes again, the last."""
    unknown: list[str]
    """Films that are not there."""
    unclear: list[str]
    """Films that could be more than one."""

    def of_each(self) -> dict[str, dict[int, float]]:
        """Returns by user the ratings of each film."""
        of_each: dict[str, dict[int, float]] = {user: {} for user in self.ratings.user.unique()}
        for user, movie_id, rating in self.ratings.itertuples(index=False):
            of_each[user][movie_id] = rating
        return of_each

    def __str__(self) -> str:
        num_found = self.ratings.movie_id.nunique()
        said = [f"{num_found} of {counted(num_found + len(self.unknown) + len(self.unclear), 'film')} found"]
        for what, films in (("not there", self.unknown), ("could be several, add a year", self.unclear)):
            more = f" and {len(films) - MAX_NAMED} more" if len(films) > MAX_NAMED else ""
            said += [f"  {what}: {', '.join(films[:MAX_NAMED])}{more}"] if films else []
        return "\n".join(said)


def parse_visitor_ratings(raw: bytes, file: str, of_many: bool = False) -> pd.DataFrame:
    """Parses a CSV file with a header; `file` names it in messages.

    Args:
        raw: Its bytes.
        file: Its name.
        of_many: Whether a column says whose each rating is.

    Returns:
        Columns `user` ("" unless they are of many), `film`, an id as a number or else a title with its year behind
        where that is known, and `rating`, 1 to 5 stars in steps of a half, or not a number where a film was seen and
        not rated. Where a rating of the file is above 5, all are halved.

    Raises:
        DataError: It is no CSV file, a column is missing, or a line is wrong.
    """
    table = _read_columns(raw, file)
    film = "movie_id" if "movie_id" in table else "title"
    needed = [film, "rating"] + ["user"] * of_many
    missing = [name for name in needed if name not in table]
    if missing:
        layout = "user,title,rating" if of_many else "title,rating"
        raise DataError(f"{file}: no column {' and no column '.join(missing)}; the first line names them: {layout}")
    table = table[(table[needed] != "").any(axis=1)].reindex(columns=["line", *COLUMNS], fill_value="")
    stars = pd.to_numeric(table.rating.where(table.rating != ""), errors="coerce")
    most = 10 if stars.max() > 5 else 5
    is_id = table.movie_id.str.fullmatch(r"0*[1-9][0-9]{0,8}")
    checks = (
        (table[film] == "", film, "name a film, or delete the line"),
        ((film == "movie_id") & ~is_id, film, "an id is a whole number from 1 to 999999999"),
        (~table.year.str.fullmatch(r"([0-9]{4})?"), "year", "a year has four digits, or nothing stands there"),
        (
            (table.rating != "") & ~(stars.between(0.5, most) & (stars * 2 % 1 == 0)),
            "rating",
            f"a rating is a number from 1 to {most} in steps of a half, or nothing stands there",
        ),
        (of_many & (table.user == ""), "user", "say whose rating it is, or delete the line"),
    )
    for wrong, column, remedy in checks:
        if wrong.any():
            first = table[wrong].iloc[0]
            raise DataError(f"{file}, line {first.line}: {column} {first[column]!r}; {remedy}")
    if table.empty:
        raise DataError(f"{file}: no ratings in it; write a line for each, below the names of the columns")
    year_behind = " (" + table.year + ")"
    has_year = (table.year == "") | table.title.str.fullmatch(r".*\(\d{4}\)")
    films = table.movie_id.astype(int) if film == "movie_id" else table.title + year_behind.mask(has_year, "")
    users = table.user if of_many else ""
    return pd.DataFrame({"user": users, "film": films, "rating": (stars * 5 / most).clip(lower=1)})


def _read_columns(raw: bytes, file: str) -> pd.DataFrame:
    """Reads a CSV file as texts, its columns called as in `COLUMNS`, and `line`, where each row begins."""
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            table = pd.read_csv(
                io.BytesIO(raw),
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                skip_blank_lines=False,
                index_col=False,
            ).fillna("")
    except (ValueError, pd.errors.ParserWarning) as error:  # Of pandas, its parser, or the decoder.
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: {reason}; it must be a CSV file in UTF-8, the names of its columns first") from error
    lines = 1 + sum((table[name].str.count("\n") for name in table), start=pd.Series(0, table.index))
    there = {str(name).strip().casefold(): name for name in table}
    names = {called: what for what, all_names in COLUMNS.items() for called in all_names if called in there}
    columns = {what: table[there[called]].str.strip() for called, what in names.items()}
    return pd.DataFrame({"line": 2 + lines.cumsum() - lines, **columns})


def find_films(index: MovieIndex, ratings: pd.DataFrame) -> FilmRatings:
    """Finds the films of what `parse_visitor_ratings` read; a part of a title is not enough here."""
    films = ratings.film.unique().tolist()
    ids = [film for film in films if isinstance(film, int)]
    titles = [film for film in films if isinstance(film, str)]
    movie_id_of: dict[object, int] = {}
    for start in range(0, len(ids), NAMES_A_FILTER):
        there = index.titles(f"id in {ids[start : start + NAMES_A_FILTER]}")
        movie_id_of |= {title.movie_id: title.movie_id for title in there}
    unclear = []
    for film, found in find_titles(index, titles, whole=True).items():
        if found.way is not None and len(found.titles) == 1:
            movie_id_of[film] = found.titles[0].movie_id
        elif found.way is not None:
            unclear.append(film)
    unknown = [str(film) for film in films if film not in movie_id_of and film not in unclear]
    found_ratings = ratings.assign(movie_id=ratings.film.map(movie_id_of)).dropna(subset="movie_id")
    found_ratings = found_ratings.astype({"movie_id": np.int64}).drop_duplicates(["user", "movie_id"], keep="last")
    return FilmRatings(found_ratings[["user", "movie_id", "rating"]], unknown, unclear)


def parse_user_ids(raw: bytes, file: str) -> list[int]:
    """Reads a user id a line; blank lines do not count, and one that comes again counts once.

    Raises:
        DataError: A line is something else, or there is none.
    """
    user_ids = []
    for line_number, line in enumerate(decode_lines(raw, file), 1):
        text = line.strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise DataError(f"{file}, line {line_number}: {text!r} is not a user id; write one a line")
        if text:
            user_ids.append(int(text))
    if not user_ids:
        raise DataError(f"{file}: no user ids in it; write one a line")
    return list(dict.fromkeys(user_ids))
