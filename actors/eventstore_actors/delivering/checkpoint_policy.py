"""When a checkpoint is stored that has moved on. Pure: the time is passed in."""

from __future__ import annotations

import math

__all__ = ["CheckpointPolicy"]


class CheckpointPolicy:
    """Holds a checkpoint back until it has moved far enough, or for long enough."""

    def __init__(self, after: float | None, threshold: int | None) -> None:
        """Start with nothing held back.

        Args:
            after: Seconds for which a checkpoint may be held back. None: without limit.
            threshold: Positions by which it has to move. None: any number with *after*, else 1.
        """
        self._after = math.inf if after is None else after
        automatic = 1 if after is None else math.inf
        self._threshold = automatic if threshold is None else threshold
        self.due_at = math.inf
        """When to store what is held back, by the clock of the caller."""

    def holds_back(self, moved: int, now: float) -> bool:
        """Return whether a checkpoint that has *moved* so many positions is not stored yet."""
        if not moved:
            return False
        if self.due_at == math.inf:
            self.due_at = now + self._after
        return moved < self._threshold and now < self.due_at

    def stored(self) -> None:
        """Note that nothing is held back any more."""
        self.due_at = math.inf
