"""Whatever is in a file or on the command line: a result, one clear error or exit code 2, and never a traceback."""

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st

import get_movies_data
import infer_milvus
import train
from recommender import RecommenderError
from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.features import read_movies_data
from recommender.movie_index import title_key
from recommender.movielens import parse_movies, parse_ratings, parse_users, split_title

pytestmark = pytest.mark.fuzz

FILES = {name: (SAMPLE / f"{name}.dat").read_bytes().splitlines()[:4] for name in ("users", "movies", "ratings")}
USERS, MOVIES = (
    parse(b"\n".join(FILES[name]), name) for parse, name in ((parse_users, "users"), (parse_movies, "movies"))
)


@st.composite
def damaged(draw, lines):
    """Some lines, of which a few bytes are replaced, dropped or inserted; or any bytes."""
    content = bytearray(b"\n".join(draw(st.lists(st.sampled_from(lines), max_size=6))))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        new = draw(
            st.sampled_from([b"", b":", b"::", b"|", b"\n", b"\r", b",", b"0", b"9" * 30, b"-1", b"(", b'"', b"\xff"])
        )
        content[start : start + length] = draw(st.one_of(st.just(new), st.binary(max_size=4)))
    return draw(st.sampled_from([bytes(content), draw(st.binary(max_size=60))])) if content else b""


def tolerated(action, *args):
    with contextlib.suppress(RecommenderError):
        action(*args)


@given(damaged(FILES["users"]))
def test_users(raw):
    tolerated(parse_users, raw, "users.dat")


@given(damaged(FILES["movies"]))
def test_movies(raw):
    tolerated(parse_movies, raw, "movies.dat")


@given(damaged(FILES["ratings"]))
def test_ratings(raw):
    tolerated(parse_ratings, raw, "ratings.dat", USERS, MOVIES)


@given(data=st.data())
def test_movies_data(data, trained, tmp_path_factory):
    vocabularies = load_model(trained / MODEL_FOLDER).vocabularies
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(data.draw(damaged((trained / "movies_data.txt").read_bytes().splitlines()[:4])))
    tolerated(read_movies_data, path, vocabularies)


@given(damaged([b"1", b"2", b"300", b" 7 "]))
def test_user_ids(raw):
    path = Path("/dev/shm" if os.path.isdir("/dev/shm") else ".") / f"ids-{os.getpid()}.txt"
    path.write_bytes(raw)
    try:
        tolerated(infer_milvus.read_user_ids, path, {1, 2, 7, 300})
    finally:
        path.unlink()


@given(st.text(max_size=60))
def test_titles(title):
    name, year = split_title(title)
    assert all(char.isalnum() or char == " " for char in title_key(name)), "Milvus would read it as part of a filter"
    assert year is None or 0 <= year <= 9999


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def model_folder(trained, tmp_path_factory):
    return Path(shutil.copytree(trained / MODEL_FOLDER, tmp_path_factory.mktemp("fuzz") / "model"))


@given(data=st.data())
def test_manifest_and_vocabularies(data, model_folder, trained):
    """Any JSON in their fields, and checksums that agree with it, as a careful forger would write them."""
    manifest, vocabularies = (
        json.loads((trained / MODEL_FOLDER / name).read_text("utf-8"))
        for name in ("manifest.json", "vocabularies.json")
    )
    for document in (manifest, vocabularies):
        for _ in range(data.draw(st.integers(0, 2))):
            document[data.draw(st.sampled_from([*document, "other"]))] = data.draw(json_values)
    text = json.dumps(vocabularies)
    (model_folder / "vocabularies.json").write_text(text, "utf-8")
    if isinstance(manifest.get("files"), dict):
        manifest["files"]["vocabularies.json"] = hashlib.sha256(text.encode()).hexdigest()
        hashed = json.dumps(manifest["files"], sort_keys=True).encode()
        manifest["fingerprint"] = hashlib.sha256(hashed).hexdigest()[:16]
    (model_folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    tolerated(load_model, model_folder)


VALUES = [
    *(
        "0",
        "1",
        "-1",
        "7",
        "42",
        "301",
        "1e9",
        "nan",
        "٣",
        "",
        " ",
        "all",
        "M",
        "25-34",
        "programmer",
        "1990-1999",
        "-1960",
    ),
    *(
        "1990-",
        "Comedy",
        "War%",
        "Metropolis (1927)",
        "' or 1 == 1",
        '"',
        "\\",
        "%",
        "😀",
        "x" * 300,
        "-",
        "json",
        "csv",
    ),
    *(
        "table",
        ".",
        "/dev/null",
        "none",
        "http://[",
        "http://127.0.0.1:1",
        "a.db",
        "http://a:b@127.0.0.1:1",
        "--",
        "\ud800",
    ),
]
SCRIPTS = {
    infer_milvus: "-a -g -j --user --users -k --movie --like --genre --year --min-ratings --include-seen --format "
    "--output -i --model --movies-data --uri --token --tls-ca --wait",
    train: "--data-dir --output --epochs --batch-size --learning-rate --seed --device --use_gpu",
    get_movies_data: "-f --model --output",
}


def exit_code(action, argv):
    """What the action returns or exits with; None for parsed arguments."""
    try:
        returned = action(argv)
    except SystemExit as stopped:
        return stopped.code
    return returned if isinstance(returned, int) else None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@given(data=st.data())
def test_command_line(script, data):
    words = st.sampled_from([*SCRIPTS[script].split(), *VALUES]) | st.text(max_size=8)
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = exit_code(script.parse_args, data.draw(st.lists(words, max_size=8)))
    assert code in (None, 0, 2), errors.getvalue()


QUERY = {
    "-a": ("0", "6", "25-34"),
    "-g": ("F", "male"),
    "-j": ("10", "writer"),
    "--user": ("42", "300", "301"),
    "--movie": ("1", "210", "9999"),
    "--like": ("33", "metropolis", "The Shining (1980)", "hamlet"),
    "--genre": ("war", "Sci-Fi", "Comedy"),
    "--year": ("1994", "1990-", "-1960"),
    "-k": ("1", "200"),
    "--min-ratings": ("0", "100000"),
    "--format": ("json", "csv"),
}


@given(data=st.data())
def test_query(data, trained):
    """Options that go together or do not, on a real index: exit code 0, 1 with one line, or 2."""
    argv = []
    for option in data.draw(st.lists(st.sampled_from(list(QUERY)), max_size=4)):
        odd = data.draw(st.integers(0, 5)) == 0
        argv += [
            option,
            data.draw(st.sampled_from(VALUES[:-10]) | st.text(max_size=8) if odd else st.sampled_from(QUERY[option])),
        ]
    with (
        contextlib.chdir(trained),
        contextlib.redirect_stderr(io.StringIO()) as errors,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = exit_code(infer_milvus.main, argv)
    assert code in (0, 1, 2), shlex.join(argv)
    assert errors.getvalue().count("error: ") == (code != 0), shlex.join(argv)
