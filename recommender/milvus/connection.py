"""Connects to a Milvus server or Milvus Lite, and translates their errors.

pymilvus is imported only in this package, after the environment has been prepared for it.
"""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tqdm import tqdm

from recommender.errors import RecommenderError, Step

# Milvus Lite and gRPC log what is raised as an exception anyway.
logging.getLogger().addHandler(logging.NullHandler())
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# pymilvus reads these when it is imported, and fails on a value that is not an http address.
os.environ["MILVUS_URI"] = os.environ["MILVUS_DEFAULT_CONNECTION"] = ""
for _name in ("no_proxy", "NO_PROXY"):  # A proxy cannot reach this machine's Milvus; Lite listens on loopback.
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "localhost,127.0.0.1"]))

from grpc import RpcError
from pymilvus import DataType, MilvusClient, MilvusException

logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # It logs tracebacks of what it raises.

__all__ = ["DataType", "MilvusConnection", "MilvusError", "MilvusException", "MilvusUnavailable", "without_password"]

SERVER_COMMAND = "docker compose up -d"
RETRY_SECONDS = 0.5
HIDDEN = "***"
_LOGIN = re.compile(r"^(\w*://|)(.*)@", re.DOTALL)


class MilvusError(RecommenderError):
    """Milvus cannot be reached, or does not hold what is asked for. The message names the remedy."""


class MilvusUnavailable(MilvusError):
    """Milvus does not answer yet: a server is starting, or a Lite folder is in use."""


_OTHER_PORT = "that port is not Milvus'; Milvus listens on 19530 by default"
_ERROR_HINTS = {
    "UNAUTHENTICATED": "wrong user or password; give --token user:password",
    "PERMISSION_DENIED": "this user lacks the permission; give another --token",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; name the file of its authority: --tls-ca FILE",
    "WRONG_VERSION_NUMBER": "the server does not use TLS; begin --uri with http://",
    "security handshaker": "--tls-ca is not a file of certificates in PEM format",
    "Socket closed": "connection closed; if the server uses TLS, begin --uri with https://",
    "http1.x server": _OTHER_PORT,
    "HTTP/2": _OTHER_PORT,
    "UNIMPLEMENTED": _OTHER_PORT,
    "resolving": "there is no host of that name",
}
"""Remedies by a part of the error; the first part that occurs counts."""
_UNAVAILABLE_HINTS = {
    "holds the lock": f"another process has it open; wait for it to end, or run a server: {SERVER_COMMAND}",
    "not ready": "the server is still starting",
    "UNAVAILABLE": f"nothing answers there; start it: {SERVER_COMMAND}",
    "Fail connecting": f"nothing answers there; start it: {SERVER_COMMAND}",
}
"""The same for errors that may pass."""
_SYSTEM_ERROR = re.compile(
    r"\[Errno \d+\] ?([^:'\")]+)|(Read-only file system|No space left on device|Too many open files)"
)
"""Errors of the operating system, which rebuilding the collection does not fix."""


class _LiteLog(logging.Handler):
    """Keeps the reason why Milvus Lite does not open, which it logs and does not raise."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.reason = str(record.exc_info[1])


_lite_log = _LiteLog()
logging.getLogger("milvus_lite.server_manager").addHandler(_lite_log)


class _Address(NamedTuple):
    """An address without its login, and the login."""

    uri: str
    login: str


class MilvusConnection:
    """A connection to a Milvus server, or to Milvus Lite, which one process at a time can open.

    Args:
        uri: A path that ends in `.db` for Milvus Lite; `http://host:port` or `https://host:port` for a server.
        token: `user:password` or an API key for a server. Messages never contain it.
        tls_ca: The PEM file of the authority that signed the server's certificate, if not a public one.
        wait: The number of seconds to retry while Milvus does not answer.
        create: Whether to create a missing Lite folder.

    Raises:
        MilvusError: The address cannot be used, or the server refuses the connection.
        MilvusUnavailable: Milvus did not answer in time.
    """

    def __init__(
        self, uri: str, token: str = "", tls_ca: Path | None = None, wait: float = 0, create: bool = False
    ) -> None:
        self.uri, login = _split_login(uri)
        self.is_server = "://" in self.uri
        self.lite_folder = None if self.is_server else _lite_folder(self.uri, create)
        logins = [token, login]
        self._secrets = sorted({part for text in logins for part in (text, text.partition(":")[2]) if part}, key=len)
        options = {"server_pem_path": str(tls_ca.expanduser())} if tls_ca else {}
        self.client = self._connect(str(self.lite_folder or self.uri), wait, token=token or login, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _connect(self, address: str, wait: float, **options: str) -> MilvusClient:
        started = time.monotonic()
        layout = "{desc}: {n:.0f} of at most {total:.0f} s"
        no_bar = None if wait else True
        with tqdm(desc=f"waiting for {self.uri}", total=wait, bar_format=layout, disable=no_bar, leave=False) as bar:
            while True:
                _lite_log.reason = ""
                try:
                    with self.translate_errors("cannot connect", (MilvusException, RpcError, ValueError, OSError)):
                        client = MilvusClient(address, **options)
                        client.list_collections()  # A starting server accepts connections before it answers.
                        return client
                except MilvusUnavailable as error:
                    waited = time.monotonic() - started
                    if waited > wait:
                        hint = f" (tried for {waited:.0f} s)" if wait else ", or wait for it: --wait SECONDS"
                        raise MilvusUnavailable(f"{error}{hint}") from error
                    bar.update(waited - bar.n)
                    time.sleep(RETRY_SECONDS)

    @contextmanager
    def translate_errors(
        self, problem: str, kinds: tuple[type[Exception], ...] = (MilvusException, RpcError)
    ) -> Iterator[None]:
        """Turns exceptions of Milvus into one-line errors with a remedy.

        Args:
            problem: The failed operation, for the message.
            kinds: The types of exceptions that are translated.

        Raises:
            MilvusError: Milvus raised an error.
            MilvusUnavailable: Milvus raised an error that may pass.
        """
        try:
            yield
        except kinds as error:
            details = f"{error} {error.__cause__} {_lite_log.reason}"
            for kind, hints in ((MilvusError, _ERROR_HINTS), (MilvusUnavailable, _UNAVAILABLE_HINTS)):
                matching = [hint for part, hint in hints.items() if part in details]
                if matching:
                    raise kind(f"{self.uri}: {problem}: {matching[0]}") from error
            system_error = _SYSTEM_ERROR.search(details)
            if system_error:
                raise MilvusError(f"{self.uri}: {problem}: {(system_error[1] or system_error[2]).strip()}") from error
            reason = " ".join(str(_lite_log.reason or getattr(error, "message", "") or error).split())
            for secret in reversed(self._secrets):
                reason = reason.replace(secret, HIDDEN)
            raise self.rebuild_error(f"{problem}: {reason[:500]}") from error

    def rebuild_error(self, problem: str) -> MilvusError:
        """Returns an error whose remedy is to build the collection again."""
        if self.lite_folder:
            return MilvusError(f"{self.uri}: {problem}; if its files are damaged, delete that folder", Step.INDEX)
        return MilvusError(f"{self.uri}: {problem}", Step.INDEX)


def without_password(uri: str) -> str:
    """Returns an address without its user and password."""
    return _split_login(uri).uri


def _split_login(uri: str) -> _Address:
    """Splits an address at its last @, as a password may hold any character; a Lite path may hold an @ too."""
    match = _LOGIN.match(uri)
    is_lite = "://" not in uri and uri.endswith(".db")
    return _Address(uri, "") if is_lite or match is None else _Address(match[1] + uri[match.end() :], match[2])


def _lite_folder(uri: str, create: bool) -> Path:
    """Returns the path of a Milvus Lite folder.

    Raises:
        MilvusError: The path cannot be one, or the folder is missing and `create` is false.
    """
    folder = Path(uri).expanduser()
    if folder.suffix != ".db":
        server = "a server's address begins with http:// or https://"
        raise MilvusError(f"{uri!r}: a Milvus Lite path ends in .db, {server}")
    if folder.is_file():
        raise MilvusError(f"{uri}: this is a file, Milvus Lite needs a folder of its own; choose another --uri")
    if not create and not folder.is_dir():
        raise MilvusError(f"{uri}: there are no movies here yet", Step.INDEX)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MilvusError(f"{uri}: cannot create its folder: {error.strerror}; choose another --uri") from error
    return folder
