"""The servers of one side: one alone, and one whose commits wait for a distant standby."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.comparing.delay_line import DelayLine
from eventstore.embedded import EmbeddedServer
from eventstore.embedded.binaries import find_binaries
from eventstore.embedded.identity import choose_identity

__all__ = ["ROUND_TRIP", "SideServer", "SideServers"]

ROUND_TRIP = 0.005
"""Seconds to the standby and back."""

_SETTINGS = {
    # Background work of one side's server would slow down a round of the other side.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "8GB",
}
_STANDBY = "distant"
_STANDBY_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class SideServer:
    """A server and the processes that do its work."""

    dsn: str
    postmasters: tuple[int, ...]

    @property
    def pids(self) -> str:
        return ",".join(map(str, self.postmasters))

    def create_database(self, name: str) -> str:
        """Create an empty database and return its connection string."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return make_conninfo(self.dsn, dbname=name)

    @staticmethod
    def vacuum(dsn: str) -> None:
        """Vacuum and analyze a database once, as autovacuum is off."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


class SideServers:
    """Starts each kind of server when it is first asked for; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[bool, SideServer] = {}
        self._closing = ExitStack()

    def server(self, *, has_standby: bool) -> SideServer:
        if has_standby not in self._open:
            start = _with_standby if has_standby else _alone
            name = "with-standby" if has_standby else "alone"
            self._open[has_standby] = self._closing.enter_context(start(self._folder / name))
        return self._open[has_standby]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


@contextmanager
def _alone(folder: Path) -> Iterator[SideServer]:
    with EmbeddedServer.start(folder, settings=_SETTINGS) as server:
        yield SideServer(server.dsn, (server.pid,))


@contextmanager
def _with_standby(folder: Path) -> Iterator[SideServer]:
    folder.mkdir(parents=True)
    primary = folder / "primary"
    standby = folder / "standby"
    with EmbeddedServer.start(primary, settings=_SETTINGS) as server:
        address = conninfo_to_dict(server.dsn)
        socket = f"{address['host']}/.s.PGSQL.{address.get('port', 5432)}"
        with DelayLine(socket, ROUND_TRIP) as line:
            _copy(server.dsn, standby)
            settings = _SETTINGS | {
                # A standby introduces itself to its primary by the name of its cluster.
                "cluster_name": _STANDBY,
                "primary_conninfo": make_conninfo(
                    server.dsn, host="127.0.0.1", port=line.port, sslmode="disable"
                ),
            }
            with EmbeddedServer.start(standby, settings=settings) as follower:
                _wait_for_standby(server.dsn)
                yield SideServer(server.dsn, (server.pid, follower.pid))
                # Else the end of the primary would wait for what nobody receives any more.
                _set(server.dsn, "synchronous_standby_names", "")


def _copy(dsn: str, folder: Path) -> None:
    """Make *folder* the folder of a standby of the server behind *dsn*."""
    data = folder / "pgdata"
    folder.mkdir(parents=True)
    data.mkdir()
    identity = choose_identity(data)
    identity.own(data)
    program = find_binaries(identity, major=None).folder / "pg_basebackup"
    options = ["--pgdata", str(data), "--dbname", dsn, "--write-recovery-conf", "--checkpoint=fast"]
    with tempfile.TemporaryFile() as output:
        code = identity.run([program, *options], output=output)
        output.seek(0)
        assert code == 0, output.read().decode()
    data.chmod(0o700)


def _wait_for_standby(dsn: str) -> None:
    """Let commits wait for the standby, and return once they do."""
    _set(dsn, "synchronous_standby_names", _STANDBY)
    deadline = time.monotonic() + _STANDBY_TIMEOUT
    with psycopg.connect(dsn, autocommit=True) as connection:
        while _synchronous_standbys(connection) != 1:
            assert time.monotonic() < deadline, "the standby does not receive"
            time.sleep(0.05)


def _synchronous_standbys(connection: psycopg.Connection) -> int:
    statement = "SELECT count(*)::int FROM pg_stat_replication WHERE sync_state = 'sync'"
    [row] = connection.execute(statement).fetchall()
    return int(row[0])


def _set(dsn: str, name: str, value: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        setting = sql.SQL("ALTER SYSTEM SET {} = {}")
        connection.execute(setting.format(sql.Identifier(name), value))
        connection.execute("SELECT pg_reload_conf()")
