"""How long a commit waits for the callers of the one before it. Pure: no thread, no clock."""

from __future__ import annotations

__all__ = ["Gathering"]

FEW = 5
"""Events in a commit up to which waiting for its callers is worth it; and in an append, sharing."""

EACH = 15e-6
"""Seconds that a caller takes to come back, each after the other."""

SOON = 1e-3
"""Seconds after a commit in which its callers may be on their way."""


class Gathering:
    """Lets a few callers that append one event after the other share their commits.

    Else half of them commit while the others come back, in turn, and two callers are no faster than
    one. After a commit of many it would gain nothing: they come back while the next one runs.
    """

    def __init__(self) -> None:
        self._events = 0
        self._ended = 0.0

    def committed(self, appends: int, events: int, now: float) -> bool:
        """Note a commit; tell whether its callers had better share the next one, too.

        Args:
            appends: How many it had; each of them has a caller.
            events: How many all of them had together.
            now: When it ended.
        """
        self._events, self._ended = events, now
        return appends > 1 and events <= FEW * appends

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the next commit; 0 when asked again."""
        events, self._events = self._events, 0
        return events * EACH if events <= FEW and now < self._ended + SOON else 0.0
