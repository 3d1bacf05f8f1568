"""Check what a subscriber acknowledges: an event or a batch must be of the present delivery run.

A bare position proves nothing; the handle checks it against what was sent in this run. Pure.
"""

from __future__ import annotations

from typing import TypeGuard

from eventstore.model.checks import check_int, shown
from eventstore.model.deliveries import DeliveryRun, receipt_of
from eventstore.model.errors import EventStoreError, UnexpectedAckError
from eventstore.model.events import RecordedEvent
from eventstore.model.subscriber_messages import Events
from eventstore_actors.state import subscription_errors as reasons

__all__ = ["acknowledged_position"]


def acknowledged_position(what: object, run: DeliveryRun) -> int:
    """Return the position up to which *what* acknowledges the events of *run*.

    Raises:
        UnexpectedAckError: An event or the batch was not delivered by this subscription.
        SubscriptionLostError: An earlier run of this subscription delivered it.
        TypeError, ValueError: It is no event, no batch and no position.
    """
    match what:
        case bool():
            pass
        case int():
            return check_int("position", what, least=0)
        case RecordedEvent():
            return _of_event(what, run)
        case Events():
            return _proven(what.run, what.last_position, run)
        case []:
            raise ValueError("an empty list acknowledges nothing")
        case [*events] if _are_events(events):
            # All must be of this run: a stray event shows that the caller mixed something up.
            return [_of_event(event, run) for event in events][-1]
    raise TypeError(
        f"acknowledge an event, a list of events, an Events or a position: {shown(what)}"
    )


def _are_events(items: list[object]) -> TypeGuard[list[RecordedEvent]]:
    return all(isinstance(item, RecordedEvent) for item in items)


def _of_event(event: RecordedEvent, run: DeliveryRun) -> int:
    receipt = receipt_of(event)
    if receipt is None:
        return _proven(None, event.position, run)
    return _proven(receipt.run, receipt.position, run)


def _proven(delivered_in: DeliveryRun | None, position: int, run: DeliveryRun) -> int:
    if delivered_in is not run:
        raise _stray(delivered_in, position, run)
    return position


def _stray(found: DeliveryRun | None, position: int, run: DeliveryRun) -> EventStoreError:
    """Return the error for what was delivered in the run *found*, or nowhere."""
    if found is not None and found.is_of_same_subscription(run):
        return reasons.lost(
            run, f"started a new run: position {position} of an earlier run does not count"
        )
    if found is None:
        reason = (
            "is of an event that was never delivered: acknowledge the delivered event itself and"
            " no copy of it, its batch, or its position"
        )
    else:
        reason = (
            f"is of what subscription {found.subscription_name!r} to {found.stream_id!r} delivered"
        )
    return UnexpectedAckError(run.stream_id, run.subscription_name, position, reason=reason)
