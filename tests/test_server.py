"""On a real Milvus server: how its faults are told apart, and that nothing is lost when it or a client is killed."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import fail, start_script, succeed
from milvus_server import PASSWORD, make_certificate
from test_movie_index import build, collections, open_it, unit_vectors

from recommender.movie_index import MovieIndex
from recommender.movielens import Movie

pytestmark = pytest.mark.server


def connection(options):
    """The environment that stands for the arguments of `MovieIndex`."""
    return {f"RECOMMENDER_MILVUS_{name.upper()}": str(value) for name, value in options.items()}


@pytest.mark.parametrize("token", ["root:wrong-one", "nobody:wrong-one", "wrong-one", ""])
def test_wrong_password(server, trained, token):
    error = fail("infer_milvus.py", cwd=trained, **connection({**server.options, "token": token}))
    assert "it refuses the user or the password; give --token user:password" in error


def test_password_in_the_address_works_and_is_not_shown(server, trained):
    certificate = connection({"tls_ca": server.certificate})
    right, wrong = (f"https://root:{password}@{server.address}" for password in (PASSWORD, "wrong-one"))
    error = fail("infer_milvus.py", "--uri", right, cwd=trained, **certificate)
    assert f"Insert vectors is none! https://{server.address} has no movies yet" in error
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


def test_searches_beside_rebuilds(new_place):
    """Rebuilds with other titles each time: every search succeeds, and its hits all come from one catalogue."""
    place = new_place()
    builder, searcher = MovieIndex(**place), MovieIndex(**place)
    vectors, queries = unit_vectors(300), unit_vectors(3, seed=1)

    def rebuild(number):
        build(builder, [Movie(1 + row, f"Build {number}", ("Drama",)) for row in range(300)], vectors, "f1")

    def search_on():
        while len(seen) < 1000 or rebuilding.is_alive():
            hits = [hit for found in searcher.search(queries, 10, "genre_Drama == true") for hit in found]
            assert len(hits) == 30
            seen.append({hit.movie.title for hit in hits})
            time.sleep(0.03)

    rebuild(0)
    open_it(searcher, "f1")
    seen = []
    rebuilding = threading.Thread(target=lambda: [rebuild(number) for number in range(1, 21)])
    rebuilding.start()
    search_on()
    rebuilding.join()
    assert all(len(titles) == 1 for titles in seen), "mixed results"
    assert {title for titles in seen for title in titles} > {f"Build {number}" for number in range(1, 20)}
    assert len(collections(builder)) == 1
    searcher.close()
    builder.close()


def test_kill_while_indexing_twenty_times(served):
    """kill -9 at random moments of `-i`: the collection before it answers as before, and none is left over."""
    folder, environment = served
    expected = succeed("infer_milvus.py", cwd=folder, **environment).stdout
    started = time.monotonic()
    succeed("infer_milvus.py", "-i", cwd=folder, **environment)
    whole = time.monotonic() - started
    for share in np.random.default_rng(0).uniform(0.1, 1, 20):
        indexing = start_script("infer_milvus.py", "-i", cwd=folder, **environment)
        time.sleep(share * whole)
        indexing.kill()
        indexing.communicate()
        assert succeed("infer_milvus.py", cwd=folder, **environment).stdout == expected
    succeed("infer_milvus.py", "-i", cwd=folder, **environment)
    uri, token, tls_ca = (environment.get(f"RECOMMENDER_MILVUS_{name}", "") for name in ("URI", "TOKEN", "TLS_CA"))
    index = MovieIndex(uri, token, Path(tls_ca) if tls_ca else None)
    assert len(collections(index)) == 1
    index.close()


def test_server_killed_and_started_again(server, trained):
    """It dies during a search and during `-i`; once it is back, the collection answers as before."""
    environment = connection(server.new_place())
    succeed("infer_milvus.py", "-i", cwd=trained, **environment)
    expected = succeed("infer_milvus.py", cwd=trained, **environment).stdout
    for args, moment in ((("-i",), "get infer vectors finished!"), (("--users", "all", "--output", "x.csv"), "rows")):
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
