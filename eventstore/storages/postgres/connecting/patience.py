"""How long a connect may take, and how long to wait before it, as the last ones went. Pure."""

from __future__ import annotations

__all__ = ["Patience"]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5


class Patience:
    """Doubles the time for a connect that got no answer, and the pause after any failed one.

    A short first attempt bounds what a lost packet costs; a slow network gets its time as well.
    """

    def __init__(self, first: float, longest: float) -> None:
        """Start with attempts of *first* seconds; none gets more than *longest*."""
        self._first = first
        self._longest = longest
        self.seconds = first
        """The time that the next attempt may take."""
        self.pause = 0.0
        """Seconds to wait before the next attempt."""

    def succeeded(self) -> None:
        self.seconds = self._first
        self.pause = 0.0

    def failed(self, after: float) -> None:
        """Note that an attempt failed, *after* so many seconds."""
        self.pause = min(2 * self.pause or _FIRST_PAUSE, _LONGEST_PAUSE)
        if after >= self.seconds:
            self.seconds = min(2 * self.seconds, self._longest)
