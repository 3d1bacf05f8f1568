"""Waits for an observation, with a deadline. Tests wait in no other way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE = threading.Event()


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Return when *condition* is true.

    Raises:
        TimeoutError: It is still false after *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"still not true after {timeout} s")
        _PAUSE.wait(0.005)
