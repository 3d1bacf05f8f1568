"""What became of a subscription, in words for whoever holds its handle."""

from __future__ import annotations

from eventstore.model.errors import (
    DeliveryTimeoutError,
    SubscriptionInUseError,
    SubscriptionLostError,
)
from eventstore.model.subscription import Subscription
from eventstore.ports.storage import Held

__all__ = ["in_use", "lost", "overdue", "too_late"]


def lost(
    handle: Subscription, what: str, cause: BaseException | None = None
) -> SubscriptionLostError:
    """Return the error that says *what* happened to the subscription of *handle*."""
    stream_id, name = handle.stream_id, handle.subscription_name
    error = SubscriptionLostError(f"subscription {name!r} to {stream_id!r} {what}", stream_id, name)
    error.__cause__ = cause
    return error


def in_use(handle: Subscription, held: Held) -> SubscriptionInUseError:
    return SubscriptionInUseError(
        handle.stream_id, handle.subscription_name, held.owner_name, held.since
    )


def overdue(handle: Subscription, seconds: float) -> DeliveryTimeoutError:
    stream_id, name = handle.stream_id, handle.subscription_name
    return DeliveryTimeoutError(
        f"subscription {name!r} to {stream_id!r} stopped: nothing was acknowledged for {seconds} s",
        stream_id,
        name,
        handle.state,
    )


def too_late(handle: Subscription, position: int, timeout: float) -> DeliveryTimeoutError:
    stream_id, name, last_error = handle.stream_id, handle.subscription_name, handle.last_error
    error = "" if last_error is None else f", last error: {last_error!r}"
    return DeliveryTimeoutError(
        f"subscription {name!r} to {stream_id!r} is {handle.state} at checkpoint"
        f" {handle.checkpoint}, position {position} was not acknowledged within {timeout} s{error}",
        stream_id,
        name,
        handle.state,
    )
