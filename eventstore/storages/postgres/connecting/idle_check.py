"""Closes connections that have not been used for a while."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from eventstore.storages.postgres.connecting.watchdog import Watchdog

__all__ = ["Closable", "IdleCheck"]


class Closable(Protocol):
    """Has connections that may be closed between two calls."""

    @property
    def closed(self) -> bool: ...

    def close_unused(self, since: float) -> None: ...


class IdleCheck:
    """Looks now and then, in the watchdog's thread: it needs no thread of its own."""

    def __init__(self, watchdog: Watchdog, idle: float) -> None:
        """Prepare; the first `add` begins to look.

        Args:
            watchdog: Calls `check`.
            idle: Seconds after which an unused connection is closed, or a quarter more.
        """
        self._watchdog = watchdog
        self._idle = idle
        self._lock = threading.Lock()
        self._watched: list[Closable] = []

    def add(self, closable: Closable) -> None:
        """Close the unused connections of *closable* from now on, until it is closed."""
        with self._lock:
            begins = not self._watched
            kept = [each for each in self._watched if not (each.closed or each is closable)]
            self._watched = [*kept, closable]
        if begins:
            self._watchdog.schedule(self, time.monotonic() + self._idle / 4)

    def check(self, now: float) -> float:
        """Close what is unused; see `Watched.check`."""
        with self._lock:
            watched = self._watched
        for each in watched:
            each.close_unused(now - self._idle)
        return now + self._idle / 4

    def scheduled_at(self, moment: float) -> None:
        """Do nothing: it is always scheduled."""
