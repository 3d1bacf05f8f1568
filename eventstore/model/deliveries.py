"""Proof that an event was delivered: in which run, and at which position. Pure.

The proof is kept in the event object and not in its fields. So nothing that compares, shows, copies
or encodes an event sees it, and a copy of an event proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec.structs import force_setattr

from eventstore.model.events import RecordedEvent

__all__ = ["DeliveryRun", "Receipt", "give_receipts", "receipt_of", "with_receipt"]

_RUN = "delivery run"
_POSITION = "delivery position"
"""Only where it differs from the event's own."""


class DeliveryRun(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A delivery run of one subscription. Compared by identity."""

    store: object
    """Stands for the store; equal for the subscriptions of one store only."""
    stream_id: str
    subscription_name: str
    number: int
    """Grows with each run of one handle; 0 is the time before the first run."""

    def is_of_same_subscription(self, other: DeliveryRun) -> bool:
        return self._subscription == other._subscription

    @property
    def _subscription(self) -> tuple[object, str, str]:
        return self.store, self.stream_id, self.subscription_name


class Receipt(NamedTuple):
    """Where an event object was delivered."""

    run: DeliveryRun
    position: int
    """Position in what the subscription reads. A mapper may return an event of another place."""


def give_receipts(events: Iterable[RecordedEvent], run: DeliveryRun) -> None:
    """Give receipts to events that were read for this run, and for nothing else.

    They share one: a dict of its own for each event would give the garbage collector twice as much
    to do, a seventh of the time of a catch-up.
    """
    receipt = {_RUN: run}
    for event in events:
        force_setattr(event, "__dict__", receipt)


def with_receipt(event: RecordedEvent, run: DeliveryRun, position: int) -> RecordedEvent:
    """Return *event*, which a mapper made or got from anywhere, with a receipt.

    One object has one receipt: if *event* was delivered before, elsewhere or at another position,
    a copy is returned.
    """
    earlier = receipt_of(event)
    if earlier is not None:
        if earlier.run is run and earlier.position == position:
            return event
        event = msgspec.structs.replace(event)
    event.__dict__[_RUN] = run
    if event.position != position:
        event.__dict__[_POSITION] = position
    return event


def receipt_of(event: RecordedEvent) -> Receipt | None:
    """Return the receipt of *event*; None if this object was never delivered."""
    run: DeliveryRun | None = event.__dict__.get(_RUN)
    if run is None:
        return None
    return Receipt(run, event.__dict__.get(_POSITION, event.position))
