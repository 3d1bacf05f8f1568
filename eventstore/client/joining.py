"""Writes in transactions of callers, and keeps a caller from waiting for its own transaction."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from weakref import WeakKeyDictionary

from eventstore.client.appending import first_results_in
from eventstore.client.codec import Codec
from eventstore.model.errors import AppendError
from eventstore.model.events import AppendResult, LinkResult
from eventstore.ports.caller_transactions import CallerTransaction, OpenTransaction
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.runtime import Runtime
from eventstore.ports.stored_events import Append, Committed, StoredOtherwiseError
from eventstore.ports.waits import BLOCKING, Waits

__all__ = ["Joins"]


class Joins:
    """The transactions of callers that one store has joined. Used from any thread or loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: WeakKeyDictionary[Any, list[OpenTransaction]] = WeakKeyDictionary()
        self.are_used = False
        """Whether there ever was one."""

    async def join(
        self, runtime: Runtime, connection: object, deadline: float, waits: Waits
    ) -> CallerTransaction:
        """Join the transaction that is open on *connection*, whatever is to be written in it.

        Raises:
            TypeError, ValueError, StorageError: As `JoinsTransactions.join` documents them.
        """
        transaction = await runtime.storage.join(connection, deadline, waits)
        # Before anything is written: the write lock is taken also where that is refused.
        self._remember(transaction.opened, waits)
        return transaction

    async def append(
        self,
        runtime: Runtime,
        codec: Codec,
        append: Append,
        connection: object,
        deadline: float,
        waits: Waits,
    ) -> tuple[AppendResult, ...]:
        """Store *append* when the transaction that is open on *connection* commits.

        Raises:
            TypeError, ValueError: *connection* cannot be used; the message says why.
            EventStoreError: As `EventStore.append_to_stream` documents it.
        """
        transaction = await self.join(runtime, connection, deadline, waits)
        outcome = await transaction.append(append, deadline)
        if isinstance(outcome, StoredOtherwiseError):
            return await first_results_in(transaction, append, outcome, codec, deadline)
        if not isinstance(outcome, Committed):
            raise outcome
        if not outcome.repeated:
            runtime.await_transaction(transaction.opened.transaction_id)
        return outcome.results

    async def link(
        self, runtime: Runtime, link: Link, connection: object, deadline: float, waits: Waits
    ) -> LinkResult:
        """Link events when the transaction that is open on *connection* commits.

        Raises:
            TypeError, ValueError: *connection* cannot be used; the message says why.
            EventStoreError: As `EventStore.link_to_stream` documents it.
        """
        transaction = await self.join(runtime, connection, deadline, waits)
        result = await transaction.link(link, deadline)
        runtime.await_transaction(transaction.opened.transaction_id)
        return result

    async def delete_stream(
        self,
        runtime: Runtime,
        deletion: Deletion,
        connection: object,
        deadline: float,
        waits: Waits,
    ) -> None:
        """Delete a stream when the transaction that is open on *connection* commits.

        Raises:
            TypeError, ValueError: *connection* cannot be used; the message says why.
            EventStoreError: As `EventStore.delete_stream` documents it.
        """
        transaction = await self.join(runtime, connection, deadline, waits)
        await transaction.delete_stream(deletion, deadline)
        runtime.await_transaction(transaction.opened.transaction_id)

    async def check_not_inside(self, runtime: Runtime, deadline: float, waits: Waits) -> None:
        """Return unless the caller has such a transaction open, for whose end it would wait.

        Raises:
            AppendError: It has.
        """
        for opened in self._of(_caller(waits)):
            in_progress = runtime.storage.in_progress
            # On its connection there may be a later one by now.
            if await waits.call(in_progress, opened.transaction_id, deadline):
                kind = "thread" if waits is BLOCKING else "task"
                raise AppendError(
                    f"this {kind} has a transaction open in which it appended with connection=, and"
                    " would wait for its end: append with that connection too, or end it first"
                )
            self._forget(opened, waits)

    def _remember(self, opened: OpenTransaction, waits: Waits) -> None:
        caller = _caller(waits)
        others = [each for each in self._of(caller) if not _is_same(each, opened)]
        with self._lock:
            self._opened[caller] = [*others, opened]
            self.are_used = True

    def _forget(self, opened: OpenTransaction, waits: Waits) -> None:
        caller = _caller(waits)
        with self._lock:
            self._opened[caller] = [each for each in self._opened[caller] if each is not opened]

    def _of(self, caller: object) -> list[OpenTransaction]:
        """Return those of *caller* that may be open."""
        with self._lock:
            return [each for each in self._opened.get(caller, ()) if each.may_be_open]


def _is_same(one: OpenTransaction, other: OpenTransaction) -> bool:
    return one.transaction_id == other.transaction_id


def _caller(waits: Waits) -> object:
    """Return the thread, or the task of a coroutine, that appends."""
    task = None if waits is BLOCKING else asyncio.current_task()
    return task or threading.current_thread()
