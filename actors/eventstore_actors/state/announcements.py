"""What is still to be announced to other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from eventstore_actors.kernel.pulse import Pulse

__all__ = ["Announcements", "News"]


class News(NamedTuple):
    """What one announcement says: where to look, and nothing else."""

    events: bool
    """New events were committed."""
    subscriptions: frozenset[int]
    """Ids of the subscriptions that were changed."""


class Announcements:
    """Collects news from any thread; one thread takes and sends them.

    However much is noted until then, it is one announcement.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._events = False
        self._subscriptions: set[int] = set()
        self._closed = False
        self.pulse = Pulse()
        """Awaits the announcement of the oldest news."""

    def note_events(self) -> None:
        """Note that new events were committed."""
        # Looked at without the lock: what is set already is going to be sent.
        if not self._events:
            with self._changed:
                self._events = True
                self._note()

    def note_subscriptions(self, ids: Iterable[int]) -> None:
        """Note that subscriptions were changed."""
        with self._changed:
            self._subscriptions.update(ids)
            self._note()

    def take(self, events_from: float = 0.0) -> News | None:
        """Block until there is something to announce.

        Args:
            events_from: Moment of `time.monotonic` before which events alone are no reason.

        Returns:
            None after `close`, when everything was taken.
        """
        with self._changed:
            while not (self._subscriptions or self._closed):
                left = events_from - time.monotonic() if self._events else None
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            if not (self._events or self._subscriptions):
                return None
            news = News(self._events, frozenset(self._subscriptions))
            self._events = False
            self._subscriptions.clear()
            return news

    def sent(self) -> None:
        """Note that what was taken last is announced, or lost."""
        with self._changed:
            self.pulse.turned()
            if self._events or self._subscriptions:
                self.pulse.await_turn()

    def open(self) -> None:
        """Let `take` wait again, after a `close`."""
        with self._changed:
            self._closed = False

    def close(self) -> None:
        """Let `take` return what is left, and then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _note(self) -> None:
        self.pulse.await_turn()
        self._changed.notify()
