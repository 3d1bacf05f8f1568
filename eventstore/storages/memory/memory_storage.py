"""The `Storage` port over a store in memory."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

from eventstore.model.checks import shown
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.event_filter import EventFilter
from eventstore.model.events import LinkResult, StreamInfo
from eventstore.model.stream_listing import StreamListing
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.effects import Batch, HandledBeforeError, Processed
from eventstore.ports.ownership import Claim, Claimed, Held, StoredProgress
from eventstore.ports.parking import Dropped, has_parked
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import Append, Outcome, StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot
from eventstore.ports.waits import Waits
from eventstore.storages.memory.event_pages import Wanted, ended_by_bytes, examined
from eventstore.storages.memory.memory_parking import MemoryParking
from eventstore.storages.memory.memory_sessions import (
    MemoryAnnounceSession,
    MemoryAppendSession,
    MemoryKeeperSession,
    MemoryListener,
)
from eventstore.storages.memory.no_projections import NoProjections
from eventstore.storages.memory.shared_store import SharedStore, join, leave
from eventstore.storages.memory.subscription_infos import info_of, progress_of
from eventstore.storages.memory.subscription_table import Moment

__all__ = ["MemoryStorage"]

PREFIX = "memory:"


class MemoryStorage(MemoryParking, NoProjections):
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

    def beside(self, config: Config) -> MemoryStorage:
        """Return the storage of another schema: a store in memory shares nothing."""
        return MemoryStorage(config)

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

    async def join(self, connection: object, deadline: float, waits: Waits) -> NoReturn:  # noqa: ARG002 - the same for every storage
        """Refuse: here is nothing that a transaction of PostgreSQL could write to."""
        raise ValueError(
            f"connection needs a store in PostgreSQL, and dsn is 'memory:': {shown(connection)}"
        )

    def in_progress(self, transaction_id: int, deadline: float) -> bool:  # noqa: ARG002 - none is
        return False

    def check_effects(self) -> NoReturn:
        """Refuse: here are no transactions that a handler could write in."""
        raise ValueError("transactional needs a store in PostgreSQL, and dsn is 'memory:'")

    async def checkpoint(
        self,
        batch: Batch,  # noqa: ARG002 - the same for every storage
        connection: object,  # noqa: ARG002
        deadline: float,  # noqa: ARG002
        waits: Waits,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse, as `check_effects` does."""
        self.check_effects()

    async def settle(
        self,
        batch: Batch,  # noqa: ARG002 - the same for every storage
        failure: BaseException | None,  # noqa: ARG002
        waits: Waits,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse, as `check_effects` does."""
        self.check_effects()

    async def process(
        self,
        batch: Batch,
        change: Append | Link | None,
        deadline: float,
        waits: Waits,  # noqa: ARG002 - the lock is held for a moment
    ) -> Processed:
        """Store *change* and the checkpoint under one lock; see `Effects.process`."""
        result: Outcome | LinkResult | None = None
        now = datetime.now(UTC)
        with self._changing(deadline) as store:
            if change is not None and not isinstance(change, Link):
                result = store.log.known_outcome(change, now)
            if isinstance(result, Exception):
                return Processed(result)
            try:
                move = store.subscriptions.moving(batch)
            except HandledBeforeError as error:
                if result is None or error.checkpoint is None or error.checkpoint < batch.last:
                    raise
                return Processed(result)
            if isinstance(change, Link):
                result = store.log.link(change, now)
            elif change is not None:
                result = store.log.append(change, now)
            move()
        return Processed(result)

    async def handle(
        self,
        batch: Batch,  # noqa: ARG002 - the same for every storage
        handler: Callable[[Any], Awaitable[object]],  # noqa: ARG002
        idle: float,  # noqa: ARG002
        waits: Waits,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse, as `check_effects` does."""
        self.check_effects()

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

    def read_matching(
        self,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        event_filter: EventFilter,
        deadline: float,
        max_bytes: int | None = None,
    ) -> Examined:
        with self._locked(deadline) as store:
            events = store.log.readable(stream_id)
            head = store.log.head_of(stream_id)
            wanted = Wanted(event_filter, count, max_bytes)
            return examined(events, head, start, direction, wanted)

    def read_matching_after(
        self,
        stream_id: str,
        after: int,
        count: int,
        max_bytes: int,
        event_filter: EventFilter,
        deadline: float,
    ) -> Examined:
        with self._locked(deadline) as store:
            events = store.log.subscribed(stream_id)
            head = store.log.head_of(stream_id)
            wanted = Wanted(event_filter, count, max_bytes)
            return examined(events, head, after + 1, ReadDirection.FORWARD, wanted)

    def end_after(self, stream_id: str, after: int, deadline: float) -> int:
        with self._locked(deadline) as store:
            left = store.log.after(stream_id, after, 1)
            return after if left else max(after, store.log.head_of(stream_id))

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

    def link(self, link: Link, deadline: float) -> LinkResult:
        with self._changing(deadline) as store:
            return store.log.link(link, datetime.now(UTC))

    def delete_stream(self, deletion: Deletion, deadline: float) -> None:
        with self._changing(deadline) as store:
            store.log.delete_stream(deletion, datetime.now(UTC))
            if deletion.hard:
                store.snapshots.forget(deletion.stream_id)
                store.parked.forget_stream(deletion.stream_id)
                for subscription_id in store.subscriptions.start_over(deletion.stream_id):
                    store.parked.forget_after(subscription_id, 0)
                    store.touch(subscription_id)

    def record_snapshot(
        self, stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
    ) -> bool:
        with self._locked(deadline) as store:
            return store.snapshots.record(stream_id, stream_version, snapshot, Moment.now().time)

    def read_snapshot(
        self, stream_id: str, snapshot_type: str, deadline: float
    ) -> StoredSnapshot | None:
        with self._locked(deadline) as store:
            return store.snapshots.read(stream_id, snapshot_type)

    def read_from_snapshot(
        self, stream_id: str, snapshot_type: str, count: int, deadline: float
    ) -> tuple[StoredSnapshot | None, list[StoredEvent]]:
        with self._locked(deadline) as store:
            return store.snapshots.read_from(stream_id, snapshot_type, count)

    def delete_snapshot(self, stream_id: str, snapshot_type: str, deadline: float) -> bool:
        with self._locked(deadline) as store:
            return store.snapshots.delete(stream_id, snapshot_type)

    def claim(self, claim: Claim, deadline: float) -> Claimed | Held:
        with self._locked(deadline) as store:
            return store.subscriptions.claim(claim, Moment.now())

    def subscriptions(self, deadline: float) -> list[SubscriptionInfo]:
        with self._locked(deadline) as store:
            moment = Moment.now()
            return [info_of(store, row, moment) for row in store.subscriptions.rows()]

    def subscription_info(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> SubscriptionInfo:
        with self._locked(deadline) as store:
            return info_of(
                store, store.subscriptions.row(stream_id, subscription_name), Moment.now()
            )

    def stored_progress(
        self, stream_id: str, subscription_name: str, deadline: float
    ) -> StoredProgress:
        with self._locked(deadline) as store:
            row = store.subscriptions.row(stream_id, subscription_name)
            return progress_of(store, row, Moment.now())

    def set_paused(
        self, stream_id: str, subscription_name: str, *, paused: bool, deadline: float
    ) -> None:
        with self._changing(deadline) as store:
            store.touch(store.subscriptions.set_paused(stream_id, subscription_name, paused=paused))

    def reset_subscription(
        self, stream_id: str, subscription_name: str, position: int, deadline: float
    ) -> Dropped:
        with self._changing(deadline) as store:
            subscription_id = store.subscriptions.reset(stream_id, subscription_name, position)
            store.touch(subscription_id)
            return store.parked.forget_after(subscription_id, position)

    def delete_subscription(
        self, stream_id: str, subscription_name: str, deadline: float, *, drop_parked: bool = False
    ) -> Dropped:
        with self._changing(deadline) as store:
            subscription_id = store.subscriptions.row(stream_id, subscription_name).subscription_id
            if not drop_parked and (parked := store.parked.of(subscription_id)):
                raise has_parked(stream_id, subscription_name, len(parked))
            store.subscriptions.delete(stream_id, subscription_name)
            store.touch(subscription_id)
            return store.parked.forget_after(subscription_id, 0)

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
