"""When to look whether transactions of callers have ended. Pure: no thread, no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["TransactionLooks"]

FIRST_PAUSE = 0.002
"""Seconds before the first look at a transaction, whose append should be its last step."""


class TransactionLooks:
    """The transactions that may be open, all of which one look is about.

    The pause between two looks doubles until another transaction is added.
    """

    def __init__(self, longest_pause: float) -> None:
        """Create it without a transaction; *longest_pause* is in seconds."""
        self._longest_pause = longest_pause
        self._open: set[int] = set()
        self._pause = FIRST_PAUSE
        self.due = math.inf
        """When to look next, on `time.monotonic`; infinity: there is nothing to look at."""

    def add(self, transaction_id: int, now: float) -> None:
        """Look at one more transaction, soon after *now*."""
        self._open.add(transaction_id)
        self._pause = FIRST_PAUSE
        self.due = min(self.due, now + self._pause)

    def take(self, now: float) -> frozenset[int]:
        """Return the transactions to look at; none before `due`."""
        if now < self.due:
            return frozenset()
        self._pause = min(2 * self._pause, self._longest_pause)
        self.due = now + self._pause
        return frozenset(self._open)

    def remove(self, ids: Iterable[int]) -> None:
        """Forget transactions, which have ended."""
        self._open.difference_update(ids)
        if not self._open:
            self.due = math.inf
