"""The part of the storage port that tells other processes what has changed.

Deadlines are those of `eventstore.ports.storage`.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Protocol

__all__ = ["AnnounceSession", "Announced"]


class Announced(Enum):
    """Result of an announcement."""

    SENT = "sent"
    UNHEARD = "unheard"
    """No other session listens to the events of the store, so nothing was sent."""
    LOST = "lost"


class AnnounceSession(Protocol):
    """A connection that notifies other processes. Used by one thread; reconnects by itself."""

    def announce(
        self, *, events: bool, subscriptions: Collection[int], deadline: float
    ) -> Announced:
        """Notify all listeners. Never raises.

        Args:
            events: Whether new events were committed.
            subscriptions: Ids of the subscriptions that changed.
            deadline: When to give up.

        Returns:
            Whether it was sent. After a lost one, other processes learn of the change by polling.
        """

    def committed(self, transactions: Collection[int], deadline: float) -> dict[int, bool]:
        """Look at *transactions*, given by their ids. Never raises.

        Returns:
            Whether they committed, of those that have ended. In doubt, they did.
        """

    def close(self) -> None: ...
