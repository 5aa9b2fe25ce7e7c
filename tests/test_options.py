"""What the three command lines share: the parser, types of options, outputs that would overwrite inputs."""

import argparse
from pathlib import Path

import pytest

from recommender.cli.options import Parser, StoreOnce, path_arg, positive_arg, refuse_overwriting
from recommender.files import Workdir


@pytest.fixture
def parser():
    parser = Parser("Finds films.", "examples: none")
    parser.add_argument("--ratings", action="append", default=[])
    parser.add_argument("--topic")
    parser.add_argument("--user", action=StoreOnce)
    return parser


def refuse(parse, capsys, *args):
    """Returns the one line with which a wrong command line ends, with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        parse(*args)
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" --help")
    return line.removeprefix("error: ").partition("; see ")[0]


def test_working_folder(parser, monkeypatch):
    assert parser.parse([]).workdir == Workdir(Path())
    assert parser.parse(["--workdir", "films"]).workdir == Workdir(Path("films"))
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RECOMMENDER_WORKDIR", "~/films")
    assert Parser("", "").parse([]).workdir == Workdir(Path("/home/me/films"))
    assert Parser("", "").parse(["--workdir=here"]).workdir == Workdir(Path("here"))


def test_options_from_a_file(parser, tmp_path, capsys):
    (tmp_path / "me.txt").write_text("# my options\n--ratings 'my films.csv' --topic=x  # two on a line\n\n--user 42\n")
    options = parser.parse(["--ratings", "b.csv", f"@{tmp_path / 'me.txt'}"])
    assert (options.ratings, options.topic, options.user) == (["b.csv", "my films.csv"], "x", "42")
    assert "missing.txt" in refuse(parser.parse, capsys, ["@missing.txt"])


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--rating", "x"], "there is no option --rating; did you mean --ratings?"),
        (["--top=1"], "there is no option --top; did you mean --topic?"),
        (["--watchlist", "x.csv"], "there is no option --watchlist; did you mean --among?"),
        (["--model=x"], "there is no option --model; did you mean --workdir?"),
        (["--colour"], "there is no option --colour"),
        (["alien"], "there is no argument alien"),
        (["--user", "1", "--user", "2"], "--user is given twice"),
        (["--topic"], "argument --topic: expected one argument"),
    ],
)
def test_wrong_options_name_the_right_one(parser, capsys, args, error):
    assert refuse(parser.parse, capsys, args) == error


def test_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path_arg("~/x.csv") == Path("/home/me/x.csv")
    assert path_arg("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


def test_whole_numbers_above_0():
    assert [positive_arg(text) for text in ("1", "007", "999999999")] == [1, 7, 999999999]
    for text in ("0", "-1", "1.5", "1_0", "٣", "", "x", "1000000000"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number above 0"):
            positive_arg(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what a command reads, and links to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("x")
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("x")
    (tmp_path / "model link").symlink_to("model")
    return tmp_path


@pytest.mark.parametrize(
    "output",
    [
        "in.csv",
        "model/../in.csv",
        "link.csv",
        "model",
        "model/manifest.json",
        "model/new.csv",
        "model link/new.csv",
        "missing.db/x.csv",
    ],
)
def test_inputs_are_not_overwritten(parser, folder, capsys, output):
    """Under whatever name, nor anything written into a folder that is read."""
    inputs = [Path("in.csv"), folder / "model", Path("missing.db")]
    error = refuse(refuse_overwriting, capsys, parser, "--output", Path(output), inputs)
    assert error.startswith(f"--output {output} would overwrite ")


@pytest.mark.parametrize("output", [None, "-", "new.csv", "in.csv.new", "new/in.csv", "model.csv"])
def test_other_outputs_are_fine(parser, folder, output):
    refuse_overwriting(parser, "--output", output and Path(output), [Path("in.csv"), folder / "model", Path("-")])
