"""A TCP proxy that delivers every byte a fixed time after it arrived, at full bandwidth."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from queue import SimpleQueue
from typing import Self

__all__ = ["DelayLine"]

_CHUNK = 65_536


class DelayLine:
    """Listens on loopback in front of a unix socket; a context manager.

    Bytes that are under way do not hold up those behind them: the line adds latency only.
    """

    def __init__(self, target: str, round_trip: float) -> None:
        """Not started before it is entered.

        Args:
            target: Path of the unix socket.
            round_trip: Seconds that a request and its answer spend on the line.
        """
        self._target = target
        self._one_way = round_trip / 2
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the accept, which a close alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for end in self._sockets:
            _end(end)
        for thread in self._threads[1:]:
            thread.join()
        for end in self._sockets:
            end.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="delay-line", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._sockets += [near, far]
            try:
                far.connect(self._target)
            except OSError:  # there is no server for the moment
                _end(near)
                continue
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                self._start(self._receive, source, under_way)
                self._start(_deliver, sink, under_way)

    def _receive(self, source: socket.socket, under_way: SimpleQueue[tuple[float, bytes]]) -> None:
        """Pass on what arrives, with the moment when it is due; nothing at the end."""
        while True:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + self._one_way, data))
            if not data:
                return


def _deliver(sink: socket.socket, under_way: SimpleQueue[tuple[float, bytes]]) -> None:
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if data:
                sink.sendall(data)
                continue
        except OSError:
            pass
        _end(sink)
        return


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
