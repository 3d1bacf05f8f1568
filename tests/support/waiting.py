"""Wait for an observation, with a deadline: the one way in which tests wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE = threading.Event()


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Return when *condition* is true.

    Raises:
        TimeoutError: It still is not after *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"still not true after {timeout} s")
        _PAUSE.wait(0.005)
