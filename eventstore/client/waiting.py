"""Wait for a subscription that may run in any process: ask the storage until it got there."""

from __future__ import annotations

import time

from eventstore.model.errors import DeliveryTimeoutError
from eventstore.model.subscription import SubscriptionInfo
from eventstore.ports.storage import Storage

__all__ = ["wait_for_checkpoint"]

_FIRST_PAUSE = 0.01


def wait_for_checkpoint(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    position: int,
    *,
    timeout: float,
    longest_pause: float,
) -> None:
    """Block until the stored checkpoint is at *position* or beyond.

    Raises:
        SubscriptionNotFoundError: There is no such subscription.
        DeliveryTimeoutError: Not within *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        info = storage.subscription_info(stream_id, subscription_name, deadline)
        if info.checkpoint >= position:
            return
        if time.monotonic() + pause >= deadline:
            raise _timed_out(info, position, timeout)
        time.sleep(pause)
        pause = min(2 * pause, longest_pause)


def _timed_out(info: SubscriptionInfo, position: int, timeout: float) -> DeliveryTimeoutError:
    error = f", last error: {info.last_error}" if info.last_error else ""
    return DeliveryTimeoutError(
        f"subscription {info.subscription_name!r} to {info.stream_id!r} is {info.state} at"
        f" checkpoint {info.checkpoint}, position {position} was not acknowledged within"
        f" {timeout} s{error}",
        info.stream_id,
        info.subscription_name,
        info.state,
    )
