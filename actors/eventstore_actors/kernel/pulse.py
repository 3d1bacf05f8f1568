"""Tells whether a thread goes on: by the turn that is awaited of it."""

from __future__ import annotations

import time

__all__ = ["Pulse"]


class Pulse:
    """The turns of one thread. Any thread awaits the next one, the thread itself makes it."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.until = 0.0
        """Deadline, on `time.monotonic`, of a call that the turn may wait for."""

    def await_turn(self) -> bool:
        """Await a turn from now on; return False if one is awaited already."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def turned(self) -> None:
        """Note that the thread made the turn."""
        self._since = None

    def overdue(self) -> float:
        """Return for how many seconds the turn has been awaited; 0 if none is due."""
        since = self._since
        return 0.0 if since is None else max(0.0, time.monotonic() - max(since, self.until))
