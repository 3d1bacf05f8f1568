"""Exclusive use of the writer's session: by the writer, or by a caller that finds it free."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eventstore.ports.storage import AppendSession
from eventstore_actors.kernel.pulse import Pulse

__all__ = ["CommitTurn"]


class CommitTurn:
    """The right to commit through the writer's session, held by one thread at a time.

    A caller that appends alone takes the turn and saves two thread switches. The holder tells the
    publisher before it gives the turn back, so commits are announced in their order.
    """

    def __init__(self) -> None:
        # Reentrant: the writer may end, and withdraw the session, while it holds the turn.
        self._taken = threading.RLock()
        self._session: AppendSession | None = None
        self.shared = False
        """The writer's last commit served several callers; a new caller joins the next one."""
        self.pulse = Pulse()
        """Of the writer, which may wait until the deadline of a commit, its own or a caller's."""

    def offer(self, session: AppendSession) -> None:
        """Lend *session* to callers from now on."""
        self._session = session

    @contextmanager
    def writer_turn(self) -> Iterator[None]:
        """Hold the turn while the block runs; wait while a caller holds it."""
        with self._taken:
            yield

    @contextmanager
    def caller_turn(self) -> Iterator[AppendSession | None]:
        """Hold the turn while the block runs, without waiting for it.

        Yields:
            The session; None if the turn is taken, or no session is lent.
        """
        if not self._taken.acquire(blocking=False):
            yield None
            return
        try:
            yield self._session
        finally:
            self._taken.release()

    def withdraw(self, timeout: float) -> None:
        """Stop lending; wait up to *timeout* seconds for a caller that holds the turn."""
        self._session = None
        if self._taken.acquire(timeout=max(0.0, timeout)):
            self._taken.release()
