import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

import get_movies_data
import infer_milvus
import train
from recommender.cli.arguments import Places, number, run
from recommender.errors import RecommenderError, Step, counted


@pytest.mark.parametrize("text", ["1", "10", " 7 ", "+3"])
def test_numbers(text):
    assert number(int, 1, 10)(text) == int(text)


@pytest.mark.parametrize("text", ["0", "11", "1.5", "1_0", "٣", "", "nan", "x"])
def test_what_is_no_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a whole number from 1 to 10$"):
        number(int, 1, 10)(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e-9", "-1"])
def test_what_is_no_fraction(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a number from 1e-06 to 10$"):
        number(float, 1e-6, 10)(text)


def test_counted():
    assert [counted(count, "movie") for count in (0, 1, 2, 2345)] == ["0 movies", "1 movie", "2 movies", "2,345 movies"]


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (None, 0, ""),
        (RecommenderError("a remedy"), 1, "error: a remedy\n"),
        (RecommenderError("stale", Step.INDEX), 1, "error: stale; run: python infer_milvus.py -i --model m\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: [Errno 2] No such file: 'x'\n"),
    ],
)
def test_exit_codes(failure, code, message, capsys):
    def work():
        if failure:
            raise failure

    assert run(work, Places(model=Path("m"))) == code
    assert capsys.readouterr().err == message


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0, Places())


ELSEWHERE = Places(
    model=Path("my model"), movies_origin=Path("m.txt"), movies_data=Path("d.txt"), uri="a b.db", tls_ca=None
)


@pytest.mark.parametrize("places", [Places(), ELSEWHERE])
def test_remedies_are_understood_by_the_scripts_they_name(places):
    """Each with the paths of the call: what one step writes, the next is told to read."""
    parsed = {}
    for script, step in ((train, Step.TRAIN), (get_movies_data, Step.ENCODE), (infer_milvus, Step.INDEX)):
        python, name, *words = shlex.split(places.command(step))
        assert (python, name) == ("python", f"{script.__name__}.py")
        parsed[step] = script.parse_args(words)
    assert parsed[Step.TRAIN].output == parsed[Step.ENCODE].model == parsed[Step.INDEX].model == places.model
    assert parsed[Step.TRAIN].movies_origin == parsed[Step.ENCODE].file == places.movies_origin
    assert parsed[Step.ENCODE].output == parsed[Step.INDEX].movies_data == places.movies_data
    assert parsed[Step.INDEX].uri == places.uri
    assert parsed[Step.INDEX].infer


def test_default_remedies_are_those_of_the_library():
    assert [Places().command(step) for step in Step] == [step.value for step in Step]


def run_python(program, *args, **options):
    return subprocess.run(
        [sys.executable, *args, "-c", program], cwd=PROJECT, capture_output=True, text=True, **options
    )


def test_missing_module_is_no_traceback():
    """Outside the environment; -S leaves its packages out."""
    done = subprocess.run([sys.executable, "-S", "train.py"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Python has no module 'numpy'; enter the environment: . .venv/bin/activate")


SAY = "from recommender.cli.process import start; start(); print('La Vita \\xe8 bella', flush=True)"


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_letters_that_a_terminal_lacks_are_escaped(environment):
    done = run_python(SAY, env={**os.environ, **environment})
    assert (done.returncode, done.stdout) == (0, "La Vita \\xe8 bella\n"), done.stderr


def test_closed_streams_are_no_files():
    """Without a place for standard output the next file to be opened would be it."""
    program = SAY + "; file = open('/dev/null'); assert file.fileno() > 2"
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} <&- >&- 2>&-"], cwd=PROJECT
    )
    assert done.returncode == 0
