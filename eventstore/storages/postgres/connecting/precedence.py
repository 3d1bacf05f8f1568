"""Precedence when the server has too few connections: writer, keeper, listener, announcer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

__all__ = ["Precedence"]

_HOLD = 1.0
"""Upper bound in seconds until a refused connection is tried again."""


class Precedence:
    """Makes the pool close idle connections and wait after another connection was refused.

    Every reason counts: a pooler in between gives codes of its own. Used from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_until = -math.inf
        self._scarce_until = -math.inf
        self._give_back: Callable[[], object] | None = None

    def readers(self, give_back: Callable[[], object]) -> None:
        """Set what to call when a connection was refused: it closes idle connections."""
        self._give_back = give_back

    def refused(self) -> None:
        """Make readers close idle connections, and delay their new ones."""
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
        """Whether a connection that comes first was refused and will be tried again."""
        return time.monotonic() < self._first_until

    @property
    def scarce(self) -> bool:
        """Whether a connection was refused a moment ago: open only those that are waited for."""
        return time.monotonic() < self._scarce_until
