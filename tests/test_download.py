import hashlib
import http.server
import shutil
import socketserver
import subprocess
import sys
import threading

import pytest
from conftest import PROJECT

from recommender.data.download import download_movielens
from recommender.data.movielens import DataError


@pytest.fixture
def web(tmp_path):
    """A web server on loopback; yields its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()


def test_download_falls_back_to_the_second_address(tmp_path, web):
    address, folder = web
    (folder / "good.zip").write_bytes(b"good")
    (folder / "bad.zip").write_bytes(b"bad")
    md5 = hashlib.md5(b"good").hexdigest()
    urls = [f"{address}/missing.zip", f"{address}/bad.zip", f"{address}/good.zip"]
    archive = download_movielens(tmp_path / "data", urls, md5)
    assert archive.read_bytes() == b"good"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["ml-1m.zip"]


def test_failed_download_leaves_nothing_and_says_what_to_do(tmp_path, web):
    address, folder = web
    (folder / "bad.zip").write_bytes(b"bad")
    with pytest.raises(DataError) as caught:
        download_movielens(tmp_path / "data", [f"{address}/bad.zip", "http://127.0.0.1:1/"], "0" * 32)
    for part in ("its md5 is", "Connection refused", "data/ml-1m.zip", "--data-dir data/sample"):
        assert part in str(caught.value)
    assert not (tmp_path / "data").exists(), "the folder was not there before"


@pytest.fixture
def babbler():
    """A server that does not speak HTTP, as some login portals; yields its address."""

    class Babble(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1 << 16)
            self.request.sendall(b"login first\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Babble) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/ml-1m.zip"
        server.shutdown()


def test_download_goes_on_after_an_answer_that_is_not_http(tmp_path, web, babbler):
    address, folder = web
    (folder / "good.zip").write_bytes(b"good")
    md5 = hashlib.md5(b"good").hexdigest()
    assert download_movielens(tmp_path, [babbler, f"{address}/good.zip"], md5).read_bytes() == b"good"
    with pytest.raises(DataError, match="login first"):
        download_movielens(tmp_path / "data", [babbler], md5)


def test_failed_download_leaves_a_folder_that_was_there(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "users.dat").touch()
    with pytest.raises(DataError):
        download_movielens(tmp_path / "data", ["http://127.0.0.1:1/"], "0" * 32)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["users.dat"]


def run_module(folder):
    """`python -m recommender.data.download` is what make demo asks."""
    shutil.copytree(PROJECT / "recommender", folder / "recommender", dirs_exist_ok=True)
    environment = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")  # There is no network.
    command = [sys.executable, "-m", "recommender.data.download"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_module_says_whether_the_data_is_there(tmp_path):
    done = run_module(tmp_path)
    assert done.returncode == 1
    assert "MovieLens 1M is not here: cannot download ml-1m.zip" in done.stderr
    assert not any(line.startswith("error") for line in done.stderr.splitlines()), "make demo goes on without it"
    (tmp_path / "data" / "ml-1m").mkdir(parents=True)
    (tmp_path / "data" / "ml-1m" / "ratings.dat").touch()
    done = run_module(tmp_path)
    assert (done.returncode, done.stdout) == (0, "MovieLens 1M is in data/ml-1m\n")
