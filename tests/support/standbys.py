"""Commits that wait for standbys, from the moment on when they surely do."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from tests.support.waiting import wait_until

__all__ = ["require_standbys"]

_WRITES = b"SELECT pg_logical_emit_message(true, 'probe', 'a commit that writes something')"


def require_standbys(dsn: str, names: str) -> None:
    """Let the commits of a server wait for these standbys, from now on; empty: for none.

    Sessions read the setting at once. Whether they wait is decided by the checkpointer, later.
    """
    with psycopg.connect(dsn, autocommit=True) as admin:
        if names:
            _set(admin, "nobody")
            wait_until(lambda: _a_commit_waits(dsn, admin))
        _set(admin, names)


def _set(admin: psycopg.Connection, names: str) -> None:
    statement = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
    admin.execute(statement.format(names))
    admin.execute("SELECT pg_reload_conf()")
    wait_until(lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == (names,))


def _a_commit_waits(dsn: str, admin: psycopg.Connection) -> bool:
    """Commit once, and return whether that waits; then it is left alone."""
    with closing(psycopg.connect(dsn, autocommit=True)) as probe:
        pid = probe.info.backend_pid
        probe.execute("SET synchronous_commit = on")
        probe.pgconn.send_query(_WRITES)
        look = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = %s"
        while admin.execute(look, [pid]).fetchone() != (True,):
            probe.pgconn.consume_input()
            if not probe.pgconn.is_busy():
                return False
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        return True
