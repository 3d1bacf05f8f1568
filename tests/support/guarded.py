"""A server that lets the role ``shop`` in with a password only, and that can shut it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.pgserver import TestServer
from tests.support.waiting import wait_until

__all__ = ["PASSWORD", "Guarded"]

PASSWORD = "correct horse"

_WITH_PASSWORD = "local all shop scram-sha-256\nlocal all all trust\n"
_SHUT_OUT = "local all shop reject\nlocal all all trust\n"


class Guarded:
    """The server, as its administrator sees it."""

    def __init__(self) -> None:
        self.server = TestServer()
        self.admin = self.server.connect()
        self("CREATE ROLE shop LOGIN")
        self(sql.SQL("ALTER ROLE shop PASSWORD {}").format(PASSWORD))
        self("CREATE DATABASE shop OWNER shop")
        self._let_in(_WITH_PASSWORD)
        self.dsn = make_conninfo(self.server.dsn, dbname="shop", user="shop", password=PASSWORD)

    def __call__(self, statement: str | sql.Composed, *, database: str = "postgres") -> None:
        """Run one statement as the superuser."""
        text = statement.encode() if isinstance(statement, str) else statement
        if database == "postgres":
            self.admin.execute(text)
        else:
            dsn = make_conninfo(self.server.dsn, dbname=database)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(text)

    def put_out(self) -> None:
        """End every session of the role, so long ago that each is looked at before its next use."""
        end = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'"
        # Again and again: somebody may have been let in a moment ago, and not be seen yet.
        wait_until(lambda: not self.admin.execute(end).fetchall())
        gone = time.monotonic()
        wait_until(lambda: time.monotonic() > gone + 0.1)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Refuse the role by ``pg_hba.conf`` during the block."""
        self._let_in(_SHUT_OUT)
        try:
            yield
        finally:
            self._let_in(_WITH_PASSWORD)

    def log_ins(self) -> int:
        """Return how many log-ins the server has refused so far."""
        return (self.server.path / "server.log").read_text().count("FATAL:  ")

    def _let_in(self, rules: str) -> None:
        (self.server.path / "pgdata" / "pg_hba.conf").write_text(rules)
        self("SELECT pg_reload_conf()")
        method = rules.split()[3]
        # The view shows the file; the postmaster reads it when it gets the signal.
        wait_until(lambda: self._method_in_use() == method)

    def _method_in_use(self) -> str:
        dsn = make_conninfo(self.server.dsn, dbname="postgres", user="shop", password="wrong")
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError as error:
            return "reject" if "pg_hba.conf" in str(error) else "scram-sha-256"
        return "trust"

    def close(self) -> None:
        self.admin.close()
        self.server.close()
