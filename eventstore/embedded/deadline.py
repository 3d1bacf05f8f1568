"""A deadline for polling. Knows the clock and nothing else."""

from __future__ import annotations

import time


class Deadline:
    """The moment *timeout* seconds from now, polled in growing steps of 5 to 100 ms."""

    def __init__(self, timeout: float) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        self.timeout = timeout
        self._end = time.monotonic() + timeout
        self._step = 0.005

    def pause(self) -> bool:
        """Sleep one step; return False, at once, if the deadline has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(self._step, left))
        self._step = min(self._step * 1.5, 0.1)
        return True
