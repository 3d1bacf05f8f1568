"""Decides whether and when a crashed child is restarted. Pure: no actor, no thread, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError

__all__ = ["Decision", "GiveUp", "RestartAfter", "RestartBudget"]

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Restart the child after *delay* seconds; 0: at once."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not restart the child: it crashed *crashes* times within the window."""

    crashes: int


Decision = RestartAfter | GiveUp


class RestartBudget:
    """The crashes of one child: at most *max_restarts* restarts within *window* seconds.

    The first restart is immediate; the delay of each further one doubles. All delays together take
    less than half the window: else a child that always crashes would spread its crashes so far
    that no window ever holds too many.

    A crash because the database cannot be reached costs a delay and is not counted.
    """

    def __init__(self, max_restarts: int, window: float) -> None:
        self._max_restarts = max_restarts
        self._window = window
        self._longest = min(_LONGEST_DELAY, window / (2 * max(1, max_restarts)))
        self._counted: deque[float] = deque()
        self._uncounted: deque[float] = deque(maxlen=16)

    def crashed(self, error: BaseException, now: float) -> Decision:
        """Note a crash with *error* at the moment *now*, and decide about the restart."""
        if isinstance(error, StorageUnavailableError | OutcomeUnknownError):
            return self._note(self._uncounted, now, at_once=0)
        decision = self._note(self._counted, now, at_once=1)
        if len(self._counted) > self._max_restarts:
            return GiveUp(len(self._counted))
        return decision

    def _note(self, crashes: deque[float], now: float, *, at_once: int) -> RestartAfter:
        while crashes and crashes[0] <= now - self._window:
            crashes.popleft()
        crashes.append(now)
        doublings = len(crashes) - 1 - at_once
        if doublings < 0:
            return RestartAfter(0.0)
        return RestartAfter(min(_FIRST_DELAY * 2.0 ** min(doublings, 60), self._longest))
