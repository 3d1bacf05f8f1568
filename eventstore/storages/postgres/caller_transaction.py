"""The transaction of a caller's own, in which the store writes beside the caller's rows.

Whatever a store writes there is a method of `PostgresCallerTransaction`, and runs by `fetch`: by a
plain cursor of ours, so that nothing of the caller's connection changes but its transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int4

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.model.events import LinkResult
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.effects import Batch
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import Append, Outcome, StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.ports.waits import BLOCKING, Waits
from eventstore.storages.postgres.append_session import append_arguments, outcomes
from eventstore.storages.postgres.arrays import int8_array
from eventstore.storages.postgres.caller_connection import (
    DriverConnection,
    check_open,
    check_writable,
    driver_connection,
)
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.plain_cursor import AsyncPlainCursor, PlainCursor
from eventstore.storages.postgres.connecting.sqlstates import (
    FENCED,
    LOCK_NOT_AVAILABLE,
    translated,
    unanswered,
)
from eventstore.storages.postgres.connecting.watchdog import Watchdog
from eventstore.storages.postgres.effect_statements import checkpoint_arguments
from eventstore.storages.postgres.moments import lock_wait
from eventstore.storages.postgres.reader import events_of_stream, stream_page
from eventstore.storages.postgres.snapshot_rows import (
    deletion_of_snapshot,
    is_recorded,
    record_arguments,
)
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.stream_changes import (
    deletion_arguments,
    link_arguments,
    link_result,
    subscriptions_of_deleted,
)

__all__ = ["CallerTransactions", "JoinedConnection", "PostgresCallerTransaction", "Surroundings"]

Row = tuple[Any, ...]

_WITHOUT = {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}
"""States of a connection that has no transaction."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a store needs in order to write in transactions of callers."""

    statements: Statements
    watchdog: Watchdog
    """Ends each call at its deadline."""
    held_by: Callable[[float], str | None]
    """Returns who holds the write lock, before a deadline; see `write_lock.held_by`. It blocks."""
    timeout: float
    """`Config.caller_transaction_timeout`."""


class CallerTransactions:
    """Joins transactions of callers; see `JoinsTransactions`."""

    _around: Surroundings
    _pool: Lender

    async def join(
        self, connection: object, deadline: float, waits: Waits
    ) -> PostgresCallerTransaction:
        """Join the transaction that is open on *connection*; see `JoinsTransactions.join`."""
        return await _joined(connection, self._around, deadline, waits)

    async def checkpoint(
        self, batch: Batch, connection: object, deadline: float, waits: Waits
    ) -> bool:
        """Store a checkpoint in the transaction that is open; see `Effects.checkpoint`."""
        found = driver_connection(connection, blocking=waits is BLOCKING)
        check_open(found)
        joined = JoinedConnection(found, self._around, waits)
        arguments = (*checkpoint_arguments(batch, deadline), joined.bound)
        statement = joined.statements.checkpoint_or_abort
        try:
            await joined.fetch(statement, arguments, deadline, "storing a checkpoint")
        except StorageError as error:
            if isinstance(error.__cause__, psycopg.Error) and error.__cause__.sqlstate == FENCED:
                return False
            raise
        return True

    def in_progress(self, transaction_id: int, deadline: float) -> bool:
        """Return whether a transaction has not ended; see `JoinsTransactions.in_progress`."""
        ids, statement = int8_array([transaction_id]), self._around.statements.transaction_status
        rows = self._pool.run(
            lambda c: c.execute(statement, (ids,), deadline),
            deadline,
            "looking at a transaction failed",
        )
        return any(status == "in progress" for _, status in rows)


async def _joined(
    connection: object, around: Surroundings, deadline: float, waits: Waits
) -> PostgresCallerTransaction:
    found = driver_connection(connection, blocking=waits is BLOCKING)
    check_writable(found)
    joined = JoinedConnection(found, around, waits)
    rows = await joined.fetch(around.statements.caller_transaction, (), deadline, "joining")
    isolation, read_only, transaction_id = rows[0]
    if isolation != "read committed":
        raise ValueError(
            f"connection has a transaction under {isolation}, which does not see what committed"
            " while it waited: begin it under read committed"
        )
    if read_only == "on":
        raise ValueError("connection has a transaction that is read-only: begin it read-write")
    return PostgresCallerTransaction(joined, _Opened(transaction_id, ref(found)))


class JoinedConnection:
    """A connection of a caller's, for statements of the store in its transaction."""

    def __init__(self, raw: DriverConnection, around: Surroundings, waits: Waits) -> None:
        self._raw = raw
        self._around = around
        self._waits = waits
        self.statements = around.statements
        self.bound = Int4(round(1000 * around.timeout))
        """The last argument of each statement that writes: it bounds the transaction."""

    async def fetch(
        self, statement: bytes, parameters: Sequence[object], deadline: float, doing: str
    ) -> list[Row]:
        """Run one statement, unprepared, and return its rows.

        Args:
            statement: It proves the store.
            parameters: Its parameters.
            deadline: When to give up. The connection is lost then.
            doing: What fails, for the message.

        Raises:
            StorageError: It failed; the message says what became of the transaction.
        """
        if time.monotonic() >= deadline:
            raise StorageUnavailableError(f"{doing} failed: the deadline passed before it was sent")
        guard = self._around.watchdog.guard(self._raw.fileno())
        guard.arm(deadline)
        try:
            return await self._rows(statement, parameters)
        except psycopg.Error as error:
            cause = unanswered() if guard.late and error.sqlstate is None else error
            raise await self._failure(cause, deadline, doing) from error
        finally:
            guard.close()

    async def _rows(self, statement: bytes, parameters: Sequence[object]) -> list[Row]:
        if isinstance(self._raw, psycopg.AsyncConnection):
            waiting = AsyncPlainCursor(self._raw)
            await waiting.execute(statement, parameters, prepare=False)
            return await waiting.fetchall()
        cursor = PlainCursor(self._raw)
        cursor.execute(statement, parameters, prepare=False)
        return cursor.fetchall()

    async def _failure(self, error: psycopg.Error, deadline: float, doing: str) -> StorageError:
        holder: str | None = None
        if error.sqlstate == LOCK_NOT_AVAILABLE:
            holder = await self._waits.call(self._around.held_by, deadline)
        return translated(
            error, f"{doing} failed{holder or ''}; the caller's transaction {self._fate()}"
        )

    def _fate(self) -> str:
        if self._raw.closed:
            return "is lost with its connection"
        if self._raw.info.transaction_status == TransactionStatus.INERROR:
            return "is aborted, roll it back"
        return "goes on"


class PostgresCallerTransaction:
    """The transaction that is open on a connection of a caller's; see `CallerTransaction`."""

    def __init__(self, connection: JoinedConnection, opened: _Opened) -> None:
        self._connection = connection
        self.opened = opened

    async def append(self, append: Append, deadline: float) -> Outcome:
        """Store *append* when it commits; see `CallerTransaction.append`."""
        # It looks event ids up first: a violated constraint would abort the transaction.
        joined, wait = self._connection, Int4(lock_wait(deadline))
        arguments = (wait, True, *append_arguments([append]), joined.bound)
        statement = joined.statements.append_in_transaction
        rows = await joined.fetch(statement, arguments, deadline, "the append")
        (outcome,) = outcomes([append], rows)
        return outcome

    async def link(self, link: Link, deadline: float) -> LinkResult:
        """Link events when it commits; see `CallerTransaction.link`."""
        joined = self._connection
        arguments = (*link_arguments(link, deadline), joined.bound)
        statement = joined.statements.link_in_transaction
        return link_result(link, await joined.fetch(statement, arguments, deadline, "the link"))

    async def delete_stream(self, deletion: Deletion, deadline: float) -> None:
        """Delete a stream when it commits; see `CallerTransaction.delete_stream`."""
        joined = self._connection
        arguments = (*deletion_arguments(deletion, deadline), joined.bound)
        statement = joined.statements.delete_in_transaction
        rows = await joined.fetch(statement, arguments, deadline, "the deletion")
        subscriptions_of_deleted(deletion, rows)

    async def record_snapshot(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
    ) -> bool:
        """Record a snapshot when it commits; see `CallerTransaction.record_snapshot`."""
        joined = self._connection
        arguments = record_arguments(stream_id, stream_version, snapshot, deadline)
        statement = joined.statements.record_snapshot
        rows = await joined.fetch(statement, arguments, deadline, "recording a snapshot")
        return is_recorded(stream_id, stream_version, rows)

    async def delete_snapshot(self, stream_id: str, snapshot_type: str, deadline: float) -> bool:
        """Delete a snapshot when it commits; see `CallerTransaction.delete_snapshot`."""
        joined = self._connection
        arguments = deletion_of_snapshot(stream_id, snapshot_type, deadline)
        statement = joined.statements.delete_snapshot
        rows = await joined.fetch(statement, arguments, deadline, "deleting a snapshot")
        return bool(rows[0][0])

    async def read_stream(
        self, stream_id: str, start: int, count: int, deadline: float
    ) -> list[StoredEvent]:
        """Read events of a stream; see `CallerTransaction.read_stream`."""
        statement = self._connection.statements.read_linked_stream[ReadDirection.FORWARD, False]
        page = (stream_id, *stream_page(start, count))
        rows = await self._connection.fetch(statement, page, deadline, "reading a stream")
        return events_of_stream(stream_id, rows)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is remembered of it; see `OpenTransaction`."""

    transaction_id: int
    connection: ref[DriverConnection]

    @property
    def may_be_open(self) -> bool:
        raw = self.connection()
        return raw is not None and raw.info.transaction_status not in _WITHOUT
