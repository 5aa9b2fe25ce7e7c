"""Options of the three scripts: types, wrong usage, remedies, outputs that would overwrite inputs."""

import argparse
import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import SCRIPTS, fail, succeed

import get_movies_data
import infer_milvus
import train
from recommender.cli.arguments import LITE_URI, MODEL_FOLDER, PipelinePaths, number_arg
from recommender.errors import Step, pluralize


@pytest.mark.parametrize("text", ["1", "10", " 7 ", "+3"])
def test_numbers(text):
    assert number_arg(int, 1, 10)(text) == int(text)


@pytest.mark.parametrize("text", ["0", "11", "1.5", "1_0", "٣", "", "nan", "x"])
def test_not_a_whole_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a whole number from 1 to 10$"):
        number_arg(int, 1, 10)(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e-9", "-1"])
def test_not_a_number_in_range(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a number from 1e-06 to 10$"):
        number_arg(float, 1e-6, 10)(text)


def test_pluralize():
    texts = [pluralize(count, "movie") for count in (0, 1, 2, 2345)]
    assert texts == ["0 movies", "1 movie", "2 movies", "2,345 movies"]


@pytest.mark.parametrize(
    "person", ["-a 25-34 -g F -j programmer", "-a 25 -g Female -j prog", "-a 2 -g 1 -j 12", "-a 30 -g f -j PROGRAMMER"]
)
def test_labels_mean_the_same_as_numbers(person):
    options = infer_milvus.parse_args(person.split())
    assert (options.age, options.gender, options.job) == (2, 1, 12)


@pytest.mark.parametrize(
    ("text", "age"), [("0", 0), ("6", 6), ("7", 0), ("17", 0), ("18", 1), ("26", 2), ("55", 5), ("56", 6), ("120", 6)]
)
def test_ages_in_years(text, age):
    assert infer_milvus.parse_args(["-a", text]).age == age


@pytest.mark.parametrize(("text", "job"), [("grad student", 4), ("engineer", 17), ("0", 0), ("20", 20), ("k-12", 10)])
def test_jobs_by_a_word(text, job):
    assert infer_milvus.parse_args(["-j", text]).job == job


@pytest.mark.parametrize(
    ("text", "years"),
    [("1994", (1994, 1994)), ("1990-1999", (1990, 1999)), ("1990-", (1990, None)), ("-1960", (None, 1960))],
)
def test_years(text, years):
    movie_filter = infer_milvus.parse_args([f"--year={text}"]).movie_filter
    assert (movie_filter.first_year, movie_filter.last_year) == years


def test_help_teaches(capsys):
    for script in (train, get_movies_data, infer_milvus):
        with pytest.raises(SystemExit, match="0"):
            script.main(["--help"])
        text = capsys.readouterr().out
        assert f"python {script.__name__}.py" in text
    for label in ("25-34", "female", "K-12 student"):
        assert label in text


USAGE_ERRORS = [
    (infer_milvus, "-a x", "no age 'x'; choose one of: 0 under 18, 1 18-24"),
    (infer_milvus, "-a 0-g 1-j 10", "no age '0-g'; a blank is missing before -g"),
    (infer_milvus, "-g x", "no gender 'x'; choose one of: 0 male, 1 female"),
    (infer_milvus, "-j astronaut", "no job 'astronaut'; choose one of: 0 other"),
    (
        infer_milvus,
        "-j student",
        "several jobs match 'student'; choose one of: 4 college/grad student, 10 K-12 student\n",
    ),
    (infer_milvus, "-j a", "several jobs match 'a'; choose one of: 1 academic/educator, 2 artist"),
    (infer_milvus, "-k 0", "is not a whole number from 1 to 16384"),
    (infer_milvus, "-k many", "is not a whole number from 1 to 16384"),
    (infer_milvus, "--no-such-option", "unrecognized arguments"),
    (infer_milvus, "--user 1 -a 2", "have their own age, gender and job"),
    (infer_milvus, "--user 1 --ratings x.csv", "have their own ratings"),
    (infer_milvus, "--users all --output x --ratings x.csv", "have their own ratings"),
    (infer_milvus, "--user 1 --users all --output x", "give one of them"),
    (infer_milvus, "--users all", "--users and --output go together"),
    (infer_milvus, "--output x", "--users and --output go together"),
    (infer_milvus, "--users all --output x --like 3", "omit --movie, --like"),
    (infer_milvus, "--users all --output x --format csv", "omit --movie, --like, --seen, --with and --format"),
    (infer_milvus, "--movie 3 --genre War", "--movie predicts one rating"),
    (infer_milvus, "--unmatched x.csv", "--unmatched goes with a file: --ratings, --among, --with or --users"),
    (infer_milvus, "--include-seen", "--include-seen goes with users of the training data"),
    (infer_milvus, "--with x.csv --with y.csv --include-seen", "--include-seen goes with users of the training data"),
    (infer_milvus, "--uri https://x --tls-ca none.pem", "--tls-ca: there is no file none.pem"),
    (infer_milvus, "--uri http://x --tls-ca README.md", "begins with https://"),
    (infer_milvus, "--index hnsw", "--index is for building the collection; add -i"),
    (infer_milvus, "-i --index best", "invalid choice: 'BEST'"),
    (infer_milvus, "--user none", "'none' is not a whole number from 1"),
    (infer_milvus, "--min-ratings -1", "not a whole number from 0"),
    (infer_milvus, "--year 1999-1990", "not a span of years"),
    (infer_milvus, "--year -", "not a span of years"),
    (infer_milvus, "--year 90s", "not a span of years"),
    (train, "--epochs 0", "'0' is not a whole number from 1 to 2147483647"),
    (train, "--learning-rate 0", "'0' is not a number from 1e-06 to 10"),
    (train, "--learning-rate nan", "'nan' is not a number from 1e-06 to 10"),
    (train, "--device tpu", "choose from"),
    (get_movies_data, "", "required: -f/--file"),
]


@pytest.mark.parametrize(("script", "args", "message"), USAGE_ERRORS)
def test_wrong_usage_exits_with_2(script, args, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(args.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


ELSEWHERE = PipelinePaths(
    model=Path("my model"), movies_origin=Path("m.txt"), movies_data=Path("d.txt"), uri="a b.db", tls_ca=None
)
DASHES = PipelinePaths(model=Path("-m"), movies_origin=Path("-f"), movies_data=Path("-d $x"), uri="-u 'v'.db")


@pytest.mark.parametrize("paths", [PipelinePaths(), ELSEWHERE, DASHES])
def test_remedies_are_understood_by_the_scripts_they_name(paths):
    """Each with the paths of the call: what one step writes, the next reads."""
    parsed = {}
    for script, step in ((train, Step.TRAIN), (get_movies_data, Step.ENCODE), (infer_milvus, Step.INDEX)):
        python, name, *words = shlex.split(paths.command(step))
        assert (python, name) == ("python", f"{script.__name__}.py")
        parsed[step] = script.parse_args(words)
    assert parsed[Step.TRAIN].output == parsed[Step.ENCODE].model == parsed[Step.INDEX].model == paths.model
    assert parsed[Step.TRAIN].movies_origin == parsed[Step.ENCODE].file == paths.movies_origin
    assert parsed[Step.ENCODE].output == parsed[Step.INDEX].movies_data == paths.movies_data
    assert parsed[Step.INDEX].uri == paths.uri
    assert parsed[Step.INDEX].infer


def test_default_remedies_are_those_of_the_library():
    assert [PipelinePaths().command(step) for step in Step] == [step.value for step in Step]


def paste(error, cwd):
    """Runs the command that an error names."""
    command = error.rpartition("; run: ")[2]
    python, name, *words = shlex.split(command)
    assert python == "python"
    return succeed(name, *words, cwd=cwd)


def test_remedies_work_when_pasted(trained, tmp_path):
    """Also with names that look like options; following what is printed leads to an answer."""
    (tmp_path / "movies_origin.txt").symlink_to(trained / "movies_origin.txt")
    (tmp_path / "-m").symlink_to(trained / MODEL_FOLDER)
    query = ("infer_milvus.py", "--model=./-m", "--movies-data=./-d", "--uri=./-u.db", "-k", 3)
    error = fail(*query, cwd=tmp_path)
    assert error.endswith("; run: python infer_milvus.py -i --model=-m --movies-data=-d --uri ./-u.db")
    encode = fail(*shlex.split(error.rpartition("python ")[2]), cwd=tmp_path)
    assert encode.endswith("; run: python get_movies_data.py -f movies_origin.txt --model=-m --output=-d")
    paste(encode, tmp_path)
    assert "rows in collection" in paste(error, tmp_path).stdout
    assert "recommended for: " in succeed(*query, cwd=tmp_path).stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-d", "-m", "-u.db", "movies_origin.txt"]


@pytest.fixture
def inputs(trained, tmp_path):
    """A folder with the files that a command may read, and links to them."""
    names = {"movies_origin.txt": "mo.txt", "movies_data.txt": "movies_data.txt"}
    for name, copy in names.items():
        shutil.copy(trained / name, tmp_path / copy)
    shutil.copy(trained / "movies_origin.txt", tmp_path)
    (tmp_path / "users.txt").write_text("1\n2\n")
    (tmp_path / "mine.csv").write_text("title,rating\nAlien,5\n")
    (tmp_path / "many.csv").write_text("user,title,rating\nann,Alien,5\n")
    for name in ("mo.txt", "users.txt", "movies_data.txt"):
        (tmp_path / f"link to {name}").symlink_to(name)
    (tmp_path / "hard link").hardlink_to(tmp_path / "mine.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("get_movies_data.py", ["-f", "mo.txt", "--output", "mo.txt"]),
        ("get_movies_data.py", ["-f", "mo.txt", "--output", "./../{here}/mo.txt"]),
        ("get_movies_data.py", ["-f", "mo.txt", "--output", "link to mo.txt"]),
        ("get_movies_data.py", ["-f", "link to mo.txt", "--output", "mo.txt"]),
        ("infer_milvus.py", ["--users", "users.txt", "--output", "users.txt"]),
        ("infer_milvus.py", ["--users", "users.txt", "--output", "link to users.txt"]),
        ("infer_milvus.py", ["--users", "many.csv", "--output", "many.csv"]),
        ("infer_milvus.py", ["--users", "many.csv", "--output", "x.csv", "--unmatched", "many.csv"]),
        ("infer_milvus.py", ["--users", "all", "--output", "movies_data.txt"]),
        ("infer_milvus.py", ["--users", "all", "--output", "link to movies_data.txt"]),
        ("infer_milvus.py", ["--users", "all", "--output", "movies_origin.txt"]),
        ("infer_milvus.py", ["--users", "all", "--output", "mo.txt", "--movies-data", "mo.txt"]),
        ("infer_milvus.py", ["--ratings", "mine.csv", "--unmatched", "mine.csv"]),
        ("infer_milvus.py", ["--ratings", "mine.csv", "--unmatched", "hard link"]),
        ("infer_milvus.py", ["--ratings", "mine.csv", "--unmatched", "movies_data.txt"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_inputs_are_not_overwritten(inputs, name, args, monkeypatch, capsys):
    """Under whatever name; refused before anything is read."""
    before = {path: path.read_bytes() for path in inputs.iterdir()}
    monkeypatch.chdir(inputs)
    with pytest.raises(SystemExit) as stopped:
        SCRIPTS[name].main([arg.format(here=inputs.name) for arg in args])
    assert stopped.value.code == 2
    assert " would overwrite " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in inputs.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("get_movies_data.py", ["-f", "movies_origin.txt", "--output", f"{MODEL_FOLDER}/manifest.json"]),
        ("infer_milvus.py", ["--users", "all", "--output", f"{MODEL_FOLDER}/manifest.json"]),
        ("infer_milvus.py", ["--users", "all", "--output", f"{MODEL_FOLDER}/new.csv"]),
        ("infer_milvus.py", ["--users", "all", "--output", f"tests/../{LITE_URI}/new.csv"]),
        ("infer_milvus.py", ["--ratings", "mine.csv", "--unmatched", f"{LITE_URI}/new.csv"]),
        ("infer_milvus.py", ["-i", "--uri", "new.db", "--users", "all", "--output", "new.db/new.csv"]),
        ("infer_milvus.py", ["-i", "--uri", f"{MODEL_FOLDER}/new.db"]),
        ("get_movies_data.py", ["-f", "movies_origin.txt", "--output", f"{LITE_URI}/new.txt"]),
        ("train.py", ["--movies-origin", f"{LITE_URI}/new.txt"]),
        ("train.py", ["--output", "new", "--movies-origin", "new/movies.txt"]),
        ("train.py", ["--output", f"{LITE_URI}/new"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_is_written_into_a_model_or_a_database(trained, name, args):
    error = fail(name, *args, cwd=trained, code=2)
    assert re.search(r"--[a-z-]+ \S+ would write into \S+, which this command reads", error)


def test_two_outputs_are_two_files(trained, tmp_path):
    for unmatched in (tmp_path / "out.csv", tmp_path / "link" / ".." / "out.csv"):
        (tmp_path / "link").mkdir(exist_ok=True)
        options = ("--users", "many.csv", "--output", tmp_path / "out.csv", "--unmatched", unmatched)
        error = fail("infer_milvus.py", *options, cwd=trained, code=2)
        assert error.endswith("--output and --unmatched name the same file")
    for options, message in (
        (("--ratings", "mine.csv", "--unmatched", "-", "--format", "json"), "on standard output; name a file"),
        (("--users", "many.csv", "--output", "-", "--unmatched", "-"), "name the same file"),
    ):
        error = fail("infer_milvus.py", *options, cwd=trained, code=2)
        assert error.endswith(message)


def test_other_outputs_may_be_overwritten(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    with contextlib.redirect_stderr(io.StringIO()):
        assert get_movies_data.parse_args(["-f", "mo.txt"]).output == Path("movies_data.txt")
        assert get_movies_data.parse_args(["-f", "mo.txt", "--output", "-"]).output == Path("-")
        assert infer_milvus.parse_args(["--users", "all", "--output", "many.csv"]).output == Path("many.csv")
        assert infer_milvus.parse_args(["--ratings", "mine.csv", "--unmatched", "new.csv"]).unmatched
