"""What the design says of restarts, in few words: a budget per child, waits that grow, giving up.

Pure, and independent of the product: written from the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError

__all__ = ["ROUNDING", "Place"]

LONGEST_DELAY = 2.0
"""Seconds that no restart waits longer for: everything resumes by itself within seconds."""

ROUNDING = 1e-6
"""Seconds that sums of moments may be off."""


@dataclass(eq=False)
class Place:
    """One place in the tree; its child may crash *limit* times within *window* seconds."""

    limit: int
    window: float
    _crashes: list[float] = field(default_factory=list)
    """Moments of those that count."""
    _delays: dict[int, float] = field(default_factory=dict)
    """How long a restart waited, by the crashes within the window."""

    def may_restart(self, error: BaseException, now: float) -> bool:
        """Note a crash.

        G24: one more than the limit within the window is too much. G25: a database that is away
        is nobody's fault, and never counts.
        """
        if _is_away(error):
            return True
        self._crashes.append(now)
        return self._within_the_window(now) <= self.limit

    def check_delay(self, delay: float, error: BaseException, now: float) -> None:
        """Judge how long its child waits for its restart after *error*."""
        if _is_away(error):
            assert 0 < delay <= LONGEST_DELAY, "not in a tight loop"
        else:
            self._check_that_it_grows(delay, self._within_the_window(now))

    def _check_that_it_grows(self, delay: float, crashes: int) -> None:
        """At first it does not wait; never so long that the window forgets the first crash."""
        assert delay == pytest.approx(self._delays.setdefault(crashes, delay))
        assert (delay == 0) == (crashes == 1)
        assert delay <= min(LONGEST_DELAY, self.window / (2 * self.limit)) + ROUNDING
        before = self._delays.get(crashes - 1)
        if before is not None:
            assert before - ROUNDING <= delay
            assert not before or delay <= 2 * before + ROUNDING

    def _within_the_window(self, now: float) -> int:
        return sum(moment > now - self.window for moment in self._crashes)


def _is_away(error: BaseException) -> bool:
    return isinstance(error, StorageUnavailableError | OutcomeUnknownError)
