"""The timer of the process: every store uses the same one, which lives as long as any of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from eventstore_actors.kernel.timer import Timer

__all__ = ["TIMER", "SharedTimer"]

Crashed = Callable[[BaseException], object]


class SharedTimer:
    """A timer for all who join; thread-safe."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the timer: a child after a fork has not its thread."""
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._users: list[Crashed] = []

    def join(self, crashed: Crashed) -> Timer:
        """Return the timer; it runs until all have left.

        Args:
            crashed: Is called in the timer's thread with an exception of that; call `leave` with
                the same one.
        """
        with self._lock:
            self._users.append(crashed)
            if self._timer is None:
                self._timer = Timer(self._crashed)
                self._timer.start()
            return self._timer

    def leave(self, crashed: Crashed) -> None:
        """Stop the timer if nobody else uses it, else drop its messages to dead actors.

        Idempotent.
        """
        with self._lock:
            if crashed not in self._users:
                return
            self._users.remove(crashed)
            timer, last = self._timer, not self._users
            if last:
                self._timer = None
        assert timer is not None
        if last:
            timer.stop()
        else:
            timer.drop_dead()

    def _crashed(self, error: BaseException) -> None:
        for crashed in list(self._users):
            crashed(error)


TIMER = SharedTimer()

os.register_at_fork(after_in_child=TIMER.forget)
