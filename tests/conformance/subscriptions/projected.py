"""A projection for tests: one table for each version, and a view of the current one."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from eventstore import Events, Projection
from tests.conformance.subscriptions.recording import numbers

__all__ = ["NAME", "Numbers"]

NAME = "numbers"


class Numbers:
    """What the projection ``numbers`` writes into the schema of the store, and how often."""

    def __init__(self, connection: psycopg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self.calls: list[str] = []
        """What was called, as ``create 1``."""

    def version(self, version: int, **options: Any) -> Projection:
        """Return a version; *options* replace its functions, too."""

        def handle(events: Events, connection: Any) -> None:
            rows = [(number,) for number in numbers(events)]
            insert = self._made("INSERT INTO {} VALUES (%s)", version)
            connection.cursor().executemany(insert, rows)

        def create(connection: Any) -> None:
            self.run(connection, "create", "CREATE TABLE {} (number bigint)", version)

        def switch(connection: Any) -> None:
            view = sql.Identifier(self._schema, NAME).as_string(connection)
            self.run(connection, "switch", f"CREATE OR REPLACE VIEW {view} AS TABLE {{}}", version)

        def drop(connection: Any) -> None:
            self.run(connection, "drop", "DROP TABLE {} CASCADE", version)

        functions = {"create": create, "switch": switch, "drop": drop}
        given: dict[str, Any] = {"handle": handle, **functions, **options}
        return Projection(NAME, version, **given)

    def run(self, connection: Any, what: str, statement: str, version: int) -> None:
        """Note that *what* was called, and do it."""
        self.calls.append(f"{what} {version}")
        connection.execute(self._made(statement, version))

    def forget(self, version: int) -> None:
        """Delete the subscription of a version by hand: nothing in the library does so."""
        table = sql.Identifier(self._schema, "subscriptions")
        delete = sql.SQL("DELETE FROM {} WHERE subscription_name = %s").format(table)
        self._connection.execute(delete, [f"{NAME}@{version}"])

    def of(self, version: int) -> list[int]:
        """Return the numbers in the table of a version, as somebody else sees them."""
        return self._sorted(sql.Identifier(self._schema, f"{NAME}_{version}"))

    def current(self) -> list[int]:
        """Return the numbers that readers see."""
        return self._sorted(sql.Identifier(self._schema, NAME))

    def tables(self) -> list[str]:
        """Return the tables of all versions."""
        rows = self._connection.execute(
            "SELECT tablename FROM pg_catalog.pg_tables"
            " WHERE schemaname = %s AND tablename LIKE %s ORDER BY 1",
            [self._schema, f"{NAME}\\_%"],
        )
        return [name for (name,) in rows]

    def waiters(self) -> int:
        """Return how many sessions of this store wait for the lock of another one."""
        [(waiting,)] = self._connection.execute(
            "SELECT count(*) FROM pg_catalog.pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND strpos(query, %s) > 0",
            [self._schema],
        ).fetchall()
        return int(waiting)

    def has_looked(self) -> bool:
        """Return whether a session of this store has just read how far a subscription is."""
        [(looks,)] = self._connection.execute(
            "SELECT count(*) FROM pg_catalog.pg_stat_activity"
            " WHERE strpos(query, %s) > 0 AND strpos(query, 'subscription_status s WHERE') > 0",
            [self._schema],
        ).fetchall()
        return bool(looks)

    def is_there(self, pid: int) -> bool:
        """Return whether the server still has that session."""
        query = "SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s"
        return self._connection.execute(query, [pid]).rowcount == 1

    def _sorted(self, table: sql.Identifier) -> list[int]:
        rows = self._connection.execute(sql.SQL("SELECT number FROM {} ORDER BY 1").format(table))
        return [number for (number,) in rows]

    def _made(self, statement: str, version: int) -> sql.Composed:
        table = sql.Identifier(self._schema, f"{NAME}_{version}")
        return sql.SQL(statement).format(table)
