"""The part of the storage port for parked events, over a store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice

import msgspec

from eventstore.model.names import ALL_STREAMS
from eventstore.model.parked import ParkedEvent
from eventstore.ports.ownership import Fence, Tried
from eventstore.ports.parking import Choice, ParkedKey, ParkedPlace, Parking, ParkingOutcome, Why
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.memory.event_pages import within_bytes
from eventstore.storages.memory.shared_store import SharedStore
from eventstore.storages.memory.subscription_table import Moment

__all__ = ["MemoryParking"]


class MemoryParking(ABC):
    """Parks events and delivers them again; see `ParksEvents`."""

    def park(self, parking: Parking, deadline: float) -> ParkingOutcome:
        with self._locked(deadline) as store:
            row = store.subscriptions.owned(parking.fence)
            if row is None or parking.checkpoint > store.log.head_of(row.stream_id):
                return ParkingOutcome.FENCED
            there = [e for e in parking.events if _stored(store, e.global_position) is not None]
            outcome = store.parked.park(
                row.subscription_id, replace(parking, events=there), Moment.now().time
            )
            if outcome is ParkingOutcome.DONE:
                row.checkpoint = max(row.checkpoint, parking.checkpoint)
            return outcome

    def unpark(
        self,
        fence: Fence,
        delivered: Mapping[str, int],
        ended: Collection[str],
        deadline: float,
    ) -> set[str] | None:
        with self._locked(deadline) as store:
            row = store.subscriptions.owned(fence)
            if row is None:
                return None
            gone = {
                parked.position
                for parked in store.parked.of(row.subscription_id)
                if parked.key in ended and _stored(store, parked.global_position) is None
            }
            return store.parked.unpark(row.subscription_id, delivered, gone)

    def keep_parked(self, fence: Fence, event: ParkedPlace, why: Why, deadline: float) -> bool:
        with self._locked(deadline) as store:
            row = store.subscriptions.owned(fence)
            if row is not None:
                store.parked.keep(row.subscription_id, event, why, Moment.now().time)
            return row is not None

    def note_tries(
        self, fence: Fence, checkpoint: int, least: int, tried: Tried | None, deadline: float
    ) -> bool:
        with self._locked(deadline) as store:
            row = store.subscriptions.owned(fence)
            if row is None or row.checkpoint < least:
                return False
            if checkpoint > store.log.head_of(row.stream_id):
                return False
            row.checkpoint = max(row.checkpoint, checkpoint)
            row.tried = tried
            return True

    def skip_replayed(self, fence: Fence, position: int, reason: str, deadline: float) -> bool:
        with self._locked(deadline) as store:
            row = store.subscriptions.owned(fence)
            if row is not None:
                store.parked.skip(row.subscription_id, position, reason)
            return row is not None

    def parked_keys(self, subscription_id: int, deadline: float) -> list[ParkedKey]:
        with self._locked(deadline) as store:
            return store.parked.keys(subscription_id)

    def read_parked(
        self,
        subscription_id: int,
        keys: Sequence[str],
        after: int,
        count: int,
        max_bytes: int,
        deadline: float,
    ) -> list[StoredEvent]:
        with self._locked(deadline) as store:
            rows = store.parked.marked(subscription_id, keys, after)
            events = filter(None, (_placed(store, row) for row in rows))
            return within_bytes(islice(events, count), max_bytes)

    def parked(
        self, stream_id: str, subscription_name: str, after: int, count: int, deadline: float
    ) -> list[ParkedEvent]:
        with self._locked(deadline) as store:
            row = store.subscriptions.row(stream_id, subscription_name)
            return store.parked.of(row.subscription_id, after)[:count]

    def choose_parked(self, choice: Choice, deadline: float) -> int:
        with self._changing(deadline) as store:
            row = store.subscriptions.row(choice.stream_id, choice.subscription_name)
            store.touch(row.subscription_id)
            return store.parked.choose(row.subscription_id, choice)

    @abstractmethod
    def _locked(self, deadline: float) -> AbstractContextManager[SharedStore]:
        """Hold the store's lock meanwhile, or fail at *deadline*."""

    @abstractmethod
    def _changing(self, deadline: float) -> AbstractContextManager[SharedStore]:
        """Do what `_locked` does, and tell listeners at the end."""


def _placed(store: SharedStore, row: ParkedEvent) -> StoredEvent | None:
    """Return the parked event, at its position in what is subscribed to; None if it is gone."""
    event = _stored(store, row.global_position)
    return event and msgspec.structs.replace(event, position=row.position)


def _stored(store: SharedStore, global_position: int) -> StoredEvent | None:
    found = store.log.after(ALL_STREAMS, global_position - 1, 1)
    return found[0] if found and found[0].global_position == global_position else None
