"""The deadlines of what waits in an event loop. One timer of the loop serves all of them."""

from __future__ import annotations

import asyncio
import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

__all__ = ["LoopDeadlines"]

_FEW = 100
"""Deadlines that may stay in the heap though their waiters are done."""

Waiter = asyncio.Future[bool]

Deadline = list[Any]
"""When it is, a number of its own, and the waiter; None instead of one that is done."""


class LoopDeadlines:
    """Answers False to each waiter of one loop whose deadline has passed. Used in that loop alone.

    A timer of the loop's own for each waiter costs ten times as much: it is compared in Python, and
    hardly any of them rings.
    """

    def __init__(self) -> None:
        self._heap: list[Deadline] = []
        self._numbers = count()
        self._done = 0
        """Entries of the heap whose waiter is done."""
        self._rings_at = math.inf

    def add(self, loop: asyncio.AbstractEventLoop, waiter: Waiter, seconds: float) -> Deadline:
        """Answer *waiter* in so many seconds; `forget` the deadline when it is done before."""
        moment = loop.time() + max(0.0, seconds)
        deadline = [moment, next(self._numbers), waiter]
        heappush(self._heap, deadline)
        if moment < self._rings_at:
            self._ring_at(moment, loop)
        return deadline

    def forget(self, deadline: Deadline) -> None:
        """Let go of the waiter, which holds its loop. Idempotent, also after the deadline."""
        if deadline[2] is None:
            return
        deadline[2] = None
        self._done += 1
        if self._done > max(_FEW, len(self._heap) // 2):
            self._heap = [each for each in self._heap if each[2] is not None]
            heapify(self._heap)
            self._done = 0

    def clear(self) -> None:
        """Forget all deadlines, because the loop is closed."""
        self._heap.clear()
        self._done = 0

    def _ring_at(self, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        self._rings_at = moment
        loop.call_at(moment, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now, heap = loop.time(), self._heap
        if now < self._rings_at:
            return  # an earlier deadline came later; its own timer rings
        while heap and (heap[0][0] <= now or heap[0][2] is None):
            deadline = heappop(heap)
            waiter, deadline[2] = deadline[2], None
            if waiter is None:
                self._done -= 1
            elif not waiter.done():
                waiter.set_result(False)
        self._rings_at = math.inf
        if heap:
            self._ring_at(heap[0][0], loop)
