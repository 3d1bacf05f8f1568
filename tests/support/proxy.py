"""A TCP proxy in front of a PostgreSQL server that simulates a slow, silent or cut network."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Proxy"]

_CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards bytes in both directions until it is told to interfere. One per test."""

    def __init__(self, dsn: str, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on loopback, in front of the server that *dsn* names."""
        self._target = conninfo_to_dict(dsn)
        self._listening = socket.create_server((address, port))
        self.port = self._listening.getsockname()[1]
        self.dsn = make_conninfo(dsn, host=address, port=self.port, sslmode="disable")
        self._changed = threading.Lock()
        self._swallowed: int | None = None
        self.lost_bytes = 0
        """Bytes swallowed so far, in both directions."""
        self._delay = 0.0
        self._pause = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = False
        self._refusing = False
        self._threads: list[threading.Thread] = []
        self._accepting = self._start(self._accept)

    def swallow(self, after_bytes_to_server: int = 0) -> None:
        """Act as a black hole: connections stay open, and nothing arrives in either direction.

        Args:
            after_bytes_to_server: Number of bytes that still reach the server.
        """
        with self._changed:
            self._swallowed = after_bytes_to_server

    def lead_to(self, dsn: str) -> None:
        """Lead to another server from now on, as a name does that is moved; old connections end."""
        self._target = conninfo_to_dict(dsn)
        self.cut()

    def refuse(self) -> None:
        """Close every new connection at once, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        self._refusing = False

    def delay(self, seconds: float) -> None:
        """Delay everything by *seconds*, in both directions."""
        self._delay = seconds

    def hurry(self) -> None:
        """Pass on what is delayed, and delay nothing any more."""
        self._delay = 0.0
        self._pause.set()

    def pass_on(self, *, cut: bool = True) -> None:
        """Forward again. Old connections have lost bytes and are cut.

        Args:
            cut: False: keep the old connections open, waiting for the bytes they lost.
        """
        if cut:
            self.cut()
        with self._changed:
            self._swallowed = None

    def cut(self) -> None:
        """Close every connection at once."""
        with self._changed:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for side in pair:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Reset every connection (RST) instead of closing it."""
        with self._changed:
            pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                server.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        # Wakes the thread in accept; a close alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        # Until it has ended, it may accept one more connection, which would not be cut.
        self._accepting.join()
        self.cut()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, work: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name="proxy", daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server = self._connect()
            except OSError:  # the server is down
                client.close()
                continue
            with self._changed:
                self._pairs.append((client, server))
            self._threads.append(self._start(self._pump, client, server))

    def _connect(self) -> socket.socket:
        host, port = str(self._target["host"]), int(str(self._target.get("port", 5432)))
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(f"{host}/.s.PGSQL.{port}")
            except OSError:
                server.close()
                raise
            return server
        return socket.create_connection((host, port))

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        """Forward bytes between one client and the server until either side closes."""
        with client, server, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    self._pause.wait(self._delay)
                    sink.sendall(self._let_through(data, to_server=sink is server))

    def _let_through(self, data: bytes, *, to_server: bool) -> bytes:
        with self._changed:
            if self._swallowed is None:
                return data
            passed = data[: self._swallowed] if to_server else b""
            self._swallowed -= len(passed)
            self.lost_bytes += len(data) - len(passed)
            return passed
