"""Parsers of command lines: what the three commands share."""

import argparse
import difflib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from recommender.errors import one_line
from recommender.files import STANDARD_STREAM, Workdir

OTHER_NAMES = {
    "--watchlist": "--among",
    "--exclude": "--not-among",
    "--unmatched": "--matches",
    "--sort": "--by",
    "--model": "--workdir",
    "--movies-data": "--workdir",
}
"""What people call options, and what they are called here."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options, reads options from `@FILE`, and offers the right name of a wrong one.

    Args:
        description: The first lines of the help.
        epilog: The last lines of the help.
    """

    def __init__(self, description: str | None, epilog: str) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(
            description=description,
            epilog=epilog,
            formatter_class=layout,
            allow_abbrev=False,
            fromfile_prefix_chars="@",
        )
        folder = os.environ.get("RECOMMENDER_WORKDIR") or "."
        help_text = "folder of model, catalogue and Milvus Lite (default: the current one, or RECOMMENDER_WORKDIR)"
        self.add_argument("--workdir", type=_workdir, default=_workdir(folder), metavar="DIR", help=help_text)

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """Splits a line of an `@FILE` as a shell does; `#` begins a comment."""
        return shlex.split(arg_line, comments=True)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Returns the options; exits with 2 where they are wrong."""
        options, unknown = self.parse_known_args(argv)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            near = [OTHER_NAMES[name]] if name in OTHER_NAMES else difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"there is no {'option' if name.startswith('-') else 'argument'} {name}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with 2."""
        print(f"error: {one_line(message)}; see {os.path.basename(sys.argv[0])} --help", file=sys.stderr)
        self.exit(2)


class StoreOnce(argparse.Action):
    """Stores a value, and refuses a second one, which would silently replace the first."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Stores the value of an option."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice")
        setattr(namespace, self.dest, values)


def path_arg(text: str) -> Path:
    """Argparse type of a file or folder; `~` is the home folder."""
    return Path(os.path.expanduser(text))  # Path's own method fails where there is no such user.


def positive_arg(text: str) -> int:
    """Argparse type of a whole number above 0."""
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def refuse_overwriting(parser: Parser, option: str, output: Path | None, inputs: Sequence[Path]) -> None:
    """Exits with 2 where an output is one of the inputs, or inside one that is a folder."""
    if output is None or output == STANDARD_STREAM:
        return
    target = Path(os.path.realpath(output))
    for path in inputs:
        source = Path(os.path.realpath(path))
        if target == source or (not source.is_file() and source in target.parents):
            parser.error(f"{option} {output} would overwrite {path}, which this command reads or a later step needs")


def _workdir(text: str) -> Workdir:
    return Workdir(path_arg(text))
