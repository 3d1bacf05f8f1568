"""A bell for a thread that waits on a socket. Knows no database."""

from __future__ import annotations

import contextlib
import selectors
import socket

__all__ = ["Bell"]

_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Needs no kernel object as epoll does: a third of the cost, which is paid per commit."""


class Bell:
    """Wakes a thread that waits on a socket. Rings until it is cleared."""

    def __init__(self) -> None:
        self._writer, self._reader = socket.socketpair()
        self._writer.setblocking(False)
        self._reader.setblocking(False)

    def ring(self) -> None:
        # A full socket rings already; a closed one has no waiter.
        with contextlib.suppress(OSError):
            self._writer.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(1024):
                pass

    def wait(
        self, timeout: float, other: int | None = None, *, heed_bell: bool = True
    ) -> tuple[bool, bool]:
        """Block until the bell rings or *other* is readable.

        Args:
            timeout: Longest wait in seconds. With 0 or less it does not block.
            other: File number of a socket to wait for as well.
            heed_bell: Whether to wait for the bell. False: only for *other*.

        Returns:
            Whether the bell rings, and whether *other* is readable.
        """
        with _Selector() as selector:
            if heed_bell:
                selector.register(self._reader, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, timeout))}
        return self._reader.fileno() in ready, other in ready

    def close(self) -> None:
        self._writer.close()
        self._reader.close()
