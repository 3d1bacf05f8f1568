"""Somebody who knows the tables of a store, and changes them with plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

__all__ = ["Sql"]


class Sql:
    """A connection of somebody who knows the tables; ``{}`` in a statement is the schema."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self._schema = schema

    def __call__(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        text = statement.replace("{}", sql.Identifier(self._schema).as_string(None))
        cursor = self.connection.execute(text.encode(), parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Leave a transaction open for the block, and roll it back if that fails."""
        with self.connection.transaction():
            yield

    def append(self, stream: str, count: int = 1) -> None:
        """Append *count* events by the store's own function, in the transaction that is open."""
        self(
            "SELECT * FROM {}.append_events(5000, false, ARRAY[1], ARRAY[%s], ARRAY[-1::bigint],"
            " ARRAY[%s::int], NULL, array_fill(1, ARRAY[%s::int]),"
            " ARRAY(SELECT generate_series(1, %s::int)),"
            " ARRAY(SELECT gen_random_uuid() FROM generate_series(1, %s::int)),"
            " array_fill('T'::text, ARRAY[%s::int]), array_fill('1'::bytea, ARRAY[%s::int]),"
            " NULL, NULL, NULL, NULL, NULL)",
            stream,
            *[count] * 6,
        )

    def permit_deletes(self) -> None:
        """Begin a hard delete in the transaction that is open: take the lock, and say so."""
        self("SELECT {}.lock_head(5000)")
        self(
            "SELECT set_config('eventstore.hard_delete', %s || ':' || pg_current_xact_id(), true)",
            self._schema,
        )

    def bury(self, first: int, last: int) -> None:
        """Leave a tombstone for positions whose events are removed in a permitted delete."""
        self(
            "INSERT INTO {}.deletions SELECT 1 + count(*), -%s, 'gone', now(), now()"
            " FROM {}.deletions",
            last,
        )
        self(
            "INSERT INTO {}.tombstones (first_position, last_position, deletion_no)"
            " SELECT %s, %s, max(deletion_no) FROM {}.deletions",
            first,
            last,
        )

    def delete_stream(self, stream: str) -> None:
        """Delete a stream for good, and erase it."""
        self("SELECT {}.delete_stream(5000, %s, -1, true)", stream)
        self("SELECT {}.erase_events(5000, 10000)")
