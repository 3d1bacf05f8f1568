"""Reads and followers that choose events by their type, their stream and their metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from eventstore import EventData, EventStore, ExpectedVersion, RecordedEvent, SerializationError
from tests.conformance.conftest import Connect

ANY = ExpectedVersion.ANY
SHORT = 0.1
"""Seconds after which a step that finds nothing ends the iteration."""


def append(store: EventStore, stream_id: str, *events: tuple[str, Any]) -> None:
    """Append events of these types with this metadata; their data is their number of all."""
    first = len(store.read_all_streams_forward()) + 1
    store.append_to_stream(
        stream_id,
        ANY,
        [EventData(name, first + n, metadata) for n, (name, metadata) in enumerate(events)],
    )


def data(events: Iterable[RecordedEvent]) -> list[Any]:
    return [event.data for event in events]


@pytest.fixture
def orders(store: EventStore) -> EventStore:
    append(store, "order-1", ("Placed", {"tenant": "a"}), ("Shipped", {"tenant": "a"}))
    append(store, "order-2", ("Placed", {"tenant": "b", "n": 1}), ("Cancelled", None))
    append(store, "invoice-1", ("Placed", {"tenant": "b", "n": True}), ("Paid", {"n": 2.0}))
    return store


CHOSEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"event_types": "Placed"}, [1, 3, 5]),
    ({"event_types": ["Paid", "Shipped"]}, [2, 6]),
    ({"event_types": {"Paid"}}, [6]),
    ({"event_types": "Plac"}, []),
    ({"stream_prefix": "order-"}, [1, 2, 3, 4]),
    ({"stream_prefix": "order-2", "event_types": "Placed"}, [3]),
    ({"metadata": {"tenant": "b"}}, [3, 5]),
    ({"metadata": {"tenant": ["a", "b"], "n": 1}}, [3]),
    ({"metadata": {"n": True}}, [5]),
    ({"metadata": {"n": 2}}, [6]),
    ({"metadata": {"n": None}}, []),
    ({"event_types": "Placed", "stream_prefix": "invoice", "metadata": {"tenant": "b"}}, [5]),
    ({"event_types": None, "stream_prefix": None, "metadata": None}, [1, 2, 3, 4, 5, 6]),
]


@pytest.mark.parametrize(("only", "chosen"), CHOSEN)
def test_every_read_returns_what_matches(
    orders: EventStore, only: dict[str, Any], chosen: list[int]
) -> None:
    """G40, G11: whichever way it goes, at once or page by page; a follower, too."""
    assert data(orders.read_all_streams_forward(**only)) == chosen
    assert data(orders.read_all_streams_backward(**only)) == chosen[::-1]
    for size in (1, 1_000):
        assert data(orders.stream_all_forward(batch_size=size, **only)) == chosen
        assert data(orders.stream_all_backward(batch_size=size, **only)) == chosen[::-1]
        followed = orders.follow_all(batch_size=size, idle_timeout=SHORT, **only)
        assert data(followed) == chosen
    of_one = [number for number in chosen if number in {3, 4}]
    assert data(orders.read_stream_forward("order-2", **only)) == of_one
    assert data(orders.read_stream_backward("order-2", **only)) == of_one[::-1]
    assert data(orders.stream_forward("order-2", **only)) == of_one
    assert data(orders.stream_backward("order-2", **only)) == of_one[::-1]
    assert data(orders.follow_stream("order-2", idle_timeout=SHORT, **only)) == of_one


def test_a_count_is_a_number_of_events_that_match(orders: EventStore) -> None:
    """G11: from a position on, which need not match."""
    assert data(orders.read_all_streams_forward(2, 2, event_types="Placed")) == [3, 5]
    assert data(orders.read_all_streams_backward(4, 1, event_types="Placed")) == [3]
    assert data(orders.read_all_streams_forward(1, None, event_types="Placed")) == [1, 3, 5]


def test_a_linked_event_is_chosen_by_the_stream_that_it_was_appended_to(orders: EventStore) -> None:
    """G35."""
    orders.link_to_stream("all-placed", ANY, orders.read_all_streams_forward(event_types="Placed"))
    assert data(orders.read_stream_forward("all-placed", stream_prefix="order-")) == [1, 3]
    assert data(orders.read_stream_forward("all-placed", stream_prefix="all")) == []


def test_a_follower_says_how_far_it_looked(orders: EventStore) -> None:
    """G15: what it left out is not looked at again by one that begins there."""
    followed = orders.follow_all(idle_timeout=SHORT, event_types="Shipped")
    assert data(followed) == [2]
    assert followed.position == 6
    append(orders, "order-3", ("Placed", None), ("Shipped", None))
    later = orders.follow_all(followed.position, idle_timeout=SHORT, event_types="Shipped")
    assert data(later) == [8]


def test_a_follower_waits_for_what_matches(orders: EventStore) -> None:
    """G23: others that come meanwhile do not end it."""
    [last] = orders.read_all_streams_backward(count=1)
    with orders.follow_all(last.position + 1, event_types="Shipped") as followed:
        append(orders, "order-3", ("Placed", None))
        append(orders, "order-3", ("Shipped", None))
        assert next(followed).data == 8


@dataclass
class Placed:
    number: int


def test_a_type_counts_under_every_name_of_its_class(connect: Connect) -> None:
    """G10: events that were stored under an older name are of the type, too."""
    store = connect(types={"OrderPlaced": Placed, "Placed": Placed})
    names = "OrderPlaced", "Placed", "Shipped"
    store.append_to_stream("order-1", ANY, [EventData(name, {"number": 1}) for name in names])
    stored = store.read_all_streams_forward(event_types="Placed", raw=True)
    assert [event.event_type for event in stored] == ["OrderPlaced", "Placed"]


class Turned:
    """Writes JSON from its end to its beginning."""

    format = "turned"

    def serialize(self, value: Any) -> bytes:
        return json.dumps(value).encode()[::-1]

    def deserialize(self, data: bytes, _event_type: str | None) -> Any:
        return json.loads(data[::-1])


def test_metadata_that_only_a_serializer_can_read_is_read_by_it(connect: Connect) -> None:
    """G10: the database cannot tell whether they match."""
    store = connect(serializer=Turned())
    append(store, "order-1", *(("Placed", {"tenant": tenant}) for tenant in "abcab"))
    assert data(store.read_all_streams_forward(metadata={"tenant": "b"})) == [2, 5]
    assert data(store.read_all_streams_backward(count=1, metadata={"tenant": "a"})) == [4]
    pages = store.stream_all_forward(batch_size=1, metadata={"tenant": "b"})
    assert data(pages) == [2, 5]
    followed = store.follow_all(batch_size=1, idle_timeout=SHORT, metadata={"tenant": "c"})
    assert data(followed) == [3]
    assert followed.position == 5


def test_metadata_that_nobody_can_read_is_an_error(connect: Connect) -> None:
    """G10: nobody can tell, so it is not left out."""
    append(connect(serializer=Turned()), "order-1", ("Placed", {"tenant": "a"}))
    with pytest.raises(SerializationError, match="turned"):
        connect().read_all_streams_forward(metadata={"tenant": "b"})


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"event_type": "Placed"}, TypeError, "'event_type'"),
    ({"event_types": []}, ValueError, "event_types"),
    ({"event_types": 7}, TypeError, "event_types.*7"),
    ({"event_types": [7]}, TypeError, "event_types.*7"),
    ({"event_types": ["Placed", ""]}, ValueError, "event_types"),
    ({"stream_prefix": ""}, ValueError, "stream_prefix"),
    ({"stream_prefix": ["order"]}, TypeError, "stream_prefix.*order"),
    ({"stream_prefix": "a\x00"}, ValueError, "stream_prefix"),
    ({"metadata": {}}, ValueError, "metadata"),
    ({"metadata": "tenant"}, TypeError, "metadata.*tenant"),
    ({"metadata": {7: "a"}}, TypeError, "metadata.*7"),
    ({"metadata": {"tenant": []}}, ValueError, "tenant"),
    ({"metadata": {"tenant": {"a": 1}}}, TypeError, "tenant"),
    ({"metadata": {"tenant": [["a"]]}}, TypeError, "tenant"),
    ({"metadata": {"tenant": b"a"}}, TypeError, "tenant"),
    ({"metadata": {"n": float("nan")}}, ValueError, "n.*nan"),
    ({"metadata": {"n": 10**5_000}}, ValueError, "n.*digits"),
    ({"metadata": {"n": "\ud800"}}, ValueError, "'n'"),
]


@pytest.mark.parametrize(("only", "error", "message"), REFUSED)
def test_what_cannot_be_a_filter_is_refused_at_once(
    store: EventStore, only: dict[str, Any], error: type[Exception], message: str
) -> None:
    """G30: by every read, before it reads; the message names the argument."""
    reads: list[Callable[[], object]] = [
        lambda: store.read_all_streams_forward(**only),
        lambda: store.read_stream_backward("missing", **only),
        lambda: store.stream_all_backward(**only),
        lambda: store.follow_all(**only),
    ]
    for read in reads:
        with pytest.raises(error, match=message):
            read()
