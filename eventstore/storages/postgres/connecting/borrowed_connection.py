"""A connection of the service's pool, used for a read without changing its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import postgres
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format
from psycopg.rows import tuple_row

from eventstore.storages.postgres.connecting.connection import GuardedConnection, Take
from eventstore.storages.postgres.connecting.watchdog import Guard

__all__ = ["BorrowedConnection"]

T = TypeVar("T")


def _standard_adapters() -> AdaptersMap:
    adapters = AdaptersMap(types=postgres.types)
    postgres.register_default_adapters(adapters)
    return adapters


_ADAPTERS = _standard_adapters()


class _Cursor(psycopg.Cursor[tuple[Any, ...]]):
    """Converts values as psycopg does by default, whatever the service has registered."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


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
        cursor = _Cursor(self.raw, row_factory=tuple_row)
        cursor.format = Format.BINARY
        # A cached plan may scan a whole table; only our own sessions turn that off.
        cursor.execute(statement, parameters, prepare=False)
        return take(cursor)
