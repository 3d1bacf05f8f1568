"""Cursors of ours on the connections of others, whose row factories and adapters do not matter."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import postgres
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format
from psycopg.rows import tuple_row

from eventstore.storages.postgres.arrays import register_arrays

__all__ = ["AsyncPlainCursor", "PlainCursor"]


def _standard_adapters() -> AdaptersMap:
    adapters = AdaptersMap(types=postgres.types)
    postgres.register_default_adapters(adapters)
    register_arrays(adapters)
    return adapters


_ADAPTERS = _standard_adapters()


class PlainCursor(psycopg.Cursor[tuple[Any, ...]]):
    """Converts values as psycopg does by default, whatever is registered with the connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection, row_factory=tuple_row)
        self.format = Format.BINARY

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class AsyncPlainCursor(psycopg.AsyncCursor[tuple[Any, ...]]):
    """The same for coroutines."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        super().__init__(connection, row_factory=tuple_row)
        self.format = Format.BINARY

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS
