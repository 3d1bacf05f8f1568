"""Reading all streams by the facade, on both storages and both runtimes."""

from __future__ import annotations

import pytest

from eventstore import EventStore, ExpectedVersion, RecordedEvent
from tests.conformance.conftest import numbered

ANY = ExpectedVersion.ANY


def places(events: list[RecordedEvent]) -> list[int]:
    return [event.position for event in events]


@pytest.fixture
def six(store: EventStore) -> EventStore:
    """A store with three events in "a", then three in "b"."""
    store.append_to_stream("a", ANY, numbered(1, 3))
    store.append_to_stream("b", ANY, numbered(4, 6))
    return store


def test_events_of_every_stream_are_read_in_commit_order(store: EventStore) -> None:
    """ALL-01, RDS-09, G3: each with its own version."""
    for number, stream in enumerate(["a", "b", "a", "b"], start=1):
        store.append_to_stream(stream, ANY, numbered(number, number))

    read = store.read_all_streams_forward()

    assert [event.global_position for event in read] == places(read) == [1, 2, 3, 4]
    assert [event.stream_version for event in read] == [1, 1, 2, 2]
    assert [event.stream_id for event in read] == ["a", "b", "a", "b"]


def test_an_empty_store_is_no_error(store: EventStore) -> None:
    """RDS-08."""
    assert store.read_all_streams_forward() == []
    assert store.read_all_streams_backward() == []
    assert list(store.stream_all_forward()) == []
    assert list(store.stream_all_backward()) == []


def test_reading_on_after_the_last_event(store: EventStore) -> None:
    """RDS-10, RDS-11: page after page, then nothing."""
    store.append_to_stream("a", ANY, numbered(1, 20))

    assert places(store.read_all_streams_forward(1, 10)) == list(range(1, 11))
    assert places(store.read_all_streams_forward(11, 10)) == list(range(11, 21))
    assert store.read_all_streams_forward(21, 10) == []


@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_all_streams_are_iterated_forward_in_pages_of_any_size(
    six: EventStore, batch_size: int
) -> None:
    """ALL-02, ALL-04, API-13, G11."""
    events = list(six.stream_all_forward(batch_size=batch_size))

    assert places(events) == [1, 2, 3, 4, 5, 6]
    assert [event.stream_version for event in events] == [1, 2, 3, 1, 2, 3]
    assert [event.stream_id for event in events] == ["a"] * 3 + ["b"] * 3
    assert places(list(six.stream_all_forward(5, batch_size=batch_size))) == [5, 6]


@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_all_streams_are_iterated_backward_in_pages_of_any_size(
    six: EventStore, batch_size: int
) -> None:
    """ALL-06, ALL-07, ALL-08, API-16, G11."""
    events = list(six.stream_all_backward(batch_size=batch_size))

    assert places(events) == [6, 5, 4, 3, 2, 1]
    assert [event.stream_version for event in events] == [3, 2, 1, 3, 2, 1]
    assert places(list(six.stream_all_backward(2, batch_size=batch_size))) == [2, 1]


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [(-1, 1_000, [6, 5, 4, 3, 2, 1]), (-1, 2, [6, 5]), (3, 2, [3, 2]), (99, 1, [6]), (0, 5, [])],
)
def test_all_streams_are_read_backward_from_a_position_or_the_end(
    six: EventStore, start: int, count: int, expected: list[int]
) -> None:
    """ALL-06, G3: newest first."""
    assert places(six.read_all_streams_backward(start, count)) == expected
