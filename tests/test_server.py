"""On a real Milvus server: how its faults are told apart, and that nothing is lost when it or a client is killed."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TRIALS, fail, milvus_environment, run_process, start_script, succeed
from milvus_server import PASSWORD, make_certificate
from test_collection import build, collection_names, connect, open_collection, unit_vectors
from test_connection import PASSWORDS as SPECIAL_PASSWORDS
from test_connection import assert_hidden

from recommender.movielens.catalogue import Movie
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.metadata import METADATA_PROPERTY, CollectionMetadata

pytestmark = pytest.mark.server


@pytest.mark.parametrize("token", ["root:wrong-one", "nobody:wrong-one", "wrong-one", ""])
def test_wrong_password(server, trained, token):
    error = fail("infer_milvus.py", cwd=trained, **milvus_environment({**server.options, "token": token}))
    assert "wrong user or password; give --token user:password" in error


def test_password_in_the_address_works(server, trained):
    right = f"https://root:{PASSWORD}@{server.address}"
    error = fail("infer_milvus.py", "--uri", right, cwd=trained, **milvus_environment({"tls_ca": server.certificate}))
    assert f"https://{server.address}: there are no movies here yet" in error
    assert PASSWORD not in error


@pytest.mark.parametrize("password", SPECIAL_PASSWORDS)
def test_wrong_passwords_are_not_shown(server, trained, password):
    """In the address, as a token, and both from the environment."""
    certificate = milvus_environment({"tls_ca": server.certificate})
    address = f"https://root:{password}@{server.address}"
    for options, environment in (
        (("--uri", address), {}),
        (("--uri", server.uri, "--token", f"root:{password}"), {}),
        ((), milvus_environment({"uri": address})),
        ((), milvus_environment({"uri": server.uri, "token": f"root:{password}"})),
    ):
        error = fail("infer_milvus.py", *options, cwd=trained, **certificate, **environment)
        assert f"{server.uri}: cannot connect: wrong user or password" in error
        assert_hidden(password, error)


def test_tls_that_does_not_match(server, trained, tmp_path):
    plain, other = server.uri.replace("https", "http"), tmp_path / "other.pem"
    make_certificate(other, tmp_path / "other.key")
    health = server.address.replace("19530", "9091")
    for uri, tls_ca, message in (
        (plain, "", "if the server uses TLS, begin --uri with https://"),
        (server.uri, "", "its certificate is not trusted; name the file of its authority: --tls-ca FILE"),
        (server.uri, other, "its certificate is not trusted"),
        (server.uri, __file__, "--tls-ca is not a file of certificates"),
        (f"https://{health}", server.certificate, "the server does not use TLS; begin --uri with http://"),
        (f"http://{health}", "", "that port is not Milvus'"),
    ):
        assert message in fail("infer_milvus.py", cwd=trained, **milvus_environment({"uri": uri, "tls_ca": tls_ca}))


def test_no_such_host(trained):
    assert "there is no host of that name" in fail("infer_milvus.py", "--uri", "http://no.such.host", cwd=trained)


def test_proxy_is_not_asked_for_this_machine(server, trained):
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = milvus_environment(server.new_place())
    succeed("infer_milvus.py", "-i", cwd=trained, run=run_process, **environment, **proxies)


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
        collection = open_collection(searcher)
        found = []
        rebuilding = threading.Thread(target=rebuild_often)
        rebuilding.start()
        while len(found) < 1000 or rebuilding.is_alive():
            hits = collection.search(queries, 10, 'genres in ["Drama"]')
            assert [len(query_hits) for query_hits in hits] == [10] * 3
            assert len(collection.fetch(range(1, 301))) == 300
            found.append({title.title for title in collection.titles()})
            time.sleep(0.03)
        rebuilding.join()
        assert all(len(titles) == 1 for titles in found), "mixed results"
        assert {title for titles in found for title in titles} > {f"Build {number}" for number in range(1, 20)}
        assert len(collection_names(builder)) == 1


def test_two_builds_at_once(server):
    """Both succeed, and one of the two is served, whole."""
    place = server.new_place()
    vectors = unit_vectors(300)
    with connect(place) as first, connect(place) as second:
        for _ in range(TRIALS):
            failures = []

            def rebuild(connection, number, failures=failures):
                try:
                    build(connection, catalogue(number), vectors, "f1")
                except Exception as error:
                    failures.append(error)

            builds = [threading.Thread(target=rebuild, args=one) for one in ((first, 1), (second, 2))]
            for one in builds:
                one.start()
            for one in builds:
                one.join()
            assert not failures
            titles = open_collection(first).titles()
            assert (len(titles), len({title.title for title in titles})) == (300, 1)


def test_kill_while_inserting(served):
    """kill -9 at random moments of `-i`: the collection before it answers as before, and none is left over."""
    folder, environment = served
    expected = succeed("infer_milvus.py", cwd=folder, **environment).stdout
    started = time.monotonic()
    succeed("infer_milvus.py", "-i", cwd=folder, run=run_process, **environment)
    seconds = time.monotonic() - started
    for share in np.random.default_rng(0).uniform(0.1, 1, TRIALS):
        inserting = start_script("infer_milvus.py", "-i", cwd=folder, **environment)
        time.sleep(share * seconds)
        inserting.kill()
        inserting.communicate()
        assert succeed("infer_milvus.py", cwd=folder, **environment).stdout == expected
    if "http" not in environment["RECOMMENDER_MILVUS_URI"]:  # Milvus Lite has dropped what was left behind.
        return
    uri, token, tls_ca = (environment[f"RECOMMENDER_MILVUS_{name}"] for name in ("URI", "TOKEN", "TLS_CA"))
    with MilvusConnection(uri, token, Path(tls_ca)) as connection:
        for name in collection_names(connection):  # A day later nobody can be building them any more.
            metadata = CollectionMetadata.from_properties(connection.client.describe_collection(name)["properties"])
            old = metadata._replace(created=0.0).to_property()
            connection.client.alter_collection_properties(name, {METADATA_PROPERTY: old})
        succeed("infer_milvus.py", "-i", cwd=folder, **environment)
        assert len(collection_names(connection)) == 1


def test_server_killed_and_started_again(server, trained):
    """It dies during a search and during `-i`; once it is back, the collection answers as before."""
    environment = milvus_environment(server.new_place())
    succeed("infer_milvus.py", "-i", cwd=trained, **environment)
    expected = succeed("infer_milvus.py", cwd=trained, **environment).stdout
    for args in (("-i",), ("--users", "all", "--output", "x.csv")):
        client = start_script("infer_milvus.py", *args, cwd=trained, **environment)
        assert any(line.startswith("Server connected.") for line in client.stderr)
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
