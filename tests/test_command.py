import argparse

import pytest

from recommender import RecommenderError
from recommender.command import number, run


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


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (None, 0, ""),
        (RecommenderError("a remedy"), 1, "error: a remedy\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: [Errno 2] No such file: 'x'\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; what was there before still is\n"),
    ],
)
def test_exit_codes(failure, code, message, capsys):
    def work():
        if failure:
            raise failure

    assert run(work) == code
    assert capsys.readouterr().err == message


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)
