"""On a real Milvus server: how its faults are told apart, and that nothing is lost when it or a client is killed."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TRIALS, fail, start_script, succeed
from milvus_server import PASSWORD, make_certificate
from test_movie_index import build, collections, connect, unit_vectors

from recommender.data.movielens import Movie
from recommender.index.collection import LABEL, Label, MovieIndex
from recommender.index.connection import Milvus

pytestmark = pytest.mark.server


def connection(options):
    """The environment that stands for the arguments of `Milvus`."""
    return {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in options.items()}


@pytest.mark.parametrize("token", ["root:wrong-one", "nobody:wrong-one", "wrong-one", ""])
def test_wrong_password(server, trained, token):
    error = fail("infer_milvus.py", cwd=trained, **connection({**server.options, "token": token}))
    assert "it refuses the user or the password; give --token user:password" in error


def test_password_in_the_address_works_and_is_not_shown(server, trained):
    certificate = connection({"tls_ca": server.certificate})
    right, wrong = (f"https://root:{password}@{server.address}" for password in (PASSWORD, "wrong-one"))
    error = fail("infer_milvus.py", "--uri", right, cwd=trained, **certificate)
    assert f"https://{server.address}: there are no movies here yet" in error
    assert PASSWORD not in error
    error = fail("infer_milvus.py", "--uri", wrong, cwd=trained, **certificate)
    assert "it refuses the user or the password" in error
    assert "wrong-one" not in error


def test_tls_that_does_not_fit(server, trained, tmp_path):
    plain, other = server.uri.replace("https", "http"), tmp_path / "other.pem"
    make_certificate(other, tmp_path / "other.key")
    health = server.address.replace("19530", "9091")
    for uri, tls_ca, message in (
        (plain, "", "if it speaks TLS, begin --uri with https://"),
        (server.uri, "", "its certificate is not trusted; name its authority's: --tls-ca FILE"),
        (server.uri, other, "its certificate is not trusted"),
        (server.uri, __file__, "--tls-ca is not a file of certificates"),
        (f"https://{health}", server.certificate, "it does not speak TLS; begin --uri with http://"),
        (f"http://{health}", "", "that port is not Milvus'"),
    ):
        assert message in fail("infer_milvus.py", cwd=trained, **connection({"uri": uri, "tls_ca": tls_ca}))


def test_no_such_host(trained):
    assert "there is no host of that name" in fail("infer_milvus.py", "--uri", "http://no.such.host", cwd=trained)


def test_proxy_is_not_asked_for_this_machine(server, trained):
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    succeed("infer_milvus.py", "-i", cwd=trained, **connection(server.new_place()), **proxies)


def catalogue(number):
    return [Movie(1 + row, f"Build {number}", ("Drama",)) for row in range(300)]


def test_searches_beside_rebuilds(server):
    """Rebuilds with other titles each time: every search succeeds, and its hits all come from one catalogue."""
    place = server.new_place()
    vectors, queries = unit_vectors(300), unit_vectors(3, seed=1)
    with connect(place) as builder, connect(place) as searcher:

        def rebuild_often():
            for number in range(1, 21):
                build(builder, catalogue(number), vectors, "f1")

        build(builder, catalogue(0), vectors, "f1")
        index = MovieIndex(searcher, "f1", 16)
        seen = []
        rebuilding = threading.Thread(target=rebuild_often)
        rebuilding.start()
        while len(seen) < 1000 or rebuilding.is_alive():
            found = index.search(queries, 10, 'genres in ["Drama"]')
            assert [len(hits) for hits in found] == [10] * 3
            seen.append({title.title for title in index.titles()})
            time.sleep(0.03)
        rebuilding.join()
        assert all(len(titles) == 1 for titles in seen), "mixed results"
        assert {title for titles in seen for title in titles} > {f"Build {number}" for number in range(1, 20)}
        assert len(collections(builder)) == 1


def test_two_builds_at_once(server):
    """Both succeed, and one of the two is served, whole."""
    place = server.new_place()
    vectors = unit_vectors(300)
    with connect(place) as first, connect(place) as second:
        for _ in range(TRIALS):
            failures = []

            def rebuild(milvus, number, failures=failures):
                try:
                    build(milvus, catalogue(number), vectors, "f1")
                except Exception as error:
                    failures.append(error)

            builds = [threading.Thread(target=rebuild, args=one) for one in ((first, 1), (second, 2))]
            for one in builds:
                one.start()
            for one in builds:
                one.join()
            assert not failures
            titles = MovieIndex(first, "f1", 16).titles()
            assert (len(titles), len({title.title for title in titles})) == (300, 1)


def test_kill_while_indexing(served):
    """kill -9 at random moments of `-i`: the collection before it answers as before, and none is left over."""
    folder, environment = served
    expected = succeed("infer_milvus.py", cwd=folder, **environment).stdout
    started = time.monotonic()
    succeed("infer_milvus.py", "-i", cwd=folder, **environment)
    whole = time.monotonic() - started
    for share in np.random.default_rng(0).uniform(0.1, 1, TRIALS):
        indexing = start_script("infer_milvus.py", "-i", cwd=folder, **environment)
        time.sleep(share * whole)
        indexing.kill()
        indexing.communicate()
        assert succeed("infer_milvus.py", cwd=folder, **environment).stdout == expected
    if "http" not in environment["RECOMMENDER_MILVUS_URI"]:  # Milvus Lite has dropped what was left behind.
        return
    uri, token, tls_ca = (environment[f"RECOMMENDER_MILVUS_{name}"] for name in ("URI", "TOKEN", "TLS_CA"))
    with Milvus(uri, token, Path(tls_ca)) as milvus:
        for name in collections(milvus):  # A day later nobody can be building them any more.
            label = Label.read(milvus.client.describe_collection(name)["properties"])
            milvus.client.alter_collection_properties(name, {LABEL: label._replace(created=0.0).write()})
        succeed("infer_milvus.py", "-i", cwd=folder, **environment)
        assert len(collections(milvus)) == 1


def test_server_killed_and_started_again(server, trained):
    """It dies during a search and during `-i`; once it is back, the collection answers as before."""
    environment = connection(server.new_place())
    succeed("infer_milvus.py", "-i", cwd=trained, **environment)
    expected = succeed("infer_milvus.py", cwd=trained, **environment).stdout
    for args, moment in ((("-i",), "Server connected."), (("--users", "all", "--output", "x.csv"), "rows")):
        client = start_script("infer_milvus.py", *args, cwd=trained, **environment)
        pipe = client.stderr if args == ("-i",) else client.stdout
        assert any(line.startswith(moment) for line in pipe)
        server.kill()
        _, errors = client.communicate(timeout=120)
        assert client.returncode == 1
        assert errors.count("error: ") == 1
        assert "nothing answers there; start it: docker compose up -d" in errors
        assert not (trained / "x.csv").exists()
        waiting = start_script("infer_milvus.py", "--wait", 180, cwd=trained, **environment)
        server.start()
        stdout, errors = waiting.communicate(timeout=180)
        assert stdout == expected, errors
