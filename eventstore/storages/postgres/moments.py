"""Conversion of times and deadlines to and from the server. Pure, except for the clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["lock_wait", "utc", "utc_or_none"]


def utc(naive: datetime) -> datetime:
    """Return a time that was read ``AT TIME ZONE 'UTC'`` with its time zone."""
    # Seven times faster than `replace`, which would cost a fifth of reading an event.
    return datetime.combine(naive, naive.time(), UTC)


def utc_or_none(naive: datetime | None) -> datetime | None:
    return None if naive is None else utc(naive)


def lock_wait(deadline: float) -> int:
    """Return the lock timeout in milliseconds that leaves time for the answer."""
    left = deadline - time.monotonic()
    return max(1, int(1000 * (left - min(0.25, left / 10))))
