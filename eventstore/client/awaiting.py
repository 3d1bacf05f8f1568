"""Wait for a subscription that runs elsewhere, and look at what it has parked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eventstore.model.errors import (
    DeliveryTimeoutError,
    EventParkedError,
    StorageUnavailableError,
    StreamNotFoundError,
)
from eventstore.ports.ownership import StoredProgress
from eventstore.ports.storage import Storage
from eventstore.ports.waits import Waits

__all__ = ["FIRST_PAUSE", "newest_position", "unparked_progress", "wait_for_checkpoint"]

FIRST_PAUSE = 0.01
"""Seconds between the first look at a row and the second; each pause doubles the next."""


async def wait_for_checkpoint(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    position: int,
    *,
    unparked: Sequence[range] = (),
    timeout: float,
    patience: float,
    longest_pause: float,
    waits: Waits,
) -> None:
    """Wait until the stored checkpoint has reached *position*.

    Args:
        storage: Where the subscription is stored.
        stream_id: The subscribed stream, or ``$all``.
        subscription_name: Its name.
        position: What is waited for.
        unparked: Positions up to there, of which none may be parked.
        timeout: Most seconds to wait.
        patience: Most seconds for the first look, however short *timeout* is.
        longest_pause: Most seconds between two looks.
        waits: How the caller waits.

    Raises:
        SubscriptionNotFoundError: The subscription does not exist.
        EventParkedError: One of *unparked* is parked.
        DeliveryTimeoutError: It was not reached within *timeout* seconds.
        StorageUnavailableError: No answer in time.
    """
    key, began = (stream_id, subscription_name), time.monotonic()
    deadline, pause, progress = began + timeout, FIRST_PAUSE, None
    answer_by = max(deadline, began + patience)
    while True:
        try:
            progress = await unparked_progress(storage, *key, unparked, answer_by, waits)
        except StorageUnavailableError:
            # The pause may have lasted longer than it should.
            if progress is not None and time.monotonic() >= deadline:
                raise _timed_out(*key, progress, position, timeout) from None
            raise
        if progress.checkpoint >= position:
            return
        if time.monotonic() + pause >= deadline:
            raise _timed_out(*key, progress, position, timeout)
        await waits.pause(pause)
        answer_by, pause = deadline, min(2 * pause, longest_pause)


async def unparked_progress(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    unparked: Sequence[range],
    deadline: float,
    waits: Waits,
) -> StoredProgress:
    """Return how far a subscription is, of which none of the positions *unparked* is parked.

    Raises:
        EventParkedError: One is.
        SubscriptionNotFoundError: The subscription does not exist.
        StorageUnavailableError: No answer before *deadline*.
    """
    key = stream_id, subscription_name
    progress = await waits.call(storage.stored_progress, *key, deadline)
    if unparked and progress.has_parked:
        await waits.call(_check_not_parked, storage, *key, unparked, deadline)
    return progress


def _check_not_parked(
    storage: Storage,
    stream_id: str,
    subscription_name: str,
    awaited: Sequence[range],
    deadline: float,
) -> None:
    """Return if none of the positions *awaited*, which are in order, is parked.

    Raises:
        EventParkedError: One is.
        SubscriptionNotFoundError: The subscription does not exist.
    """
    position, reason = -1, ""
    for run in awaited:
        if position < run.start:
            found = storage.parked(stream_id, subscription_name, run.start - 1, 1, deadline)
            if not found:
                return
            position, reason = found[0].position, found[0].reason
        if position in run:
            raise EventParkedError(stream_id, subscription_name, position, reason)


def newest_position(storage: Storage, stream_id: str, deadline: float) -> int:
    """Return the newest position of a stream, 0 if it is missing; of the store for ``$all``."""
    try:
        return storage.stream_info(stream_id, deadline).stream_version
    except StreamNotFoundError:
        return 0


def _timed_out(
    stream_id: str, subscription_name: str, progress: StoredProgress, position: int, timeout: float
) -> DeliveryTimeoutError:
    state = progress.state
    error = f", last error: {progress.last_error}" if progress.last_error else ""
    return DeliveryTimeoutError(
        f"subscription {subscription_name!r} to {stream_id!r} is {state} at checkpoint"
        f" {progress.checkpoint}, position {position} was not acknowledged within"
        f" {timeout} s{error}",
        stream_id,
        subscription_name,
        state,
    )
