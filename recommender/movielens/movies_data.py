"""Writes and reads movies_data.txt, the encoded catalogue.

A line is `id::word index,...,(YEAR)::genre index,...::title::genres`, and for releases with links
`::IMDb id::TMDB id`. The first three fields are the original demo's,
whose readers drop the year at the end of the second. The last line is `# crc32` and the checksum of the lines before.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recommender.movielens.encoding import UNKNOWN, Vocabularies, encode_genres, encode_title
from recommender.errors import DataError
from recommender.movielens.catalogue import Movie, catalogue_fields, parse_movie
from recommender.errors import Step, pluralize
from recommender.files import atomic_write, read_bytes

NUM_FIELDS = (5, 7)
"""Without and with IMDb id and TMDB id."""


class OovCounts(NamedTuple):
    """Numbers of words and genres of a catalogue that are out of vocabulary."""

    words: int
    genres: int


def write_movies_data(path: Path, movies: Sequence[Movie], vocabularies: Vocabularies) -> OovCounts:
    """Writes movies_data.txt atomically.

    Raises:
        FileError: The file cannot be written.
    """
    lines = "".join(_format_line(movie, vocabularies) + "\n" for movie in movies)
    with atomic_write(path) as file:
        file.write(lines + _checksum_line(lines))
    return OovCounts(
        sum(encode_title(movie, vocabularies).count(UNKNOWN) for movie in movies),
        sum(encode_genres(movie, vocabularies).count(UNKNOWN) for movie in movies),
    )


def read_movies_data(path: Path, vocabularies: Vocabularies) -> list[Movie]:
    """Reads what `write_movies_data` wrote with the same vocabularies.

    Raises:
        FileError: The file cannot be read.
        DataError: The file was changed, or encoded for another model.
    """

    def error(problem: str) -> DataError:
        return DataError(f"{path}{problem}", Step.ENCODE)

    try:
        content = read_bytes(path, fix_step=Step.ENCODE).decode()
    except UnicodeDecodeError as decode_error:
        raise error(f": damaged at byte {decode_error.start}") from decode_error
    lines, _, checksum = content.removesuffix("\n").rpartition("\n")
    lines += "\n"
    if checksum + "\n" != _checksum_line(lines) or not content.endswith("\n"):
        raise error(": changed since it was written, or incomplete")
    movies = []
    for number, line in enumerate(lines.removesuffix("\n").split("\n"), 1):
        fields = line.split("::")
        if len(fields) not in NUM_FIELDS:
            raise error(f", line {number}: {pluralize(len(fields), 'field')} instead of {NUM_FIELDS[0]}")
        movie = parse_movie(fields[0], *fields[3:], file=str(path), number=number)
        if _format_line(movie, vocabularies) != line:
            raise error(f", line {number}: not encoded for this model")
        movies.append(movie)
    return movies


def _format_line(movie: Movie, vocabularies: Vocabularies) -> str:
    fields = [
        str(movie.movie_id),
        ",".join([*map(str, encode_title(movie, vocabularies)), f"({movie.year or ''})"]),
        ",".join(map(str, encode_genres(movie, vocabularies))),
        *catalogue_fields(movie),
    ]
    return "::".join(fields)


def _checksum_line(lines: str) -> str:
    return f"# crc32 {zlib.crc32(lines.encode()):08x}\n"
