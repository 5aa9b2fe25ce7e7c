import hashlib
import http.server
import shutil
import socketserver
import subprocess
import sys
import threading
import zipfile

import pytest
from conftest import PROJECT

from recommender.movielens.download import RELEASES, download_archive, ensure_downloaded
from recommender.errors import DataError


@pytest.fixture
def web_server(tmp_path):
    """A web server on loopback; yields its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class QuietHandler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()


def test_download_falls_back_to_the_second_address(tmp_path, web_server):
    address, folder = web_server
    (folder / "good.zip").write_bytes(b"good")
    (folder / "bad.zip").write_bytes(b"bad")
    md5 = hashlib.md5(b"good").hexdigest()
    urls = [f"{address}/missing.zip", f"{address}/bad.zip", f"{address}/good.zip"]
    archive = tmp_path / "data" / "ml-1m.zip"
    download_archive(archive, urls, md5)
    assert archive.read_bytes() == b"good"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["ml-1m.zip"]


def test_failed_download_leaves_nothing_and_names_the_remedy(tmp_path, web_server):
    address, folder = web_server
    (folder / "bad.zip").write_bytes(b"bad")
    with pytest.raises(DataError) as caught:
        download_archive(tmp_path / "data" / "ml-1m.zip", [f"{address}/bad.zip", "http://127.0.0.1:1/"], "0" * 32)
    for part in ("its md5 is", "Connection refused", "data/ml-1m.zip", "--data-dir data/sample"):
        assert part in str(caught.value)
    assert not (tmp_path / "data").exists(), "the download created this folder"


@pytest.fixture
def no_http_server():
    """A server that answers with something other than HTTP, as some login portals do; yields its address."""

    class BabblingHandler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1 << 16)
            self.request.sendall(b"login first\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), BabblingHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/ml-1m.zip"
        server.shutdown()


def test_download_continues_after_an_answer_that_is_not_http(tmp_path, web_server, no_http_server):
    address, folder = web_server
    (folder / "good.zip").write_bytes(b"good")
    md5 = hashlib.md5(b"good").hexdigest()
    download_archive(tmp_path / "ml-1m.zip", [no_http_server, f"{address}/good.zip"], md5)
    assert (tmp_path / "ml-1m.zip").read_bytes() == b"good"
    with pytest.raises(DataError, match="login first"):
        download_archive(tmp_path / "data" / "ml-1m.zip", [no_http_server], md5)


def test_failed_download_keeps_an_existing_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "users.dat").touch()
    with pytest.raises(DataError):
        download_archive(tmp_path / "data" / "ml-1m.zip", ["http://127.0.0.1:1/"], "0" * 32)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["users.dat"]


def run_module(folder):
    """Runs `python -m recommender.movielens.download`, as make demo does, without a network."""
    shutil.copytree(PROJECT / "recommender", folder / "recommender", dirs_exist_ok=True)
    environment = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")
    command = [sys.executable, "-m", "recommender.movielens.download"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_module_reports_whether_the_data_is_there(tmp_path):
    done = run_module(tmp_path)
    assert done.returncode == 1
    assert "MovieLens 1M is not here: cannot download ml-1m.zip" in done.stderr
    assert not any(line.startswith("error") for line in done.stderr.splitlines()), "make demo continues without it"
    (tmp_path / "data" / "ml-1m").mkdir(parents=True)
    (tmp_path / "data" / "ml-1m" / "ratings.dat").touch()
    done = run_module(tmp_path)
    assert (done.returncode, done.stdout) == (0, "MovieLens 1M is in data/ml-1m\n")


def test_archive_without_a_published_checksum_is_verified_by_its_own(tmp_path, web_server):
    address, folder = web_server
    with zipfile.ZipFile(folder / "good.zip", "w") as archive:
        archive.writestr("ml-latest-small/movies.csv", "movieId,title,genres\n")
    content = bytearray((folder / "good.zip").read_bytes())
    content[60] ^= 1
    (folder / "bad.zip").write_bytes(content)
    download_archive(tmp_path / "ml-latest-small.zip", [f"{address}/bad.zip", f"{address}/good.zip"])
    assert (tmp_path / "ml-latest-small.zip").read_bytes() == (folder / "good.zip").read_bytes()


def test_only_a_missing_folder_called_like_a_release_is_downloaded(tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for name in RELEASES:
        with pytest.raises(DataError, match=f"cannot download {name}.zip"):
            ensure_downloaded(tmp_path / name)
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ratings.dat").touch()
    for name in ("ml-1m", "my-films"):
        ensure_downloaded(tmp_path / name)
