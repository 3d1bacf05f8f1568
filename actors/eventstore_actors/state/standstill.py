"""Measures for how long the events of a subscription have waited without any progress."""

from __future__ import annotations

import time

__all__ = ["Standstill"]


class Standstill:
    """Written by the actor of the subscription, read by any thread."""

    def __init__(self) -> None:
        self._since: float | None = None

    def note(self, *, waits: bool, progressed: bool) -> None:
        """Note whether an event waits to be delivered or acknowledged, and whether one just was."""
        if not waits:
            self._since = None
        elif progressed or self._since is None:
            self._since = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the last progress; 0 if no event waits."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since
