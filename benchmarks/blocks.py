"""Blocks of text: a title, a line about the machine, headings, then a line per row, printed as soon as it is known."""

import math
from collections.abc import Mapping

from machine import describe_machine

NAME_WIDTH, NUMBER_WIDTH = 44, 7
MACHINE = describe_machine()  # Of the code that runs: the commit may change meanwhile.


class Table:
    """A table, whose title and headings are printed at once.

    Args:
        title: The subject.
        columns: Format specifications without width, such as ".4f", by heading; "" is for text.
    """

    def __init__(self, title: str, columns: Mapping[str, str]) -> None:
        self._columns = [(2 + max(len(heading), NUMBER_WIDTH), spec) for heading, spec in columns.items()]
        headings = "".join(heading.rjust(width) for heading, (width, _) in zip(columns, self._columns, strict=True))
        print(f"\n{title}\n{MACHINE}\n{'':<{NAME_WIDTH}}{headings}", flush=True)

    def add(self, name: str, *values: float | str) -> None:
        """Prints a row, with dashes for NaN."""
        cells = []
        for value, (width, spec) in zip(values, self._columns, strict=True):
            is_missing = isinstance(value, float) and math.isnan(value)
            cells.append(("-" if is_missing else format(value, "" if isinstance(value, str) else spec)).rjust(width))
        print(f"{name:<{NAME_WIDTH}}{''.join(cells)}", flush=True)
