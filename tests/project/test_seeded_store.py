"""The many events of a benchmark are a sound store, as appends would have left it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest

from benchmarks.contenders.load import EVENT_TYPE, payload
from benchmarks.workloads.seeding import RARE_TYPE, seed
from eventstore import CallerRuntime, Config, EventData, EventStore
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.admin.store_check import Checked, Finding

COMMON = {"tenant": "common"}


@pytest.fixture
def store(dsn: str, schema: str) -> Iterator[EventStore]:
    config = Config(dsn, schema=schema)
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        yield store


def verified(store: EventStore) -> tuple[list[Finding], Checked]:
    storage = PostgresStorage(store.config)
    problems: list[Finding] = []
    try:
        return problems, storage.verify(problems.append, time.monotonic() + 10)
    finally:
        storage.close()


def test_it_verifies_before_and_after_further_appends(store: EventStore) -> None:
    seed(store.dsn, 250, per_stream=100, schema=store.config.schema)
    assert verified(store) == ([], Checked(events=250, streams=3, subscriptions=0))

    more = store.append_to_stream("seed-3", 50, [EventData("T", 1)])
    new = store.append_to_stream("new", 0, [EventData("T", 1)])

    assert (more.last_version, more.last_global_position) == (51, 251)
    assert new.last_global_position == 252
    assert verified(store) == ([], Checked(events=252, streams=4, subscriptions=0))


def test_its_events_are_alike_those_of_the_appends(store: EventStore) -> None:
    seed(store.dsn, 200, per_stream=1, schema=store.config.schema)
    events = store.read_all_streams_forward()
    assert [event.stream_id for event in events[:2]] == ["seed-1", "seed-2"]
    assert {event.event_type for event in events} == {EVENT_TYPE, RARE_TYPE}
    assert [e.global_position for e in events if e.event_type == RARE_TYPE] == [100, 200]
    assert events[0].data.keys() == payload().keys()
    assert len(msgspec.json.encode(events[0].data)) == len(msgspec.json.encode(payload()))


def test_its_streams_may_take_turns_and_its_events_have_a_tenant(store: EventStore) -> None:
    schema = store.config.schema
    seed(
        store.dsn,
        10,
        per_stream=5,
        interleaved=True,
        rare_every=5,
        with_metadata=True,
        schema=schema,
    )
    events = store.read_all_streams_forward()
    places = [(event.stream_id, event.stream_version) for event in events[:3]]
    assert places == [("seed-1", 1), ("seed-2", 1), ("seed-1", 2)]
    rare = [event.global_position for event in events if event.event_type == RARE_TYPE]
    tenants = [event.global_position for event in events if event.metadata != COMMON]
    assert rare == tenants == [5, 10]
    assert verified(store) == ([], Checked(events=10, streams=2, subscriptions=0))


def test_a_store_that_holds_events_is_refused(store: EventStore) -> None:
    store.append_to_stream("s", 0, [EventData("T", 1)])
    with pytest.raises(AssertionError, match="holds events"):
        seed(store.dsn, 10, per_stream=1, schema=store.config.schema)
    assert verified(store)[1].events == 1
