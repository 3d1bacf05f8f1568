"""Stores what a process manager decides together with its checkpoint; see `Effects.process`."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg

from eventstore.model.errors import OutcomeUnknownError
from eventstore.model.events import LinkResult
from eventstore.ports.changes import Link
from eventstore.ports.effects import Batch, HandledBeforeError, Processed
from eventstore.ports.stored_events import Append, Committed, Outcome
from eventstore.ports.waits import Waits
from eventstore.storages.postgres.caller_transaction import (
    CallerTransactions,
    PostgresCallerTransaction,
)
from eventstore.storages.postgres.connecting.handler_connections import (
    HandlerConnection,
    HandlerConnections,
)
from eventstore.storages.postgres.connecting.sqlstates import translated
from eventstore.storages.postgres.effect_statements import checkpoint_arguments, look_arguments
from eventstore.storages.postgres.statements import Statements

__all__ = ["ProcessingTransactions"]

_LONGEST_WAIT = 0.2
"""Seconds to wait for the row of the checkpoint: all appends wait meanwhile."""

_DOING = "storing what a handler decided failed"


class ProcessingTransactions(CallerTransactions):
    """Appends and links in transactions of our own, over the connections of handlers."""

    _statements: Statements
    _handler_connections: HandlerConnections

    async def process(
        self, batch: Batch, change: Append | Link | None, deadline: float, waits: Waits
    ) -> Processed:
        """Store *change* and the checkpoint; see `Effects.process`."""
        lent = await self._handler_connections.lend(waits, deadline)
        try:
            return await self._process(lent, batch, change, deadline, waits)
        except psycopg.Error as error:
            raise translated(error, _DOING) from error
        finally:
            try:
                with suppress(psycopg.Error):
                    await lent.rollback(deadline)
            finally:
                self._handler_connections.take_back(lent)

    async def _process(
        self,
        lent: HandlerConnection,
        batch: Batch,
        change: Append | Link | None,
        deadline: float,
        waits: Waits,
    ) -> Processed:
        transaction = await self.join(lent.raw, deadline, waits)
        # Before the append, which raises the head, maybe beyond events that the database has lost.
        is_lost = change is not None and await self._stored(lent, batch, deadline) is None
        # The write lock comes before the row, in every transaction.
        result = await _changed(transaction, change, deadline)
        if isinstance(result, Exception):
            return Processed(result)
        if is_lost:
            raise HandledBeforeError(None)
        soon = min(deadline, time.monotonic() + _LONGEST_WAIT)
        arguments = (*checkpoint_arguments(batch, soon), None)
        rows = await lent.fetch(self._statements.checkpoint_in_transaction, arguments, deadline)
        if rows[0][0]:
            await _commit(lent, deadline)
            return Processed(result, transaction.opened.transaction_id)
        is_repeated = isinstance(result, Committed) and result.repeated
        if not is_repeated:
            await lent.rollback(deadline)
        stored = await self._stored(lent, batch, deadline)
        if is_repeated and _is_behind(batch, stored):
            # Nothing new is in it; but it waits for the standbys as the first one should have.
            await _commit(lent, deadline)
            return Processed(result)
        raise HandledBeforeError(stored)

    async def _stored(self, lent: HandlerConnection, batch: Batch, deadline: float) -> int | None:
        """Return the stored checkpoint; None if it is of another owner."""
        arguments = look_arguments(batch, None)
        rows = await lent.fetch(self._statements.look_at_handled, arguments, deadline)
        return rows[0][1] if rows and rows[0][0] else None


async def _commit(lent: HandlerConnection, deadline: float) -> None:
    try:
        await lent.commit(deadline)
    except psycopg.Error as error:
        raise OutcomeUnknownError(f"the commit was not answered: {error}") from error


async def _changed(
    transaction: PostgresCallerTransaction, change: Append | Link | None, deadline: float
) -> Outcome | LinkResult | None:
    if change is None:
        return None
    if isinstance(change, Link):
        return await transaction.link(change, deadline)
    return await transaction.append(change, deadline)


def _is_behind(batch: Batch, stored: int | None) -> bool:
    return stored is not None and stored >= batch.last
