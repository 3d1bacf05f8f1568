"""Reset and delete subscriptions, and record which parked events were dropped with that."""

from __future__ import annotations

from eventstore.ports.parking import Dropped
from eventstore.ports.storage import Storage

__all__ = ["deleted", "reset_to"]


def reset_to(
    storage: Storage, stream_id: str, subscription_name: str, position: int, deadline: float
) -> int:
    """Reset a subscription. Return the number of parked events that were dropped.

    Raises:
        SubscriptionNotFoundError, ValueError: As `Storage.reset_subscription`.
    """
    key = (stream_id, subscription_name)
    return _recorded("reset", key, storage.reset_subscription(*key, position, deadline))


def deleted(
    storage: Storage, stream_id: str, subscription_name: str, deadline: float, *, drop_parked: bool
) -> int:
    """Delete a subscription. Return the number of parked events that were dropped.

    Raises:
        SubscriptionError: As `Storage.delete_subscription`.
    """
    key = (stream_id, subscription_name)
    dropped = storage.delete_subscription(*key, deadline, drop_parked=drop_parked)
    return _recorded("delete", key, dropped)


def _recorded(by: str, key: tuple[str, str], dropped: Dropped) -> int:
    if dropped.events or not dropped.is_all:
        from eventstore.model.log import get_logger  # loads structlog, which is seldom needed

        stream_id, subscription_name = key
        log = get_logger(stream_id=stream_id, subscription_name=subscription_name)
        if not dropped.is_all:
            log.warning("an answer was lost: more parked events may be dropped than known", by=by)
        if dropped.events:
            log.info(
                "parked events dropped",
                by=by,
                events=dropped.events,
                first_position=dropped.first,
                last_position=dropped.last,
            )
    return dropped.events
