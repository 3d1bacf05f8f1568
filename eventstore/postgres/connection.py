"""Connections to the server: made within a deadline, checked, and guarded in every call."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from eventstore.errors import StorageError, StorageUnavailableError
from eventstore.log import get_logger
from eventstore.postgres.arrays import register_arrays
from eventstore.postgres.deadline import Guard, Watchdog
from eventstore.postgres.sqlstates import Reaction, reaction_to, translated

__all__ = ["Connector", "GuardedConnection"]

OLDEST_SERVER = 15

_CHECK = b"""
    SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
           current_setting('fsync') = 'on', current_setting('synchronous_commit') <> 'off'
"""

_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "eventstore",
    # After a failover only the server that takes writes will do.
    "target_session_attrs": "read-write",
    # A peer that vanished is noticed even where no deadline runs: while listening.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}

_log = get_logger()


class GuardedConnection:
    """A connection in autocommit, each call of which ends by its deadline.

    Used by one thread at a time; `interrupt` alone may come from another.
    """

    def __init__(self, raw: psycopg.Connection[Any], guard: Guard, connector: Connector) -> None:
        self.raw = raw
        self._guard = guard
        self._connector = connector
        self._doubtful = False
        raw.add_notice_handler(self._notice)

    @property
    def lost(self) -> bool:
        """Nothing can be sent any more."""
        return self._guard.expired or self.raw.closed

    @property
    def doubtful(self) -> bool:
        """The last statement warned that it may not have reached the standbys."""
        return self._doubtful

    def execute(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[tuple[Any, ...]]:
        """Run one prepared statement and return its rows, in binary format.

        Raises:
            psycopg.Error: As the driver raises it; look at `lost`.
            StorageUnavailableError: The deadline has passed already; nothing was sent.
        """
        if time.monotonic() >= deadline:
            raise StorageUnavailableError("the deadline passed before the statement was sent")
        self._doubtful = False
        try:
            return self._run(statement, parameters, deadline)
        except psycopg.Error as error:
            match reaction_to(error):
                case Reaction.UNPREPARED if self.raw.prepare_threshold is not None:
                    self._stop_preparing(error)
                    return self._run(statement, parameters, deadline)
                case Reaction.LOST | Reaction.RECONNECT:
                    self.close()
                case _:
                    pass
            raise

    @contextlib.contextmanager
    def transaction(self, deadline: float) -> Iterator[psycopg.Connection[Any]]:
        """Run several statements in one transaction, which must be over at *deadline*."""
        self._guard.arm(deadline)
        try:
            with self.raw.transaction():
                yield self.raw
        finally:
            self._guard.disarm()

    def is_stale(self) -> bool:
        """Tell of a connection not in use that it is not to be used again."""
        is_idle = self.raw.pgconn.transaction_status == TransactionStatus.IDLE
        return self.lost or not is_idle or self._guard.has_news()

    def interrupt(self) -> None:
        """Make the call under way fail, from any thread. The connection is lost."""
        self._guard.interrupt()

    def close(self) -> None:
        self._guard.close()
        with contextlib.suppress(psycopg.Error):
            self.raw.close()

    def _run(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[tuple[Any, ...]]:
        self._guard.arm(deadline)
        try:
            cursor = self.raw.cursor(binary=True)
            cursor.execute(statement, parameters, prepare=True)
            return cursor.fetchall() if cursor.description is not None else []
        finally:
            self._guard.disarm()

    def _stop_preparing(self, error: psycopg.Error) -> None:
        """A pooler hands the session to others between our statements: prepare none any more."""
        self.raw.prepare_threshold = None
        if error.sqlstate != "0A000":
            self._connector.prepares = False

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        # A wait for a synchronous standby that was cancelled ends like a success.
        if diagnostic.sqlstate == "01000":
            self._doubtful = True
        _log.debug("notice from the server", text=diagnostic.message_primary)


class Connector:
    """Makes connections to one server or its successor, all alike."""

    def __init__(self, dsn: str, watchdog: Watchdog, *, allow_unsafe_durability: bool) -> None:
        self._conninfo = _with_defaults(dsn)
        self._hosts = str(conninfo_to_dict(self._conninfo).get("host", "")).count(",") + 1
        self._watchdog = watchdog
        self._allow_unsafe_durability = allow_unsafe_durability
        self.prepares = True
        """False once a pooler was found that does not keep prepared statements."""

    def connect(self, deadline: float) -> GuardedConnection:
        """Return a new connection to a server that passed the checks.

        Raises:
            StorageUnavailableError: None of the servers can be reached and takes writes.
            StorageError: The server is not one to keep events in.
        """
        raw = self._connect(deadline)
        connection = GuardedConnection(raw, self._watchdog.guard(raw.fileno()), self)
        try:
            self._check(connection.execute(_CHECK, (), deadline)[0])
        except psycopg.Error as error:
            connection.close()
            raise translated(error, "the new connection failed") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, deadline: float) -> psycopg.Connection[Any]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise StorageUnavailableError("the deadline passed before a connection was made")
        attempt = _Attempt(self._conninfo, left / self._hosts, prepares=self.prepares)
        attempt.start()
        raw = attempt.result(left)
        register_arrays(raw)
        return raw

    def _check(self, row: tuple[Any, ...]) -> None:
        version, encoding, fsync, synchronous_commit = row
        if version < OLDEST_SERVER:
            raise StorageError(f"PostgreSQL {version} is too old, {OLDEST_SERVER} is the oldest")
        if encoding != "UTF8":
            raise StorageError(f"the database is encoded in {encoding}, it must be UTF8")
        if self._allow_unsafe_durability:
            return
        for setting, is_safe in (("fsync", fsync), ("synchronous_commit", synchronous_commit)):
            if not is_safe:
                raise StorageError(
                    f"the server runs with {setting} off and would lose events in a crash;"
                    " Config(allow_unsafe_durability=True) accepts that"
                )


class _Attempt(threading.Thread):
    """Connects in a thread of its own: name resolution and libpq's timeouts obey no deadline."""

    def __init__(self, conninfo: str, timeout: float, *, prepares: bool) -> None:
        super().__init__(name="eventstore-connect", daemon=True)
        self._conninfo = conninfo
        self._timeout = timeout
        self._prepares = prepares
        self._settled = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._raw: psycopg.Connection[Any] | None = None
        self._error: psycopg.Error | None = None

    def run(self) -> None:
        try:
            raw = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=max(2, int(self._timeout)),
                prepare_threshold=5 if self._prepares else None,
            )
        except psycopg.Error as error:
            self._error = error
        else:
            self._hand_over(raw)
        self._done.set()

    def result(self, timeout: float) -> psycopg.Connection[Any]:
        """Return the connection, or give up after *timeout* seconds."""
        self._done.wait(timeout)
        with self._settled:
            self._abandoned = True
            if self._raw is not None:
                return self._raw
        if self._error is not None:
            raise translated(self._error, "cannot connect") from self._error
        raise StorageUnavailableError(f"cannot connect: no answer within {timeout:.1f} s")

    def _hand_over(self, raw: psycopg.Connection[Any]) -> None:
        with self._settled:
            if not self._abandoned:
                self._raw = raw
                return
        raw.close()


def _with_defaults(dsn: str) -> str:
    """Return *dsn* completed with what it leaves open.

    Raises:
        ValueError: It is no connection string. Not shown: it may hold a password.
    """
    try:
        given = conninfo_to_dict(dsn)
        missing = {key: value for key, value in _DEFAULTS.items() if key not in given}
        # Arrays are written in UTF-8, whatever the environment says.
        return make_conninfo(dsn, **missing, client_encoding="UTF8")
    except psycopg.ProgrammingError:
        raise ValueError(
            "dsn is no libpq connection string; it looks like postgresql://user@host/database"
            " or host=... dbname=..."
        ) from None
