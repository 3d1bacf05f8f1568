"""Code of an application, as the command line imports it: two versions of a projection."""

from __future__ import annotations

import os
from typing import Any

from psycopg import sql

from eventstore import Events, Projection

__all__ = ["numbers"]


def numbers(version: int, schema: str) -> Projection:
    """Return a version: the table ``numbers_VERSION`` in *schema*, and the view ``numbers``."""
    names = sql.Identifier(schema, f"numbers_{version}"), sql.Identifier(schema, "numbers")

    def run(connection: Any, statement: str) -> None:
        table, view = names
        connection.execute(sql.SQL(statement).format(table=table, view=view))

    def create(connection: Any) -> None:
        run(connection, "CREATE TABLE {table} (number bigint)")

    def handle(events: Events, connection: Any) -> None:
        insert = sql.SQL("INSERT INTO {} VALUES (%s)").format(names[0])
        connection.cursor().executemany(insert, [(event.global_position,) for event in events])

    def switch(connection: Any) -> None:
        run(connection, "CREATE OR REPLACE VIEW {view} AS TABLE {table}")

    def drop(connection: Any) -> None:
        run(connection, "DROP TABLE {table} CASCADE")

    return Projection("numbers", version, handle, create=create, switch=switch, drop=drop)


async def _handle(events: Events, connection: Any) -> None: ...


async def _switch(connection: Any) -> None: ...


_SCHEMA = os.environ.get("EVENTSTORE_SCHEMA", "eventstore")

numbers_1, numbers_2 = (numbers(version, _SCHEMA) for version in (1, 2))

on_loop = Projection("awaited", 1, _handle, switch=_switch, drop=_switch)
