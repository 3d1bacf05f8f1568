"""What is shown of a subscription in memory: its row, its lag, and what it has parked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from eventstore.model.parked import ParkedEvent
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.ownership import StoredProgress
from eventstore.storages.memory.shared_store import SharedStore
from eventstore.storages.memory.subscription_table import Moment, Row

__all__ = ["info_of", "progress_of"]


def info_of(store: SharedStore, row: Row, moment: Moment) -> SubscriptionInfo:
    """Return what is shown of a row."""
    held = row.holder(moment)
    head = store.log.head_of(row.stream_id)
    parked = store.parked.of(row.subscription_id)
    return SubscriptionInfo(
        subscription_id=row.subscription_id,
        stream_id=row.stream_id,
        subscription_name=row.subscription_name,
        owner=held.owner_name if held else None,
        since=held.since if held else None,
        epoch=row.epoch,
        state=_state(row, moment),
        checkpoint=row.checkpoint,
        head=head,
        lag_events=_lag_events(store, row, head),
        lag_seconds=_lag_seconds(store, row, moment.time),
        parked=len(parked),
        parked_oldest_seconds=_oldest_seconds(parked, moment.time),
        paused=row.paused,
        options=row.options,
        last_error=row.last_error,
        attempts=row.attempts,
        created_at=row.created_at,
    )


def progress_of(store: SharedStore, row: Row, moment: Moment) -> StoredProgress:
    """Return how far the subscription of a row is."""
    return StoredProgress(
        row.subscription_id,
        row.epoch,
        row.checkpoint,
        bool(store.parked.of(row.subscription_id)),
        _state(row, moment),
        row.last_error,
    )


def _state(row: Row, moment: Moment) -> SubscriptionState:
    """Return the state to show: without an owner it is waiting or stopped."""
    if row.holder(moment) or row.state is SubscriptionState.STOPPED:
        return row.state
    return SubscriptionState.WAITING


def _lag_events(store: SharedStore, row: Row, head: int) -> int:
    """Return the distance to the head; 0 if everything on the way was deleted."""
    return head - row.checkpoint if store.log.after(row.stream_id, row.checkpoint, 1) else 0


def _lag_seconds(store: SharedStore, row: Row, now: datetime) -> float:
    waiting = store.log.after(row.stream_id, row.checkpoint, 1)
    if not waiting:
        return 0.0
    return max((now - store.log.stored_at(waiting[0])).total_seconds(), 0.0)


def _oldest_seconds(parked: Sequence[ParkedEvent], now: datetime) -> float:
    oldest = min((event.parked_at for event in parked), default=now)
    return max((now - oldest).total_seconds(), 0.0)
