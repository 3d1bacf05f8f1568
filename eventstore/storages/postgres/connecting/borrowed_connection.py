"""A connection that belongs to the service, used for a read without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import postgres
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format
from psycopg.rows import tuple_row

from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.watchdog import Guard

__all__ = ["BorrowedConnection"]


def _standard_adapters() -> AdaptersMap:
    adapters = AdaptersMap(types=postgres.types)
    postgres.register_default_adapters(adapters)
    return adapters


_ADAPTERS = _standard_adapters()


class _Cursor(psycopg.Cursor[tuple[Any, ...]]):
    """Reads values as psycopg does by default, whatever the service registered for its own."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class BorrowedConnection(GuardedConnection):
    """Runs each statement in its own transaction, by an own cursor, and prepares nothing."""

    def __init__(self, raw: psycopg.Connection[Any], guard: Guard) -> None:
        super().__init__(raw, guard, never_prepare=lambda: None)

    def _hear(self) -> None:
        """Leave the handlers of the service's connection alone."""

    def _run(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[tuple[Any, ...]]:
        self._guard.arm(deadline)
        try:
            if self.raw.autocommit:
                return self._fetch(statement, parameters)
            with self.raw.transaction():
                return self._fetch(statement, parameters)
        finally:
            self._guard.disarm()

    def _fetch(self, statement: bytes, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = _Cursor(self.raw, row_factory=tuple_row)
        cursor.format = Format.BINARY
        # A plan that is kept may read a whole table: only our own sessions are told not to.
        cursor.execute(statement, parameters, prepare=False)
        return cursor.fetchall()
