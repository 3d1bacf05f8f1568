"""Stores what a handler decides about a batch together with the checkpoint of the batch."""

from __future__ import annotations

from contextlib import suppress
from weakref import ref

from eventstore.client.appending import first_results
from eventstore.client.codec import Codec
from eventstore.model.checks import shown
from eventstore.model.errors import EventStoreError, SubscriptionLostError
from eventstore.model.events import AppendResult, LinkResult
from eventstore.model.subscriber_messages import Events
from eventstore.ports.changes import Link
from eventstore.ports.effects import Batch, HandledBeforeError
from eventstore.ports.runtime import Runtime
from eventstore.ports.stored_events import Append, Committed, StoredOtherwiseError
from eventstore.ports.waits import Waits

__all__ = ["check_processed", "process_append", "process_link"]


def check_processed(processed: object, connection: object | None) -> None:
    """Return if *processed* is a batch whose checkpoint can be stored.

    Raises:
        TypeError, ValueError: It cannot; the message says why.
    """
    if not isinstance(processed, Events):
        raise TypeError(f"processed must be the Events that a handler got: {shown(processed)}")
    if connection is not None:
        raise ValueError(
            "processed cannot be used with connection: a subscription with transactional='caller'"
            " stores its checkpoint there"
        )
    if not isinstance(processed.batch, Batch):
        raise ValueError(  # noqa: TRY004 - it is a batch
            "processed must have been delivered, by a subscription that is not transactional:"
            f" {shown(processed)}"
        )


async def process_append(
    runtime: Runtime,
    codec: Codec,
    append: Append,
    processed: Events,
    deadline: float,
    waits: Waits,
) -> tuple[AppendResult, ...]:
    """Store *append*, which may have no part, and the checkpoint of *processed*.

    Raises:
        EventStoreError: As `EventStore.append_to_stream` documents it.
    """
    outcome = await _process(runtime, append or None, processed, deadline, waits)
    if isinstance(outcome, StoredOtherwiseError):
        stored = append, outcome, codec, runtime.storage, deadline
        results = await waits.call(first_results, *stored)
        await _process(runtime, None, processed, deadline, waits)
        return results
    if isinstance(outcome, EventStoreError):
        raise outcome
    return outcome.results if isinstance(outcome, Committed) else ()


async def process_link(
    runtime: Runtime, link: Link, processed: Events, deadline: float, waits: Waits
) -> LinkResult:
    """Store *link* and the checkpoint of *processed*.

    Raises:
        EventStoreError: As `EventStore.link_to_stream` documents it.
    """
    result = await _process(runtime, link, processed, deadline, waits)
    assert isinstance(result, LinkResult)
    return result


async def _process(
    runtime: Runtime,
    change: Append | Link | None,
    processed: Events,
    deadline: float,
    waits: Waits,
) -> object:
    subscription = processed.subscription
    assert processed.run is not None
    if processed.run.store != ref(runtime.storage):
        raise ValueError(f"processed is a batch of another store: {shown(processed)}")
    try:
        done = await runtime.storage.process(processed.batch, change, deadline, waits)
    except HandledBeforeError as error:
        if error.checkpoint is not None and error.checkpoint >= processed.batch.last:
            _acknowledge(processed)
        name, stream_id = subscription.subscription_name, subscription.stream_id
        raise SubscriptionLostError(
            f"nothing was written: subscription {name!r} to {stream_id!r} was taken over, reset or"
            " deleted, or the batch was handled before",
            stream_id,
            name,
        ) from None
    if not isinstance(done.result, Exception):
        if done.transaction_id is not None:
            runtime.await_transaction(done.transaction_id)
        _acknowledge(processed)
    return done.result


def _acknowledge(processed: Events) -> None:
    """Spare the handler another delivery. The row decides, whatever becomes of this."""
    with suppress(EventStoreError):
        processed.subscription.ack(processed)
