"""Tables as text: a title, a line of headings, then a line per row, printed as soon as it is known."""

import math
from collections.abc import Mapping, Sequence

NUMBER_WIDTH = 7
TEXT_WIDTH = 22


class Table:
    """A table, whose title and headings are printed at once.

    Args:
        title: The subject.
        columns: Pairs of a heading and a format specification without width, such as `("RMSE", ".4f")`, or a mapping;
            "" is for text.
        name_width: The width of the column of names.
    """

    def __init__(
        self, title: str, columns: Mapping[str, str] | Sequence[tuple[str, str]], name_width: int = 52
    ) -> None:
        self._name_width = name_width
        pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
        self._specs = [spec for _, spec in pairs]
        self._widths = [2 + max(len(heading), NUMBER_WIDTH if spec else TEXT_WIDTH) for heading, spec in pairs]
        headings = "".join(heading.rjust(width) for (heading, _), width in zip(pairs, self._widths, strict=True))
        print(f"\n{title}\n{'':<{name_width}}{headings}", flush=True)

    def add(self, name: str, *values: float | str) -> None:
        """Prints a row, with dashes for NaN."""
        print(f"{name:<{self._name_width}}", end="")
        for value, width, spec in zip(values, self._widths, self._specs, strict=True):
            is_missing = isinstance(value, float) and math.isnan(value)
            text = "-" if is_missing else format(value, spec)
            print(f"  {text}".rjust(width), end="")
        print(flush=True)
