"""Places for collections: Milvus Lite, and a real server with TLS and a password, the embedded one from PyPI."""

import itertools
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "Milvus"


class Server:
    """A running server. It listens on all interfaces, so it refuses to start where there are others than loopback."""

    def __init__(self, folder: Path) -> None:
        from milvus import MilvusServer, MilvusServerConfig

        interfaces = {name for _, name in socket.if_nameindex()}
        assert interfaces == {"lo"}, f"the server would be open to the network; run: make test-server ({interfaces})"
        self.certificate = folder / "server.pem"
        self._numbers = itertools.count()
        make_certificate(self.certificate, folder / "server.key")
        config = MilvusServerConfig(data_dir=str(folder))
        config.set("authorization_enabled", True)
        config.set("tls_mode", 1)
        config.set("server_pem_path", str(self.certificate))
        config.set("server_key_path", str(folder / "server.key"))
        # The original considers the port of a killed server occupied for another minute.
        config.try_bind_port = lambda port: socket.create_server(("127.0.0.1", port))
        self._server = MilvusServer(config)
        self.start = self._server.start
        self.stop = self._server.stop

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self._server.server_proc.kill()
        self._server.server_proc.wait()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.listen_port}"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `MilvusConnection`."""
        return {"uri": f"https://{self.address}", "token": f"root:{PASSWORD}", "tls_ca": self.certificate}

    def new_place(self) -> dict[str, Any]:
        """Creates a database and returns arguments of `MilvusConnection` for it."""
        from recommender.milvus.connection import MilvusConnection

        name = f"db{next(self._numbers)}"
        with MilvusConnection(**self.options) as connection:
            connection.client.create_database(name)
        return {**self.options, "uri": f"{self.options['uri']}/{name}"}


def make_certificate(certificate: Path, key: Path) -> None:
    """Writes a self-signed certificate for loopback, and its key."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", key, "-out", certificate]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Milvus server with a password and TLS."""
    server = Server(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=pytest.mark.server)])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """Returns a function that makes room for a collection, on Lite and on a server: `MilvusConnection` arguments."""
    if request.param == "lite":
        return lambda: {"uri": str(tmp_path_factory.mktemp("lite") / "movies.db"), "create": True}
    return request.getfixturevalue("server").new_place
