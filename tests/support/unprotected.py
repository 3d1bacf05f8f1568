"""What only a superuser can do who disables triggers: change what was stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

__all__ = ["unprotected"]

_TRIGGERS = """
    SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND starts_with(t.tgname, 'refuse_')
"""


@contextmanager
def unprotected(connection: psycopg.Connection[Any], schema: str) -> Iterator[None]:
    """Let the block, one transaction, do what triggers and foreign keys refuse."""
    with connection.transaction():
        triggers = connection.execute(_TRIGGERS, [schema]).fetchall()
        assert triggers, f"no store in {schema}"
        _alter(connection, schema, triggers, "DISABLE TRIGGER")
        connection.execute("SET LOCAL session_replication_role = replica")
        yield
        _alter(connection, schema, triggers, "ENABLE ALWAYS TRIGGER")


def _alter(
    connection: psycopg.Connection[Any], schema: str, triggers: list[tuple[str, str]], how: str
) -> None:
    for table, trigger in triggers:
        alter = sql.SQL("ALTER TABLE {} {} {}")
        names = sql.Identifier(schema, table), sql.SQL(how), sql.Identifier(trigger)
        connection.execute(alter.format(*names))
