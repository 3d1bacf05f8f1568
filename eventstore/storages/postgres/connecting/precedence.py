"""Who comes first when the server has too few connections: the writer, the keeper, the listener."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

__all__ = ["Precedence"]

_HOLD = 1.0
"""Seconds in which a refused connection is tried again, at the longest."""


class Precedence:
    """Makes readers give back idle connections, and wait, when another connection was refused.

    Why it was refused is not asked: while a connection is made, the driver gets the server's words,
    translated, but no code. Used from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_until = -math.inf
        self._scarce_until = -math.inf
        self._give_back: Callable[[], object] | None = None

    def readers(self, give_back: Callable[[], object]) -> None:
        """Have *give_back* called when a connection was refused: it closes what is idle."""
        self._give_back = give_back

    def refused(self) -> None:
        """Let readers give back what is idle, and hold their new connections back."""
        with self._lock:
            self._first_until = self._scarce_until = time.monotonic() + _HOLD
        if self._give_back is not None:
            self._give_back()

    def granted(self) -> None:
        """Let readers connect again."""
        with self._lock:
            self._first_until = -math.inf

    @property
    def others_first(self) -> bool:
        """A connection that comes first was refused and will be tried again."""
        return time.monotonic() < self._first_until

    @property
    def scarce(self) -> bool:
        """A connection was refused a moment ago: open none that nobody waits for."""
        return time.monotonic() < self._scarce_until
