"""Waits for an observation, with a deadline. Tests wait in no other way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["AGES", "PATIENCE", "wait_until"]

PATIENCE = 30.0
"""Seconds after which something hangs, on a machine that has much else to do. Never a measure."""

AGES = 90.0
"""Seconds of a wait that must not happen: longer than `PATIENCE`."""

_PAUSE = threading.Event()

_PAUSES = (0.002, 0.05)
"""Shortest and longest pause between two looks, in seconds. A look may cost a query, while other
tests run: a tenth of the time that was waited already is early enough."""


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Return when *condition* is true.

    Raises:
        TimeoutError: It is still false after *timeout* seconds.
    """
    shortest, longest = _PAUSES
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited >= timeout:
            raise TimeoutError(f"still not true after {timeout} s")
        _PAUSE.wait(min(max(shortest, waited / 10), longest))
