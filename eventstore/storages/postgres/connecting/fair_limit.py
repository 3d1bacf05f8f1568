"""A bound on how many do something at once, that serves who waits in the order of arrival."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["FairLimit"]


class FairLimit:
    """A semaphore in which nobody overtakes: a place that becomes free goes to who waits longest.

    `threading.Semaphore` leaves it to whoever runs: busy threads keep the places among themselves,
    and others wait for seconds.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float) -> bool:
        """Take a place; False: none became free for us within *timeout* seconds."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX)):
                return True
        except BaseException:
            # Ctrl-C, for instance: what was given to us meanwhile goes to the next one.
            if not self._withdraw(turn):
                self.release()
            raise
        return not self._withdraw(turn)

    def release(self) -> None:
        """Give the place up, to the next one if somebody waits."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Wait no more; False: the place came in the last moment."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True
