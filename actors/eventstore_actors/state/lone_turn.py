"""Exclusive use of a process by one event of which the process may die."""

from __future__ import annotations

import threading
import time
from collections import deque

from eventstore_actors.kernel.actor import try_tell
from eventstore_actors.kernel.messages import Continue, Ref

__all__ = ["LoneTurn"]


class LoneTurn:
    """The right of one subscription of a store to have an event alone in flight.

    A death then counts against one event. The turn goes round. Who has it for longer than another
    one waits loses it, though its event is still in flight.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue = deque[Ref]()
        """The first one has the turn."""
        self._since = 0.0

    def take(self, subscription: Ref, longest: float) -> float | None:
        """Take the turn, or queue for it; who gets it later is told to continue.

        Args:
            subscription: Who asks. It may ask again.
            longest: Seconds for which it lets another one have it.

        Returns:
            None if it has the turn; else when to ask again at the latest.
        """
        with self._lock:
            if subscription not in self._queue:
                self._queue.append(subscription)
                if len(self._queue) == 1:
                    self._since = time.monotonic()
            if self._queue[0] != subscription and time.monotonic() >= self._since + longest:
                self._pass_on()
            return None if self._queue[0] == subscription else self._since + longest

    def leave(self, subscription: Ref) -> None:
        """Give the turn back, or queue for it no more; a no-op for who does neither."""
        with self._lock:
            if self._queue and self._queue[0] == subscription:
                self._pass_on()
            elif subscription in self._queue:
                self._queue.remove(subscription)

    def _pass_on(self) -> None:
        self._queue.popleft()
        self._since = time.monotonic()
        if self._queue:
            try_tell(self._queue[0], Continue())
