"""A bell that one thread waits for together with a socket, and that any thread may ring."""

from __future__ import annotations

import contextlib
import selectors
import socket

__all__ = ["Bell"]


_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Without a file of its own in the kernel: a third of the cost, and it is paid per commit."""


class Bell:
    """Rings until it is cleared."""

    def __init__(self) -> None:
        self._rope, self._clapper = socket.socketpair()
        self._rope.setblocking(False)
        self._clapper.setblocking(False)

    def ring(self) -> None:
        # Full: it rings already. Closed: nobody waits.
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._clapper.recv(1024):
                pass

    def wait(self, timeout: float, other: int | None = None) -> tuple[bool, bool]:
        """Block at most *timeout* seconds; tell whether it rings and whether *other* has news.

        Args:
            timeout: Seconds; 0 or less only looks.
            other: File number of a socket to wait for as well.
        """
        with _Selector() as selector:
            selector.register(self._clapper, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, timeout))}
        return self._clapper.fileno() in ready, other in ready

    def close(self) -> None:
        self._rope.close()
        self._clapper.close()
