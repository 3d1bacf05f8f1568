"""A model of restarts: a budget per child, growing delays, giving up.

Pure, and independent of the product: written from the design alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError

__all__ = ["ROUNDING", "Place"]

LONGEST_DELAY = 2.0
"""Upper bound for the delay of a restart, in seconds."""

ROUNDING = 1e-6
"""Tolerance for sums of moments, in seconds."""


@dataclass(eq=False)
class Place:
    """One place in the tree; its child may crash *limit* times within *window* seconds."""

    limit: int
    window: float
    _crashes: list[float] = field(default_factory=list)
    """Moments of the crashes that count."""
    _delays: dict[int, float] = field(default_factory=dict)
    """Delay of a restart by the number of crashes within the window."""

    def may_restart(self, error: BaseException, now: float) -> bool:
        """Note a crash; return whether a restart is allowed.

        G24: more crashes than the limit within the window are too many. G25: a crash because the
        database cannot be reached never counts.
        """
        if _is_away(error):
            return True
        self._crashes.append(now)
        return self._within_the_window(now) <= self.limit

    def check_delay(self, delay: float, error: BaseException, now: float) -> None:
        """Check the delay of the restart after *error*."""
        if _is_away(error):
            assert 0 < delay <= LONGEST_DELAY + ROUNDING, "not in a tight loop"
        else:
            self._check_that_it_grows(delay, self._within_the_window(now))

    def _check_that_it_grows(self, delay: float, crashes: int) -> None:
        """Check that the first restart has no delay, and that later ones stay within the window."""
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
