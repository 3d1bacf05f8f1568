"""Calls the function of a transactional subscription: its effects happen exactly once."""

from __future__ import annotations

import asyncio
import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from eventstore.client.coroutine_handler import CoroutineHandler
from eventstore.model.checks import shown
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.effects import Batch, Effects, Settled, Settlement
from eventstore.ports.ownership import Fence
from eventstore.ports.waits import BLOCKING, Waits, run_blocking
from eventstore_actors.delivering.function_subscriber import Call, Letter, require_none
from eventstore_actors.delivering.unsettled import UnsettledError
from eventstore_actors.state import subscription_errors as reasons
from eventstore_actors.state.context import Context
from eventstore_actors.state.seat import Seat

__all__ = ["call_of", "check_transactional"]


def check_transactional(subscriber: object, options: SubscriptionOptions, effects: Effects) -> None:
    """Return if *subscriber* can be what *options* ask for.

    Raises:
        TypeError: It is an actor, or does not take events and connection.
        ValueError: The storage has no transactions.
    """
    if not options.transactional:
        return
    effects.check_effects()
    function = subscriber.function if isinstance(subscriber, CoroutineHandler) else subscriber
    if not callable(function):
        raise TypeError(f"transactional needs a function, not an actor: {shown(subscriber)}")
    if options.transactional == "caller":
        return
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"with transactional, subscriber takes (events, connection): {shown(function)}: {error}"
        ) from None
    except ValueError:  # it has no signature
        return


def call_of(seat: Seat, context: Context) -> Call:
    """Return what calls the function of *seat*: with the batch, or also with a connection."""
    if seat.options.transactional:
        return _settling_of(seat, context)
    function: Any = seat.subscriber
    if isinstance(function, CoroutineHandler):
        function = function.function
    return lambda letter: function(letter.batch)


class Settling(ABC):
    """Calls the function of a seat with a batch whose effects and checkpoint are stored together.

    A call returns when they are stored; see `eventstore.ports.effects.Effects`.
    """

    def __init__(self, seat: Seat, context: Context) -> None:
        subscriber: Any = seat.subscriber
        is_coroutine = isinstance(subscriber, CoroutineHandler)
        self._function = subscriber.function if is_coroutine else subscriber
        self._waits: Waits = subscriber.waits if is_coroutine else BLOCKING
        self._handle = seat.handle
        self._handle.is_transactional = True
        self._effects = context.storage
        self._fence: Fence | None = None
        self._stored = 0
        """The checkpoint that was stored last with this fence."""

    def __call__(self, letter: Letter) -> Any:
        """Handle *letter*; for a coroutine function, return what is to be awaited."""
        return self._waited(self._settle(letter))

    @abstractmethod
    async def _handled(self, events: Events, batch: Batch) -> Settled:
        """Call the function; return what became of the batch."""

    async def _settle(self, letter: Letter) -> None:
        settled = await self._handled(letter.batch, self._batch(letter))
        if settled.how is not Settlement.FENCED:
            self._stored = settled.checkpoint
        match settled.how:
            case Settlement.DONE:
                return
            case Settlement.PARTLY:
                self._handle.acknowledge(letter.run, settled.checkpoint)
            case Settlement.FENCED | Settlement.ENDED:
                pass
        raise UnsettledError(settled.how)

    async def _call(self, *arguments: object) -> None:
        returned = self._function(*arguments)
        require_none(returned if self._waits is BLOCKING else await returned)

    def _waited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return run_blocking(coroutine) if self._waits is BLOCKING else coroutine

    def _batch(self, letter: Letter) -> Batch:
        if letter.fence is not self._fence:
            self._fence, self._stored = letter.fence, letter.least
        return Batch(letter.fence, self._stored, letter.after, letter.batch.last_position)


class _InOurTransaction(Settling):
    """The store begins the transaction, gives the function its connection, and commits."""

    def __init__(self, seat: Seat, context: Context) -> None:
        super().__init__(seat, context)
        self._idle = seat.options.longest_idle(context.config.lease)

    async def _handled(self, events: Events, batch: Batch) -> Settled:
        async def call(connection: object) -> None:
            await self._call(events, connection)

        return await self._effects.handle(batch, call, self._idle, self._waits)


class _InItsOwnTransaction(Settling):
    """The function stores the checkpoint by `Events.checkpoint`, and commits."""

    def __init__(self, seat: Seat, context: Context) -> None:
        super().__init__(seat, context)
        self._timeout = context.config.connect_timeout

    async def _handled(self, events: Events, batch: Batch) -> Settled:
        failure: BaseException | None = None
        try:
            await self._call(replace(events, settle=partial(self._checkpoint, batch)))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again, if the row does not explain it
            failure = error
        return await self._effects.settle(batch, failure, self._waits)

    def _checkpoint(self, batch: Batch, connection: object) -> Any:
        return self._waited(self._store(batch, connection))

    async def _store(self, batch: Batch, connection: object) -> None:
        deadline = time.monotonic() + self._timeout
        if not await self._effects.checkpoint(batch, connection, deadline, self._waits):
            raise reasons.not_its_batch(self._handle)


def _settling_of(seat: Seat, context: Context) -> Settling:
    """Return what calls the function of *seat*, which is transactional."""
    if seat.options.transactional == "caller":
        return _InItsOwnTransaction(seat, context)
    return _InOurTransaction(seat, context)
