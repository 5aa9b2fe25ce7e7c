"""Connects to a Milvus server or Milvus Lite, and translates their errors.

Only this package imports pymilvus, and this module prepares the environment for it first.
"""

import logging
import logging.handlers
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from tqdm import tqdm

from recommender.errors import RecommenderError, Step
from recommender.files import PathArg

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# pymilvus reads these when it is imported, and fails on a value that is not an http address.
os.environ["MILVUS_URI"] = os.environ["MILVUS_DEFAULT_CONNECTION"] = ""
for _name in ("no_proxy", "NO_PROXY"):  # A proxy cannot reach this machine's Milvus; Lite listens on loopback.
    os.environ[_name] = os.environ.get(_name, "") + ",localhost,127.0.0.1"

from grpc import RpcError
from pymilvus import DataType as DataType
from pymilvus import MilvusClient as MilvusClient
from pymilvus import MilvusException
from pymilvus.client.utils import SciPyHelper

SciPyHelper._checked = True  # Else it imports scipy, for 0.1 s, to ask whether vectors are sparse, which ours are not.
# They log tracebacks of what they raise. Without a handler of its own, Milvus Lite's would go to standard error.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
for _name in ("milvus_lite", "faiss"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

MILVUS_FAILURES = (MilvusException, RpcError)
"""What pymilvus raises."""
LITE_WAIT = 10.0
"""Seconds to wait for another process that has a Lite folder open, unless the caller says how long."""
ADDRESS_RULE = "--uri takes a folder that ends in .db, or http://host:19530 and --token user:password for a server"
SERVER_REMEDY = "no server answers there; correct the address, or start it: docker compose up -d"

# Milvus Lite logs why it does not open, and raises something else.
_lite_log = logging.handlers.BufferingHandler(1000)
logging.getLogger("milvus_lite.server_manager").addHandler(_lite_log)
_open_connections: WeakSet["MilvusConnection"] = WeakSet()


class MilvusError(RecommenderError):
    """Milvus cannot be reached, or does not hold what is asked for. The message names the remedy."""


class MilvusUnavailable(MilvusError):
    """Milvus does not answer yet: a server is starting, or another process has the Lite folder open."""


class MilvusConnection(AbstractContextManager["MilvusConnection"]):
    """A connection to a Milvus server, or to Milvus Lite, whose folder only one process at a time can open.

    Args:
        uri: A path that ends in `.db` for Milvus Lite; `http://host:port` or `https://host:port` for a server.
        token: `user:password` or an API key for a server. Messages never contain it.
        tls_ca: The PEM file of the authority that signed the server's certificate, if not a public one.
        wait: Seconds to retry while Milvus does not answer; by default `LITE_WAIT` for Lite, 0 for a server.
        create: Whether to create a missing Lite folder.

    Raises:
        MilvusError: The address cannot be used, or the server refuses the connection.
        MilvusUnavailable: Milvus did not answer in time.
    """

    def __init__(
        self, uri: str, token: str = "", tls_ca: PathArg = "", wait: float | None = None, create: bool = False
    ) -> None:
        self.uri = uri
        self.is_server = "://" in uri
        self._folder = None if self.is_server else Path(os.path.abspath(os.path.expanduser(uri)))
        is_other_path = self._folder and (self._folder.suffix != ".db" or self._folder.is_file())
        if is_other_path or (self.is_server and "@" in uri):
            raise MilvusError(ADDRESS_RULE)  # Without the address, which may hold a password.
        if self._folder and not create and not self._folder.is_dir():
            raise MilvusError(f"{uri}: there are no movies here yet", Step.INDEX)
        address, certificate = str(self._folder or uri), os.path.expanduser(tls_ca)
        default_wait = 0 if self.is_server else LITE_WAIT
        deadline = time.monotonic() + (default_wait if wait is None else wait)
        with tqdm(desc=f"waiting for {uri}", bar_format="{desc}: {elapsed}", delay=1, disable=None) as bar:
            while True:
                _lite_log.buffer.clear()
                try:
                    with self.translate_errors("cannot connect", ValueError):
                        if self._folder:
                            self._folder.parent.mkdir(parents=True, exist_ok=True)
                        # Not dedicated, close() would leave it open for the next client of the same address.
                        self.client = MilvusClient(address, token=token, server_pem_path=certificate, dedicated=True)
                        self.client.list_collections()  # A starting server accepts connections before it answers.
                        break
                except MilvusUnavailable as error:
                    if time.monotonic() >= deadline:
                        raise MilvusUnavailable(f"{error}, or wait longer: --wait SECONDS") from error
                    bar.update()
                    time.sleep(0.2)
        _open_connections.add(self)

    def close(self) -> None:
        """Closes the connection; the last one to a Lite folder lets other processes open it."""
        self.client.close()
        _open_connections.discard(self)
        if self._folder and not any(other._folder == self._folder for other in _open_connections):
            from milvus_lite.server_manager import server_manager_instance  # A server needs no Milvus Lite.

            server_manager_instance.release_server(str(self._folder))

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def translate_errors(self, problem: str, *kinds: type[Exception]) -> Iterator[None]:
        """Turns exceptions of Milvus, and those of `kinds`, into one-line errors; `problem` names what failed.

        Raises:
            MilvusError: Milvus raised an error.
            MilvusUnavailable: Milvus raised an error that may pass.
        """
        try:
            yield
        except (*MILVUS_FAILURES, OSError, *kinds) as error:
            logged = [str(record.exc_info[1]) for record in _lite_log.buffer if record.exc_info]
            details, problem = f"{error} {error.__cause__} {logged}", f"{self.uri}: {problem}"
            if self._folder and "holds the lock" in details:
                holder = _lock_holder(self._folder)
                raise MilvusUnavailable(f"{problem}: {holder} has it open; close that program") from error
            if self.is_server and "UNAUTHENTICATED" in details:
                raise MilvusError(f"{problem}: wrong user or password; give --token user:password") from error
            if self.is_server and re.search("UNAVAILABLE|Fail connecting|not ready", details):
                raise MilvusUnavailable(f"{problem}: {SERVER_REMEDY}") from error
            problem += ": " + " ".join((logged[-1] if logged else str(getattr(error, "message", error))).split())[:500]
            # To build the collection again helps against damaged files, not against a full disk or a wrong address.
            if self.is_server or "[errno" in details.lower():
                raise MilvusError(problem) from error
            raise MilvusError(f"{problem}; if its files are damaged, delete that folder", Step.INDEX) from error


def _lock_holder(folder: Path) -> str:
    """Returns which process has a Lite folder open, as far as Linux says."""
    with suppress(OSError, StopIteration):
        inode = f":{(folder / 'LOCK').stat().st_ino} "
        lock = next(line for line in Path("/proc/locks").read_text().splitlines() if inode in line)
        return f"process {lock.split()[4]}"  # 1: FLOCK ADVISORY WRITE PID ...
    return "another process"
