"""Makes a batch for the subscriber from the parcels of a delivery."""

from __future__ import annotations

from typing import Any

from eventstore.model.deliveries import DeliveryRun, give_receipts, with_receipt
from eventstore.model.events import RecordedEvent
from eventstore.model.subscriber_messages import Events
from eventstore.ports.effects import Batch
from eventstore_actors.delivering.function_subscriber import Letter
from eventstore_actors.delivering.parcels import Parcel
from eventstore_actors.delivering.run_state import Run
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["letter_of"]


def letter_of(
    handle: SubscriptionHandle, run: Run, parcels: list[Parcel], *, mapped: bool
) -> Letter:
    """Return the batch of *parcels*, whose events a mapper made if they are *mapped*."""
    events = [parcel.event for parcel in parcels]
    if mapped:
        events = [_with_receipt(parcel, handle.run) for parcel in parcels]
    else:
        give_receipts(events, handle.run)
    after, last, replay = parcels[0].before, parcels[-1].position, run.replay is not None
    # The checkpoint is beyond what is delivered again: nothing can be stored with it.
    stored_otherwise = handle.is_transactional or replay
    processed = None if stored_otherwise else Batch(run.fence, 0, after, last)
    batch = Events(handle, events, last, handle.run, batch=processed, replay=replay)
    return Letter(run.number, batch, after, run.fence, run.least)


def _with_receipt(parcel: Parcel, run: DeliveryRun) -> Any:
    """Return what a mapper made of an event; with a receipt, if it is an event."""
    # `isinstance` would ask an object of the user's for its class.
    if issubclass(type(parcel.event), RecordedEvent):
        return with_receipt(parcel.event, run, parcel.position)
    return parcel.event
