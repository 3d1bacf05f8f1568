"""A network between a service and its server that loses announcements, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

from psycopg.conninfo import make_conninfo

from tests.support.proxy import Proxy

__all__ = ["DeafProxy"]

_ANNOUNCEMENT = b"A"
"""Type of PostgreSQL's message NotificationResponse."""


class DeafProxy(Proxy):
    """Passes on everything, but no announcement while it is *deaf*, as a pooler does."""

    def __init__(self, dsn: str, *, deaf: bool = False) -> None:
        # Without negotiation every byte from the server belongs to a message.
        super().__init__(make_conninfo(dsn, gssencmode="disable"))
        self.deaf = deaf
        self.lost = 0
        """Announcements lost so far."""
        self._connection = threading.local()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        self._connection.begun = b""
        super()._pump(client, server)

    def _let_through(self, data: bytes, *, to_server: bool) -> bytes:
        if to_server:
            return data
        messages = self._connection.begun + data
        passed, ended = b"", 0
        for begin, end in _messages(messages):
            ended = end
            if self.deaf and messages[begin : begin + 1] == _ANNOUNCEMENT:
                self.lost += 1
            else:
                passed += messages[begin:end]
        self._connection.begun = messages[ended:]
        return passed


def _messages(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where each whole message begins and ends: a type, a length with itself, a body."""
    begin = 0
    while len(data) >= begin + 5:
        end = begin + 1 + int.from_bytes(data[begin + 1 : begin + 5])
        if end > len(data):
            return
        yield begin, end
        begin = end
