"""The catalogue: movies_origin.txt, as in ml-1m's movies.dat, and movies_data.txt, the same movies encoded for a model.

A line of movies_data.txt is `id::word index,...,(YEAR)::genre index,...::title::genres::movie index`, with
`::IMDb id::TMDB id` before the last field for releases with links. The first three fields are the original demo's,
whose readers drop the year. The last line, `# 3883 movies, encoded for model FINGERPRINT`, shows that it is whole.
"""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recommender.errors import DataError, Step, pluralize
from recommender.files import atomic_write, read_bytes
from recommender.movielens.encoding import PADDING, UNKNOWN, MovieFeatures, Vocabularies, encode_movies, pad_rows
from recommender.movielens.encoding import Movie as Movie

ID_PREFIX = "id:"
"""Begins a movie id where a title may stand, as in `id:1214`."""
MAX_ID = 2**31 - 1
MAX_TITLE_CHARACTERS = 1000
MAX_GENRES = 30
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_GENRE = re.compile(r"(?! )(?:[^\W_]|[ '&+.()-]){1,30}(?<! )")
_IMDB_ID = re.compile(r"tt[0-9]{7,10}")

Record = TypeVar("Record", bound=tuple[Any, ...])


class OovCounts(NamedTuple):
    """Numbers of words and genres of a catalogue that are out of vocabulary."""

    words: int
    genres: int


def parse_movies(raw: bytes, file: str) -> list[Movie]:
    """Parses movies.dat or movies_origin.txt; `file` names it in messages.

    Raises:
        DataError: A line is not `MovieID::Title::Genres`, perhaps with `::IMDb id::TMDB id`, or an id is there twice.
    """
    return parse_records(raw, file, "MovieID::Title::Genres", parse_movie, num_fields=(3, 5))


def format_movies(movies: Sequence[Movie]) -> str:
    """Returns movies in the format that `parse_movies` reads, one per line."""
    return "".join("::".join([str(movie.movie_id), *_fields(movie)]) + "\n" for movie in movies)


def write_movies_data(path: Path, movies: Sequence[Movie], vocabularies: Vocabularies, fingerprint: str) -> OovCounts:
    """Writes movies_data.txt atomically, encoded for the model with this fingerprint.

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
    return OovCounts(int((features.word_idx == UNKNOWN).sum()), int((features.genre_idx == UNKNOWN).sum()))


def read_movies_data(path: Path, fingerprint: str) -> tuple[list[Movie], MovieFeatures]:
    """Reads what `write_movies_data` wrote for the same model: the movies and the indices in the file.

    Raises:
        FileError: The file cannot be read.
        DataError: The file is incomplete, damaged, or encoded for another model.
    """
    *lines, rest = read_bytes(path, fix_step=Step.ENCODE).split(b"\n")
    if rest or lines[-1:] != [_last_line(len(lines) - 1, fingerprint).encode()]:
        raise DataError(f"{path}: incomplete, or encoded for another model", Step.ENCODE)
    movies, movie_idx, genre_idx, word_idx = [], [], [], []
    for number, line in enumerate(lines[:-1], 1):
        try:
            movie_id, words, genres, *fields, index = line.decode().split("::")
            movies.append(parse_movie([movie_id, *fields]))
            word_idx.append([int(word) for word in words.split(",")[:-1]])
            genre_idx.append([int(genre) for genre in genres.split(",")])
            movie_idx.append(int(index))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: damaged", Step.ENCODE) from error
    return movies, MovieFeatures(np.array(movie_idx, np.int64), pad_rows(genre_idx), pad_rows(word_idx))


def _last_line(num_movies: int, fingerprint: str) -> str:
    return f"# {num_movies} movies, encoded for model {fingerprint}"


def _fields(movie: Movie) -> list[str]:
    """Returns title, genres and, where the movie has one, IMDb id and TMDB id."""
    links = [movie.imdb_id, str(movie.tmdb_id or "")]
    return [movie.title, "|".join(movie.genres), *(links if any(links) else [])]


def decode_lines(raw: bytes) -> list[str]:
    """Decodes a text file line by line: UTF-8, and Latin-1 where a line is not UTF-8.

    ml-1m is Latin-1, its re-encodings are UTF-8, and a file to which somebody added lines may hold both. Lines end with
    LF or CR LF.
    """
    lines = []
    for line in raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n"):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            lines.append(line.decode("latin-1"))
    return lines


def parse_records(
    raw: bytes,
    file: str,
    layout: str,
    parse: Callable[[list[str]], Record],
    separator: str = "::",
    num_fields: Sequence[int] = (),
) -> list[Record]:
    """Returns a record for each line of a file.

    Args:
        raw: The file's content.
        file: The file's name, for messages.
        layout: The fields of a line, such as `MovieID::Title::Genres`; of a CSV file, its header.
        parse: Turns the fields of a line into a record, whose first field is its id; raises ValueError.
        separator: What separates the fields; a comma means CSV.
        num_fields: The permitted numbers of fields, by default that of `layout`.

    Raises:
        DataError: A line is malformed, or has no end as the file was cut in the middle, or an id is there twice.
    """
    records: dict[Any, Record] = {}
    lines = decode_lines(raw)
    for number, line in enumerate(lines, 1):
        try:
            if number == len(lines) and not raw.endswith(b"\n"):
                raise ValueError("it has no end: get the whole file, or end the line")
            fields = line.split(separator)
            if separator == ",":
                fields = [field.strip() for field in next(csv.reader([line], strict=True))]
                if number == 1 and fields == layout.split(separator):
                    continue
            if len(fields) not in (num_fields or [layout.count(separator) + 1]):
                raise ValueError(pluralize(len(fields), "field") if line.strip() else "a blank line, delete it")
            record = parse(fields)
            if record[0] in records:
                raise ValueError(f"id {record[0]} is there twice: delete a line, or give it another id")
            records[record[0]] = record
        except (csv.Error, ValueError) as error:
            raise line_error(file, number, str(error), f"a line reads {layout}") from error
    return list(records.values())


def parse_movie(fields: Sequence[str]) -> Movie:
    """Returns a movie from its id, title and genres and, perhaps, IMDb id and TMDB id.

    Raises:
        ValueError: A field is malformed, or longer than Milvus stores.
    """
    movie_id, title, genres, *links = fields
    labels = tuple(genres.split("|"))
    imdb_id, tmdb_id = links or ("", "")
    if not title.strip() or len(title) > MAX_TITLE_CHARACTERS or "::" in title or CONTROL_CHARACTER.search(title):
        raise ValueError(f"title {title[:40]!r} must have 1 to {MAX_TITLE_CHARACTERS} characters, no '::'")
    if len(labels) > MAX_GENRES or not all(map(_GENRE.fullmatch, labels)):
        raise ValueError(f"genres {genres[:60]!r} must be up to {MAX_GENRES}, separated by |, of up to 30 letters")
    if imdb_id and not _IMDB_ID.fullmatch(imdb_id):
        raise ValueError(f"IMDb id {imdb_id[:40]!r} must read tt0114709")
    return Movie(parse_id(movie_id), title, labels, imdb_id, parse_id(tmdb_id) if tmdb_id else 0)


def parse_id(text: str) -> int:
    """Returns an id from its digits; raises ValueError where it is not a whole number from 1 to `MAX_ID`."""
    if not (re.fullmatch("[0-9]{1,10}", text) and 1 <= int(text) <= MAX_ID):
        raise ValueError(f"id {text[:40]!r} must be a whole number from 1 to {MAX_ID}")
    return int(text)


def line_error(file: str, number: int, problem: str, remedy: str) -> DataError:
    """Returns the error for one line of a file."""
    return DataError(f"{file}, line {number}: {problem}; {remedy}")
