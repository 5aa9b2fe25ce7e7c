"""Connecting to Milvus Lite and to servers: addresses, passwords, damaged folders, errors of the system."""

import os
import resource
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import fail

from recommender.movielens.catalogue import Movie
from recommender.errors import Step
from recommender.milvus.build import Catalogue, build_collection
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import (
    MilvusConnection,
    MilvusError,
    MilvusException,
    MilvusUnavailable,
    without_password,
)

CATALOGUE = Catalogue(
    [Movie(row, f"Film {row} (1990)", ("Drama",)) for row in range(1, 31)],
    np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32),
    [100] * 30,
    "f1",
)


def build(uri):
    with MilvusConnection(str(uri), create=True) as connection:
        build_collection(connection, CATALOGUE)
        return MovieCollection(connection, "f1", 16).num_movies


@pytest.fixture(scope="module")
def lite_folder(tmp_path_factory):
    """A Milvus Lite folder with a collection; tests that change it take a copy."""
    uri = tmp_path_factory.mktemp("lite") / "movies.db"
    build(uri)
    return uri


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in ("~/Füße und Köpfe/movies.db", tmp_path / "new" / "folder" / "me@home.db"):
        assert build(uri) == 30
        assert MilvusConnection(str(uri)).lite_folder.is_relative_to(tmp_path)


def test_impossible_paths(tmp_path):
    (tmp_path / "file.db").write_text("x")
    for uri, message in (
        ("movies", r"'movies': a Milvus Lite path ends in .db, a server's address begins with http"),
        (str(tmp_path / "file.db"), "this is a file, Milvus Lite needs a folder of its own"),
        (str(tmp_path / "file.db" / "x" / "movies.db"), "cannot create its folder: Not a directory"),
    ):
        with pytest.raises(MilvusError, match=message):
            MilvusConnection(uri, create=True)
    with pytest.raises(MilvusError, match=r"typo/movies.db: there are no movies here yet; run: python infer_milvus.py"):
        MilvusConnection(str(tmp_path / "typo" / "movies.db"))
    assert not (tmp_path / "typo").exists()


def test_no_server():
    nothing = r"http://127.0.0.1:1: cannot connect: nothing answers there; start it: docker compose up -d"
    with pytest.raises(MilvusUnavailable, match=rf"^{nothing}, or wait for it: --wait SECONDS$"):
        MilvusConnection("http://127.0.0.1:1")
    with pytest.raises(MilvusUnavailable, match=rf"^{nothing} \(tried for 1 s\)$"):
        MilvusConnection("http://127.0.0.1:1", wait=0.6)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://root:secret@localhost:19530", "http://localhost:19530"),
        ("http://root:se/cr@et@localhost/db", "http://localhost/db"),
        ("http://root:se#c?r[e]t@localhost", "http://localhost"),
        ("abc://root:secret@x", "abc://x"),
        ("root:secret@127.0.0.1:19530", "127.0.0.1:19530"),
        (" http://root:secret@localhost", "localhost"),
        ("http://key@localhost", "http://localhost"),
        ("http://localhost:19530/db", "http://localhost:19530/db"),
        ("me@home/movies.db", "me@home/movies.db"),
        ("movies.db", "movies.db"),
    ],
)
def test_addresses_are_shown_without_passwords(uri, shown):
    assert without_password(uri) == shown


SPECIAL = "/#?[]@:% "
PASSWORDS = [f"Zx9q{char}Vw7k" for char in SPECIAL] + [f"{char}Zx9qVw" for char in SPECIAL] + ["Zx9q/#?[]@:% Vw7k"]


def assert_hidden(password, text):
    """Fails where any four characters of a password are in a text."""
    parts = [password[start : start + 4] for start in range(len(password) - 3)]
    assert not [part for part in parts if part in text], text


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["http://", "https://", "abc://", " http://", ""])
def test_no_message_holds_a_password(password, scheme):
    for address in ("127.0.0.1:1", "127.0.0.1:1/db", "[::1", "localhost:99999"):
        for login, token in ((f"root:{password}@", ""), ("", f"root:{password}"), (f"root:{password}@", password)):
            with pytest.raises(MilvusError) as caught:
                MilvusConnection(f"{scheme}{login}{address}", token)
            assert_hidden(password, str(caught.value))
            assert address in str(caught.value)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1"])
def test_no_output_holds_a_password(trained, capfd, password, address):
    """From the address, the token or the environment; of the script, and of libraries behind its back."""
    uri, login = f"http://{address}", f"http://root:{password}@{address}"
    for options, environment in (
        (("--uri", login), {}),
        (("--uri", uri, "--token", f"root:{password}"), {}),
        ((), {"RECOMMENDER_MILVUS_URI": login}),
        ((), {"RECOMMENDER_MILVUS_URI": uri, "RECOMMENDER_MILVUS_TOKEN": f"root:{password}"}),
        (("-i",), {"RECOMMENDER_MILVUS_URI": login}),
    ):
        error = fail("infer_milvus.py", *options, cwd=trained, **environment)
        assert f"{uri}: " in error
        assert_hidden(password, error)
    assert_hidden(password, "".join(capfd.readouterr()))


def test_password_is_hidden_where_milvus_repeats_it(tmp_path):
    """As a last resort; no answer of Milvus 2.3.5 does."""
    connection = MilvusConnection(str(tmp_path / "movies.db"), "root:secret:word", create=True)
    error = MilvusException(1, "login root:secret:word, or secret:word, failed")
    with pytest.raises(MilvusError, match=r"cannot read: login \*\*\*, or \*\*\*, failed; "):
        fail_with(connection, error)


def fail_with(connection, error):
    """Translates an error as Milvus raises it."""
    with connection.translate_errors("cannot read", (MilvusException, OSError)):
        raise error


SYSTEM_ERRORS = {
    "No space left on device": MilvusException(1, "[Errno 28] No space left on device: '/x/movies.db/wal'"),
    "Read-only file system": MilvusException(1, "failed: Read-only file system"),
    "Permission denied": OSError(13, "Permission denied", "/x/movies.db"),
    "Too many open files": MilvusException(1, "[Errno 24] Too many open files"),
}


@pytest.mark.parametrize("reason", SYSTEM_ERRORS)
def test_errors_of_the_system_have_no_wrong_advice(lite_folder, reason):
    """Neither a new collection nor a deleted folder would help."""
    with MilvusConnection(str(lite_folder)) as connection, pytest.raises(MilvusError) as caught:
        fail_with(connection, SYSTEM_ERRORS[reason])
    assert str(caught.value) == f"{lite_folder}: cannot read: {reason}"
    assert caught.value.fix_step is None


def test_other_errors_advise_to_build_again(lite_folder):
    with MilvusConnection(str(lite_folder)) as connection, pytest.raises(MilvusError) as caught:
        fail_with(connection, MilvusException(1, f"odd\n  {'x' * 5000}"))
    assert caught.value.fix_step is Step.INDEX
    assert f"cannot read: odd {'x' * 100}" in str(caught.value)
    assert "if its files are damaged, delete that folder" in str(caught.value)
    assert len(str(caught.value)) < 1000


@contextmanager
def no_more_files():
    """Lets this process open no further file."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    opened = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_too_many_open_files(lite_folder):
    with no_more_files(), pytest.raises(MilvusError) as caught:
        MilvusConnection(str(lite_folder))
    assert str(caught.value) == f"{lite_folder}: cannot connect: Too many open files"


def damage(folder, pattern, change):
    files = [path for path in folder.rglob(pattern) if path.is_file() and "LOCK" not in path.name]
    assert files
    for file in files:
        change(file)


DAMAGE = {
    "index overwritten": ("*.idx", lambda path: path.write_bytes(b"\x41" * path.stat().st_size)),
    "index zeroed": (
        "*.idx",
        lambda path: path.write_bytes(path.read_bytes()[:128] + bytes(path.stat().st_size - 128)),
    ),
    "index lost": ("*.idx", lambda path: path.unlink()),
    "rows overwritten": ("*.parquet", lambda path: path.write_bytes(b"x")),
    "rows lost": ("*.parquet", lambda path: path.unlink()),
    "schema overwritten": ("schema.json", lambda path: path.write_text("x")),
    "schema lost": ("schema.json", lambda path: path.unlink()),
    "manifests overwritten": ("manifest.json*", lambda path: path.write_text("x")),
    "aliases overwritten": ("aliases.json", lambda path: path.write_text("x")),
    "aliases lost": ("aliases.json", lambda path: path.unlink()),
    "everything overwritten": ("*", lambda path: path.write_text("x")),
}


@pytest.mark.parametrize(("pattern", "change"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_folder_is_noticed_and_can_be_built_again(lite_folder, tmp_path, pattern, change):
    """The error names a remedy, never a wrong answer; and the remedy works."""
    uri = shutil.copytree(lite_folder, tmp_path / "movies.db")
    damage(uri, pattern, change)
    with pytest.raises(MilvusError) as caught, MilvusConnection(str(uri)) as connection:
        MovieCollection(connection, "f1", 16)
    assert str(caught.value).endswith("; run: python infer_milvus.py -i")
    if "delete that folder" in str(caught.value):
        shutil.rmtree(uri)
    assert build(uri) == 30
