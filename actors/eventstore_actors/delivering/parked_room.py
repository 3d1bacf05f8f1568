"""How many events a subscription has parked, so that they need not be counted each time. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from eventstore.ports.parking import Most, ParkedKey

__all__ = ["ParkedRoom"]


class ParkedRoom:
    """The room for more parked events, as the owner knows it; used by its actor alone.

    Nobody else parks, so there are never more than it knows. There may be fewer.
    """

    def __init__(self, most: Most) -> None:
        self._most = most
        self._events = Counter[str]()
        self._total = 0

    def found(self, keys: Iterable[ParkedKey]) -> None:
        """Note what was counted."""
        self._events = Counter({each.key: each.events for each in keys})
        self._total = self._events.total()

    def events_of(self, key: str) -> int:
        """Return how many events of *key* are parked, at most."""
        return self._events[key]

    def unparked(self, key: str) -> None:
        """Note that nothing of *key* is parked any more."""
        self._total -= self._events.pop(key, 0)

    def bounds_for(self, keys: Iterable[str]) -> Most | None:
        """Note that an event of each of *keys* is being parked.

        Returns:
            The bounds to park them with; None if there is room in any case.
        """
        has_room = True
        for key in keys:
            self._events[key] += 1
            self._total += 1
            has_room = has_room and self._events[key] <= self._most.of_key
        return None if has_room and self._total <= self._most.events else self._most
