"""The handle for asyncio. `make surfaces` writes this file from subscription.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from eventstore.client.coroutine_handler import HANDLED
from eventstore.client.loop_waits import LoopWaits
from eventstore.client.own_thread import OwnThread
from eventstore.model.awaited import Awaited
from eventstore.model.events import RecordedEvent
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.runtime import RunningSubscription

__all__ = ["AsyncSubscription"]


class AsyncSubscription:
    """The handle of a running subscription. Its properties, `ack` and `nack` never wait."""

    def __init__(self, handle: RunningSubscription, waits: LoopWaits) -> None:
        self._handle = handle
        self._waits = waits

    def __repr__(self) -> str:
        return f"<Async{repr(self._handle)[1:]}"

    @property
    def stream_id(self) -> str:
        return self._handle.stream_id

    @property
    def subscription_name(self) -> str:
        return self._handle.subscription_name

    @property
    def state(self) -> SubscriptionState:
        return self._handle.state

    @property
    def checkpoint(self) -> int:
        """Everything up to this position is acknowledged."""
        return self._handle.checkpoint

    @property
    def last_error(self) -> BaseException | None:
        return self._handle.last_error

    @property
    def attempts(self) -> int:
        """Failed deliveries of the oldest event alone, in a row; see `Retry`."""
        return self._handle.attempts

    def ack(self, what: int | RecordedEvent | Sequence[RecordedEvent]) -> None:
        """Acknowledge every event up to *what*. Never blocks.

        Acknowledging again, or less than before, changes nothing.

        Args:
            what: An event of the present delivery run: the object that was delivered, no copy of
                it and none that was read. Or a batch. Or a list of events, which acknowledges up to
                its last one; all of them must be of this run. Or a position, which is checked
                only against the highest one that was sent in this run.

        Raises:
            UnexpectedAckError: This subscription did not deliver it. Nothing changed.
            SubscriptionLostError: An earlier run delivered it, and it is delivered again; or this
                process no longer owns the subscription. Nothing changed.
            TypeError: It is neither an event, a batch, a list of events nor a position.
            ValueError: The position is negative, or the list is empty.
        """
        self._handle.ack(what)

    def nack(
        self, event: RecordedEvent, action: Literal["retry", "skip", "park", "stop"], *, reason: str
    ) -> None:
        """Refuse *event*: what is in flight from it on comes again, after a new `Subscribed`.

        The events before it are acknowledged. For an actor, which drops what it gets before that;
        a function raises an error instead.

        Args:
            event: An event of the present delivery run: the object that was delivered.
            action: "retry": it comes again and is counted as failed; "skip": never; "park": when
                somebody has it delivered again; "stop": the subscription stops.
            reason: Why, for people; 1 to 2,000 bytes of UTF-8.

        Raises:
            UnexpectedAckError, SubscriptionLostError: As for `ack`, or it is acknowledged already.
            TypeError, ValueError: An argument is invalid; the message names it.
        """
        self._handle.nack(event, action, reason=reason)

    async def pause(self) -> None:
        """Stop sending batches. The pause is stored and outlives a restart.

        Raises:
            StorageUnavailableError: The pause could not be stored; nothing changed.
            SubscriptionLostError: The subscription stopped.
        """
        await self._waits.call(self._handle.pause)

    async def resume(self) -> None:
        """Send batches again; the errors are those of `pause`."""
        await self._waits.call(self._handle.resume)

    async def unsubscribe(self) -> None:
        """Stop the subscription and release it. Its checkpoint stays stored. Idempotent.

        One that gave up is no longer shown in the health of its store.
        """
        if HANDLED.get() is self._handle:
            # Its end waits for this handler, so it must not be waited for.
            OwnThread(self._handle.unsubscribe, "eventstore-unsubscribing", self._waits.threads)
        else:
            await self._waits.call(self._handle.unsubscribe)

    async def wait_for(self, what: Awaited, timeout: float) -> None:
        """Wait until *what* has been delivered and acknowledged.

        Raises:
            EventParkedError: An event of *what* is parked, or is put aside meanwhile.
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
            StorageUnavailableError: Nobody knows whether it was reset meanwhile; safe to retry.
        """
        await self._handle.reached(what, timeout, self._waits)

    async def caught_up(self, timeout: float) -> None:
        """Wait until it has got past everything that is stored as of this call.

        Parked events do not hold it up, nor do events that are left out or were deleted.

        Raises:
            DeliveryTimeoutError: Not within *timeout* seconds, or the subscription stopped.
            StorageUnavailableError: Nobody knows what is stored.
        """
        await self._handle.reached(None, timeout, self._waits)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until the subscription has stopped.

        No signal closes its store; see `AsyncEventStore.join`.

        Raises:
            EventStoreError: The reason it stopped, unless it was asked to.
            TimeoutError: It still runs after *timeout* seconds.
        """
        await self._handle.joined(timeout, self._waits)
