"""The lane of the many: actors whose turns are short take turns in one thread.

Python runs one thread at a time in any case, and handing over to another costs as much as a turn.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress

from eventstore_actors.kernel.workers import WORKERS, Work, Workers

__all__ = ["LANE", "Lane"]

STALL = 0.005
"""Seconds after which a turn is no short one; then another thread takes the turns that wait."""


class _Runner:
    """A thread of the lane."""

    __slots__ = ("busy_since", "turn")

    def __init__(self) -> None:
        self.turn: Work | None = None
        """The turn that it takes."""
        self.busy_since = time.monotonic()


class Lane:
    """Turns, one at a time and in the order in which they came; thread-safe."""

    def __init__(self, workers: Workers) -> None:
        """Create it; *workers* lend it its thread while there are turns."""
        self._workers = workers
        self.forget()

    def forget(self) -> None:
        """Forget everything: a child after a fork has none of the threads."""
        self._lock = threading.Lock()
        self._turns: deque[Work] = deque()
        self._runner: _Runner | None = None
        self._here = threading.local()

    def run(self, turn: Work) -> None:
        """Have *turn* taken, after those that wait.

        Raises:
            RuntimeError: There is no thread, and the process cannot start one. It is not taken.
        """
        with self._lock:
            self._turns.append(turn)
            runner = self._runner
            if runner is not None and time.monotonic() - runner.busy_since < STALL:
                return
        try:
            self._replace(runner)
        except BaseException:
            # Whoever is told tries again: an actor in two turns could run in two threads.
            with self._lock, suppress(ValueError):
                self._turns.remove(turn)
            raise

    def leave(self) -> None:
        """Let others take their turns: what this turn does next may block."""
        runner: _Runner | None = getattr(self._here, "runner", None)
        if runner is not None:
            self._replace(runner)

    def _replace(self, runner: _Runner | None) -> None:
        """Have another thread take the turns that wait, if *runner* still is the one for it."""
        with self._lock:
            if self._runner is not runner:
                return
            self._runner = successor = _Runner() if self._turns else None
        if successor is None:
            return
        try:
            self._workers.run(lambda: self._take_turns(successor))
        except BaseException:
            # The next turn tries again.
            with self._lock:
                if self._runner is successor:
                    self._runner = None
            raise

    def _take_turns(self, runner: _Runner) -> None:
        self._here.runner = runner
        try:
            # It has one already if an exception hit the thread that was about to take it.
            while runner.turn is not None or self._has_turn(runner):
                assert runner.turn is not None
                runner.turn()
                runner.turn = None
        finally:
            self._here.runner = None

    def _has_turn(self, runner: _Runner) -> bool:
        """Give *runner* the next turn; False: there is none, or another thread takes them."""
        with self._lock:
            if self._runner is not runner:
                return False
            if not self._turns:
                self._runner = None
                return False
            runner.busy_since = time.monotonic()
            # In this order: whatever hits the thread, no turn is lost.
            runner.turn = self._turns[0]
            del self._turns[0]
        return True


LANE = Lane(WORKERS)

os.register_at_fork(after_in_child=LANE.forget)
