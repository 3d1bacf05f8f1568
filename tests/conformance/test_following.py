"""Following a stream live: what is stored, then what comes, until somebody ends it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import msgspec
import pytest

from eventstore import (
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    Follower,
    NotRunningError,
    RecordedEvent,
    SerializationError,
)
from tests.conformance.conftest import Connect, numbered
from tests.support.waiting import AGES, PATIENCE, wait_until

STREAM = "order-1"
SHORT = 0.1
"""Seconds after which a step that finds nothing ends the iteration."""


def append(store: EventStore, first: int, last: int, stream: str = STREAM) -> None:
    store.append_to_stream(stream, ExpectedVersion.ANY, numbered(first, last))


def numbers(events: Iterator[RecordedEvent]) -> list[int]:
    return [event.data["event"] for event in events]


@pytest.fixture
def soon() -> Iterator[Callable[..., Future[Any]]]:
    """Run something in another thread."""
    with ThreadPoolExecutor(4) as threads:
        yield threads.submit


@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_it_yields_what_is_stored_and_ends_after_an_idle_time(
    store: EventStore, batch_size: int
) -> None:
    """G11."""
    append(store, 1, 3)
    append(store, 4, 5, "order-2")
    followed = store.follow_stream(STREAM, batch_size=batch_size, idle_timeout=SHORT)
    assert numbers(followed) == [1, 2, 3]
    assert followed.position == 3
    assert list(followed) == []
    assert numbers(store.follow_all(batch_size=batch_size, idle_timeout=SHORT)) == [1, 2, 3, 4, 5]


def test_it_waits_for_what_comes(store: EventStore, soon: Callable[..., Future[Any]]) -> None:
    """API-22, API-24, API-25, G2, G11: in order, nothing twice, of one stream and of all."""
    with store.follow_stream(STREAM) as one, store.follow_all() as every:
        of_one = soon(lambda: numbers(islice(one, 4)))
        of_all = soon(lambda: numbers(islice(every, 6)))
        append(store, 1, 2)
        append(store, 3, 4, "order-2")
        append(store, 5, 6)
        assert of_one.result(PATIENCE) == [1, 2, 5, 6]
        assert of_all.result(PATIENCE) == [1, 2, 3, 4, 5, 6]
        assert (one.position, every.position) == (4, 6)


def test_events_of_another_store_arrive_too(
    connect: Connect, soon: Callable[..., Future[Any]]
) -> None:
    here, elsewhere = connect(), connect()
    with here.follow_all() as followed:
        found = soon(lambda: numbers(islice(followed, 2)))
        append(elsewhere, 1, 2)
        assert found.result(PATIENCE) == [1, 2]


def test_events_of_another_schema_do_not(store: EventStore, neighbour: EventStore) -> None:
    """MUL-03, G34: each follower is told of the one store that it follows."""
    with store.follow_all() as ours, neighbour.follow_all() as theirs:
        append(neighbour, 7, 7)
        append(store, 1, 1)
        assert numbers(islice(ours, 1)) == [1]
        assert numbers(islice(theirs, 1)) == [7]
        assert (ours.position, theirs.position) == (1, 1)


@pytest.mark.parametrize("start_from", [0, 2, 3, 7])
def test_it_begins_after_a_position(store: EventStore, start_from: int) -> None:
    append(store, 1, 3)
    expected = [1, 2, 3][start_from:]
    followed = store.follow_stream(STREAM, start_from, idle_timeout=SHORT)
    assert followed.position == start_from
    assert numbers(followed) == expected
    assert numbers(store.follow_all(start_from, idle_timeout=SHORT)) == expected


@pytest.mark.usefixtures("for_threads")
def test_it_begins_with_what_comes_after_the_call(store: EventStore) -> None:
    """API-23."""
    missing = store.follow_stream(STREAM, "current", idle_timeout=SHORT)
    append(store, 1, 2)
    one = store.follow_stream(STREAM, "current", idle_timeout=SHORT)
    every = store.follow_all("current", idle_timeout=SHORT)
    append(store, 3, 3)
    assert numbers(missing) == [1, 2, 3]
    assert numbers(one) == numbers(every) == [3]


def test_a_position_that_was_kept_is_where_the_next_one_goes_on(store: EventStore) -> None:
    append(store, 1, 5)
    first = store.follow_all(idle_timeout=SHORT)
    assert numbers(islice(first, 2)) == [1, 2]
    assert numbers(store.follow_all(first.position, idle_timeout=SHORT)) == [3, 4, 5]


# ── its end ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def waiting(
    connect: Connect, soon: Callable[..., Future[Any]]
) -> tuple[EventStore, Follower, Future[list[RecordedEvent]]]:
    """A store, a follower that has found the end of it, and the thread that waits there."""
    store = connect(poll_interval=AGES)
    append(store, 1, 1)
    followed = store.follow_all()
    found: Future[list[RecordedEvent]] = soon(lambda: list(followed))
    wait_until(lambda: followed.position == 1)
    return store, followed, found


def test_another_thread_can_end_it(
    waiting: tuple[EventStore, Follower, Future[list[RecordedEvent]]],
) -> None:
    _, followed, found = waiting
    followed.close()
    assert numbers(iter(found.result(PATIENCE))) == [1]
    followed.close()
    assert list(followed) == []


def test_it_ends_with_the_store(
    waiting: tuple[EventStore, Follower, Future[list[RecordedEvent]]],
) -> None:
    store, followed, found = waiting
    store.close()
    assert numbers(iter(found.result(PATIENCE))) == [1]
    assert list(followed) == []
    with pytest.raises(NotRunningError):
        store.follow_all()


@pytest.mark.usefixtures("for_threads")
def test_nobody_keeps_one_that_was_left(store: EventStore) -> None:
    append(store, 1, 1)
    left = store.follow_all(idle_timeout=SHORT)
    assert numbers(left) == [1]
    gone = weakref.ref(left)
    del left
    gc.collect()
    assert gone() is None
    # Who asked for news on its behalf is told of the next event, and forgets it.
    append(store, 2, 2)
    assert numbers(store.follow_all(idle_timeout=SHORT)) == [1, 2]


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


class Order(msgspec.Struct):
    id: int


def test_the_next_step_goes_on_after_an_event_that_cannot_be_read(
    connect: Connect, store: EventStore
) -> None:
    store.append_to_stream(STREAM, 0, [EventData("Order", {"id": n}) for n in (1, "two", 3)])
    typed = connect(types={"Order": Order})
    followed = typed.follow_stream(STREAM, idle_timeout=SHORT)
    assert next(followed).data == Order(1)
    with pytest.raises(SerializationError):
        next(followed)
    assert followed.position == 2
    assert [event.data for event in followed] == [Order(3)]
    raw = typed.follow_stream(STREAM, idle_timeout=SHORT, raw=True)
    assert [event.data for event in raw] == [b'{"id":1}', b'{"id":"two"}', b'{"id":3}']


@pytest.mark.parametrize(
    "arguments",
    [
        {"start_from": -1},
        {"start_from": "end"},
        {"start_from": True},
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"idle_timeout": 0},
        {"idle_timeout": "1"},
        {"raw": 1},
    ],
)
def test_a_wrong_argument_is_named(store: EventStore, arguments: dict[str, Any]) -> None:
    [name] = arguments
    with pytest.raises((TypeError, ValueError), match=name):
        store.follow_all(**arguments)
    with pytest.raises((TypeError, ValueError), match=name):
        store.follow_stream(STREAM, **arguments)


def test_all_streams_are_followed_by_the_other_method(store: EventStore) -> None:
    with pytest.raises(ValueError, match="stream_id"):
        store.follow_stream("$all")


def test_many_threads_follow_one_store(
    connect: Connect, soon: Callable[..., Future[Any]], config: Config
) -> None:
    store = connect(pool_size=2)
    assert config.pool_size > 2
    followers = [store.follow_all() for _ in range(4)]
    found = [soon(lambda each=each: numbers(islice(each, 20))) for each in followers]
    threads = [threading.Thread(target=append, args=[store, n, n, f"s-{n}"]) for n in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [each.result(PATIENCE) for each in found]
    assert sorted(results[0]) == list(range(1, 21))
    assert results == [results[0]] * 4
