"""On a real Milvus server: how its faults are told apart, builds beside searches, a server that dies."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from milvus_server import make_certificate
from test_collection import build, random_vectors
from test_connection import PASSWORDS, connection_error

from recommender.milvus.build import build_collection
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import SERVER_REMEDY, MilvusConnection, MilvusError, MilvusUnavailable
from recommender.movielens.catalogue import Movie

pytestmark = pytest.mark.server


@pytest.mark.parametrize("token", ["", "wrong-one", "nobody:wrong-one", *(f"root:{word}" for word in PASSWORDS)])
def test_wrong_password(server, token):
    """The message does not show it."""
    uri = server.options["uri"]
    expected = f"{uri}: cannot connect: wrong user or password; give --token user:password"
    assert connection_error(uri, token, tls_ca=server.certificate) == expected


def test_addresses_of_something_else(server, tmp_path):
    uri, other = server.options["uri"], tmp_path / "other.pem"
    make_certificate(other, tmp_path / "other.key")
    plain, health = uri.replace("https", "http"), uri.replace("19530", "9091")
    for address, tls_ca, problem in (
        (plain, "", "no server answers there"),
        (uri, "", "no server answers there"),
        (uri, other, "no server answers there"),
        (health, server.certificate, "no server answers there"),
        (health.replace("https", "http"), "", "no server answers there"),
        (f"{uri}/nosuch", server.certificate, "database not found"),
    ):
        error = connection_error(address, server.options["token"], tls_ca=tls_ca)
        assert error.startswith(f"{address}: cannot connect: {problem}")
        assert "run: " not in error


def test_proxy_is_not_asked_for_this_machine(server):
    program = "import sys; from recommender.milvus.connection import *; MilvusConnection(sys.argv[1], sys.argv[2])"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **proxies, "PYTHONPATH": os.pathsep.join(sys.path), "MILVUS_URI": "movies.db"}
    environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(server.certificate)
    command = [sys.executable, "-c", program, server.options["uri"], server.options["token"]]
    subprocess.run(command, env=environment, check=True)


def numbered_build(connection, number):
    movies = [Movie(1 + row, f"Build {number}", ("Drama",)) for row in range(300)]
    build_collection(connection, movies, random_vectors(300, seed=number), [1] * 300, "f1")


def test_searches_beside_builds(server):
    """Every search succeeds, and its hits all come from one build."""
    place, queries = server.new_place(), random_vectors(60, seed=99)
    best = [np.argsort(-(queries @ random_vectors(300, seed=number).T))[:, :10] for number in range(7)]
    with MilvusConnection(**place) as builder, MilvusConnection(**place) as searcher, ThreadPoolExecutor() as pool:
        numbered_build(builder, 0)
        collection, seen = MovieCollection(searcher, "f1"), set()
        building = pool.submit(lambda: [numbered_build(builder, number) for number in range(1, 7)])
        while not building.done():
            found = [[movie_id - 1 for movie_id in hits] for hits in collection.search(queries, 10, "num_ratings > 0")]
            [number] = [number for number in range(7) if np.array_equal(found, best[number])]
            titles = {title.title for title in collection.titles()}
            fetched = {stored.movie.title for stored in collection.fetch(range(1, 301)).values()}
            assert len(titles) == len(fetched) == 1
            seen |= {f"Build {number}", *titles}
        building.result()
        assert len(seen) >= 4
        assert len(builder.client.list_collections()) == 1
        assert {title.title for title in collection.titles()} == {"Build 6"}
        build(builder, 8, "f2")
        with pytest.raises(MilvusError, match="no movies of this model here"):
            collection.search(queries, 10)


def test_server_killed_and_started_again(server):
    """It dies during a search and during a build; once it is back, the collection answers as before."""
    place = server.new_place()
    with MilvusConnection(**place) as connection, ThreadPoolExecutor() as pool:
        numbered_build(connection, 1)
        collection = MovieCollection(connection, "f1")
        expected = collection.search(random_vectors(3), 10)
        for action in (lambda: collection.search(random_vectors(9000), 300), lambda: numbered_build(connection, 2)):
            doing = pool.submit(action)
            server.kill()
            with pytest.raises(MilvusUnavailable, match=SERVER_REMEDY):
                doing.result()
            starting = pool.submit(server.start)
            with MilvusConnection(**place, wait=180) as later:
                assert MovieCollection(later, "f1").search(random_vectors(3), 10) == expected
            starting.result()
