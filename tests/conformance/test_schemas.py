"""Stores of several schemas beside one another: each is a store of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from eventstore import (
    Config,
    EventData,
    EventStore,
    NotRunningError,
    SchemaVersionError,
)
from tests.conformance.conftest import Connect, numbered


@dataclass
class Paid:
    amount: int


@dataclass
class Sent:
    parcel: int


def events_of(store: EventStore) -> list[Any]:
    return [event.data["event"] for event in store.read_all_streams_forward()]


def test_each_has_its_own_events(store: EventStore, other: str, third: str) -> None:
    """G34: versions and positions of one say nothing of another."""
    stores = [store, store.for_schema(other, init=True), store.for_schema(third, init=True)]
    for count, each in enumerate(stores, 1):
        result = each.append_to_stream("order-1", 0, numbered(10 * count, 10 * count + count))
        assert result.last_global_position == count + 1
    assert [events_of(each) for each in stores] == [[10, 11], [20, 21, 22], [30, 31, 32, 33]]
    assert [each.config.schema for each in stores[1:]] == [other, third]
    assert {each.dsn for each in stores} == {store.dsn}


def test_the_same_name_is_the_same_store(store: EventStore, other: str) -> None:
    """Also from beside, also the first one, and also for threads that ask at the same time."""
    with ThreadPoolExecutor(4) as threads:
        ready = threading.Barrier(4)

        def opened(_: int) -> EventStore:
            ready.wait()
            return store.for_schema(other, init=True)

        first, *others = threads.map(opened, range(4))
    assert all(each == first for each in others)
    assert first.for_schema(other) == first
    assert first.for_schema(store.config.schema) == store
    assert store.for_schema(store.config.schema) == store


def test_closing_one_leaves_the_others_open(store: EventStore, other: str, third: str) -> None:
    """G26: and its name opens a new object."""
    closed, left = store.for_schema(other, init=True), store.for_schema(third, init=True)
    closed.close()
    with pytest.raises(NotRunningError):
        closed.append_to_stream("order-1", 0, numbered(1, 1))
    for each in (store, left):
        each.append_to_stream("order-1", 0, numbered(1, 1))
        assert events_of(each) == [1]
    again = store.for_schema(other, init=True)
    assert again != closed
    again.append_to_stream("order-2", 0, numbered(2, 2))
    assert events_of(again) == [2]


def test_closing_the_first_closes_all(connect: Connect, other: str) -> None:
    """G26: and none is opened any more."""
    store = connect()
    beside = store.for_schema(other, init=True)
    beside.append_to_stream("order-1", 0, numbered(1, 1))
    store.close()
    with pytest.raises(NotRunningError):
        events_of(beside)
    for each in (store, beside):
        with pytest.raises(NotRunningError):
            each.for_schema(other)
    beside.close()


def test_a_closed_store_opens_none_beside_it(store: EventStore, other: str, third: str) -> None:
    """G26: the others still do."""
    beside = store.for_schema(other, init=True)
    beside.close()
    with pytest.raises(NotRunningError):
        beside.for_schema(third, init=True)
    assert events_of(store.for_schema(third, init=True)) == []


def test_each_may_have_its_own_types(connect: Connect, other: str, third: str) -> None:
    """G28: without any, it has those of the first."""
    store = connect(types=[Paid])
    own, same = store.for_schema(other, init=True, types=[Sent]), store.for_schema(third, init=True)
    store.append_to_stream("order-1", 0, [EventData("Paid", Paid(1))])
    own.append_to_stream("order-1", 0, [EventData("Sent", Sent(2))])
    same.append_to_stream("order-1", 0, [EventData("Paid", Paid(3))])
    read = [each.read_stream_forward("order-1")[0].data for each in (store, own, same)]
    assert read == [Paid(1), Sent(2), Paid(3)]
    assert store.for_schema(other, types=(Sent,)) == own == store.for_schema(other)
    with pytest.raises(ValueError, match=f"types must be None, or .*schema '{other}'.*Sent.*Paid"):
        store.for_schema(other, types=[Paid])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": ""}, ValueError, "schema"),
        ({"name": "pg_shop"}, ValueError, "schema .*'pg_shop'"),
        ({"name": "x" * 57}, ValueError, "schema .*56"),
        ({"name": 1}, TypeError, "schema .*1"),
        ({"name": "shop", "init": 1}, TypeError, "init .*1"),
        ({"name": "shop", "types": [1]}, TypeError, "types"),
    ],
)
def test_a_wrong_argument_is_refused(
    store: EventStore, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """G28."""
    with pytest.raises(error, match=message):
        store.for_schema(**arguments)


def test_a_schema_that_is_missing_is_told(store: EventStore, config: Config, other: str) -> None:
    """G34: nothing is created unasked, and the error costs no other store anything."""
    if config.dsn.startswith("memory:"):
        pytest.skip("a store in memory needs no schema")
    with pytest.raises(SchemaVersionError):
        store.for_schema(other)
    assert events_of(store) == []
    assert store.for_schema(other, init=True).config.schema != config.schema
