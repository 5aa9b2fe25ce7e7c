import shutil

import numpy as np
import pytest

from recommender.data.movielens import Movie
from recommender.index.build import Catalogue, build_index
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus, MilvusError, without_password

CATALOGUE = Catalogue(
    [Movie(row, f"Film {row} (1990)", ("Drama",)) for row in range(1, 31)],
    np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32),
    [100] * 30,
    "f1",
)


def build(uri):
    with Milvus(str(uri), create=True) as milvus:
        build_index(milvus, CATALOGUE)
        return MovieIndex(milvus, "f1", 16).count


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in ("~/Füße und Köpfe/movies.db", tmp_path / "new" / "folder" / "me@home.db"):
        assert build(uri) == 30
    (tmp_path / "file.db").write_text("x")
    for uri, message in (("movies", "ends in .db"), (str(tmp_path / "file.db"), "this is a file")):
        with pytest.raises(MilvusError, match=message):
            Milvus(uri, create=True)
    with pytest.raises(MilvusError, match=r"typo/movies.db: there are no movies here yet; run: python infer_milvus.py"):
        Milvus(str(tmp_path / "typo" / "movies.db"))
    assert not (tmp_path / "typo").exists()


def test_no_server():
    with pytest.raises(MilvusError, match=r"http://127.0.0.1:1: cannot connect: nothing answers there; .* --wait SEC"):
        Milvus("http://127.0.0.1:1")
    with pytest.raises(MilvusError, match=r"nothing answers there; start it: docker compose up -d \(tried for 1 s\)$"):
        Milvus("http://127.0.0.1:1", wait=0.6)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://root:secret@localhost:19530", "http://localhost:19530"),
        ("http://root:se/cr@et@localhost/db", "http://localhost/db"),
        ("abc://root:secret@x", "abc://x"),
        ("root:secret@127.0.0.1:19530", "127.0.0.1:19530"),
        ("http://localhost:19530/db", "http://localhost:19530/db"),
        ("me@home/movies.db", "me@home/movies.db"),
        ("movies.db", "movies.db"),
    ],
)
def test_addresses_are_shown_without_passwords(uri, shown):
    assert without_password(uri) == shown


PASSWORDS = [
    "http://root:se/cret@host",
    "abc://root:secret@x",
    "root:secret@127.0.0.1:19530",
    "https://root:secret@[::1",
]


@pytest.mark.parametrize("uri", PASSWORDS)
def test_no_message_holds_a_password(uri):
    with pytest.raises(MilvusError) as caught:
        Milvus(uri, token="root:secret")
    assert "cret" not in str(caught.value)


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    uri = tmp_path_factory.mktemp("whole") / "movies.db"
    build(uri)
    return uri


@pytest.mark.parametrize(("pattern", "change"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_milvus_lite_is_noticed_and_can_be_made_anew(whole, tmp_path, pattern, change):
    """An error that names the way out, never a wrong answer; and that way leads out."""
    uri = shutil.copytree(whole, tmp_path / "movies.db")
    damage(uri, pattern, change)
    with pytest.raises(MilvusError) as caught, Milvus(str(uri)) as milvus:
        MovieIndex(milvus, "f1", 16)
    assert str(caught.value).endswith("; run: python infer_milvus.py -i")
    if "delete that folder" in str(caught.value):
        shutil.rmtree(uri)
    assert build(uri) == 30
