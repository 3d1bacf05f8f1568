"""UmaDB: a server written in Rust with its own files, not PostgreSQL."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle
from typing import Any, ClassVar, Self

import msgspec
from uuid_utils.compat import uuid7

from benchmarks.contenders.contender import InThreads, Load, Operation, Place
from benchmarks.contenders.load import EVENT_TYPE, EXISTING, new_stream, payload
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement

__all__ = ["Uma"]

_PAGE = 1_000
_SERVER = "import sys, umadb; umadb.run_server_from_args(['umadb', *sys.argv[1:]])"
_START_TIMEOUT = 20.0

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Uma(InThreads):
    """One client, and the server if it was started here; a stream is a tag."""

    name: ClassVar = "umadb"

    def __init__(self, address: str, server: subprocess.Popen[bytes] | None = None) -> None:
        import umadb

        self.address = address
        self._module = umadb
        self._server = server
        self.client = _connected(address)

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("umadb") else "skipped, umadb is not installed"

    @classmethod
    def version(cls) -> str:
        return f"umadb {version('umadb')}"

    @classmethod
    def start(cls, place: Place) -> Self:
        listen = f"127.0.0.1:{_free_port()}"
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, "--listen", listen, "--db-path", place.folder / "uma"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return cls(f"http://{listen}", server)

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(address)

    def close(self) -> None:
        self.client.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    # ── appending ────────────────────────────────────────────────────────────────────────────────

    def appender(self, load: Load) -> Operation:
        data = payload(load.size)

        streams = self._existing if load.existing else iter(new_stream, "")

        def append() -> None:
            stream = next(streams)
            condition = None if load.existing else self._unless_exists(stream)
            self.client.append(self._events(stream, load.events, data), condition)

        return append

    def _events(self, stream: str, number: int, data: object) -> list[Any]:
        return [
            self._module.Event(EVENT_TYPE, _encode(data), [stream], uuid7()) for _ in range(number)
        ]

    def _unless_exists(self, stream: str) -> Any:
        return self._module.AppendCondition(self._query(stream))

    def _query(self, stream: str) -> Any:
        return self._module.Query([self._module.QueryItem(tags=[stream])])

    @cached_property
    def _existing(self) -> Iterator[str]:
        names = [new_stream() for _ in range(EXISTING)]
        self.client.append([event for name in names for event in self._events(name, 1, payload())])
        return cycle(names)

    def fill(self, stream: str, number: int) -> None:
        for start in range(0, number, _PAGE):
            self.client.append(self._events(stream, min(_PAGE, number - start), payload()))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def reader(self, stream: str, length: int) -> Operation:
        def read() -> None:
            assert _decoded(self.client.read(self._query(stream))) == length

        return read

    def read_all(self) -> Measurement:
        return timed(self._read_everything)

    def _read_everything(self) -> int:
        return _decoded(self.client.read())


def _decoded(response: Any) -> int:
    read = 0
    while batch := response.next_batch():
        read += len([_decode(sequenced.event.data) for sequenced in batch])
    return read


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _connected(address: str) -> Any:
    """Connect to a server that may still be starting."""
    import umadb

    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            client = umadb.Client(address)
            client.head()
            return client
        except Exception:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
