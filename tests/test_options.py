"""What the three command lines share: the parser, types of options, outputs that would overwrite inputs."""

from pathlib import Path

import pytest

from recommender.cli.options import Parser, path_arg, refuse_overwriting


@pytest.fixture
def parser():
    parser = Parser("Finds films.", "examples: none")
    parser.add_argument("--ratings", action="append", default=[])
    parser.add_argument("--topic")
    parser.add_argument("--user")
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
    assert parser.parse([]).workdir.folder == Path()
    assert parser.parse(["--workdir", "films"]).workdir.folder == Path("films")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RECOMMENDER_WORKDIR", "~/films")
    assert Parser("", "").parse([]).workdir.folder == Path("/home/me/films")
    assert Parser("", "").parse(["--workdir=here"]).workdir.folder == Path("here")


def test_options_from_a_file(parser, tmp_path, capsys):
    (tmp_path / "me.txt").write_text("# my options\n--ratings 'my films.csv' --topic=x  # two on a line\n\n--user 42\n")
    options = parser.parse(["--ratings", "b.csv", f"@{tmp_path / 'me.txt'}", "--topic", "y"])
    assert (options.ratings, options.topic, options.user) == (["b.csv", "my films.csv"], "y", "42")
    assert "missing.txt" in refuse(parser.parse, capsys, ["@missing.txt"])


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--rating", "x"], "there is no option --rating; did you mean --ratings?"),
        (["--top=1"], "there is no option --top; did you mean --topic?"),
        (["--colour"], "there is no option --colour"),
        (["alien"], "there is no argument alien"),
        (["--topic"], "argument --topic: expected one argument"),
    ],
)
def test_wrong_options_name_the_right_one(parser, capsys, args, error):
    assert refuse(parser.parse, capsys, args) == error


def test_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path_arg("~/x.csv") == Path("/home/me/x.csv")
    assert path_arg("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


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
