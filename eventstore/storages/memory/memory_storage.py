"""The `Storage` port over a store in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from eventstore.model.checks import shown
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.events import StreamInfo
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscription import SubscriptionInfo, SubscriptionState
from eventstore.ports.ownership import Claim, Claimed, Held
from eventstore.ports.storage import ReadDirection
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.memory.event_log import ended_by_bytes
from eventstore.storages.memory.memory_sessions import (
    MemoryAnnounceSession,
    MemoryAppendSession,
    MemoryKeeperSession,
    MemoryListener,
)
from eventstore.storages.memory.shared_store import SharedStore, join, leave
from eventstore.storages.memory.subscription_table import Moment, Row

__all__ = ["MemoryStorage"]

PREFIX = "memory:"


class MemoryStorage:
    """Events and subscriptions in the memory of this process.

    ``memory:`` is a private store. ``memory:NAME`` is shared by all who open that name in this
    process, and dropped when the last of them closes it.
    """

    def __init__(self, config: Config) -> None:
        if not config.dsn.startswith(PREFIX):
            raise ValueError(f"dsn must be memory: or memory:NAME: {shown(config.dsn)}")
        self._dsn = config.dsn
        self._name = config.dsn.removeprefix(PREFIX)
        self._schema = config.schema
        self._store: SharedStore | None = None
        self._opening = threading.Lock()

    @property
    def dsn(self) -> str:
        return self._dsn

    def open(self, *, init: bool, deadline: float) -> None:  # noqa: ARG002 - never waits
        """Join the shared store, or create a private one. Neither needs a schema."""
        with self._opening:
            if self._store is None:
                self._store = join(self._name, self._schema) if self._name else SharedStore()

    def close(self) -> None:
        with self._opening:
            if self._store is not None and self._name:
                leave(self._name, self._schema)
            self._store = None

    def supervise(self, crashed: Callable[[str, BaseException], object]) -> None:
        """Do nothing: it has no thread of its own."""

    def check_threads(self) -> None:
        """Do nothing: it has no thread of its own."""

    def overdue(self) -> float:
        return 0.0

    def append_session(self) -> MemoryAppendSession:
        return MemoryAppendSession(self._opened())

    def keeper_session(self) -> MemoryKeeperSession:
        return MemoryKeeperSession(self._opened())

    def head_listener(self) -> MemoryListener:
        return MemoryListener(self._opened())

    def announce_session(self) -> MemoryAnnounceSession:
        return MemoryAnnounceSession()

    def read_stream(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        with self._locked(deadline) as store:
            page = store.log.read_stream(stream_id, start, count, direction)
        return ended_by_bytes(page, max_bytes)

    def read_all(
        self,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None = None,
    ) -> list[StoredEvent]:
        with self._locked(deadline) as store:
            page = store.log.read_all(start, count, direction)
        return ended_by_bytes(page, max_bytes)

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int, deadline: float
    ) -> list[StoredEvent]:
        with self._locked(deadline) as store:
            return store.log.read_after(stream_id, after, count, max_bytes)

    def stream_info(self, stream_id: str, deadline: float) -> StreamInfo:
        with self._locked(deadline) as store:
            return store.log.stream_info(stream_id)

    def streams(
        self, listing: StreamListing, after: str | None, count: int, deadline: float
    ) -> list[StreamInfo]:
        with self._locked(deadline) as store:
            return store.log.streams(listing, after, count)

    def find_event(self, event_id: UUID, deadline: float) -> StoredEvent | None:
        with self._locked(deadline) as store:
            return store.log.find(event_id)

    def stream_count(self, deadline: float) -> int:
        with self._locked(deadline) as store:
            return store.log.stream_count

    def history_holds(self, global_position: int, event_id: UUID, deadline: float) -> bool:
        with self._locked(deadline) as store:
            return store.log.holds(global_position, event_id)

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        with self._locked(deadline) as store:
            return store.subscriptions.claim(claim, Moment.now())

    def subscriptions(self, deadline: float) -> list[SubscriptionInfo]:
        with self._locked(deadline) as store:
            moment = Moment.now()
            return [_info(store, row, moment) for row in store.subscriptions.rows()]

    def subscription_info(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        with self._locked(deadline) as store:
            return _info(store, store.subscriptions.row(stream_id, subscription_name), Moment.now())

    def set_paused(
        self, stream_id: str, subscription_name: str, *, paused: bool, deadline: float
    ) -> None:
        with self._changing(deadline) as store:
            store.touch(store.subscriptions.set_paused(stream_id, subscription_name, paused=paused))

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> None:
        with self._changing(deadline) as store:
            store.touch(store.subscriptions.reset(stream_id, subscription_name, position))

    def delete_subscription(self, stream_id: str, subscription_name: str, deadline: float) -> None:
        with self._changing(deadline) as store:
            store.touch(store.subscriptions.delete(stream_id, subscription_name))

    def _opened(self) -> SharedStore:
        store = self._store
        if store is None:
            raise StorageUnavailableError("the storage is not open")
        return store

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[SharedStore]:
        store = self._opened()
        with store.locked(deadline):
            yield store

    @contextmanager
    def _changing(self, deadline: float) -> Iterator[SharedStore]:
        store = self._opened()
        with store.changing(deadline):
            yield store


def _info(store: SharedStore, row: Row, moment: Moment) -> SubscriptionInfo:
    held = row.holder(moment)
    head = store.log.head_of(row.stream_id)
    return SubscriptionInfo(
        subscription_id=row.subscription_id,
        stream_id=row.stream_id,
        subscription_name=row.subscription_name,
        owner=held.owner_name if held else None,
        since=held.since if held else None,
        epoch=row.epoch,
        state=row.state if held else _free(row.state),
        checkpoint=row.checkpoint,
        head=head,
        lag_events=max(head - row.checkpoint, 0),
        lag_seconds=_lag_seconds(store, row, moment.time),
        paused=row.paused,
        last_error=row.last_error,
        attempts=row.attempts,
        created_at=row.created_at,
    )


def _free(state: SubscriptionState) -> SubscriptionState:
    """Return the state to show for a row without an owner."""
    stopped = state is SubscriptionState.STOPPED
    return SubscriptionState.STOPPED if stopped else SubscriptionState.WAITING


def _lag_seconds(store: SharedStore, row: Row, now: datetime) -> float:
    waiting = store.log.after(row.stream_id, row.checkpoint, 1)
    if not waiting:
        return 0.0
    return max((now - store.log.stored_at(waiting[0])).total_seconds(), 0.0)
