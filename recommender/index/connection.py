"""Connecting to Milvus, a server or Milvus Lite, and what its errors mean to the user.

pymilvus is imported here only, after the environment is such that it can be.
"""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tqdm import tqdm

from recommender.errors import RecommenderError, Step

# Milvus Lite and gRPC tell the terminal of their inner life. What a user needs to know is raised.
logging.getLogger().addHandler(logging.NullHandler())
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# pymilvus reads these when it is imported, and fails on a value that is not an http address.
os.environ["MILVUS_URI"] = os.environ["MILVUS_DEFAULT_CONNECTION"] = ""
for _name in ("no_proxy", "NO_PROXY"):  # A proxy cannot reach this machine's Milvus, and Lite is one too.
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "localhost,127.0.0.1"]))

from grpc import RpcError
from pymilvus import DataType, MilvusClient, MilvusException

logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # It prints what it raises, traceback included.

_LOGIN = re.compile(r"^(\w*://|)(.*)@")
__all__ = ["DataType", "Milvus", "MilvusError", "MilvusException", "MilvusUnavailable", "without_password"]

SERVER_COMMAND = "docker compose up -d"
TRY_AGAIN_SECONDS = 0.5


class MilvusError(RecommenderError):
    """Milvus cannot be reached, or does not hold what is asked for. The message names the remedy."""


class MilvusUnavailable(MilvusError):
    """Milvus does not answer now, but may later: a server that is starting, a Lite folder that is in use."""


_OTHER_PORT = "that port is not Milvus'; Milvus listens on 19530 unless told otherwise"
_FAULTS = {
    "UNAUTHENTICATED": "it refuses the user or the password; give --token user:password",
    "PERMISSION_DENIED": "this user may not do that; give another --token",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; name its authority's: --tls-ca FILE",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; begin --uri with http://",
    "security handshaker": "--tls-ca is not a file of certificates in PEM form",
    "Socket closed": "it hangs up; if it speaks TLS, begin --uri with https://",
    "http1.x server": _OTHER_PORT,
    "HTTP/2": _OTHER_PORT,
    "UNIMPLEMENTED": _OTHER_PORT,
    "resolving": "there is no host of that name",
}
"""What gRPC says, and what that means to the user. The first that fits counts."""
_DOWN = f"nothing answers there; start it: {SERVER_COMMAND}"
_PASSING_FAULTS = {
    "holds the lock": f"another process has it open; let it end, or run a server: {SERVER_COMMAND}",
    "not ready": "it is still starting",
    "UNAVAILABLE": _DOWN,
    "Fail connecting": _DOWN,
}
"""The same of gRPC, Milvus and Milvus Lite, where waiting may help."""


class _LiteLog(logging.Handler):
    """Keeps why Milvus Lite does not open; it tells its log only."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the exception of a record."""
        if record.exc_info:
            self.reason = str(record.exc_info[1])


_lite_log = _LiteLog()
logging.getLogger("milvus_lite.server_manager").addHandler(_lite_log)


class Milvus:
    """A connection to a Milvus server or to Milvus Lite, which lets other processes in only when this one has ended.

    Args:
        uri: A path that ends in `.db` for Milvus Lite, `http://host:port` or `https://host:port` for a server.
        token: `user:password` or an API key, for a server that asks for one. It never shows in a message.
        tls_ca: The PEM file of the authority that signed the server's certificate, if not a public one.
        wait: For how many seconds to try again while Milvus does not answer.
        create: Whether to make a Lite folder that is not there.

    Raises:
        MilvusError: The path is not usable, or there is no server.
        MilvusUnavailable: Milvus did not answer for so long.
    """

    def __init__(
        self, uri: str, token: str = "", tls_ca: Path | None = None, wait: float = 0, create: bool = False
    ) -> None:
        self.uri = without_password(uri)
        """For messages."""
        self.is_server = "://" in uri
        self.lite_folder = None if self.is_server else _lite_folder(self.uri, create)
        self._secrets = _secrets(uri, token)
        options = {"server_pem_path": str(tls_ca.expanduser())} if tls_ca else {}
        self.client = self._connect(str(self.lite_folder or uri), wait, token=token, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _connect(self, address: str, wait: float, **options: str) -> MilvusClient:
        started = time.monotonic()
        layout = "{desc}: {n:.0f} of at most {total:.0f} s"
        quiet = None if wait else True
        with tqdm(desc=f"waiting for {self.uri}", total=wait, bar_format=layout, disable=quiet, leave=False) as bar:
            while True:
                _lite_log.reason = ""
                try:
                    with self.errors("cannot connect", (MilvusException, RpcError, ValueError, OSError)):
                        client = MilvusClient(address, **options)
                        client.list_collections()  # A server that is starting lets connect, but does not answer yet.
                        return client
                except MilvusUnavailable as error:
                    waited = time.monotonic() - started
                    if waited > wait:
                        hint = f" (tried for {waited:.0f} s)" if wait else ", or wait for it: --wait SECONDS"
                        raise MilvusUnavailable(f"{error}{hint}") from error
                    bar.update(waited - bar.n)
                    time.sleep(TRY_AGAIN_SECONDS)

    @contextmanager
    def errors(self, problem: str, kinds: tuple[type[Exception], ...] = (MilvusException, RpcError)) -> Iterator[None]:
        """Turns what Milvus raises into one line that says what it means.

        Args:
            problem: What cannot be done.
            kinds: Of the errors that count as Milvus'.

        Raises:
            MilvusError: Milvus raised an error.
            MilvusUnavailable: It did, and may not the next time.
        """
        try:
            yield
        except kinds as error:
            said = f"{error} {error.__cause__} {_lite_log.reason}"
            for kind, faults in ((MilvusError, _FAULTS), (MilvusUnavailable, _PASSING_FAULTS)):
                meanings = [meaning for sign, meaning in faults.items() if sign in said]
                if meanings:
                    raise kind(f"{self.uri}: {problem}: {meanings[0]}") from error
            reason = " ".join(str(_lite_log.reason or getattr(error, "message", "") or error).split())
            for secret in self._secrets:
                reason = reason.replace(secret, "***")
            raise self.damaged(f"{problem}: {reason}") from error

    def damaged(self, problem: str) -> MilvusError:
        """Returns an error whose remedy is to index the movies anew."""
        if self.lite_folder:
            return MilvusError(f"{self.uri}: {problem}; if its files are damaged, delete that folder", Step.INDEX)
        return MilvusError(f"{self.uri}: {problem}", Step.INDEX)


def without_password(uri: str) -> str:
    """Returns an address without user and password; these may hold any character, and the scheme be missing."""
    is_lite = "://" not in uri and uri.endswith(".db")  # A path may hold an @ too.
    return uri if is_lite else _LOGIN.sub(r"\1", uri)


def _secrets(uri: str, token: str) -> list[str]:
    """Returns what must not show, the longest first."""
    match = _LOGIN.match(uri)
    logins = [token, match[2] if match else ""]
    secrets = [secret for login in logins for secret in (login, login.partition(":")[2]) if secret]
    return sorted(secrets, key=len, reverse=True)


def _lite_folder(uri: str, create: bool) -> Path:
    """Returns the path as Milvus Lite wants it.

    Raises:
        MilvusError: It cannot be one, or there is nothing and nothing is to be made.
    """
    folder = Path(uri).expanduser()
    if folder.suffix != ".db":
        begins = "a server's address begins with http:// or https://"
        raise MilvusError(f"{uri!r}: a Milvus Lite path ends in .db, {begins}")
    if folder.is_file():
        raise MilvusError(f"{uri}: this is a file, Milvus Lite needs a folder of its own; choose another --uri")
    if not create and not folder.is_dir():
        raise MilvusError(f"{uri}: there are no movies here yet", Step.INDEX)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MilvusError(f"{uri}: cannot make its folder: {error.strerror}; choose another --uri") from error
    return folder
