"""Connections that handlers write over, each lent for one transaction: to threads and to loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any
from weakref import ref

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError
from eventstore.ports.waits import BLOCKING, Waits
from eventstore.storages.postgres.caller_connection import DriverConnection
from eventstore.storages.postgres.connecting.connection import Row, leaves_unconfirmed
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.plain_cursor import AsyncPlainCursor, PlainCursor
from eventstore.storages.postgres.connecting.watchdog import Guard, Watchdog

__all__ = ["HandlerConnection", "HandlerConnections"]

_MAX_IDLE = 10.0
"""Seconds after which a connection that was not needed is closed, when another one is lent."""

Loop = asyncio.AbstractEventLoop


class HandlerConnection:
    """A connection that one handler has. Our calls on it end by their deadlines, its own do not."""

    def __init__(self, raw: DriverConnection, guard: Guard, loop: Loop | None) -> None:
        self.raw = raw
        self.idle_since = 0.0
        self._guard = guard
        self._loop = None if loop is None else ref(loop)
        self._unconfirmed = False
        raw.add_notice_handler(self._notice)

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._guard.expired or self.raw.closed

    @property
    def was_closed(self) -> bool:
        """Whether the handler has closed it, which was not lost before."""
        return self.raw.closed and not (self.raw.broken or self._guard.expired)

    @property
    def status(self) -> TransactionStatus:
        return self.raw.info.transaction_status

    def is_of(self, loop: Loop | None) -> bool:
        """Return whether it is for tasks of *loop*; None: for threads."""
        return (None if self._loop is None else self._loop()) is loop

    def is_stale(self) -> bool:
        """Return whether it must not be lent again."""
        return self.lost or self.status != TransactionStatus.IDLE or self._guard.has_news()

    async def fetch(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[Row]:
        """Run one statement within the transaction, which it begins, and return its rows.

        Raises:
            psycopg.Error: As the driver raises it.
        """
        self._guard.arm(deadline)
        try:
            if isinstance(self.raw, psycopg.AsyncConnection):
                waiting = AsyncPlainCursor(self.raw)
                await waiting.execute(statement, parameters, prepare=True)
                return await waiting.fetchall()
            cursor = PlainCursor(self.raw)
            cursor.execute(statement, parameters, prepare=True)
            return cursor.fetchall()
        finally:
            self._guard.disarm()

    async def commit(self, deadline: float) -> None:
        """Commit; the errors are those of `fetch`.

        Raises:
            OutcomeUnknownError: It is committed, but maybe on no standby that had to confirm it.
        """
        self._unconfirmed = False
        self._guard.arm(deadline)
        try:
            if isinstance(self.raw, psycopg.AsyncConnection):
                await self.raw.commit()
            else:
                self.raw.commit()
        finally:
            self._guard.disarm()
        if self._unconfirmed:
            raise OutcomeUnknownError("stored here, but a standby may not have it")

    async def rollback(self, deadline: float) -> None:
        """Roll back, if there is a transaction; the errors are those of `fetch`."""
        self._guard.arm(deadline)
        try:
            if isinstance(self.raw, psycopg.AsyncConnection):
                await self.raw.rollback()
            else:
                self.raw.rollback()
        finally:
            self._guard.disarm()

    def interrupt(self) -> None:
        """Make the running call fail, from any thread. The connection is lost."""
        self._guard.interrupt()

    def close(self) -> None:
        # Not by the driver's own method, which would have to be awaited by one of the two.
        self._guard.close()
        self.raw.pgconn.finish()

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._unconfirmed = self._unconfirmed or leaves_unconfirmed(diagnostic)


class HandlerConnections:
    """As many connections as handlers run at once. Used from any thread and any loop."""

    def __init__(self, connector: Connector, watchdog: Watchdog) -> None:
        self._connector = connector
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._idle: list[HandlerConnection] = []
        self._lent: set[HandlerConnection] = set()
        self._closed = False

    async def lend(self, waits: Waits, deadline: float) -> HandlerConnection:
        """Return a connection, of the kind that *waits* asks for; `take_back` ends its use.

        Raises:
            StorageUnavailableError: There is none before *deadline*.
            StorageError: The server is refused.
        """
        loop = None if waits is BLOCKING else asyncio.get_running_loop()
        lent = self._idle_of(loop)
        if lent is None:
            lent = await self._made_of(await self._connected(waits, deadline), loop)
        with self._lock:
            self._lent.add(lent)
            if not self._closed:
                return lent
        self.take_back(lent)
        raise StorageUnavailableError("the storage is closed")

    def take_back(self, lent: HandlerConnection) -> None:
        """Keep *lent* for the next handler; close it if it cannot be used any more."""
        stale = lent.is_stale()
        lent.idle_since = time.monotonic()
        with self._lock:
            self._lent.discard(lent)
            if not (stale or self._closed):
                self._idle.append(lent)
                return
        lent.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def close_unused(self, since: float) -> None:
        """Close what has not been used since a moment. From any thread. Never blocks."""
        with self._lock:
            old = [each for each in self._idle if each.idle_since < since]
            self._idle = [each for each in self._idle if each not in old]
        for each in old:
            each.close()

    def close(self) -> None:
        """Close idle connections, and interrupt those in use."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            lent = list(self._lent)
        for each in idle:
            each.close()
        for each in lent:
            each.interrupt()

    def _idle_of(self, loop: Loop | None) -> HandlerConnection | None:
        """Return the connection of that kind that was used last; close those not used for long."""
        now = time.monotonic()
        with self._lock:
            fitting = [each for each in self._idle if each.is_of(loop)]
            chosen = fitting[-1] if fitting else None
            old = [
                each
                for each in self._idle
                if each is not chosen and now - each.idle_since > _MAX_IDLE
            ]
            self._idle = [each for each in self._idle if each is not chosen and each not in old]
        for each in old:
            each.close()
        if chosen is None or not chosen.is_stale():
            return _as_new(chosen)
        chosen.close()
        return self._idle_of(loop)

    async def _connected(self, waits: Waits, deadline: float) -> psycopg.Connection[Any]:
        attempt = _Attempt(self._connector)
        try:
            return await waits.call(attempt.connect, deadline)
        except BaseException:
            attempt.abandon()
            raise

    async def _made_of(self, raw: psycopg.Connection[Any], loop: Loop | None) -> HandlerConnection:
        made: DriverConnection = raw
        if loop is None:
            raw.isolation_level = IsolationLevel.READ_COMMITTED
        else:
            made = psycopg.AsyncConnection(raw.pgconn)
            made.prepare_threshold = raw.prepare_threshold
            try:
                await made.set_isolation_level(IsolationLevel.READ_COMMITTED)
            except BaseException:
                made.pgconn.finish()
                raise
        return HandlerConnection(made, self._watchdog.guard(made.fileno()), loop)


class _Attempt:
    """A connect that goes on in a thread when the task that waits for it is cancelled."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._lock = threading.Lock()
        self._made: psycopg.Connection[Any] | None = None
        self._abandoned = False

    def connect(self, deadline: float) -> psycopg.Connection[Any]:
        made = self._connector.connect_plain(deadline)
        with self._lock:
            self._made = made
            if self._abandoned:
                made.close()
        return made

    def abandon(self) -> None:
        """Close what was connected, or will be."""
        with self._lock:
            self._abandoned = True
            if self._made is not None:
                self._made.close()


def _as_new(chosen: HandlerConnection | None) -> HandlerConnection | None:
    """Undo what the handler before may have set on the connection of the driver."""
    if chosen is not None:
        chosen.raw.row_factory = tuple_row
    return chosen
