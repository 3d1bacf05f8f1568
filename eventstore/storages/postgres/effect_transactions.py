"""Handles batches exactly once: effects and checkpoint in one transaction; see `Effects`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.types.numeric import Int4, Int8

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.ports.effects import Batch, Settled, Settlement
from eventstore.ports.waits import Waits
from eventstore.storages.postgres.connecting.connection import Row
from eventstore.storages.postgres.connecting.handler_connections import (
    HandlerConnection,
    HandlerConnections,
)
from eventstore.storages.postgres.connecting.sqlstates import translated
from eventstore.storages.postgres.effect_statements import checkpoint_arguments, look_arguments
from eventstore.storages.postgres.moments import lock_wait
from eventstore.storages.postgres.statements import Statements

__all__ = ["EffectTransactions", "check_fit", "outage"]

Handler = Callable[[Any], Awaitable[object]]

_FORGOTTEN = (
    "the function returned, and its checkpoint is not stored: call events.checkpoint(connection)"
    " last, and commit"
)

_DOING = "storing what a handler did failed"


class _NotStoredError(Exception):
    """The checkpoint was not stored: by the fence, or in another transaction than ours."""


class _Looked(NamedTuple):
    """What the row of a batch says."""

    owned: bool
    checkpoint: int
    committed: bool
    """Whether the transaction of the handler has committed, as far as that was asked."""


class EffectTransactions:
    """Calls handlers in transactions; see `Effects`."""

    _statements: Statements
    _handler_connections: HandlerConnections
    _patience: float
    """Seconds for each of our own calls."""

    def check_effects(self) -> None:
        """Return: here are transactions; see `Effects.check_effects`."""

    async def handle(self, batch: Batch, handler: Handler, idle: float, waits: Waits) -> Settled:
        """Call *handler*, and store the checkpoint; see `Effects.handle`."""
        lent = await self._handler_connections.lend(waits, self._deadline())
        try:
            transaction_id, before = await self._begin(lent, batch, idle)
            # Before the handler, whose appends raise the head, maybe beyond events that the
            # database has lost.
            if not before.owned:
                with suppress(psycopg.Error):
                    await lent.rollback(self._deadline())
                return Settled(Settlement.FENCED, before.checkpoint)
            failure = await self._failure(lent, batch, handler, transaction_id)
            if failure is None:
                return Settled(Settlement.DONE, batch.last)
            looked = await self._look_after(lent, batch, transaction_id)
            # After a failover, the id of a lost transaction may be that of another one.
            asked = Int8(transaction_id) if lent.was_closed else None
        finally:
            self._handler_connections.take_back(lent)
        if looked is None:
            looked = await self._look_elsewhere(batch, failure, waits, asked)
        return _settled(batch, looked, failure)

    async def settle(self, batch: Batch, failure: BaseException | None, waits: Waits) -> Settled:
        """Read the row after the transaction of a caller's own; see `Effects.settle`."""
        looked = await self._look_elsewhere(batch, failure or _NotStoredError(), waits)
        return _settled(batch, looked, failure or RuntimeError(_FORGOTTEN))

    async def _begin(
        self, lent: HandlerConnection, batch: Batch, idle: float
    ) -> tuple[int, _Looked]:
        """Begin a transaction. Return its id, and what the row of the batch says before it."""
        deadline = self._deadline()
        times = Int4(lock_wait(deadline)), Int4(round(1000 * idle))
        arguments = (*times, Int8(batch.fence.position_id), *look_arguments(batch, None))
        try:
            rows = await lent.fetch(self._statements.begin_batch, arguments, deadline)
        except psycopg.Error as error:
            raise translated(error, _DOING) from error
        if not rows:
            return 0, _looked(rows)
        transaction_id, *before = rows[0]
        return transaction_id, _Looked(*before)

    async def _failure(
        self, lent: HandlerConnection, batch: Batch, handler: Handler, transaction_id: int
    ) -> BaseException | None:
        """Call *handler* and commit; return the error, None if effects and checkpoint are stored.

        A task that is cancelled looks at nothing any more: its connection is closed.
        """
        try:
            await handler(lent.raw)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again, if the row does not explain it
            if isinstance(error, psycopg.Error) and lent.lost and not lent.was_closed:
                return outage("the connection of the handler was lost", error)
            return error
        try:
            check_fit(lent)
            deadline = self._deadline()
            arguments = (*checkpoint_arguments(batch, deadline), Int8(transaction_id))
            statement = self._statements.checkpoint_in_transaction
            is_open = lent.status == TransactionStatus.INTRANS
            if not (is_open and (await lent.fetch(statement, arguments, deadline))[0][0]):
                return _NotStoredError()
            await lent.commit(deadline)
        except (RuntimeError, StorageError) as error:
            return error
        except psycopg.Error as error:
            failure = translated(error, _DOING)
            failure.__cause__ = error
            return failure
        return None

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────

    async def _look_after(
        self, lent: HandlerConnection, batch: Batch, transaction_id: int
    ) -> _Looked | None:
        """Roll back, and read the row; return None if the connection is of no use for that."""
        if lent.lost or lent.raw.info.pipeline_status != PipelineStatus.OFF:
            return None
        deadline = self._deadline()
        with suppress(psycopg.Error):
            await lent.rollback(deadline)
            looked = await self._look(lent, batch, Int8(transaction_id), deadline)
            await lent.rollback(deadline)
            return looked
        return None

    async def _look_elsewhere(
        self, batch: Batch, failure: BaseException, waits: Waits, transaction_id: Int8 | None = None
    ) -> _Looked:
        """Read the row over another connection. Raise *failure* if there is none."""
        try:
            lent = await self._handler_connections.lend(waits, self._deadline())
        except StorageError:
            raise _shown(failure) from failure.__cause__
        try:
            deadline = self._deadline()
            looked = await self._look(lent, batch, transaction_id, deadline)
            await lent.rollback(deadline)
        except psycopg.Error:
            raise _shown(failure) from failure.__cause__
        finally:
            self._handler_connections.take_back(lent)
        return looked

    async def _look(
        self, lent: HandlerConnection, batch: Batch, transaction_id: Int8 | None, deadline: float
    ) -> _Looked:
        arguments = look_arguments(batch, transaction_id)
        rows = await lent.fetch(self._statements.look_at_handled, arguments, deadline)
        return _looked(rows)

    def _deadline(self) -> float:
        return time.monotonic() + self._patience


def outage(what: str, error: psycopg.Error) -> StorageUnavailableError:
    """Return what says that the server is away, and nothing about what a function did."""
    failure = StorageUnavailableError(f"{what}: {error}")
    failure.__cause__ = error
    return failure


def check_fit(lent: HandlerConnection, who: str = "handler") -> None:
    """Return if the function *who* left its connection so that more can be sent.

    Raises:
        RuntimeError: It did not; the message says what to do.
        StorageUnavailableError: The connection is lost.
    """
    if lent.was_closed:
        raise RuntimeError(f"the {who} closed its connection: leave that, and the commit, to us")
    if lent.lost or lent.status == TransactionStatus.UNKNOWN:
        raise StorageUnavailableError(f"the connection of the {who} was lost")
    if lent.raw.info.pipeline_status != PipelineStatus.OFF:
        raise RuntimeError(f"the {who} left its connection in pipeline mode: end the pipeline")
    if lent.status == TransactionStatus.ACTIVE:
        raise RuntimeError(f"the {who} left a statement running: end its stream or COPY")
    if lent.status == TransactionStatus.INERROR:
        raise RuntimeError(
            f"the {who} left its transaction failed: let the error of the statement through, or"
            " use a savepoint"
        )


def _looked(rows: list[Row]) -> _Looked:
    # No row: the subscription was deleted.
    return _Looked(*rows[0]) if rows else _Looked(owned=False, checkpoint=0, committed=False)


def _settled(batch: Batch, looked: _Looked, failure: BaseException) -> Settled:
    """Return what became of a batch that was not stored by this attempt, as far as it knows.

    Raises:
        BaseException: *failure*, which explains it.
    """
    if not looked.owned or looked.checkpoint < batch.least:
        return Settled(Settlement.FENCED, looked.checkpoint)
    if looked.checkpoint >= batch.last:
        return Settled(Settlement.DONE, looked.checkpoint)
    if looked.checkpoint > batch.after:
        return Settled(Settlement.PARTLY, looked.checkpoint)
    if looked.committed or isinstance(failure, _NotStoredError):
        return Settled(Settlement.ENDED, looked.checkpoint)
    raise failure


def _shown(failure: BaseException) -> BaseException:
    if isinstance(failure, _NotStoredError):
        return StorageUnavailableError("the checkpoint was not stored, and cannot be read")
    return failure
