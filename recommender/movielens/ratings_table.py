"""Parses the ratings of a MovieLens data set: fast, and with every line checked."""

import io
import re
import warnings
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from recommender.movielens.lines import DataError, decode_lines, line_error, normalize_newlines, split_fields

CHUNK_BYTES = 1 << 26
"""Bytes that are parsed at once, as parsing takes several times their memory."""
HALF_STARS = np.arange(0.5, 5.5, 0.5)
WHOLE_STARS = np.arange(1.0, 6.0)
COLUMNS = {"user_id": np.int32, "movie_id": np.int32, "rating": np.float32}
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,9})?")


class RatingsLayout(NamedTuple):
    """How a release writes its ratings."""

    separator: str
    fields: str
    """The fields of a line, joined by the separator."""
    has_header: bool
    stars: np.ndarray
    """The ratings that exist."""


DAT = RatingsLayout("::", "UserID::MovieID::Rating::Timestamp", False, WHOLE_STARS)
DAT_HALF_STARS = DAT._replace(stars=HALF_STARS)
TABS = RatingsLayout("\t", "user id\titem id\trating\ttimestamp", False, WHOLE_STARS)
CSV = RatingsLayout(",", "userId,movieId,rating,timestamp", True, HALF_STARS)


def parse_ratings(
    raw: bytes, file: str, layout: RatingsLayout, user_ids: Collection[int] | None, movie_ids: Collection[int]
) -> pd.DataFrame:
    """Parses a file of ratings.

    Args:
        raw: The file's content.
        file: The file's name, for messages.
        layout: How the ratings are written.
        user_ids: The users of the data set; None admits all.
        movie_ids: The movies of the data set.

    Returns:
        Columns `user_id` and `movie_id`, int32, and `rating`, float32.

    Raises:
        DataError: A line is malformed, a rating does not exist, is of an unknown user or movie, or is there twice.
    """
    content = normalize_newlines(raw)
    first_line = 0
    if layout.has_header:
        header, _, content = content.partition(b"\n")
        first_line = 1
        if header.decode("utf-8", "replace").strip() != layout.fields:
            raise line_error(file, 1, "another header", f"the first line reads {layout.fields}")
    stars = f"a rating is one of {', '.join(f'{value:g}' for value in layout.stars)}"
    parts: list[pd.DataFrame] = []
    for chunk in _chunks(content):
        part = _parse_chunk(chunk, layout.separator)
        if part is None:
            raise _malformed_line(raw, file, layout)
        part.index += first_line + sum(map(len, parts))
        _require(part, part.rating.isin(layout.stars), "rating {rating:g}", stars, file)
        for column, known in (("user", user_ids), ("movie", movie_ids)):
            if known is not None:
                problem, remedy = f"unknown {column} {{{column}_id:.0f}}", f"add the {column} or delete the line"
                _require(part, part[f"{column}_id"].isin(known), problem, remedy, file)
        parts.append(part.astype(COLUMNS)[list(COLUMNS)])
    ratings = pd.concat(parts)
    pairs = np.sort(ratings.user_id.to_numpy(np.int64) << 32 | ratings.movie_id.to_numpy())
    if (pairs[1:] == pairs[:-1]).any():  # `duplicated` takes ten times as long, and four times the memory.
        first = ~ratings.duplicated(["user_id", "movie_id"])
        problem = "user {user_id:.0f} rates movie {movie_id:.0f} again"
        _require(ratings, first, problem, "delete one of the two lines", file)
    return ratings


def _chunks(content: bytes) -> Iterator[bytes]:
    """Yields a text in chunks of whole lines, each of about `CHUNK_BYTES`."""
    start = 0
    while start == 0 or start < len(content):
        end = content.find(b"\n", start + CHUNK_BYTES) + 1 or len(content)
        yield content[start:end]
        start = end


def _parse_chunk(content: bytes, separator: str) -> pd.DataFrame | None:
    """Parses lines in C; returns None where any of them is not two ids, a rating and a timestamp."""
    code = separator.encode()
    if not re.fullmatch(rb"[\d.\n" + code + rb"]+", content) or content.count(code) * len(code) != sum(
        content.count(bytes([char])) for char in set(code)
    ):
        return None
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            ratings = pd.read_csv(
                io.BytesIO(content.replace(code, b",") if separator != "," else content),
                names=["user_id", "movie_id", "rating", "timestamp"],
                dtype={"user_id": np.int64, "movie_id": np.int64, "rating": np.float32, "timestamp": np.int64},
                index_col=False,
                skip_blank_lines=False,
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning):
        return None
    is_id = (ratings[["user_id", "movie_id"]] < 2**31).all(axis=None)
    return ratings if is_id and len(ratings) * 3 == content.count(code) else None


def _require(ratings: pd.DataFrame, valid: pd.Series, problem: str, remedy: str, file: str) -> None:
    """Raises an error for the first rating that is not valid; a rating's index is its line, from 0."""
    if not valid.all():
        row = int(valid.to_numpy().argmin())
        raise line_error(file, 1 + int(ratings.index[row]), problem.format_map(dict(ratings.iloc[row])), remedy)


def _malformed_line(raw: bytes, file: str, layout: RatingsLayout) -> DataError:
    """Returns an error that names the first line that is not two ids, a rating and a timestamp."""
    remedy = f"a line reads {layout.fields}, in digits".replace("\t", " (tab) ")
    for number, line in enumerate(decode_lines(raw, file, tabs=layout.separator == "\t"), 1):
        if layout.has_header and number == 1:
            continue
        fields = split_fields(line, layout.fields, file, number, layout.separator)
        for position, (name, text) in enumerate(zip(layout.fields.split(layout.separator), fields, strict=True)):
            is_fraction_allowed = position == 2
            if not _NUMBER.fullmatch(text) or ("." in text and not is_fraction_allowed):
                return line_error(file, number, f"{name} {text[:40]!r}", remedy)
            if position < 2 and int(text) >= 2**31:
                return line_error(file, number, f"{name} {text!r}", f"an id is at most {2**31 - 1}")
    return DataError(f"{file}: not a file of ratings; {remedy}")
