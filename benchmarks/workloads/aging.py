"""A store in use while a foreign transaction keeps an old snapshot open, as a dump does."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import psycopg

from benchmarks.contenders.bare_subscriber import BareSubscriber
from benchmarks.contenders.load import payload

__all__ = ["Aging"]

_COMMITS_PER_CHECKPOINT = 20


class Aging:
    """The store behind *dsn* with a subscription and a foreign transaction; a context manager."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._bare = BareSubscriber(dsn)
        self._closing = ExitStack()
        self._closing.callback(self._bare.close)
        self.checkpoint = self._bare.checkpointer()
        """Stores the next checkpoint of one subscription."""

    def age(self, commits: int) -> None:
        """Open the foreign snapshot, then make *commits* with checkpoints between them.

        The commits do not wait for the disk; afterwards they do.
        """
        foreign = self._closing.enter_context(psycopg.connect(self._dsn))
        foreign.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        foreign.execute("SELECT 1")
        self._bare.connection.execute("SET synchronous_commit = off")
        for number in range(commits):
            self._bare.append_each([payload()])
            if number % _COMMITS_PER_CHECKPOINT == 0:
                self.checkpoint()
        self._bare.connection.execute("RESET synchronous_commit")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
