"""The storage port over PostgreSQL. Delegates each call to the module that does it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TypeVar
from uuid import UUID

import psycopg

from eventstore.model.config import Config
from eventstore.model.errors import (
    StorageError,
    StorageUnavailableError,
)
from eventstore.model.events import LinkResult
from eventstore.ports.announcing import AnnounceSession
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.listening import HeadListener
from eventstore.ports.storage import AppendSession, KeeperSession
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
from eventstore.storages.postgres.caller_transaction import Surroundings
from eventstore.storages.postgres.connecting.connect_attempt import Revive
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.handler_connections import HandlerConnections
from eventstore.storages.postgres.connecting.kept_connection import KeptConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.reserve import Reserve
from eventstore.storages.postgres.connecting.share import Share
from eventstore.storages.postgres.connecting.sqlstates import at_once, refused
from eventstore.storages.postgres.erasing import Eraser
from eventstore.storages.postgres.family import Family
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.lent_parking import LentParking
from eventstore.storages.postgres.lent_snapshots import LentSnapshots
from eventstore.storages.postgres.lent_subscriptions import LentSubscriptions
from eventstore.storages.postgres.matching_reader import MatchingReader
from eventstore.storages.postgres.open_sessions import OpenSessions
from eventstore.storages.postgres.parked_rows import ParkedRows
from eventstore.storages.postgres.processing_transactions import ProcessingTransactions
from eventstore.storages.postgres.projection_transactions import ProjectionTransactions
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.shared_head_listener import SharedHeadListener
from eventstore.storages.postgres.snapshot_rows import SnapshotRows
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.stream_changes import StreamChanges
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession, SubscriptionRows
from eventstore.storages.postgres.write_lock import held_by

__all__ = ["PostgresStorage"]

_OWN_CONNECTIONS = 4  # of writer, keeper, listener and announcer

Result = TypeVar("Result")


class PostgresStorage(
    LentSubscriptions, LentParking, LentSnapshots, ProcessingTransactions, ProjectionTransactions
):
    """A store in one schema of a PostgreSQL database; see `Storage`."""

    def __init__(
        self,
        config: Config,
        on_close: Callable[[], object] | None = None,
        *,
        pool: object | None = None,
        revive: Revive | None = None,
        family: Family | None = None,
    ) -> None:
        """Prepare; `open` connects.

        Args:
            config: Its `dsn` is a libpq connection string or URL.
            on_close: Called after the last connection was closed.
            pool: A `psycopg_pool.ConnectionPool` of the service for reads; it stays open.
                Defaults to one of our own.
            revive: Called when `dsn` cannot be connected to; see `Connector`.
            family: The stores whose connections it shares, and which it has joined. None: it is
                the first one, to which the arguments before belong.

        Raises:
            ValueError: A connection string cannot be read.
            TypeError: *pool* is not a `psycopg_pool.ConnectionPool`.
        """
        self._config = config
        self._pid = os.getpid()
        self._closed = False
        self._is_first = family is None
        self._family = family or Family(config, on_close, pool=pool, revive=revive)
        self._connector = self._family.connector.sibling(counted=self._is_first)
        self._statements = Statements(config.schema)
        self._schema = StoreSchema(config.schema)
        self._identity = StoreIdentity(self._statements)
        self._reader = Reader(self._statements)
        self._matching = MatchingReader(self._statements)
        self._snapshots = SnapshotRows(self._statements, self._reader)
        self._rows = SubscriptionRows(self._statements)
        self._parked = ParkedRows(self._statements)
        self._changes = StreamChanges(self._statements)
        self._pool = self._readers = Share(self._family.pool)
        if self._family.service_pool is not None:
            self._readers = Share(self._family.service_pool)
        self._around = Surroundings(
            self._statements,
            self._family.watchdog,
            partial(held_by, self._pool, self._statements),
            config.caller_transaction_timeout,
        )
        self._handler_connections = HandlerConnections(self._connector, self._family.watchdog)
        if not self._is_first:
            self._family.unused.add(self._handler_connections)
        self._patience = config.connect_timeout
        self._own = OwnSessions(shared=self._family.own)
        self._audience = Audience(self._statements, self._own)
        self._crashed: Callable[[str, BaseException], object] = lambda _name, _error: None
        self._sessions = OpenSessions()

    def beside(self, config: Config) -> PostgresStorage:
        """Return the storage of another schema; see `Storage.beside`."""
        if self._closed:
            raise StorageUnavailableError("the storage is closed")
        self._family.join()
        return PostgresStorage(replace(config, dsn=self._config.dsn), family=self._family)

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
            if self._is_first:
                warn_of_limits(connection, self._config.pool_size + _OWN_CONNECTIONS, deadline)
            self._bind(self._identity.read(connection, deadline), deadline)
        except psycopg.Error as error:
            raise refused(error, "looking at the server failed") from error

    def _bind(self, store_id: UUID, deadline: float) -> None:
        """Use the store *store_id* from now on, and no other."""
        if self._readers is not self._pool:
            prove = self._identity.prove
            self._readers.run_once(lambda c: prove(c, store_id, deadline), deadline)
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
        """Close every connection of its own. After a fork do nothing: they belong to the parent."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._sessions.refuse()
        self._connector.close()
        is_last = self._family.leave(self._crashed)
        # Before the sessions: a listener may be waiting for a connection of theirs.
        if is_last:
            self._family.interrupt()
        self._pool.close()
        self._readers.close()
        self._handler_connections.close()
        self._sessions.close()
        if is_last:
            self._family.close()

    def supervise(self, crashed: Callable[[str, BaseException], object]) -> None:
        """Report crashes of shared threads; see `Storage.supervise`."""
        self._crashed = crashed
        self._family.supervise(crashed)

    def check_threads(self) -> None:
        """Replace shared threads that are dead; see `Storage.check_threads`."""
        self._family.check_threads()

    def overdue(self) -> float:
        """Return how late the watchdog is; see `Storage.overdue`."""
        return self._family.watchdog.overdue()

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────

    def append_session(self) -> AppendSession:
        """Return a session that appends, with a connection of its own."""
        connection = KeptConnection(self._connector)
        if not self._is_first:
            self._family.unused.add(connection)
        return self._sessions.add(
            PostgresAppendSession(connection, self._statements, self._audience)
        )

    def keeper_session(self) -> KeeperSession:
        """Return a session that keeps subscriptions."""
        return self._sessions.add(
            PostgresKeeperSession(self._background(self._family.keeping), self._statements)
        )

    def head_listener(self) -> HeadListener:
        """Return a listener."""
        timeout = self._config.connect_timeout
        if not self._is_first:
            return self._sessions.add(
                SharedHeadListener(
                    self._statements,
                    self._own,
                    self._family.ears,
                    Share(self._family.calling),
                    timeout,
                )
            )
        line = self._family.listen_connector
        return self._sessions.add(
            PostgresHeadListener(
                self._statements,
                self._own,
                connector=self._connector.sibling(),
                listen_connector=line and line.sibling(),
                pool=self._family.pool,
                readers=self._readers,
                connect_timeout=timeout,
            )
        )

    def announce_session(self) -> AnnounceSession:
        """Return a session that notifies other processes."""
        connection = self._background(self._family.calling)
        return self._sessions.add(
            PostgresAnnounceSession(connection, self._statements, self._own, self._audience)
        )

    def _background(self, reserve: Reserve) -> Lender:
        """Return the first store's own connection, or what another one uses of *reserve*."""
        return KeptConnection(self._connector) if self._is_first else Share(reserve)

    # ── streams ──────────────────────────────────────────────────────────────────────────────────

    def link(self, link: Link, deadline: float) -> LinkResult:
        """Link events to a stream, all or none; see `Storage.link`."""

        def send(connection: GuardedConnection) -> LinkResult:
            linked = self._changes.link(connection, link, deadline)
            self._announce(connection, "e", deadline)
            return linked

        return self._run("linking events", send, deadline)

    def delete_stream(self, deletion: Deletion, deadline: float) -> None:
        """Delete a stream; see `Storage.delete_stream`."""
        attempts = count(1)

        def delete(connection: GuardedConnection) -> None:
            again = next(attempts) > 1
            touched = self._changes.delete(connection, deletion, deadline, again=again)
            if deletion.hard:
                for payload in payloads(events=True, subscriptions=touched):
                    self._announce(connection, payload, deadline)

        self._run("deleting a stream", delete, deadline)
        if deletion.hard:
            # If this fails, the keeper of any process goes on.
            with contextlib.suppress(StorageError):
                self._erase()

    def _erase(self) -> None:
        eraser, more = Eraser(self._statements), True
        while more:
            deadline = time.monotonic() + self._config.connect_timeout
            more = self._run("erasing events", partial(eraser.erase, deadline=deadline), deadline)

    def _announce(self, connection: GuardedConnection, payload: str, deadline: float) -> None:
        """Announce what is committed. If that fails, others find it by polling."""
        until = min(deadline, time.monotonic() + LONGEST_WAIT)
        with contextlib.suppress(psycopg.Error, StorageUnavailableError):
            send_news(connection, self._statements, payload, until)

    def _run(
        self, doing: str, work: Callable[[GuardedConnection], Result], deadline: float
    ) -> Result:
        return self._pool.run(work, deadline, f"{doing} failed")
