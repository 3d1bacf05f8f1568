"""The contents of a store in memory, and the lock that guards them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.memory.event_log import EventLog
from eventstore.storages.memory.parked_table import ParkedTable
from eventstore.storages.memory.snapshot_table import SnapshotTable
from eventstore.storages.memory.subscription_table import SubscriptionTable

__all__ = ["SharedStore", "join", "leave"]


class SharedStore:
    """The contents of one store. Read and written only under its lock."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self.log = EventLog()
        self.snapshots = SnapshotTable(self.log)
        self.subscriptions = SubscriptionTable(self.log.head_of)
        self.parked = ParkedTable()
        self._changes = count(1)
        self._touched: dict[int, int] = {}
        """Number of the newest change, by subscription."""

    @contextmanager
    def locked(self, deadline: float) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StorageUnavailableError: *deadline*, by `time.monotonic`, passed first.
        """
        remaining = deadline - monotonic()
        if remaining <= 0 or not self._changed.acquire(timeout=remaining):
            raise StorageUnavailableError("the deadline passed before the store could be used")
        try:
            yield
        finally:
            self._changed.release()

    @contextmanager
    def changing(self, deadline: float) -> Iterator[None]:
        """Hold the lock for a change, and wake every listener afterwards."""
        with self.locked(deadline):
            yield
            self._changed.notify_all()

    @property
    def newest_change(self) -> int:
        """Number of the newest change of any subscription."""
        return max(self._touched.values(), default=0)

    def touch(self, subscription_id: int) -> None:
        """Record that a subscription was released, paused, resumed, reset or deleted."""
        self._touched[subscription_id] = next(self._changes)

    def touched_after(self, change: int) -> frozenset[int]:
        """Return the subscriptions with a change after number *change*."""
        return frozenset(key for key, number in self._touched.items() if number > change)

    @contextmanager
    def listening(self) -> Iterator[threading.Condition]:
        """Hold the lock; yield the condition that is notified of changes."""
        with self._changed:
            yield self._changed


_Key = tuple[str, str]
_stores: dict[_Key, SharedStore] = {}
_users: dict[_Key, int] = {}
_registry = threading.Lock()


def join(name: str, schema: str) -> SharedStore:
    """Return the store of that name in this process. Create it for the first user."""
    key = (name, schema)
    with _registry:
        _users[key] = _users.get(key, 0) + 1
        return _stores.setdefault(key, SharedStore())


def leave(name: str, schema: str) -> None:
    """Drop the store if this was its last user."""
    key = (name, schema)
    with _registry:
        _users[key] -= 1
        if not _users[key]:
            del _users[key], _stores[key]
