"""Ties the figures of README and docs to what benchmarks printed: to a block, a row and a column.

Blocks stand in fenced code in docs/measurements.md: a title, a line with the commit, a line of headings, then rows; an
empty line ends a block.
Names, headings and values are two blanks or more apart. A comment in front of a Markdown table says where its figures
are from, with a `col` for each column that has figures, and a `row` where a name differs from that in the block:

    <!-- figures
    col ml-1m: ml-1m: lists | * | NDCG@10
    col small: ml-latest-small: lists | * | NDCG@10
    row nearest movies: * | item kNN | *
    -->

A place is `block | row | column`: the beginning of the block's title, the beginning of the row's name, the heading.
What is `*` for a column is taken from the row, whose own place is `* | its name | *` if nothing else is said. In a
sentence, the place stands behind the figure: `by 0.0032 <!-- figure ml-1m: NDCG@10 | EDLAE | ours -->`.
A table of what no benchmark prints says why: `<!-- figures: none, WHY -->`.

Each figure must be the printed number, rounded to the digits that it has.
"""

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

NUMBER = re.compile(r"[+\-\u2212]?(?<![\w.])\d[\d,]*(?:\.\d+)?")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"(?:^<!-- figures(?P<places>[^>]*?)-->\n\n?)?(?P<lines>(?:^\|.*\n)+)", re.MULTILINE)
IN_SENTENCE = re.compile(r"<!-- figure ([^>]*?) ?-->")
FIGURE_CELL = re.compile(r"(?:\*\*)?" + NUMBER.pattern + r" ?(?:%|s|ms|GB|MB|x|stars)?(?:\*\*)?")
"""A cell of a table that is a figure and nothing else."""


class FigureError(Exception):
    """A figure is not what was printed, or is not tied to anything."""


class Figure(NamedTuple):
    """A number in a text."""

    start: int
    end: int
    text: str
    place: tuple[str, str, str]


class Block(NamedTuple):
    """A table as a benchmark printed it."""

    title: str
    columns: list[str]
    rows: dict[str, list[str]]


def parse_blocks(text: str) -> list[Block]:
    """Returns the blocks in the fenced code of a page."""
    blocks = []
    for fence in FENCE.findall(text):
        for paragraph in re.split(r"\n\s*\n", fence.strip("`\n")):
            title, *lines = (line for line in paragraph.splitlines() if ", commit " not in line)
            if len(lines) > 1:
                rows = [re.split(r" {2,}", line.strip()) for line in lines[1:]]
                blocks.append(
                    Block(title, re.split(r" {2,}", lines[0].strip()), {name: cells for name, *cells in rows})
                )
    return blocks


def find_figures(text: str) -> list[Figure]:
    """Returns the figures of a page, with their places.

    Raises:
        FigureError: A table has figures without a place.
    """
    blank = FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)  # Positions remain.
    return [*_in_tables(blank), *_in_sentences(blank)]


def _in_tables(text: str) -> Iterator[Figure]:
    for table in TABLE.finditer(text):
        heading, _, *lines = table["lines"].splitlines(keepends=True)
        headings = [cell.strip() for cell in _cells(heading)]
        if (table["places"] or "").startswith(": none, "):
            continue
        places = dict(_parse_place(line) for line in (table["places"] or "").strip().splitlines())
        unknown = {name for kind, name in places if kind == "col"} - set(headings)
        if unknown:
            raise FigureError(f"no such column in the table: {unknown}")
        position = table.start("lines") + len(heading) + len(table["lines"].splitlines(keepends=True)[1])
        for line in lines:
            cells = _cells(line)
            start, name = position + 1, re.sub("[*`]", "", cells[0]).strip()
            for title, cell in zip(headings, cells, strict=True):
                column, row = places.get(("col", title)), places.get(("row", name), ("*", name, "*"))
                number = NUMBER.search(cell)
                if column and number:
                    place = tuple(one if one != "*" else other for one, other in zip(column, row, strict=True))
                    yield Figure(start + number.start(), start + number.end(), number[0], place)  # type: ignore[arg-type]
                elif title != headings[0] and FIGURE_CELL.fullmatch(cell.strip()):
                    raise FigureError(f"{name}, {title}: {cell.strip()} has no place")
                start += len(cell) + 1
            position += len(line)


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line.strip("|\n"))


def _parse_place(line: str) -> tuple[tuple[str, str], tuple[str, str, str]]:
    match = re.fullmatch(r"(col|row) (.*?): (.*?) \| (.*?) \| (.*)", line.strip())
    if not match:
        raise FigureError(f"not a place: {line}")
    kind, name, *place = match.groups()
    return (kind, name), (place[0], place[1], place[2])


def _in_sentences(text: str) -> Iterator[Figure]:
    for comment in IN_SENTENCE.finditer(text):
        place = comment[1].split(" | ")
        numbers = list(NUMBER.finditer(text, 0, comment.start()))
        if len(place) != 3 or not numbers or comment.start() - numbers[-1].end() > 20:
            raise FigureError(f"no figure in front of {comment[0]}")
        yield Figure(*numbers[-1].span(), numbers[-1][0], (place[0], place[1], place[2]))


def check(figure: Figure, blocks: list[Block]) -> None:
    """Raises a FigureError where a figure is not the printed number, rounded."""
    title, name, column = figure.place
    [block] = _named(title, {block.title: block for block in blocks}, figure)
    [cells] = _named(name, block.rows, figure)
    if len(cells) != len(block.columns) or column not in block.columns:
        raise FigureError(f"{figure.text}: {block.title} has no column {column} in the row {name}")
    printed = _parse_number(NUMBER.search(cells[block.columns.index(column)])[0])  # type: ignore[index]
    value = _parse_number(figure.text)
    if printed.quantize(Decimal(1).scaleb(int(value.as_tuple().exponent)), ROUND_HALF_UP) != value:
        raise FigureError(f"{figure.text}: {printed} was printed: {' | '.join(figure.place)}")


def _named(name: str, entries: dict[str, Any], figure: Figure) -> list[Any]:
    """Returns what has a name or, if nothing has, the only entry whose name begins so."""
    found = [entries[name]] if name in entries else [entry for key, entry in entries.items() if key.startswith(name)]
    if len(found) != 1:
        raise FigureError(f"{figure.text}: {len(found)} are called {name!r}: {' | '.join(figure.place)}")
    return found


def _parse_number(text: str) -> Decimal:
    return Decimal(text.replace(",", "").replace("\u2212", "-"))


def wrong_figures(text: str, blocks: list[Block]) -> list[str]:
    """Returns what is wrong with the figures of a page."""
    problems = []
    try:
        figures = find_figures(text)
    except FigureError as error:
        return [str(error)]
    for figure in figures:
        try:
            check(figure, blocks)
        except FigureError as error:
            problems.append(str(error))
    return problems


def perturbed(text: str) -> Iterator[tuple[Figure, str]]:
    """Yields a page once for each of its figures and each direction: with one more or less in its last digit."""
    for figure in find_figures(text):
        value = _parse_number(figure.text)
        unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
        for wrong in (value + unit, value - unit):
            yield figure, text[: figure.start] + f"{wrong}" + text[figure.end :]
