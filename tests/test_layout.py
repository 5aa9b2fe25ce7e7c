"""The shape of the project: sizes, names, and what a query loads. Layers are checked by import-linter."""

import ast
import os
import subprocess
import sys
from collections import Counter

import pytest
from commands import PROJECT, SAMPLE

MODULES = sorted((PROJECT / "recommender").rglob("*.py"))
SCRIPTS = sorted(PROJECT.glob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES, MAX_README_LINES = 300, 60, 110


def test_no_two_files_of_one_name():
    places = [*MODULES, *SCRIPTS, *(PROJECT / "benchmarks").glob("*.py"), *(PROJECT / "tests").glob("*.py")]
    names = Counter(path.name for path in places if path.name != "__init__.py")
    assert [name for name, number in names.items() if number > 1] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_sizes(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # What a function says of itself to its caller is not part of its length.
            start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.body[0].lineno
            assert node.end_lineno - start < MAX_FUNCTION_LINES, f"{node.name}: {node.end_lineno - start + 1} lines"


def test_scripts_are_a_few_lines():
    assert [path.name for path in SCRIPTS] == ["get_movies_data.py", "infer_milvus.py", "train.py"]
    assert all(len(path.read_text("utf-8").splitlines()) < 20 for path in SCRIPTS)


def test_readme_is_short():
    assert len((PROJECT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES


def test_nothing_names_the_place_where_it_was_written():
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True).stdout.split()
    texts = [PROJECT / name for name in tracked if name.endswith((".py", ".md", ".toml", ".yml", "Makefile"))]
    words = ["/" + "work/", "/" + "root/"]
    assert texts
    assert [path for path in texts if path.exists() for word in words if word in path.read_text("utf-8")] == []


QUERY = """
import contextlib, sys
from recommender.cli import run
for options in (["--help"], sys.argv[1:]):
    with contextlib.suppress(SystemExit):
        assert run("recommend", options) == 0
    heavy = {name.partition(".")[0] for name in sys.modules} & {"paddle", "scipy", "matplotlib", "pooch"}
    assert not heavy, heavy
"""


def test_a_query_loads_nothing_of_training(trained):
    """Though all of it is installed here, and pymilvus would load scipy where it is."""
    options = ["--ratings", str(SAMPLE / "my_ratings.csv"), "--why", "--variety", "0.5"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", QUERY, *options]
    done = subprocess.run(command, cwd=trained, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
