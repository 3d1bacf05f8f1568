"""A connection of the service's pool, used for a read without changing its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg

from eventstore.storages.postgres.connecting.connection import GuardedConnection, Take
from eventstore.storages.postgres.connecting.plain_cursor import PlainCursor
from eventstore.storages.postgres.connecting.watchdog import Guard

__all__ = ["BorrowedConnection"]

T = TypeVar("T")


class BorrowedConnection(GuardedConnection):
    """Runs each statement in a transaction and a cursor of its own, and prepares nothing."""

    def __init__(self, raw: psycopg.Connection[Any], guard: Guard) -> None:
        super().__init__(raw, guard, never_prepare=lambda: None)

    def _hear(self) -> None:
        """Add no handlers to the service's connection."""

    def _run(
        self,
        statement: bytes,
        parameters: Sequence[object],
        deadline: float,
        take: Take[T],
    ) -> T:
        self._guard.arm(deadline)
        try:
            if self.raw.autocommit:
                return self._taken(statement, parameters, take)
            with self.raw.transaction():
                return self._taken(statement, parameters, take)
        finally:
            self._guard.disarm()

    def _taken(
        self,
        statement: bytes,
        parameters: Sequence[object],
        take: Take[T],
    ) -> T:
        cursor = PlainCursor(self.raw)
        # A cached plan may scan a whole table; only our own sessions turn that off.
        cursor.execute(statement, parameters, prepare=False)
        return take(cursor)
