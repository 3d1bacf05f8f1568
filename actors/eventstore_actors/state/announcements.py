"""What is still to be announced to other processes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from eventstore_actors.kernel.pulse import Pulse
from eventstore_actors.state.transaction_looks import TransactionLooks

__all__ = ["Announcements", "News"]


class News(NamedTuple):
    """What one announcement says: where to look, and nothing else."""

    events: bool
    """New events were committed."""
    subscriptions: frozenset[int]
    """Ids of the subscriptions that were changed."""


class Announcements:
    """Collects news from any thread; one thread takes and sends them.

    However much is noted until then, it is one announcement. The same thread looks whether
    transactions of callers have ended, whose events are news when they have committed.
    """

    def __init__(self, longest_pause: float = 1.0) -> None:
        """Create it; *longest_pause* is that of `TransactionLooks`."""
        self._changed = threading.Condition(threading.Lock())
        self._events = False
        self._subscriptions: set[int] = set()
        self._looks = TransactionLooks(longest_pause)
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

    def note_transaction(self, transaction_id: int) -> None:
        """Note that a transaction of a caller has new events, and has not ended."""
        with self._changed:
            self._looks.add(transaction_id, time.monotonic())
            self._changed.notify()

    def take(self, events_from: float = 0.0) -> News | None:
        """Block until there is something to announce, or it is time to look at transactions.

        Args:
            events_from: Moment of `time.monotonic` before which events alone are no reason.

        Returns:
            Nothing new if transactions are to be looked at. None after `close`, when everything
            was taken.
        """
        with self._changed:
            while not (self._subscriptions or self._closed):
                now = time.monotonic()
                due = events_from if self._events else math.inf
                if due <= now:
                    break
                if self._looks.due <= now:
                    return News(events=False, subscriptions=frozenset())
                until = min(due, self._looks.due)
                self._changed.wait(None if until == math.inf else until - now)
            if not (self._events or self._subscriptions):
                return None
            news = News(self._events, frozenset(self._subscriptions))
            self._events = False
            self._subscriptions.clear()
            return news

    def transactions(self) -> frozenset[int]:
        """Return the transactions to look at now; none if it is not time yet."""
        with self._changed:
            return self._looks.take(time.monotonic())

    def forget_transactions(self, ids: Iterable[int]) -> None:
        """Note that these have ended."""
        with self._changed:
            self._looks.remove(ids)

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
