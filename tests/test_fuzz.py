"""Whatever is in a file or on the command line: a right result, one clear error or exit code 2; never a traceback."""

import contextlib
import hashlib
import io
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, use_all
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.server_manager import server_manager_instance as lite_servers

import get_movies_data
import infer_milvus
import train
from recommender.cli.arguments import MODEL_FOLDER
from recommender.data.features import MOVIE_SIZE, read_movies_data
from recommender.data.movielens import DataError, format_movies, parse_movies, parse_ratings, parse_users, split_title
from recommender.data.ratings_csv import parse_user_ids
from recommender.errors import RecommenderError
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus, MilvusError
from recommender.inference.model_folder import ModelError, load_model
from recommender.inference.titles import Title, TitleIndex, title_key

pytestmark = pytest.mark.fuzz

FILES = {name: (SAMPLE / f"{name}.dat").read_bytes().splitlines()[:4] for name in ("users", "movies", "ratings")}
USERS, MOVIES = (
    parse(b"\n".join(FILES[name]), name) for parse, name in ((parse_users, "users"), (parse_movies, "movies"))
)
SPLINTERS = [b"", b":", b"::", b"|", b"\n", b"\r", b",", b"0", b"9" * 30, b"-1", b"(", b'"', b"\xff"]


@st.composite
def damaged(draw, lines):
    """Some lines, of which a few bytes are replaced, dropped or inserted; or any bytes."""
    content = bytearray(b"\n".join(draw(st.lists(st.sampled_from(lines), max_size=6))))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        content[start : start + length] = draw(st.sampled_from(SPLINTERS) | st.binary(max_size=4))
    return bytes(content) if draw(st.integers(0, 9)) else draw(st.binary(max_size=60))


def num_lines(raw):
    return len(raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n"))


@given(damaged(FILES["users"]))
def test_users(raw):
    """Each line is a user, or there is an error that says which is not."""
    try:
        users = parse_users(raw, "users.dat")
    except DataError as error:
        assert str(error).startswith("users.dat")
    else:
        assert len({user.user_id for user in users}) == num_lines(raw)


@given(damaged(FILES["movies"]))
def test_movies(raw):
    """Each line is a movie that can be written and read again."""
    try:
        movies = parse_movies(raw, "movies.dat")
    except DataError as error:
        assert str(error).startswith("movies.dat")
    else:
        assert len({movie.movie_id for movie in movies}) == num_lines(raw)
        assert parse_movies(format_movies(movies).encode(), "again") == movies


@given(damaged(FILES["ratings"]))
def test_ratings(raw):
    """Each line is the rating that it says."""
    try:
        ratings = parse_ratings(raw, "ratings.dat", USERS, MOVIES)
    except DataError as error:
        assert str(error).startswith("ratings.dat")
    else:
        lines = raw.removeprefix(b"\xef\xbb\xbf").split()
        assert ratings.to_numpy().tolist() == [list(map(int, line.split(b"::")[:3])) for line in lines]


@given(damaged([b"1", b"2", b"300", b" 7 ", b""]))
def test_user_ids(raw):
    try:
        user_ids = parse_user_ids(raw, "ids.txt")
    except DataError as error:
        assert str(error).startswith("ids.txt")
    else:
        assert user_ids == list(dict.fromkeys(map(int, raw.removeprefix(b"\xef\xbb\xbf").split())))


@given(st.text(max_size=60))
def test_titles(title):
    """No text breaks a filter or a search, and a title finds itself unless it has no letters."""
    name, year = split_title(title)
    assert name in title
    assert year is None or 0 <= year <= 9999
    assert title_key(title).isalnum() or title_key(title) == ""
    found = TitleIndex([Title(1, title, 1), Title(2, "Metropolis (1927)", 1)]).find(title)
    assert not title_key(title) or 1 in [one.movie_id for one in found.titles]


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
    saved = load_model(trained / MODEL_FOLDER).folder.name
    manifest, vocabularies = (
        json.loads((trained / MODEL_FOLDER / name).read_text("utf-8"))
        for name in ("manifest.json", f"{saved}/vocabularies.json")
    )
    for document in (manifest, vocabularies):
        for _ in range(data.draw(st.integers(0, 2))):
            document[data.draw(st.sampled_from([*document, "other"]))] = data.draw(json_values)
    text = json.dumps(vocabularies)
    (model_folder / saved / "vocabularies.json").write_text(text, "utf-8")
    if isinstance(manifest.get("files"), dict):
        manifest["files"]["vocabularies.json"] = hashlib.sha256(text.encode()).hexdigest()
        hashed = json.dumps(manifest["files"], sort_keys=True).encode()
        manifest["fingerprint"] = hashlib.sha256(hashed).hexdigest()[:16]
    (model_folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with contextlib.suppress(ModelError):
        assert load_model(model_folder).folder == model_folder / saved


VALUES = """0 1 -1 7 42 301 1e9 nan ٣ all M 25-34 programmer 1990-1999 -1960 1990- Comedy War% Metropolis_(1927) id:1
 ' " \\ % 😀 - json csv table . /dev/null none http://[ http://127.0.0.1:1 a.db http://a:b@127.0.0.1:1 --""".split()
VALUES += ["", " ", "' or 1 == 1", "x" * 300, "\ud800"]
SCRIPTS = {
    infer_milvus: "-a -g -j --like --seen --ratings --user --users -k --by --why --movie --genre --year --min-ratings "
    "--include-seen --format --output -i --model --movies-data --uri --token --tls-ca --wait",
    train: "--data-dir --output --movies-origin --epochs --batch-size --learning-rate --seed --device --use_gpu",
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
    "-a": ("0", "6", "25-34", "30"),
    "-g": ("F", "male"),
    "-j": ("10", "writer"),
    "--user": ("42", "300", "301"),
    "--movie": ("1", "783", "9999"),
    "--like": ("id:1", "metropolis", "The Shining (1980)", "psycho"),
    "--seen": ("id:783", "star wars"),
    "--ratings": (str(SAMPLE / "my_ratings.csv"), str(SAMPLE / "movies.dat")),
    "--by": ("stars", "picks", "both"),
    "--genre": ("war", "Sci-Fi", "Comedy"),
    "--year": ("1994", "1990-", "-1960"),
    "-k": ("1", "200"),
    "--min-ratings": ("0", "100000"),
    "--format": ("json", "csv"),
}


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A copy, as this process keeps its Milvus Lite open."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("query") / "copy"))


@given(data=st.data())
def test_query(data, folder):
    """Options that go together or do not, on a real index: exit code 0 and an answer, 1 with one line, or 2."""
    argv = []
    for option in data.draw(st.lists(st.sampled_from(list(QUERY)), max_size=4)):
        odd = data.draw(st.integers(0, 5)) == 0
        value = st.sampled_from(VALUES) | st.text(max_size=8) if odd else st.sampled_from(QUERY[option])
        argv += [option, data.draw(value)]
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(io.StringIO()) as errors,
        contextlib.redirect_stdout(io.StringIO()) as answer,
    ):
        code = exit_code(infer_milvus.main, argv)
    assert code in (0, 1, 2), shlex.join(argv)
    assert errors.getvalue().count("error: ") == (code != 0), shlex.join(argv)
    assert bool(answer.getvalue()) == (code == 0) or "rows in collection" in answer.getvalue(), shlex.join(argv)


def flip(path, random):
    """Changes one bit of a file."""
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def pick(folder, random):
    """Chooses a file, a large one as likely as a small one."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return files[random.integers(len(files))]


FLIPS = pytest.mark.parametrize("times", [20, pytest.param(350, marks=pytest.mark.server)])


@FLIPS
def test_flipped_bits_of_the_model_folder(trained, tmp_path, times):
    """Noticed, or of no consequence for any answer."""
    expected = load_model(trained / MODEL_FOLDER)
    random = np.random.default_rng(times)
    refused = 0
    for number in range(times):
        folder = shutil.copytree(trained / MODEL_FOLDER, tmp_path / str(number))
        flip(pick(folder, random), random)
        try:
            model = load_model(folder)
            use_all(model)
        except ModelError as error:
            refused += 1
            assert str(error).endswith("; run: python train.py")
        else:
            assert model.fingerprint == expected.fingerprint
            assert (model.arrays.user_vectors == expected.arrays.user_vectors).all()
        shutil.rmtree(folder)
    assert refused > times / 2


@FLIPS
def test_flipped_bits_of_milvus_lite(trained, tmp_path, times):
    model = load_model(trained / MODEL_FOLDER)
    queries = np.random.default_rng(0).normal(size=(10, MOVIE_SIZE)).astype(np.float32)

    def ask(uri):
        with Milvus(str(uri)) as milvus:
            index = MovieIndex(milvus, model.fingerprint)
            where = index.where(["Comedy"], (1980, None), 30)
            return index.genres(), sorted(index.titles()), index.search(queries, 10), index.search(queries, 3, where)

    expected = ask(shutil.copytree(trained / "recommender_demo.db", tmp_path / "whole.db"))
    random = np.random.default_rng(times)
    refused = 0
    for number in range(times):
        uri = shutil.copytree(trained / "recommender_demo.db", tmp_path / f"{number}.db")
        flip(pick(uri, random), random)
        try:
            assert ask(uri) == expected
        except MilvusError as error:
            refused += 1
            assert "run: python infer_milvus.py -i" in str(error)
        lite_servers.release_server(str(uri))
        shutil.rmtree(uri)
    assert refused


@FLIPS
def test_flipped_bits_of_movies_data(trained, tmp_path, times):
    vocabularies = load_model(trained / MODEL_FOLDER).vocabularies
    path = tmp_path / "movies_data.txt"
    random = np.random.default_rng(times)
    for _ in range(times):
        shutil.copy(trained / "movies_data.txt", path)
        flip(path, random)
        with pytest.raises(RecommenderError, match="run: python get_movies_data"):
            read_movies_data(path, vocabularies)
