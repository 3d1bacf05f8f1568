"""Time limit of the next connect and the pause before it, from the previous ones. Pure."""

from __future__ import annotations

__all__ = ["Patience"]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5


class Patience:
    """Doubles the time limit after a connect without an answer, and the pause after a failure.

    A short first attempt limits the cost of a lost packet; a slow network gets more time later.
    """

    def __init__(self, first: float, longest: float) -> None:
        """Start with attempts of *first* seconds; *longest* is the upper bound."""
        self._first = first
        self._longest = longest
        self.seconds = first
        """Time limit of the next attempt."""
        self.pause = 0.0
        """Seconds to wait before the next attempt."""

    def succeeded(self) -> None:
        self.seconds = self._first
        self.pause = 0.0

    def failed(self, after: float) -> None:
        """Record that an attempt failed after *after* seconds."""
        self.pause = min(2 * self.pause or _FIRST_PAUSE, _LONGEST_PAUSE)
        if after >= self.seconds:
            self.seconds = min(2 * self.seconds, self._longest)
