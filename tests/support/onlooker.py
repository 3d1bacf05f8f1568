"""A connection kept for the whole run, to list the clients of a server and to clean up."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

__all__ = ["Onlooker"]

_CLIENTS = """
    SELECT pid, application_name || ': ' || query FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Onlooker:
    """Lists the clients of a server; connects again if a test cut the connection."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection = self._connected()

    def clients(self) -> dict[int, str]:
        """Return name and query of every client but ourselves, by process id."""
        return dict(self._run(sql.SQL(_CLIENTS)).fetchall())

    def drop_schema(self, name: str) -> None:
        """Drop a schema with all that is in it, if it exists."""
        self._run(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: sql.SQL | sql.Composed) -> psycopg.Cursor[Any]:
        try:
            return self._connection.execute(statement)
        except psycopg.OperationalError:
            if not self._connection.broken:
                raise
        self._connection = self._connected()
        return self._connection.execute(statement)

    def _connected(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._dsn, autocommit=True, application_name="onlooker")
        connection.execute("SET client_min_messages = warning")
        return connection
