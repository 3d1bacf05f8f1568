"""How many events a batch may hold: fewer after a failure, more after successes. Pure.

A batch that fails as a whole is delivered again as a whole. With smaller batches, less is repeated,
and an event that always fails is alone in the end.
"""

from __future__ import annotations

from collections import deque

__all__ = ["DELIVERIES", "BatchSize"]

DELIVERIES = 8
"""Batches delivered without a failure after which a batch may be twice as large.

With fewer, a target that fails often gets too much twice. If 30 % of the events fail, each is sent
2.1 times with 1, and 1.45 times with 8; 1.43 times is the least.
"""


class BatchSize:
    """The present limit of a subscription; it outlives delivery runs."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.limit = largest
        """Most events in the next batch."""
        self.is_reduced = False
        """Whether it is less than at first. Only then the batches in flight need to be known."""
        self._delivered = 0
        """Batches since the limit changed last."""
        self._ends: deque[int] = deque()
        """Last position of each batch in flight."""

    @property
    def may_send(self) -> bool:
        """Whether another batch may be in flight: few at a reduced limit, so that it soon grows."""
        return len(self._ends) < DELIVERIES

    def restart(self) -> None:
        """Forget the batches in flight: a new run starts."""
        self._ends.clear()

    def sent(self, end: int) -> None:
        """Note a batch that ends with position *end*."""
        if self.is_reduced:
            self._ends.append(end)

    def taken_back(self, after: int) -> None:
        """Forget the batches that end after position *after*: they were not started."""
        while self._ends and self._ends[-1] > after:
            self._ends.pop()

    def acknowledged(self, position: int) -> None:
        """Count the batches up to *position* as delivered."""
        while self._ends and self._ends[0] <= position:
            self._ends.popleft()
            self._delivered += 1
            if self._delivered >= DELIVERIES:
                self._set(self.limit * 2)

    def failed(self, events: int) -> None:
        """Halve the size of a batch of *events* that failed. Batches behind it are void."""
        self._set(min(self.limit, events) // 2)

    def _set(self, limit: int) -> None:
        self.limit = max(1, min(limit, self._largest))
        self.is_reduced = self.limit < self._largest
        self._delivered = 0
        if not self.is_reduced:
            self._ends.clear()
