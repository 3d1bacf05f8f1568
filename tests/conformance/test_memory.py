"""What is special about a store in memory: how long it lives, and who shares it."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventStore,
    StorageUnavailableError,
    StreamNotFoundError,
)
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.storages.memory import MemoryStorage
from tests.conformance.conftest import numbered, opened, soon
from tests.support.waiting import PATIENCE


def connect(target: str, schema: str = "eventstore") -> EventStore:
    return EventStore.connect(Config(target, schema=schema), runtime=CallerRuntime)


def test_it_is_a_storage_like_any_other() -> None:
    storage: Storage = MemoryStorage(Config("memory:"))

    assert storage.dsn == "memory:"


def test_without_a_name_everybody_has_a_store_of_their_own() -> None:
    """G34."""
    with connect("memory:") as first, connect("memory:") as second:
        first.append_to_stream("order-1", 0, numbered(1, 1))

        with pytest.raises(StreamNotFoundError):
            second.read_stream_forward("order-1")


def test_a_name_is_shared_until_its_last_user_closes_it() -> None:
    """G34: then it is forgotten."""
    name = f"memory:{uuid4().hex}"
    with connect(name) as first:
        first.append_to_stream("order-1", 0, numbered(1, 1))
        with connect(name) as second:
            second.append_to_stream("order-1", 1, numbered(2, 2))
        assert first.stream_info("order-1").stream_version == 2

    with connect(name) as third:
        assert third.stream_info("$all").stream_version == 0


def test_schemas_of_one_name_are_stores_of_their_own() -> None:
    """NOT-05, G34."""
    name = f"memory:{uuid4().hex}"
    with connect(name, "one") as first, connect(name, "two") as second:
        first.append_to_stream("order-1", 0, numbered(1, 1))

        assert second.stream_info("$all").stream_version == 0


def test_what_is_read_cannot_change_what_is_stored() -> None:
    """G8, G10: callers get values of their own."""
    with connect("memory:") as store:
        store.append_to_stream("order-1", 0, numbered(1, 1))
        store.read_stream_forward("order-1")[0].data["event"] = 7

        assert store.read_stream_forward("order-1")[0].data == {"event": 1}


def test_nobody_waits_longer_than_their_deadline() -> None:
    """G25: also for whoever holds the lock."""
    storage = MemoryStorage(Config("memory:"))
    storage.open(init=True, deadline=soon())
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with storage._opened().locked(soon()):
            held.set()
            release.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    try:
        with pytest.raises(StorageUnavailableError, match="deadline"):
            storage.read_all(1, 1, ReadDirection.FORWARD, time.monotonic() + 0.05)
    finally:
        release.set()
        holder.join()
    assert storage.read_all(1, 1, ReadDirection.FORWARD, soon()) == []


def test_a_closed_storage_cannot_be_used() -> None:
    """G26: closing it again is harmless, opening it again starts anew."""
    storage = opened(Config("memory:"))
    storage.close()
    storage.close()

    with pytest.raises(StorageUnavailableError, match="not open"):
        storage.stream_info("$all", soon())
    storage.open(init=True, deadline=soon())
    assert storage.stream_info("$all", soon()).stream_version == 0
    storage.close()


@pytest.mark.parametrize("dsn", ["memoria:", "postgresql:///shop"])
def test_another_target_is_refused(dsn: str) -> None:
    """G28."""
    with pytest.raises(ValueError, match=f"dsn must be memory: or memory:NAME: '{dsn}'"):
        MemoryStorage(Config(dsn))
