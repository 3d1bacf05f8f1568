"""An idle connection holds no large page, though its cursor keeps the last result."""

from __future__ import annotations

import gc

import psycopg
import pytest

from eventstore.client.caller_runtime import CallerRuntime
from eventstore.client.store import EventStore
from eventstore.model.config import Config
from eventstore.model.events import EventData
from eventstore.model.snapshots import SnapshotData
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon

LARGE = "x" * (1024 * 1024)


def held_bytes() -> int:
    """Return the bytes of the largest value that a cursor of this process still holds."""
    cursors = [each for each in gc.get_objects() if isinstance(each, psycopg.Cursor)]
    results = [cursor.pgresult for cursor in cursors if cursor.pgresult is not None]
    values = (
        result.get_value(row, column) or b""
        for result in results
        for row in range(result.ntuples)
        for column in range(result.nfields)
    )
    return max(map(len, values), default=0)


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.read_stream_forward("large"),
        lambda store: store.read_stream_backward("large"),
        lambda store: store.read_all_streams_forward(),
        lambda store: list(store.stream_all_forward()),
        lambda store: store._runtime.storage.read_after("$all", 0, 10, 2**30, soon()),
    ],
    ids=["stream", "backward", "all", "lazily", "for a subscription"],
)
def test_a_large_page_is_let_go_of(config: Config, storage: PostgresStorage, read: object) -> None:
    del storage  # it installed the schema
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        store.append_to_stream("large", 0, [EventData("Large", LARGE)])
        found = read(store)  # type: ignore[operator]
        assert len(found) == 1
        assert held_bytes() < len(LARGE) / 2


def test_a_large_snapshot_is_let_go_of(config: Config, storage: PostgresStorage) -> None:
    del storage
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        store.append_to_stream("s", 0, [EventData("Small", 1)])
        for use in (
            lambda: store.record_snapshot("s", 1, SnapshotData("Large", LARGE)),
            lambda: store.read_snapshot("s", "Large"),
            lambda: store.read_stream_from_snapshot("s", "Large"),
        ):
            assert use()
            assert held_bytes() < len(LARGE) / 2
