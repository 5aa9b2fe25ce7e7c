"""Parsers of command lines: what the three commands share."""

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from recommender.errors import one_line
from recommender.files import STANDARD_STREAM, Workdir


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options, reads options from `@FILE`, and offers the right name of a wrong one.

    Args:
        description: The first lines of the help.
        epilog: The last lines of the help.
    """

    def __init__(self, description: str | None, epilog: str) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, epilog=epilog, formatter_class=layout, allow_abbrev=False)
        self.fromfile_prefix_chars = "@"
        folder = os.environ.get("RECOMMENDER_WORKDIR") or "."
        help_text = "folder of model, catalogue and Milvus Lite (default: the current one, or RECOMMENDER_WORKDIR)"
        self.add_argument("--workdir", type=Workdir, default=folder, metavar="DIR", help=help_text)

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """Splits a line of an `@FILE` as a shell does; `#` begins a comment."""
        return shlex.split(arg_line, comments=True)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Returns the options; exits with 2 where they are wrong."""
        options, unknown = self.parse_known_args(argv)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, 1, 0.75)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"there is no {'option' if name.startswith('-') else 'argument'} {name}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with 2."""
        print(f"error: {one_line(message)}; see {os.path.basename(sys.argv[0])} --help", file=sys.stderr)
        self.exit(2)


def path_arg(text: str) -> Path:
    """Argparse type of a file or folder; `~` is the home folder."""
    return Path(os.path.expanduser(text))  # Path's own method fails where there is no such user.


def refuse_overwriting(parser: Parser, option: str, output: Path | None, inputs: Sequence[Path]) -> None:
    """Exits with 2 where an output is one of the inputs, or inside one that is a folder."""
    if output is None or output == STANDARD_STREAM:
        return
    target = Path(os.path.realpath(output))
    for path in inputs:
        source = Path(os.path.realpath(path))
        if target == source or (not source.is_file() and source in target.parents):
            parser.error(f"{option} {output} would overwrite {path}, which this command reads or a later step needs")
