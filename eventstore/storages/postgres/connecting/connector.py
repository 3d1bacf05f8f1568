"""Connects within a deadline to a server that takes writes and stores them durably."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.arrays import register_arrays
from eventstore.storages.postgres.connecting.connect_attempt import Attempt, Attempts, Revive
from eventstore.storages.postgres.connecting.connection import (
    GuardedConnection,
    PlainConnection,
    PooledConnection,
)
from eventstore.storages.postgres.connecting.patience import Patience
from eventstore.storages.postgres.connecting.precedence import Precedence
from eventstore.storages.postgres.connecting.servers import check, servers
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to, translated
from eventstore.storages.postgres.connecting.watchdog import Watchdog

__all__ = ["Connector", "complete_dsn", "parsed"]

OLDEST_SERVER = 15

_PREPARE_THRESHOLD = 5
_MOST_PREPARED = 2_000
"""Statements of a session: those of many stores, which would else be prepared again and again."""
_FIRST_ATTEMPT = 1.0
"""Seconds for the first attempt of a pool; without an answer the next one gets more."""

_PROTOCOL_VIOLATION = "08P01"
"""Code of PgBouncer for what its mode does not allow."""

_CHECK = b"""
    SELECT pg_catalog.current_setting('server_version_num'),
           pg_catalog.current_setting('server_encoding'), pg_catalog.current_setting('fsync'),
           pg_catalog.current_setting('session_replication_role'),
           pg_catalog.current_setting('transaction_isolation'), pg_catalog.pg_backend_pid()
"""

# What a session of ours relies on, whatever role and database are set to. A prepared plan stays:
# with a parameter as LIMIT the server would plan anew on each call, 0.2 us per event of a page.
# So it must not scan a table that was small when it was planned; without other plans the high cost
# estimate would switch jit on. Appends need read committed. Calls end by our deadlines.
_SETTINGS = {
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "transaction_timeout": "0",  # since PostgreSQL 17
    "exit_on_error": "off",
}


def _setting(name: str, value: str) -> str:
    known = f"pg_catalog.current_setting('{name}', true) IS NOT NULL"
    return f"CASE WHEN {known} THEN pg_catalog.set_config('{name}', '{value}', false) END"


_SET_UP = f"SELECT {', '.join(_setting(*setting) for setting in _SETTINGS.items())}".encode()

Raw = TypeVar("Raw", bound=psycopg.Connection[Any])

_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "eventstore",
    # After a failover, connect only to the server that takes writes.
    "target_session_attrs": "read-write",
    # Notices a dead peer even while listening, which has no deadline.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}


class Connector:
    """Connects to one server or its successor. Used from any thread."""

    def __init__(
        self,
        dsn: str,
        watchdog: Watchdog,
        precedence: Precedence,
        *,
        allow_unsafe_durability: bool,
        name: str = "dsn",
        revive: Revive | None = None,
    ) -> None:
        """Prepare; connects later.

        Args:
            dsn: Connection string.
            watchdog: Ends calls on the connections at their deadlines.
            precedence: Told when the server refuses a connection that is not for a pool.
            allow_unsafe_durability: See `Config`.
            name: Name of the setting that *dsn* comes from, for errors.
            revive: Called when no connection can be made, in the thread of the attempt. True: the
                server was started again, so it is tried once more. For a server of our own.

        Raises:
            ValueError: *dsn* is no connection string, or has a value that libpq does not know.
        """
        self._conninfo = complete_dsn(dsn, name)
        self._watchdog = watchdog
        self._precedence = precedence
        self._allow_unsafe_durability = allow_unsafe_durability
        self._revive = revive
        self._prepares = True
        self._begin(Attempts())

    def _begin(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._closed = False

    def sibling(self, *, counted: bool = False) -> Connector:
        """Return a connector to the same servers that is closed by itself.

        Both heed the refusals of both: a server may lock an account after a few.

        Args:
            counted: Whether the attempts of both together are bounded. Defaults to False.
        """
        other = copy.copy(self)
        attempts = self._attempts if counted else Attempts(self._attempts.refusals)
        other._begin(attempts)  # noqa: SLF001
        return other

    def connect(self, deadline: float) -> GuardedConnection:
        """Return a new connection, with precedence over pools, to a server that passed the checks.

        Raises:
            StorageUnavailableError: No server can be reached that takes writes.
            StorageError: The server is too old, is not in UTF-8, or could lose commits.
        """
        try:
            raw = self._connect(psycopg.Connection[Any], deadline)
            connection = self._guarded(raw, deadline)
        except StorageError as error:
            cause = error.__cause__
            # A server that does not let us in is not short of connections.
            if isinstance(cause, psycopg.Error) and reaction_to(cause) is not Reaction.DENIED:
                self._precedence.refused()
            raise
        self._precedence.granted()
        return connection

    def connect_pooled(self, deadline: float) -> PooledConnection:
        """Do what `connect` does, for a pool."""
        raw = self._connect(PooledConnection, deadline)
        raw.guarded = self._guarded(raw, deadline)
        return raw

    def connect_plain(self, deadline: float) -> PlainConnection:
        """Do what `connect` does, for the application: no setting of the session is ours."""
        raw = self._connect(PlainConnection, deadline)
        guarded = self._guarded(raw, deadline, ours=False)
        if self._prepares and not guarded.pooled:
            raw.prepare_threshold = _PREPARE_THRESHOLD
        guarded.unguard()
        raw.autocommit = False
        return raw

    def patience(self, connect_timeout: float) -> Patience:
        """Return the time limits for connects of a pool whose callers wait *connect_timeout* s.

        With one server, at least two attempts fit into that time. Several servers are tried one
        after the other within one attempt.
        """
        if len(servers(self._conninfo)) > 1:
            return Patience(connect_timeout, connect_timeout)
        return Patience(min(_FIRST_ATTEMPT, connect_timeout / 2), connect_timeout / 2)

    def close(self) -> None:
        """Abandon running attempts, and refuse to connect again."""
        with self._lock:
            self._closed = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    def _connect(self, kind: type[Raw], deadline: float) -> Raw:
        if time.monotonic() >= deadline:
            raise StorageUnavailableError("the deadline passed before a connection was made")
        attempt = Attempt(kind, self._conninfo, deadline, self._attempts, self._revive)
        with self._stoppable(attempt.abandon):
            attempt.start()
            raw = attempt.result()
        register_arrays(raw.adapters)
        return raw

    def _guarded(
        self, raw: psycopg.Connection[Any], deadline: float, *, ours: bool = True
    ) -> GuardedConnection:
        """Check the server. Return the connection with deadlines, and set up for *ours* alone."""
        guard = self._watchdog.guard(raw.fileno())
        connection = GuardedConnection(raw, guard, self._never_prepare)
        try:
            with self._stoppable(connection.interrupt):
                *properties, isolation, session = connection.execute(_CHECK, (), deadline)[0]
                self._check(properties)
                connection.pooled = session != raw.info.backend_pid
                if connection.pooled:
                    _check_transactions(connection, deadline)
                if not ours:
                    return connection
                if self._prepares and not connection.pooled:
                    self._set_up(connection, deadline)
                else:
                    _check_isolation(isolation)
        except psycopg.Error as error:
            connection.close()
            raise translated(error, "the new connection failed") from error
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _stoppable(self, stop: Callable[[], None]) -> Iterator[None]:
        """Let `close` call *stop* while the block runs."""
        with self._lock:
            if self._closed:
                raise StorageUnavailableError("the storage is closed")
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)

    def _set_up(self, connection: GuardedConnection, deadline: float) -> None:
        """Set the session up for our statements, and prepare these.

        Behind a pooler it is no session of ours: it changes, and other clients use the same names
        for statements.
        """
        connection.execute(_SET_UP, (), deadline)
        connection.raw.prepare_threshold = _PREPARE_THRESHOLD
        connection.raw.prepared_max = _MOST_PREPARED

    def _never_prepare(self) -> None:
        self._prepares = False

    def _check(self, properties: list[Any]) -> None:
        number, encoding, fsync, replication_role = properties
        version = int(number) // 10_000
        if version < OLDEST_SERVER:
            raise StorageError(f"PostgreSQL {version} is too old, {OLDEST_SERVER} is the oldest")
        if encoding != "UTF8":
            raise StorageError(f"the database is encoded in {encoding}, it must be UTF8")
        if replication_role == "replica":
            raise StorageError(
                "session_replication_role is 'replica', it must be 'origin': foreign keys are not"
                " kept; it may be set for the role or the database"
            )
        if fsync == "off" and not self._allow_unsafe_durability:
            raise StorageError(
                "the server runs with fsync off and would lose events in a crash;"
                " Config(allow_unsafe_durability=True) accepts that"
            )


def _check_isolation(isolation: str) -> None:
    if isolation != "read committed":
        raise StorageError(
            f"default_transaction_isolation is {isolation!r}, it must be 'read committed': behind a"
            " pooler it cannot be set for a session; set it for the role or the database"
        )


def _check_transactions(connection: GuardedConnection, deadline: float) -> None:
    """Check that the pooler lends one session to all statements of a transaction."""
    try:
        with connection.transaction(deadline) as raw:
            raw.execute("SELECT")
    except psycopg.Error as error:
        if error.sqlstate != _PROTOCOL_VIOLATION:
            raise
        raise StorageError(
            "the pooler between us and the server allows no transactions (is it in statement"
            f" mode?): {error.diag.message_primary}"
        ) from error


def parsed(dsn: str, name: str = "dsn") -> dict[str, Any]:
    """Return the options in *dsn*.

    Raises:
        ValueError: It is no connection string. Not shown, because it may hold a password.
    """
    try:
        return conninfo_to_dict(dsn)
    except (psycopg.ProgrammingError, UnicodeError):
        raise ValueError(
            f"{name} is no libpq connection string; it looks like postgresql://user@host/database"
            " or host=... dbname=..."
        ) from None


def complete_dsn(dsn: str, name: str = "dsn") -> str:
    """Return *dsn* with defaults for what it does not set.

    Raises:
        ValueError: It is no connection string, or libpq cannot use it.
    """
    # The arrays are in UTF-8, whatever the environment says.
    conninfo = make_conninfo(**{**_DEFAULTS, **parsed(dsn, name), "client_encoding": "UTF8"})
    try:
        check(conninfo)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from None
    return conninfo
