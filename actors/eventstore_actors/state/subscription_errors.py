"""Builds the errors that a subscription's handle raises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from eventstore.model.caught_error import CaughtError
from eventstore.model.errors import (
    DeliveryTimeoutError,
    EventStoreError,
    SubscriptionError,
    SubscriptionInUseError,
    SubscriptionLostError,
    UnexpectedAckError,
)
from eventstore.model.subscription import Subscription, SubscriptionState
from eventstore.ports.ownership import Held

__all__ = [
    "ack_overdue",
    "acknowledged_before",
    "acknowledged_by_transaction",
    "in_use",
    "lost",
    "not_delivered_in_time",
    "not_its_batch",
    "parked_before",
    "preparing_overdue",
    "shown_for",
    "transaction_ended",
]


class Named(Protocol):
    """A handle or a delivery run."""

    @property
    def stream_id(self) -> str: ...

    @property
    def subscription_name(self) -> str: ...


class Placed(Named, Protocol):
    """A handle that has got somewhere."""

    @property
    def state(self) -> SubscriptionState: ...

    @property
    def checkpoint(self) -> int: ...


def lost(handle: Named, what: str, cause: BaseException | None = None) -> SubscriptionLostError:
    """Return the error of a subscription that is not running; *what* completes its message."""
    stream_id, name = handle.stream_id, handle.subscription_name
    error = SubscriptionLostError(f"subscription {name!r} to {stream_id!r} {what}", stream_id, name)
    error.__cause__ = cause
    return error


def shown_for(reason: EventStoreError, last: CaughtError | None) -> CaughtError:
    """Return the error to show of a subscription that stopped: the last one, if it is the cause."""
    is_cause = last is not None and reason.__cause__ is last.error
    return last if is_cause and last is not None else CaughtError.own(reason)


def in_use(handle: Subscription, held: Held) -> SubscriptionInUseError:
    owner, since = held.owner_name, held.since
    if since is None:
        owner, since = "a transaction that has locked its row", datetime.now(UTC)
    return SubscriptionInUseError(handle.stream_id, handle.subscription_name, owner, since)


def acknowledged_before(handle: Subscription, position: int) -> UnexpectedAckError:
    """Return the error of a subscriber that refuses an event after its acknowledgement."""
    stream_id, name = handle.stream_id, handle.subscription_name
    return UnexpectedAckError(stream_id, name, position, reason="is acknowledged already")


def parked_before(handle: Named, events: int) -> SubscriptionError:
    """Return the error of a transactional subscriber of a subscription that has parked events."""
    stream_id, name = handle.stream_id, handle.subscription_name
    return SubscriptionError(
        f"subscription {name!r} to {stream_id!r} has {events:,} parked events, which no"
        " transactional subscriber gets: let another one handle them, or skip them (skip_parked)",
        stream_id,
        name,
    )


def transaction_ended(handle: Named) -> SubscriptionLostError:
    what = "stopped: its function ended the transaction that it was given; the store commits"
    return lost(handle, what)


def not_its_batch(handle: Named) -> SubscriptionLostError:
    what = "was taken over, reset or deleted, or another transaction handled the batch"
    return lost(handle, what)


def acknowledged_by_transaction(handle: Named, position: int) -> UnexpectedAckError:
    why = "is acknowledged by the transaction of its function, and in no other way"
    key = (handle.stream_id, handle.subscription_name)
    return UnexpectedAckError(*key, position, reason=why)


def ack_overdue(handle: Subscription, seconds: float) -> DeliveryTimeoutError:
    stream_id, name = handle.stream_id, handle.subscription_name
    return DeliveryTimeoutError(
        f"subscription {name!r} to {stream_id!r} stopped: nothing was acknowledged for {seconds} s",
        stream_id,
        name,
        handle.state,
    )


def preparing_overdue(
    handle: Subscription, step: str, position: int, seconds: float
) -> DeliveryTimeoutError:
    stream_id, name = handle.stream_id, handle.subscription_name
    return DeliveryTimeoutError(
        f"subscription {name!r} to {stream_id!r} stopped: its {step} has not returned for"
        f" {seconds} s from the event at position {position}",
        stream_id,
        name,
        handle.state,
    )


def not_delivered_in_time(
    handle: Placed, position: int, timeout: float, last_error: str | None
) -> DeliveryTimeoutError:
    stream_id, name = handle.stream_id, handle.subscription_name
    error = "" if last_error is None else f", last error: {last_error}"
    return DeliveryTimeoutError(
        f"subscription {name!r} to {stream_id!r} is {handle.state} at checkpoint"
        f" {handle.checkpoint}, position {position} was not acknowledged within {timeout} s{error}",
        stream_id,
        name,
        handle.state,
    )
