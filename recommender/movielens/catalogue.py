"""The catalogue: movies_origin.txt, as in ml-1m's movies.dat, and movies_data.txt, the same movies encoded for a model.

A line of movies_data.txt is `id::word index,...,(YEAR)::genre index,...::title::genres::movie index`, with
`::IMDb id::TMDB id` before the last field for releases with links. The first three fields are the original demo's,
whose readers drop the year. The last line, `# 3883 movies, encoded for model FINGERPRINT`, shows that it is whole.
"""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recommender.errors import DataError, Step
from recommender.files import atomic_write, read_bytes
from recommender.movielens.encoding import PADDING, UNKNOWN, MovieFeatures, Vocabularies, encode_movies, pad_rows
from recommender.movielens.encoding import Movie as Movie

MAX_ID = 2**31 - 1
LAYOUT = "MovieID::Title::Genres[::IMDb id::TMDB id]"
"""A line of movies_origin.txt."""

_GENRE = r"(?! )(?:[^\W_]|[ '&+.()-]){1,30}(?<! )"
_PATTERNS = {
    "title": re.compile(r"(?=.*\S)(?!.*::)[^\x00-\x1f\x7f-\x9f]{1,1000}"),
    "genres": re.compile(rf"{_GENRE}(?:\|{_GENRE}){{0,29}}"),
    "IMDb id": re.compile("(?:tt[0-9]{7,10})?"),
}
"""What the fields of a movie may hold: no more than Milvus stores, no control characters."""
_LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}
"""Characters of bytes that are not UTF-8: ml-1m is Latin-1, and what people add to it UTF-8."""

Record = TypeVar("Record", bound=tuple[Any, ...])


def parse_movies(raw: bytes, file: str) -> list[Movie]:
    """Parses movies.dat or movies_origin.txt; `file` names it in messages.

    Raises:
        DataError: A line does not read as `LAYOUT` says, or an id is there twice.
    """
    return parse_records(raw, file, LAYOUT, parse_movie)


def format_movies(movies: Sequence[Movie]) -> str:
    """Returns movies in the format that `parse_movies` reads, one per line."""
    return "".join("::".join([str(movie.movie_id), *_fields(movie)]) + "\n" for movie in movies)


def write_movies_data(
    path: Path, movies: Sequence[Movie], vocabularies: Vocabularies, fingerprint: str
) -> tuple[int, int]:
    """Writes movies_data.txt atomically, encoded for the model with this fingerprint.

    Returns:
        The numbers of words and of genres that are out of vocabulary.

    Raises:
        FileError: The file cannot be written.
    """
    features = encode_movies(movies, vocabularies)
    with atomic_write(path) as file:
        for movie, movie_idx, genre_idx, word_idx in zip(movies, *(array.tolist() for array in features), strict=True):
            words = [*(str(index) for index in word_idx if index != PADDING), f"({movie.year or ''})"]
            genres = [str(index) for index in genre_idx if index != PADDING]
            fields = [str(movie.movie_id), ",".join(words), ",".join(genres), *_fields(movie), str(movie_idx)]
            file.write("::".join(fields) + "\n")
        file.write(_last_line(len(movies), fingerprint) + "\n")
    return int((features.word_idx == UNKNOWN).sum()), int((features.genre_idx == UNKNOWN).sum())


def read_movies_data(path: Path, fingerprint: str) -> tuple[list[Movie], MovieFeatures]:
    """Reads what `write_movies_data` wrote for the same model: the movies and the indices in the file.

    Raises:
        FileError: The file cannot be read.
        DataError: The file is incomplete, damaged, or encoded for another model.
    """
    *lines, rest = read_bytes(path, fix_step=Step.ENCODE).split(b"\n")
    if rest or lines[-1:] != [_last_line(len(lines) - 1, fingerprint).encode()]:
        raise DataError(f"{path}: incomplete, or encoded for another model", Step.ENCODE)
    try:
        rows = [line.decode().split("::") for line in lines[:-1]]
        movies = [parse_movie([row[0], *row[3:-1]]) for row in rows]
        word_idx = [[int(word) for word in row[1].split(",")[:-1]] for row in rows]
        genre_idx = [[int(genre) for genre in row[2].split(",")] for row in rows]
        movie_idx = np.array([int(row[-1]) for row in rows])
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: damaged", Step.ENCODE) from error
    return movies, MovieFeatures(movie_idx, pad_rows(genre_idx), pad_rows(word_idx))


def _last_line(num_movies: int, fingerprint: str) -> str:
    return f"# {num_movies} movies, encoded for model {fingerprint}"


def _fields(movie: Movie) -> list[str]:
    """Returns title, genres and, where the movie has one, IMDb id and TMDB id."""
    links = [movie.imdb_id, str(movie.tmdb_id or "")]
    return [movie.title, "|".join(movie.genres), *(links if any(links) else [])]


def parse_records(
    raw: bytes, file: str, layout: str, parse: Callable[[list[str]], Record], separator: str = "::"
) -> list[Record]:
    """Returns a record for each line of a file; lines end with LF or CR LF, the last one too.

    Args:
        raw: The file's content.
        file: The file's name, for messages.
        layout: The fields of a line, such as `LAYOUT`; of a CSV file, its header.
        parse: Turns the fields of a line into a record, whose first field is its id; raises ValueError.
        separator: What separates the fields; a comma means CSV.

    Raises:
        DataError: A line is malformed, or has no end as the file was cut in the middle, or an id is there twice.
    """
    records: dict[Any, Record] = {}
    *lines, rest = raw.decode("utf-8-sig", "surrogateescape").translate(_LATIN_1).replace("\r\n", "\n").split("\n")
    if rest or not lines:
        raise DataError(f"{file}, line {len(lines) + 1}: it has no end; get the whole file, or end the line")
    for number, text in enumerate(lines, 1):
        if text == layout:
            continue
        try:
            fields = text.split(separator)
            if separator == ",":
                fields = [field.strip() for field in next(csv.reader([text], strict=True), [])]
            record = parse(fields)
            if record[0] in records:
                raise ValueError("the id is there twice")
            records[record[0]] = record
        except (csv.Error, ValueError, IndexError) as error:
            raise DataError(f"{file}, line {number}: {text[:60]!r}: {error}; a line reads {layout}") from error
    return list(records.values())


def parse_movie(fields: Sequence[str]) -> Movie:
    """Returns a movie from its id, title and genres and, perhaps, IMDb id and TMDB id.

    Raises:
        ValueError: A field is malformed, or longer than Milvus stores.
    """
    movie_id, title, genres, imdb_id, tmdb_id = (*fields, "", "") if len(fields) == 3 else fields
    for (name, pattern), text in zip(_PATTERNS.items(), (title, genres, imdb_id), strict=True):
        if not pattern.fullmatch(text):
            raise ValueError(f"the {name} cannot be used")
    return Movie(parse_id(movie_id), title, tuple(genres.split("|")), imdb_id, parse_id(tmdb_id) if tmdb_id else 0)


def parse_id(text: str) -> int:
    """Returns an id from its digits; raises ValueError where it is not a whole number from 1 to `MAX_ID`."""
    if not (re.fullmatch("[0-9]{1,10}", text) and 1 <= int(text) <= MAX_ID):
        raise ValueError(f"an id is a whole number from 1 to {MAX_ID}")
    return int(text)
