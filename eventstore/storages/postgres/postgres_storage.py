"""The storage port over PostgreSQL. Delegates each call to the module that does it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import psycopg

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError, SubscriptionNotFoundError
from eventstore.model.subscription import SubscriptionInfo
from eventstore.ports.ownership import Claim, Claimed, Held
from eventstore.ports.storage import (
    AnnounceSession,
    AppendSession,
    HeadListener,
    KeeperSession,
)
from eventstore.storages.postgres.admin.connection_limits import warn_of_limits
from eventstore.storages.postgres.admin.store_check import Checked, Finding, StoreCheck
from eventstore.storages.postgres.admin.store_identity import StoreIdentity
from eventstore.storages.postgres.admin.store_removal import Dropped
from eventstore.storages.postgres.admin.store_schema import StoreSchema
from eventstore.storages.postgres.announce_session import (
    LONGEST_WAIT,
    Audience,
    OwnSessions,
    PostgresAnnounceSession,
    payloads,
    send_news,
)
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting.connect_attempt import Revive
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.kept_connection import KeptConnection
from eventstore.storages.postgres.connecting.pool import Pool
from eventstore.storages.postgres.connecting.precedence import Precedence
from eventstore.storages.postgres.connecting.service_pool import ServicePool
from eventstore.storages.postgres.connecting.sqlstates import at_once, refused
from eventstore.storages.postgres.connecting.watchdog import Watchdog
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.lent_reads import LentReads
from eventstore.storages.postgres.open_sessions import OpenSessions
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession, SubscriptionRows

__all__ = ["PostgresStorage"]

_OWN_CONNECTIONS = 4  # of writer, keeper, listener and announcer

Result = TypeVar("Result")
Changed = TypeVar("Changed", int, int | None)


class PostgresStorage(LentReads):
    """A store in one schema of a PostgreSQL database; see `Storage`."""

    def __init__(
        self,
        config: Config,
        on_close: Callable[[], object] | None = None,
        *,
        pool: object | None = None,
        revive: Revive | None = None,
    ) -> None:
        """Prepare; `open` connects.

        Args:
            config: Its `dsn` is a libpq connection string or URL.
            on_close: Called after the last connection was closed.
            pool: A `psycopg_pool.ConnectionPool` of the service for reads; it stays open.
                Defaults to one of our own.
            revive: Called when `dsn` cannot be connected to; see `Connector`.

        Raises:
            ValueError: A connection string cannot be read.
            TypeError: *pool* is not a `psycopg_pool.ConnectionPool`.
        """
        self._config = config
        self._on_close = on_close
        self._pid = os.getpid()
        self._closed = False
        self._watchdog = Watchdog()
        self._precedence = Precedence()
        self._revive = revive
        connector = self._connector = self._connector_to(config.dsn, self._precedence)
        if config.listen_dsn:
            self._listen_connector()  # refuses what is no connection string
        self._statements = Statements(config.schema)
        self._schema = StoreSchema(config.schema)
        self._identity = StoreIdentity(self._statements)
        self._reader = Reader(self._statements)
        self._rows = SubscriptionRows(self._statements)
        self._pool = Pool(connector, config.pool_size, self._precedence, config.connect_timeout)
        self._service_pool = None if pool is None else ServicePool(pool, self._watchdog)
        self._readers = self._service_pool or self._pool
        self._own = OwnSessions()
        self._audience = Audience(self._statements, self._own)
        self._crashed: Callable[[str, BaseException], object] = lambda _name, _error: None
        self._sessions = OpenSessions()

    @property
    def dsn(self) -> str:
        """The libpq connection string in use, with its password."""
        return self._config.dsn

    def open(self, *, init: bool, deadline: float) -> None:
        """Check server and schema over one connection; see `Storage.open`."""
        try:
            connection = self._connector.connect(deadline)
        except StorageUnavailableError as error:
            raise at_once(error) from error.__cause__
        try:
            self._prove(connection, init=init, deadline=deadline)
        finally:
            connection.close()

    def _prove(self, connection: GuardedConnection, *, init: bool, deadline: float) -> None:
        if init:
            patience = 0.9 * (deadline - time.monotonic())
            lock_timeout = min(self._config.migration_lock_timeout, patience)
            self._schema.update(connection, lock_timeout, deadline)
        self._schema.check(connection, deadline)
        try:
            warn_of_limits(connection, self._config.pool_size + _OWN_CONNECTIONS, deadline)
            self._bind(self._identity.read(connection, deadline), deadline)
        except psycopg.Error as error:
            raise refused(error, "looking at the server failed") from error

    def _bind(self, store_id: UUID, deadline: float) -> None:
        """Use the store *store_id* from now on, and no other."""
        if self._service_pool is not None:
            prove = self._identity.prove
            self._service_pool.run_once(lambda c: prove(c, store_id, deadline), deadline)
        self._statements.bind(store_id, unsafe=self._config.allow_unsafe_durability)

    def drop(self, deadline: float) -> Dropped | None:
        """Drop the store with every event in it; see `StoreSchema.drop`."""
        lock_timeout = self._config.migration_lock_timeout
        return self._run(
            "dropping", lambda c: self._schema.drop(c, lock_timeout, deadline), deadline
        )

    def verify(self, found: Callable[[Finding], object], deadline: float) -> Checked:
        """Call *found* for everything that breaks a guarantee. Not retried; see `StoreCheck`."""
        check = StoreCheck(self._config.schema)
        try:
            return self._pool.run_once(lambda c: check.run(c, found, deadline), deadline)
        except psycopg.Error as error:
            raise refused(error, "verifying the store failed") from error

    def close(self) -> None:
        """Close every connection. After a fork do nothing: they belong to the parent."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._sessions.refuse()
        self._connector.close()
        # Before the sessions: a listener may be waiting for a connection of theirs.
        self._pool.close()
        self._readers.close()
        self._sessions.close()
        self._watchdog.close()
        if self._on_close is not None:
            self._on_close()

    def supervise(self, crashed: Callable[[str, BaseException], object]) -> None:
        """Report crashes of watchdog and pool; see `Storage.supervise`."""
        self._crashed = crashed
        self._watchdog.crashed = lambda error: crashed("watchdog", error)

    def check_threads(self) -> None:
        """Replace watchdog and pool if they are dead; see `Storage.check_threads`."""
        if self._watchdog.replace_if_dead():
            self._crashed("watchdog", RuntimeError("its thread is dead"))
        if (thread := self._pool.replace_if_dead()) is not None:
            self._crashed("pool", RuntimeError(f"the thread {thread} is dead"))

    def overdue(self) -> float:
        """Return how late the watchdog is; see `Storage.overdue`."""
        return self._watchdog.overdue()

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────

    def append_session(self) -> AppendSession:
        """Return a session that appends, with a connection of its own."""
        connection = KeptConnection(self._connector)
        return self._sessions.add(
            PostgresAppendSession(connection, self._statements, self._audience)
        )

    def keeper_session(self) -> KeeperSession:
        """Return a session that keeps subscriptions, with a connection of its own."""
        return self._sessions.add(
            PostgresKeeperSession(KeptConnection(self._connector), self._statements)
        )

    def head_listener(self) -> HeadListener:
        """Return a listener with a connection of its own, and one to `Config.listen_dsn` if set."""
        config = self._config
        return self._sessions.add(
            PostgresHeadListener(
                self._statements,
                self._own,
                connector=self._connector_to(config.dsn, self._precedence),
                listen_connector=self._listen_connector() if config.listen_dsn else None,
                pool=self._pool,
                readers=self._readers,
                connect_timeout=config.connect_timeout,
            )
        )

    def announce_session(self) -> AnnounceSession:
        """Return a session that notifies other processes, with a connection of its own."""
        return self._sessions.add(
            PostgresAnnounceSession(
                KeptConnection(self._connector), self._statements, self._own, self._audience
            )
        )

    # ── subscriptions ────────────────────────────────────────────────────────────────────────────

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        """Take over a subscription if it is free; see `Storage.claim`."""
        return self._run(
            "claiming a subscription", lambda c: self._rows.claim(c, claim, deadline), deadline
        )

    def subscriptions(self, deadline: float) -> list[SubscriptionInfo]:
        """Return every subscription, by stream and name."""
        return self._run("listing subscriptions", lambda c: self._rows.all(c, deadline), deadline)

    def subscription_info(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        """Return one subscription; see `Storage.subscription_info`."""
        return self._run(
            "reading a subscription",
            lambda c: self._rows.one(c, stream_id, subscription_name, deadline),
            deadline,
        )

    def set_paused(
        self, stream_id: str, subscription_name: str, *, paused: bool, deadline: float
    ) -> None:
        """Pause or resume a subscription; see `Storage.set_paused`."""
        self._change(
            "pausing a subscription",
            lambda c: self._rows.set_paused(
                c, stream_id, subscription_name, paused=paused, deadline=deadline
            ),
            deadline,
        )

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> None:
        """Set the checkpoint and fence the owner; see `Storage.reset_subscription`."""
        self._change(
            "resetting a subscription",
            lambda c: self._rows.reset(c, stream_id, subscription_name, position, deadline),
            deadline,
        )

    def delete_subscription(self, stream_id: str, subscription_name: str, deadline: float) -> None:
        """Delete a subscription and fence its owner; see `Storage.delete_subscription`."""
        attempts = 0

        def delete(connection: GuardedConnection) -> int | None:
            nonlocal attempts
            attempts += 1
            return self._rows.delete(connection, stream_id, subscription_name, deadline)

        found = self._change("deleting a subscription", delete, deadline)
        # On a retry it may be missing because the first attempt deleted it.
        if found is None and attempts == 1:
            raise SubscriptionNotFoundError(stream_id, subscription_name)

    def _change(
        self, doing: str, work: Callable[[GuardedConnection], Changed], deadline: float
    ) -> Changed:
        """Do *work*, announce the changed subscription on the same connection, return its id."""

        def change(connection: GuardedConnection) -> Changed:
            changed = work(connection)
            if changed is not None:
                until = min(deadline, time.monotonic() + LONGEST_WAIT)
                (payload,) = payloads(events=False, subscriptions=[changed])
                # The change is committed. If the announcement fails, others find it by polling.
                with contextlib.suppress(psycopg.Error, StorageUnavailableError):
                    send_news(connection, self._statements, payload, until)
            return changed

        return self._run(doing, change, deadline)

    def _run(
        self, doing: str, work: Callable[[GuardedConnection], Result], deadline: float
    ) -> Result:
        return self._pool.run(work, deadline, f"{doing} failed")

    def _listen_connector(self) -> Connector:
        # With a precedence of its own: a failure to listen takes no connection from the readers.
        return self._connector_to(self._config.listen_dsn or "", Precedence(), name="listen_dsn")

    def _connector_to(self, dsn: str, precedence: Precedence, *, name: str = "dsn") -> Connector:
        return Connector(
            dsn,
            self._watchdog,
            precedence,
            allow_unsafe_durability=self._config.allow_unsafe_durability,
            name=name,
            revive=self._revive if name == "dsn" else None,
        )
