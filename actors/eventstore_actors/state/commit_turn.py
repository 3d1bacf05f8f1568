"""Whose turn it is to append: the writer's, or a caller's while nobody else wants to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eventstore.ports.storage import AppendSession

__all__ = ["CommitTurn"]


class CommitTurn:
    """The writer's session, used by one at a time.

    A caller that is alone does what the writer would do, and saves two changes of the thread. Who
    has the turn tells the publisher before it ends, so commits are told of in their order.
    """

    def __init__(self) -> None:
        # The writer may end, and withdraw the session, while it has the turn.
        self._taken = threading.RLock()
        self._session: AppendSession | None = None
        self.shared = False
        """Several callers had the writer's last commit: who comes now shares the next one."""

    def offer(self, session: AppendSession) -> None:
        """Let callers borrow the writer's session from now on."""
        self._session = session

    @contextmanager
    def of_the_writer(self) -> Iterator[None]:
        """Wait until no caller has the turn, and have it while the block runs."""
        with self._taken:
            yield

    @contextmanager
    def of_a_caller(self) -> Iterator[AppendSession | None]:
        """Lend the session while the block runs; None: somebody has the turn, or nobody lends."""
        if not self._taken.acquire(blocking=False):
            yield None
            return
        try:
            yield self._session
        finally:
            self._taken.release()

    def withdraw(self, timeout: float) -> None:
        """Lend it no more; wait at most *timeout* seconds for the caller that has it."""
        self._session = None
        if self._taken.acquire(timeout=max(0.0, timeout)):
            self._taken.release()
