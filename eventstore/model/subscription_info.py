"""What is stored of a subscription, as everybody may see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventstore.model.subscription import SubscriptionState

__all__ = ["SubscriptionInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionInfo:
    """State of a subscription at one moment, as it is stored."""

    subscription_id: int
    stream_id: str
    subscription_name: str
    owner: str | None
    """Host and process of the owner; None if nobody owns it."""
    since: datetime | None
    """When the owner took it over."""
    epoch: int
    state: SubscriptionState
    """As the owner stored it last; WAITING or STOPPED if nobody owns it."""
    checkpoint: int
    """As it is stored: see `SubscriptionKeywords` for when it is."""
    head: int
    """Newest position of the subscribed stream, or of the store for ``$all``."""
    lag_events: int
    """Positions between checkpoint and head. No parked event is among them."""
    lag_seconds: float
    """Age of the oldest unacknowledged event; 0 if there is none."""
    parked: int
    """Events that are put aside; see `EventStore.parked`."""
    parked_oldest_seconds: float
    """Seconds since that event of them was put aside that waits longest; 0 if there is none."""
    paused: bool
    options: Mapping[str, Any] | None
    """Options in which its subscribers must not differ: `keep_order`, and the filter if it has one.

    None: it was reset, and the next subscriber says.
    """
    last_error: str | None
    """The error that makes it retry, or that stopped it, and the event that failed; then its
    traceback, from the second line on. At most 15,000 characters."""
    attempts: int
    """Failed deliveries of the oldest event alone; see `Subscription.attempts`."""
    created_at: datetime
