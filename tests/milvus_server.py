"""A real Milvus server for the tests: the embedded one from PyPI, with TLS and a password, on a folder of its own."""

import itertools
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

from milvus import MilvusServer, MilvusServerConfig
from pymilvus import MilvusClient

PASSWORD = "Milvus"


class Config(MilvusServerConfig):
    """Reuses the port of a killed server, which the original considers occupied for another minute."""

    def try_bind_port(self, port: int) -> socket.socket | None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()
            return None
        return listener


class Server:
    """Starts the server when entered, stops it when left.

    It listens on all interfaces, so it refuses to start where there are others than loopback.
    """

    def __init__(self, folder: Path) -> None:
        interfaces = {name for _, name in socket.if_nameindex()}
        assert interfaces == {"lo"}, f"the server would be open to the network; run: make test-server ({interfaces})"
        self.folder = folder
        self.certificate = folder / "server.pem"
        self._numbers = itertools.count()
        config = Config(data_dir=str(folder))
        key = folder / "server.key"
        make_certificate(self.certificate, key)
        config.set("authorization_enabled", True)
        config.set("tls_mode", 1)
        config.set("server_pem_path", str(self.certificate))
        config.set("server_key_path", str(key))
        self._server = MilvusServer(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Starts the server and returns when it is healthy."""
        self._server.start()

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self._server.server_proc.kill()
        self._server.server_proc.wait()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.listen_port}"

    @property
    def uri(self) -> str:
        """The address as `--uri` takes it."""
        return f"https://{self.address}"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `MilvusConnection`."""
        return {"uri": self.uri, "token": f"root:{PASSWORD}", "tls_ca": self.certificate}

    def new_place(self) -> dict[str, Any]:
        """Creates a database and returns arguments of `MilvusConnection` for it."""
        name = f"db{next(self._numbers)}"
        client = MilvusClient(self.uri, token=f"root:{PASSWORD}", server_pem_path=str(self.certificate))
        client.create_database(name)
        client.close()
        return {**self.options, "uri": f"{self.uri}/{name}"}


def make_certificate(certificate: Path, key: Path) -> None:
    """Writes a self-signed certificate for loopback, and its key."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", key, "-out", certificate]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
