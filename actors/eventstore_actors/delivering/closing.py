"""Ends what a subscription has started for user code."""

from __future__ import annotations

from eventstore.model.errors import EventStoreError
from eventstore.model.log import get_logger
from eventstore_actors.delivering.delivery_loop import DeliveryLoop
from eventstore_actors.delivering.outlets import Outlet
from eventstore_actors.state.subscription_handle import SubscriptionHandle

__all__ = ["close_user_code"]

log = get_logger()


def close_user_code(
    handle: SubscriptionHandle,
    loop: DeliveryLoop,
    outlet: Outlet,
    reason: EventStoreError,
    deadline: float,
) -> None:
    """End selector, mapper and handler by *deadline*; name those that have not returned."""
    hung = loop.close(deadline)
    if hung is not None:
        _warn_of(hung, handle)
    if not outlet.close(reason, deadline):
        _warn_of("handler", handle)


def _warn_of(hung: str, handle: SubscriptionHandle) -> None:
    """Name user code that has not returned: its thread stays."""
    event = f"{hung} still running"
    log.warning(event, stream_id=handle.stream_id, subscription_name=handle.subscription_name)
