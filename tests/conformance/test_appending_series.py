"""Appending a long series of events; see `EventStore.append_many`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from eventstore import DuplicateEventError, EventData, EventStore, ExpectedVersion

ANY = ExpectedVersion.ANY


def series(number: int, streams: int = 3) -> list[tuple[str, EventData]]:
    """Return events with ids that follow from their place, several in a row for each stream."""
    return [
        (f"s-{place // 4 % streams}", EventData("X", place, event_id=UUID(int=place + 1)))
        for place in range(number)
    ]


def stored(store: EventStore) -> list[tuple[str, Any]]:
    return [(event.stream_id, event.data) for event in store.stream_all_forward()]


def expected(items: list[tuple[str, EventData]]) -> list[tuple[str, Any]]:
    return [(stream_id, event.data) for stream_id, event in items]


@pytest.mark.parametrize("batch_size", [1, 7, 1_000])
def test_a_series_is_stored_in_its_order(store: EventStore, batch_size: int) -> None:
    """G1, G6."""
    items = series(50)
    assert store.append_many(iter(items), batch_size=batch_size) == 50
    assert stored(store) == expected(items)
    assert store.append_many([]) == 0


def test_the_same_series_again_stores_nothing_however_it_is_cut(store: EventStore) -> None:
    """G6."""
    items = series(30)
    store.append_many(items[:17], batch_size=10)
    assert store.append_many(items, batch_size=7) == 30
    assert store.append_many(items[3:], batch_size=9) == 27
    assert stored(store) == expected(items)


def test_an_event_that_is_refused_ends_it_there(store: EventStore) -> None:
    """G6: all before it is stored, and the error says how many events that are."""
    items = series(30)
    store.append_to_stream("other", ANY, [EventData("X", "used", event_id=UUID(int=21))])
    with pytest.raises(DuplicateEventError) as refused:
        store.append_many(items, batch_size=8)
    assert refused.value.stored == 20
    assert refused.value.event_id == UUID(int=21)
    assert "20 events of the series are stored" in refused.value.__notes__
    assert stored(store)[1:] == expected(items[:20])


def test_an_error_of_the_series_itself_says_what_is_stored(store: EventStore) -> None:
    def broken() -> Iterator[tuple[str, EventData]]:
        yield from series(10)
        raise KeyError("the source")

    with pytest.raises(KeyError) as failed:
        store.append_many(broken(), batch_size=4)
    assert failed.value.stored == 10  # type: ignore[attr-defined]
    assert len(stored(store)) == 10


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([EventData("X", 1)], "items must be .stream_id, EventData."),
        ([("a", 1)], "events must be EventData, not int"),
        ([("$all", EventData("X", 1))], "must not start with"),
        ([(None, EventData("X", 1))], "stream_id must be a str"),
        ([("", EventData("X", 1))], "stream_id must not be empty"),
        (7, "items must be an iterable"),
    ],
)
def test_what_is_no_series_is_refused(store: EventStore, items: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        store.append_many(items)
    with pytest.raises(ValueError, match="batch_size"):
        store.append_many([], batch_size=0)
