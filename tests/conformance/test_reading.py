"""Reading one stream by the facade, on both storages and both runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from eventstore import (
    EventData,
    EventStore,
    ExpectedVersion,
    JsonSerializer,
    RecordedEvent,
    SerializationError,
    StreamNotFoundError,
)
from eventstore.model.names import MAX_NAME_BYTES
from tests.conformance.conftest import Connect, numbered

ANY = ExpectedVersion.ANY


def numbers(events: list[RecordedEvent]) -> list[int]:
    return [event.data["event"] for event in events]


@pytest.fixture
def three(store: EventStore) -> EventStore:
    """A store whose stream "order-1" has three events, with others before, between and after."""
    store.append_to_stream("other", ANY, numbered(10, 11))
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    store.append_to_stream("other", ANY, numbered(12, 12))
    store.append_to_stream("order-1", ANY, numbered(3, 3))
    store.append_to_stream("other", ANY, numbered(13, 13))
    return store


def test_a_stream_is_read_as_it_was_appended(store: EventStore) -> None:
    """API-11, SST-12, G10: every field, in order."""
    appended = [
        EventData(
            f"Type{number}",
            {"event": number},
            {"user": "someone"},
            event_id=uuid4(),
            causation_id=uuid4(),
            correlation_id=uuid4(),
        )
        for number in range(1, 11)
    ]
    store.append_to_stream("order-1", 0, appended)

    read = store.read_stream_forward("order-1")

    assert [
        EventData(
            event.event_type,
            event.data,
            event.metadata,
            event_id=event.event_id,
            causation_id=event.causation_id,
            correlation_id=event.correlation_id,
        )
        for event in read
    ] == appended
    assert [event.stream_version for event in read] == list(range(1, 11))
    assert {event.stream_id for event in read} == {"order-1"}


def test_positions_of_a_stream_are_its_versions(three: EventStore) -> None:
    """SST-27, G3: while the global ones go on counting over the store."""
    read = three.read_stream_forward("order-1")

    assert [event.position for event in read] == [1, 2, 3]
    assert [event.stream_version for event in read] == [1, 2, 3]
    assert [event.global_position for event in read] == [3, 4, 6]


def test_what_was_not_given_is_missing(store: EventStore) -> None:
    """RDS-04, RDS-05, G10: no metadata, no cause, no correlation."""
    store.append_to_stream("order-1", 0, [EventData("Bare", {})])

    (event,) = store.read_stream_forward("order-1")
    assert (event.metadata, event.causation_id, event.correlation_id) == (None, None, None)


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [
        (1, 5, [1, 2, 3, 4, 5]),
        (6, 5, [6, 7, 8, 9, 10]),
        (9, 5, [9, 10]),
        (11, 5, []),
        (3, None, [3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_a_stream_is_read_forward_from_a_version(
    store: EventStore, start: int, count: int | None, expected: list[int]
) -> None:
    """RDS-06, RDS-07: as many as asked for, inclusive."""
    store.append_to_stream("order-1", 0, numbered(1, 10))

    assert numbers(store.read_stream_forward("order-1", start, count)) == expected


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [
        (-1, None, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (-1, 3, [10, 9, 8]),
        (4, 3, [4, 3, 2]),
        (2, 5, [2, 1]),
        (1_000, 2, [10, 9]),
        (0, 5, []),
    ],
)
def test_a_stream_is_read_backward_from_a_version_or_the_end(
    store: EventStore, start: int, count: int | None, expected: list[int]
) -> None:
    """API-14, SST-13: newest first."""
    store.append_to_stream("order-1", 0, numbered(1, 10))

    assert numbers(store.read_stream_backward("order-1", start, count)) == expected


def test_a_long_stream_is_read_whole(store: EventStore) -> None:
    """G10, G11: in pages that nobody notices."""
    store.append_to_stream("order-1", 0, numbered(1, 2_500))

    assert numbers(store.read_stream_forward("order-1")) == list(range(1, 2_501))
    assert numbers(store.read_stream_backward("order-1", count=2_100)) == list(
        range(2_500, 400, -1)
    )


@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_a_stream_is_iterated_forward_in_pages_of_any_size(
    three: EventStore, batch_size: int
) -> None:
    """API-12, SST-14, SST-15, SST-16, SST-17, SST-18, G11: from any version, or from none."""
    for start, expected in [(1, [1, 2, 3]), (2, [2, 3]), (4, [])]:
        events = list(three.stream_forward("order-1", start, batch_size=batch_size))
        assert numbers(events) == [event.stream_version for event in events] == expected


@pytest.mark.parametrize("batch_size", [1, 2, 1_000])
def test_a_stream_is_iterated_backward_in_pages_of_any_size(
    three: EventStore, batch_size: int
) -> None:
    """API-15, SST-19, SST-21, SST-23, G11: from any version, or from the end."""
    for start, expected in [(-1, [3, 2, 1]), (2, [2, 1]), (0, [])]:
        events = list(three.stream_backward("order-1", start, batch_size=batch_size))
        assert numbers(events) == [event.stream_version for event in events] == expected


def test_an_iteration_goes_on_with_what_was_appended_meanwhile(store: EventStore) -> None:
    """G11: it holds a page, not the stream."""
    store.append_to_stream("order-1", 0, numbered(1, 4))
    iterator = store.stream_forward("order-1", batch_size=2)
    begun = [next(iterator), next(iterator)]

    store.append_to_stream("order-1", 4, numbered(5, 5))

    assert numbers([*begun, *iterator]) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("for_threads")
def test_a_missing_stream_is_an_error_at_once(store: EventStore) -> None:
    """SST-10, SST-11, RDS-01, G12: also for an iteration that nobody began."""
    for read in (
        store.read_stream_forward,
        store.read_stream_backward,
        store.stream_forward,
        store.stream_backward,
    ):
        with pytest.raises(StreamNotFoundError, match="'missing' does not exist") as raised:
            read("missing")
        assert raised.value.stream_id == "missing"


def test_a_missing_stream_may_be_asked_for_as_empty(store: EventStore) -> None:
    """RDS-02, G12."""
    assert store.read_stream_forward("missing", missing_ok=True) == []
    assert store.read_stream_backward("missing", missing_ok=True) == []


VALUES: list[Any] = [
    {"text": "Grüße aus 東京 🐘 \u2028 \ud7ff \uffff"},
    {"": "empty key", "$type": "not special", "a.b": {"c": []}},
    {"big": 2**53 + 1, "negative": -(2**63), "huge": 2**64 - 1},
    {"float": 0.1, "tiny": 5e-324, "large": 1.7976931348623157e308, "zero": -0.0},
    [1, [2, [3, [None, True, False]]]],
    "text",
    17,
    None,
    True,
    {},
    [],
    {"control": "\x01\x1f\x7f\t\r\n\\\"'"},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_of_json_come_back_unchanged(store: EventStore, value: Any) -> None:
    """API-17, G28, G10: as data and as metadata, types included."""
    store.append_to_stream("order-1", 0, [EventData("Any", value, value)])

    (event,) = store.read_stream_forward("order-1")
    assert event.data == value
    assert event.metadata == value
    assert repr(event.data) == repr(value)


@pytest.mark.parametrize("name", ["straße", "東" * 333, "a" * MAX_NAME_BYTES, " '\"%_\\;-- ", "𐍈"])
def test_names_may_be_any_text(store: EventStore, name: str) -> None:
    """API-17, G28: of streams and of types."""
    store.append_to_stream(name, 0, [EventData(name, {})])

    (event,) = store.read_stream_forward(name)
    assert (event.stream_id, event.event_type) == (name, name)
    assert store.stream_info(name).stream_id == name


@dataclass
class OrderPlaced:
    sku: str
    price: Decimal


class OrderShipped(msgspec.Struct):
    sku: str


@dataclass
class Unregistered:
    sku: str


def test_registered_types_come_back_typed(connect: Connect) -> None:
    """SST-09, G28: named after their class; what is not registered comes back as a dict."""
    store = connect(types=[OrderPlaced, OrderShipped])
    placed, shipped = OrderPlaced("A-1", Decimal("9.90")), OrderShipped("A-1")

    store.append_to_stream(
        "order-1",
        0,
        [
            EventData.of(placed),
            EventData.of(shipped, {"by": "me"}),
            EventData("Other", Unregistered("A-1")),
        ],
    )

    events = store.read_stream_forward("order-1")
    assert [event.event_type for event in events] == ["OrderPlaced", "OrderShipped", "Other"]
    assert [event.data for event in events] == [placed, shipped, {"sku": "A-1"}]


def test_types_may_be_registered_under_other_names(connect: Connect) -> None:
    """SST-09, G28: a class can be renamed without touching what is stored."""
    writer = connect(types={"order-placed": OrderPlaced})
    reader = connect(types={"order-placed": Unregistered})

    writer.append_to_stream("order-1", 0, [EventData.of(OrderPlaced("A-1", Decimal(1)))])

    (event,) = reader.read_stream_forward("order-1")
    assert (event.event_type, event.data) == ("order-placed", Unregistered("A-1"))


def test_what_a_type_cannot_be_read_from_is_named(connect: Connect) -> None:
    """G28, G30: the event that cannot be read, and why."""
    connect().append_to_stream("order-1", 0, [EventData("OrderPlaced", {"sku": 7})])

    with pytest.raises(SerializationError, match=r"'OrderPlaced'.*position 1: ") as raised:
        connect(types=[OrderPlaced]).read_stream_forward("order-1")

    assert str(raised.value).endswith(str(raised.value.__cause__))
    assert raised.value.event_type == "OrderPlaced"


class Reversed:
    """A serializer of somebody else's."""

    format = "reversed"

    def serialize(self, value: Any) -> bytes:
        return JsonSerializer().serialize(value)[::-1]

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return JsonSerializer().deserialize(payload[::-1], payload_type)


def test_an_event_that_another_serializer_wrote_is_an_error_that_names_position_and_format(
    store: EventStore, connect: Connect
) -> None:
    """G10, G28: it is not read as something else; the others are read."""
    theirs = connect(serializer=Reversed())
    store.append_to_stream("order-1", 0, numbered(1, 2))
    theirs.append_to_stream("order-1", 2, numbered(3, 3))

    assert numbers(store.read_stream_forward("order-1", count=2)) == [1, 2]
    assert numbers(theirs.read_stream_forward("order-1", 3)) == [3]
    not_ours = pytest.raises(SerializationError, match=r"position 3 .*'reversed'.*'json'")
    with not_ours:
        store.read_stream_forward("order-1")
    with not_ours:
        store.read_all_streams_backward(count=1)
    with pytest.raises(SerializationError, match=r"position 1 .*'json'.*'reversed'"):
        theirs.read_all_streams_forward(count=1)
