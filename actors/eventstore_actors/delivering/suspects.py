"""Tells an event that always fails from a target that is away. Pure.

An event that is given up is a suspect until another one succeeds: the target works, so it was the
event. If events of several streams are given up and nothing succeeds between them, the target is
away. Then no more is parked, the next event is tried until it succeeds, and the suspects are
delivered again.
"""

from __future__ import annotations

__all__ = ["SUSPECTS", "Suspects"]

SUSPECTS = 2
"""Keys that may be given up in a row. One more is an outage."""


class Suspects:
    """The keys of one subscription that were given up since the last success."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self.is_outage = False
        """Too many were given up in a row: nothing more is parked until a success."""

    def may_park(self, key: str) -> bool:
        """Return whether an event of *key* that is given up may be parked, as another suspect."""
        if key not in self._keys and len(self._keys) >= SUSPECTS:
            self.is_outage = True
        return not self.is_outage

    def parked(self, key: str) -> None:
        """Note that an event of *key* was given up and parked."""
        if key not in self._keys:
            self._keys.append(key)

    def succeeded(self) -> tuple[str, ...]:
        """Note that an event was handled.

        Returns:
            The keys that are to be delivered again: they were given up in an outage.
        """
        again = tuple(self._keys) if self.is_outage else ()
        self._keys.clear()
        self.is_outage = False
        return again
