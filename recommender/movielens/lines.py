"""Text files line by line; errors that name the file, the line and the remedy."""

import re

from recommender.errors import DataError, pluralize

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def decode_lines(raw: bytes, file: str, tabs: bool = False) -> list[str]:
    """Decodes a text file line by line: UTF-8, and Latin-1 where a line is not UTF-8.

    ml-1m is Latin-1, its re-encodings are UTF-8, and a file that was patched by hand may hold both. Lines end with LF
    or CR LF; empty ones at the end do not count. `tabs` admits tabs.

    Raises:
        DataError: The file is empty, or a line holds a byte that is a control character either way.
    """
    content = normalize_newlines(raw)
    if not content:
        raise DataError(f"{file}: the file is empty; put the whole file there again")
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        bad = CONTROL_CHARACTER.search(text.replace("\t", " ") if tabs else text)
        if bad:
            raise line_error(file, number, f"control character {bad[0]!r}", "delete it, or save the file as UTF-8")
        lines.append(text)
    return lines


def normalize_newlines(raw: bytes) -> bytes:
    """Returns a file's content with LF line ends, without byte order mark and trailing empty lines."""
    return raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n")


def line_error(file: str, number: int, problem: str, remedy: str) -> DataError:
    """Returns the error for one line of a file."""
    return DataError(f"{file}, line {number}: {problem}; {remedy}")


def split_fields(line: str, layout: str, file: str, number: int, separator: str = "::") -> list[str]:
    """Splits a line into fields.

    Args:
        line: The line.
        layout: The expected fields, such as `MovieID::Title::Genres`.
        file: The file's name, for messages.
        number: The line's number, from 1.
        separator: What separates the fields.

    Raises:
        DataError: The line has another number of fields.
    """
    if not line.strip():
        raise line_error(file, number, "a blank line", "delete it")
    fields = line.split(separator)
    expected = layout.split(separator)
    if len(fields) != len(expected):
        problem = f"{pluralize(len(fields), 'field')} instead of {len(expected)}"
        raise line_error(file, number, problem, f"a line reads {layout}".replace("\t", " (tab) "))
    return fields
