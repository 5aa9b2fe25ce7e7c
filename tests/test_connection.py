"""Connecting to Milvus Lite and to servers: addresses, passwords, two processes, damaged folders."""

import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from recommender.errors import Step
from recommender.milvus.build import build_collection
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import ADDRESS_RULE, SERVER_REMEDY, MilvusConnection, MilvusError
from recommender.movielens.catalogue import Movie

MOVIES = [Movie(row, f"Film {row} (1990)", ("Drama",)) for row in range(1, 31)]


def build(uri):
    with MilvusConnection(str(uri), create=True) as connection:
        vectors = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
        build_collection(connection, MOVIES, vectors, [100] * 30, "f1")
        return MovieCollection(connection, "f1").num_movies


@pytest.fixture(scope="module")
def lite_folder(tmp_path_factory):
    """A Milvus Lite folder with a collection; tests that change it take a copy."""
    uri = tmp_path_factory.mktemp("lite") / "movies.db"
    build(uri)
    return uri


def connection_error(uri, *args, **options):
    with pytest.raises(MilvusError) as caught:
        MilvusConnection(str(uri), *args, **options)
    return str(caught.value)


def test_paths(tmp_path):
    assert build(tmp_path / "new" / "Füße und Köpfe" / "me@home.db") == 30
    (tmp_path / "file.db").write_text("x")
    below_file = tmp_path / "file.db" / "x" / "movies.db"
    for path in ("movies", tmp_path / "file.db"):
        assert connection_error(path, create=True) == ADDRESS_RULE
    assert "Not a directory" in connection_error(below_file, create=True)
    assert not connection_error(below_file, create=True).endswith("-i"), "which would fail again"
    missing = tmp_path / "typo" / "movies.db"
    assert connection_error(missing) == f"{missing}: there are no movies here yet; run: python infer_milvus.py -i"
    assert not missing.parent.exists()


def test_no_server():
    """It fails at once, unless it is to wait."""
    nothing = f"http://127.0.0.1:1: cannot connect: {SERVER_REMEDY}"
    for options, seconds in (({}, 0), ({"wait": 0.3}, 0.3)):
        started = time.monotonic()
        assert connection_error("http://127.0.0.1:1", **options) == f"{nothing}, or wait longer: --wait SECONDS"
        assert seconds <= time.monotonic() - started < seconds + 3


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://127.0.0.1:99999", "Port out of range 0-65535"),
        ("http://127.0.0.1:x", "Port could not be cast to integer value as 'x'"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://no.such.host", "no server answers there"),
        ("ftp://127.0.0.1:1", "needs start with"),
    ],
)
def test_impossible_addresses(address, problem):
    """The message says what is wrong; no remedy repeats the address."""
    error = connection_error(address)
    assert error.startswith(f"{address}: cannot connect: ")
    assert problem in error
    assert "run: " not in error


PASSWORDS = [f"Zx9q{char}Vw7k" for char in "/#?[]@:% "] + ["Zx9q/#?[]@:% Vw7k"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["http://", "https://", "abc://", " http://", ""])
def test_no_message_holds_a_password(capfd, password, scheme):
    """Neither that of a token nor one in the address, which is refused."""
    for address in ("127.0.0.1:1", "127.0.0.1:1/db", "[::1", "localhost:99999"):
        for login, token in ((f"root:{password}@", ""), ("", f"root:{password}"), (f"root:{password}@", password)):
            output = connection_error(f"{scheme}{login}{address}", token) + "".join(capfd.readouterr())
            assert (ADDRESS_RULE if login or not scheme else address) in output
            assert "Zx9q" not in output
            assert "Vw7k" not in output


HOLD = """
import sys
from recommender.milvus.connection import MilvusConnection
connection = MilvusConnection(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def hold(folder):
    """Starts another process that opens a Lite folder, and closes it when its standard input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", HOLD, folder], env=ENVIRONMENT, **pipes)


def test_two_processes_on_lite(lite_folder):
    """The second one waits for the first; if it may not, its error says who has the folder open."""
    with hold(lite_folder) as holder:
        assert holder.stdout.readline() == "open\n"
        who = f"process {holder.pid} has it open; close that program, or wait longer: --wait SECONDS"
        assert connection_error(lite_folder, wait=0) == f"{lite_folder}: cannot connect: {who}"
        threading.Timer(0.5, holder.stdin.close).start()
        with MilvusConnection(str(lite_folder)) as connection:
            assert MovieCollection(connection, "f1").num_movies == 30


def test_closing_lets_other_processes_open_the_folder(lite_folder):
    """Once the last of several connections is closed."""
    with MilvusConnection(str(lite_folder)) as connection:
        MilvusConnection(str(lite_folder)).close()
        assert MovieCollection(connection, "f1").num_movies == 30
    with hold(lite_folder) as holder:
        assert holder.communicate("")[0] == "open\n"


DAMAGE = {
    "rows overwritten": ("*.parquet", lambda path: path.write_bytes(b"x")),
    "rows lost": ("*.parquet", lambda path: path.unlink()),
    "schema lost": ("schema.json", lambda path: path.unlink()),
    "manifests overwritten": ("manifest.json*", lambda path: path.write_text("x")),
    "aliases lost": ("aliases.json", lambda path: path.unlink()),
    "everything overwritten": ("*", lambda path: path.write_text("x")),
}


@pytest.mark.parametrize(("pattern", "change"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_folder_is_noticed_and_can_be_built_again(lite_folder, tmp_path, pattern, change):
    """The error names a remedy, which works."""
    uri = shutil.copytree(lite_folder, tmp_path / "movies.db")
    for file in [path for path in uri.rglob(pattern) if path.is_file() and path.name != "LOCK"]:
        change(file)
    with pytest.raises(MilvusError) as caught, MilvusConnection(str(uri)) as connection:
        MovieCollection(connection, "f1")
    assert caught.value.fix_step is Step.INDEX
    assert "docker" not in str(caught.value)
    if "delete that folder" in str(caught.value):
        shutil.rmtree(uri)
    assert build(uri) == 30


LOG = """
import logging, sys
from recommender.milvus.connection import MilvusConnection, MilvusError
logging.getLogger("recommender").warning("shown")
try:
    MilvusConnection(sys.argv[1])
except MilvusError as error:
    print(error)
"""


def test_only_the_logs_of_milvus_are_silenced(lite_folder, tmp_path):
    """Python shows warnings on standard error unless there is a handler; Milvus Lite logs what it raises."""
    uri = shutil.copytree(lite_folder, tmp_path / "movies.db")
    for manifest in uri.rglob("manifest.json*"):
        manifest.write_text("x")
    command = [sys.executable, "-c", LOG, uri]
    process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "failed to load" in process.stdout
    assert process.stderr == "shown\n"
