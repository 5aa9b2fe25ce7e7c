"""Arbitrary files and command lines give a right result, one clear error, or exit code 2; never a traceback."""

import contextlib
import csv
import hashlib
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, load_everything
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.server_manager import server_manager_instance as lite_servers

import get_movies_data
import infer_milvus
import train
from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.encoding import INDEX_DIM, UNKNOWN, encode_movies
from recommender.errors import DataError
from recommender.movielens.catalogue import format_movies, parse_movies
from recommender.movielens.movies_data import read_movies_data
from recommender.movielens.ratings_table import DAT, parse_ratings
from recommender.movielens.releases import parse_users_dat
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection, MilvusError
from recommender.milvus.filters import MovieFilter
from recommender.store import ModelError, compute_fingerprint, load_model

pytestmark = pytest.mark.fuzz

FILES = {name: (SAMPLE / f"{name}.dat").read_bytes().splitlines()[:4] for name in ("users", "movies", "ratings")}
USERS, MOVIES = (
    parse(b"\n".join(FILES[name]), name) for parse, name in ((parse_users_dat, "users"), (parse_movies, "movies"))
)
FRAGMENTS = [b"", b":", b"::", b"|", b"\n", b"\r", b",", b"0", b"9" * 30, b"-1", b"(", b'"', b"\xff"]


@st.composite
def damaged_files(draw, lines):
    """Bytes: some lines with a few bytes replaced, deleted or inserted; or anything."""
    content = bytearray(b"\n".join(draw(st.lists(st.sampled_from(lines), max_size=6))))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 3))
        content[start : start + length] = draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=4))
    return bytes(content) if draw(st.integers(0, 9)) else draw(st.binary(max_size=60))


def num_lines(raw):
    return len(raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n"))


@given(damaged_files(FILES["users"]))
def test_users(raw):
    """Each line is a user, or an error names the file."""
    try:
        users = parse_users_dat(raw, "users.dat")
    except DataError as error:
        assert str(error).startswith("users.dat")
    else:
        assert len({user.user_id for user in users}) == num_lines(raw)


@given(damaged_files(FILES["movies"]))
def test_movies(raw):
    """Each line is a movie that can be written and read again, or an error names the file."""
    try:
        movies = parse_movies(raw, "movies.dat")
    except DataError as error:
        assert str(error).startswith("movies.dat")
    else:
        assert len({movie.movie_id for movie in movies}) == num_lines(raw)
        assert parse_movies(format_movies(movies).encode(), "again") == movies


@given(damaged_files(FILES["ratings"]))
def test_ratings(raw):
    """Each line is the rating that it states, or an error names the file."""
    try:
        user_ids, movie_ids = [user.user_id for user in USERS], [movie.movie_id for movie in MOVIES]
        ratings = parse_ratings(raw, "ratings.dat", DAT, user_ids, movie_ids)
    except DataError as error:
        assert str(error).startswith("ratings.dat")
    else:
        lines = raw.removeprefix(b"\xef\xbb\xbf").split()
        assert ratings.to_numpy().tolist() == [list(map(int, line.split(b"::")[:3])) for line in lines]


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
    """Any JSON in their fields, with matching checksums: the model is refused, or it encodes movies."""
    original = load_model(trained / MODEL_FOLDER)
    version = original.folder.name
    documents = {
        "manifest": json.loads((trained / MODEL_FOLDER / "manifest.json").read_text("utf-8")),
        "vocabularies": json.loads((original.folder / "vocabularies.json").read_text("utf-8")),
    }
    before = json.dumps(documents)
    for document in documents.values():
        for _ in range(data.draw(st.integers(0, 2))):
            document[data.draw(st.sampled_from([*document, "other"]))] = data.draw(json_values)
    is_changed = json.dumps(documents) != before
    manifest, text = documents["manifest"], json.dumps(documents["vocabularies"])
    (model_folder / version / "vocabularies.json").write_text(text, "utf-8")
    if isinstance(manifest.get("files"), dict):
        manifest["files"]["vocabularies.json"] = hashlib.sha256(text.encode()).hexdigest()
        manifest["fingerprint"] = compute_fingerprint(manifest["files"])
    (model_folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    try:
        model = load_model(model_folder)
        vocabularies = model.vocabularies
    except ModelError as error:
        assert "run: python train.py" in str(error)
        assert is_changed
        return
    assert model.folder == model_folder / version
    assert isinstance(model.notice, str)
    encoded = encode_movies(MOVIES, vocabularies)
    assert (encoded.movie_idx >= UNKNOWN).all()
    assert model.movie_idx(np.array([movie.movie_id for movie in MOVIES])).tolist() == encoded.movie_idx.tolist()


OPTIONS = {
    infer_milvus: "-a -g -j --like --seen --ratings --unmatched --user --users -k --by --why --movie --genre --year "
    "--min-ratings --include-seen --format --output -i --index --model --movies-data --uri --token --tls-ca --wait",
    train: "--data-dir --output --movies-origin --epochs --batch-size --learning-rate --seed --device --use_gpu",
    get_movies_data: "-f --model --output",
}
ODD_VALUES = """0 1 -1 7 42 301 1e9 nan ٣ all M 25-34 programmer 1990-1999 -1960 1990- Comedy War% Metropolis_(1927)
 id:1 ' " \\ % 😀 侍 - json csv table . /dev/null none ~ ~nobody/x http://[ http://127.0.0.1:1 a.db http://a:b@127.0.0.1:1
 --""".split()
ODD_VALUES += ["", " ", "' or 1 == 1", "x" * 300, "\udcff"]
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def exit_code(action, argv):
    """Returns the exit code of an action; None for parsed options."""
    try:
        returned = action(argv)
    except SystemExit as stopped:
        return stopped.code
    return returned if isinstance(returned, int) else None


@pytest.mark.parametrize("script", OPTIONS, ids=lambda script: script.__name__)
@given(data=st.data())
def test_command_line(script, data):
    words = st.sampled_from([*OPTIONS[script].split(), *ODD_VALUES]) | WORDS
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        code = exit_code(script.parse_args, data.draw(st.lists(words, max_size=8)))
    assert code in (None, 0, 2), errors.getvalue()
    assert errors.getvalue().count("error: ") == (code == 2)


VALID_VALUES = {
    "-a": ("0", "6", "25-34", "30"),
    "-g": ("F", "male"),
    "-j": ("10", "writer"),
    "--user": ("42", "300"),
    "--movie": ("1", "783", "id:1", "metropolis"),
    "--like": ("id:1", "metropolis", "The Shining (1980)", "psycho"),
    "--seen": ("id:783", "star wars"),
    "--ratings": (str(SAMPLE / "my_ratings.csv"),),
    "--by": ("stars", "picks", "both"),
    "--why": ("",),
    "--genre": ("war", "Sci-Fi", "Comedi"),
    "--year": ("1994", "1990-", "-1960"),
    "-k": ("1", "200"),
    "--min-ratings": ("0", "100000"),
    "--format": ("json", "csv"),
    "--include-seen": ("",),
}
FLAGS = ("--why", "--include-seen")
REPEATABLE = ("--like", "--seen", "--ratings", "--genre")
INVALID_VALUES = {
    "-a": {"teen": 2, "1000": 2},
    "-g": {"x": 2},
    "-j": {"21": 2},
    "--user": {"0": 2, "301": 1},
    "--movie": {"9999": 1, "no such film": 1},
    "--like": {"id:99999": 1, "no such film": 1, "1984": 1},
    "--seen": {"id:x": 1},
    "--ratings": {str(SAMPLE / "movies.dat"): 1, "none.csv": 1},
    "--by": {"title": 2},
    "--genre": {"no such genre": 1},
    "--year": {"94": 2, "2000-1990": 2},
    "-k": {"0": 2, "16385": 2},
    "--min-ratings": {"-1": 2},
    "--format": {"xml": 2},
}
CONFLICTS = [
    ("--user", "-a -g -j --ratings"),
    ("--movie", "--like --seen --genre --year --min-ratings -k --by --why --format --include-seen"),
]


def expected_code(drawn):
    """Returns the exit code of a query with these pairs of option and value."""
    last = dict(drawn)
    wrong = {INVALID_VALUES.get(option, {}).get(value) for option, value in drawn if option in REPEATABLE}
    wrong |= {INVALID_VALUES.get(option, {}).get(value) for option, value in last.items()}
    if 2 in {INVALID_VALUES.get(option, {}).get(value) for option, value in drawn}:
        return 2
    if any(first in last and any(other in last for other in others.split()) for first, others in CONFLICTS):
        return 2
    if "--include-seen" in last and "--user" not in last:
        return 2
    demographics = {"-a", "-g", "-j", "--user"} & last.keys()
    titles = {"--like", "--seen"} & last.keys()
    if "--why" in last and not (demographics or "--ratings" in last or (titles and last.get("--by") != "stars")):
        return 1
    return 1 if 1 in wrong else 0


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A copy, as this process keeps its Milvus Lite open."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("query") / "copy"))


def ask(folder, drawn):
    """Returns exit code, standard output and standard error of a query."""
    argv = [word for option, value in drawn for word in ([option] if option in FLAGS else [option, value])]
    with (
        contextlib.chdir(folder),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stderr(io.StringIO()) as errors,
        contextlib.redirect_stdout(io.StringIO()) as answer,
    ):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        code = exit_code(infer_milvus.main, argv)
    assert errors.getvalue().count("error: ") == (code != 0), shlex.join(argv)
    assert "Traceback" not in errors.getvalue()
    return code, answer.getvalue(), errors.getvalue()


def check_answer(drawn, answer, errors):
    """Checks that an answer has as many movies as were asked for, or states how many there are."""
    options = dict(drawn)
    k = int(options.get("-k", 5))
    if "--movie" in options:
        assert answer.count("predicted, ") == 2
        return
    if options.get("--format") == "json":
        num_rows = len(json.loads(answer))
    elif options.get("--format") == "csv":
        num_rows = len(list(csv.DictReader(answer.splitlines())))
    else:
        assert answer.startswith("rows in collection recommender_demo: ")
        num_rows = sum(bool(re.match(r"\d+\t| {0,2}\d+  ", line)) for line in answer.splitlines())
    assert num_rows == k or f"Only {num_rows} of {k}: " in errors


VALID_OPTIONS = st.sampled_from(list(VALID_VALUES)).flatmap(
    lambda option: st.tuples(st.just(option), st.sampled_from(VALID_VALUES[option]))
)
INVALID_OPTIONS = st.sampled_from(list(INVALID_VALUES)).flatmap(
    lambda option: st.tuples(st.just(option), st.sampled_from(list(INVALID_VALUES[option])))
)


def check_query(folder, drawn):
    """Checks that the exit code is the expected one, and the answer complete."""
    code, answer, errors = ask(folder, drawn)
    assert code == expected_code(drawn), f"{drawn}: {errors}"
    if code == 0:
        check_answer(drawn, answer, errors)
    else:
        assert not answer


@given(st.lists(VALID_OPTIONS, max_size=4))
def test_query(folder, drawn):
    """Valid options succeed on a real collection, unless they conflict."""
    check_query(folder, drawn)


@given(st.lists(VALID_OPTIONS, max_size=3), INVALID_OPTIONS, st.integers(0, 3))
def test_query_with_an_invalid_value(folder, drawn, invalid, position):
    """One invalid value fails with the expected code, unless a later value replaces it."""
    check_query(folder, [*drawn[:position], invalid, *drawn[position:]])


ODD_OPTIONS = st.tuples(
    st.sampled_from([option for option in VALID_VALUES if option not in FLAGS]), st.sampled_from(ODD_VALUES) | WORDS
)


@given(st.lists(VALID_OPTIONS, max_size=3), st.lists(ODD_OPTIONS, min_size=1, max_size=2))
def test_query_with_odd_values(folder, valid, odd):
    """Any value: an answer, one error, or exit code 2."""
    code, answer, _ = ask(folder, valid + odd)
    assert code in (0, 1, 2), valid + odd
    assert bool(answer) == (code == 0) or "rows in collection" in answer


def flip(path, random):
    """Changes one bit of a file."""
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def choose_file(folder, random):
    """Returns a file, a large one as likely as a small one."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return files[random.integers(len(files))]


FLIPS = pytest.mark.parametrize("times", [20, pytest.param(350, marks=pytest.mark.server)])


@FLIPS
def test_flipped_bits_of_the_model_folder(trained, tmp_path, times):
    """A flip is noticed, or changes no answer."""
    expected = load_model(trained / MODEL_FOLDER)
    random = np.random.default_rng(times)
    refused = 0
    for number in range(times):
        folder = shutil.copytree(trained / MODEL_FOLDER, tmp_path / str(number))
        flip(choose_file(folder, random), random)
        try:
            model = load_model(folder)
            load_everything(model)
        except ModelError as error:
            refused += 1
            assert str(error).endswith("; run: python train.py")
        else:
            assert model.fingerprint == expected.fingerprint
            assert (model.profile_vectors == expected.profile_vectors).all()
        shutil.rmtree(folder)
    assert refused > times / 2


@FLIPS
def test_flipped_bits_of_milvus_lite(trained, tmp_path, times):
    model = load_model(trained / MODEL_FOLDER)
    queries = np.random.default_rng(0).normal(size=(10, INDEX_DIM)).astype(np.float32)

    def read(uri):
        with MilvusConnection(str(uri)) as connection:
            collection = MovieCollection(connection, model.fingerprint)
            filter = collection.build_filter(MovieFilter(("Comedy",), first_year=1980, min_ratings=30))
            found = collection.search(queries, 10), collection.search(queries, 3, filter)
            return collection.genres(), sorted(collection.titles()), found

    expected = read(shutil.copytree(trained / "recommender_demo.db", tmp_path / "intact.db"))
    random = np.random.default_rng(times)
    refused = 0
    for number in range(times):
        uri = shutil.copytree(trained / "recommender_demo.db", tmp_path / f"{number}.db")
        flip(choose_file(uri, random), random)
        try:
            assert read(uri) == expected
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
        with pytest.raises(DataError, match="run: python get_movies_data"):
            read_movies_data(path, vocabularies)
