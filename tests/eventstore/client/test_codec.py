"""Events are encoded and decoded, named by their registry, and bounded in size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from eventstore import EventData, JsonSerializer, SerializationError
from eventstore.client.codec import MAX_EVENT_BYTES, Codec
from eventstore.ports.stored_events import EncodedEvent, StoredEvent, as_stored, payload_bytes
from tests.support.hostile import HostileError, hostile_texts


@dataclass
class OrderPlaced:
    sku: str


def stored(encoded: EncodedEvent) -> StoredEvent:
    created_at = encoded.created_at or datetime.now(UTC)
    event = as_stored(encoded, "order-1", 7, 9, created_at)
    return msgspec.structs.replace(event, position=7)


def test_what_is_read_is_what_was_written() -> None:
    """G10."""
    codec = Codec(JsonSerializer())
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=3)))
    event = EventData(
        "placed",
        {"sku": "A"},
        {"user": "me"},
        causation_id=uuid4(),
        correlation_id=uuid4(),
        created_at=moment,
    )
    read = codec.decode(stored(codec.encode(event)))
    assert (read.event_type, read.data, read.metadata) == ("placed", {"sku": "A"}, {"user": "me"})
    assert (read.event_id, read.causation_id) == (event.event_id, event.causation_id)
    assert read.correlation_id == event.correlation_id
    assert read.created_at == moment
    assert read.created_at.tzinfo is UTC
    assert (read.position, read.stream_version, read.global_position) == (7, 7, 9)


@pytest.mark.parametrize("types", [[OrderPlaced], {"OrderPlaced": OrderPlaced}])
def test_registered_types_are_named_and_come_back_typed(types: Any) -> None:
    codec = Codec(JsonSerializer(), types)
    encoded = codec.encode(EventData.of(OrderPlaced("A")))
    assert encoded.event_type == "OrderPlaced"
    assert codec.decode(stored(encoded)).data == OrderPlaced("A")


def test_a_registered_name_wins_over_the_class_name() -> None:
    codec = Codec(JsonSerializer(), {"order-placed": OrderPlaced})
    assert codec.encode(EventData.of(OrderPlaced("A"))).event_type == "order-placed"


def test_an_unregistered_class_is_refused_when_it_should_name_the_event() -> None:
    with pytest.raises(SerializationError, match=r"class OrderPlaced is not in Config\.types"):
        Codec(JsonSerializer()).encode(EventData.of(OrderPlaced("A")))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ([OrderPlaced, OrderPlaced], "two classes for 'OrderPlaced'"),
        ({"x": 3}, "types must hold classes, 'x' is 3"),
        ({"": OrderPlaced}, "types must not be empty"),
    ],
)
def test_a_bad_registry_is_refused(types: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Codec(JsonSerializer(), types)


def test_an_event_of_64_mib_is_possible_and_one_more_byte_is_not() -> None:
    """G28."""
    codec = Codec(JsonSerializer())
    largest = "x" * (MAX_EVENT_BYTES - 2)
    assert payload_bytes([codec.encode(EventData("big", largest))]) == MAX_EVENT_BYTES
    with pytest.raises(SerializationError, match=r"'big': payloads of 67,108,865 bytes") as refusal:
        codec.encode(EventData("big", largest + "x"))
    assert refusal.value.event_type == "big"


class Broken:
    format = "json"

    def serialize(self, value: Any) -> bytes:
        raise ZeroDivisionError("no")

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        raise ZeroDivisionError("no")


def test_a_serializer_that_raises_is_an_error_of_its_event() -> None:
    """G30."""
    with pytest.raises(SerializationError, match=r"'X': data: no") as refusal:
        Codec(Broken()).encode(EventData("X", 1))
    assert isinstance(refusal.value.__cause__, ZeroDivisionError)
    good = stored(Codec(JsonSerializer()).encode(EventData("X", 1)))
    with pytest.raises(SerializationError, match=r"'X': event at position 9: no"):
        Codec(Broken()).decode(good)


class Hostile(JsonSerializer):
    def __init__(self, text: Callable[[], Any]) -> None:
        super().__init__()
        self._text = text

    def serialize(self, value: Any) -> bytes:
        raise HostileError(self._text)

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        raise HostileError(self._text)


@pytest.mark.parametrize("wrong", ["raises", "exits", "is long", "is no text", "is not storable"])
def test_whatever_a_serializer_raises_its_error_has_a_short_text(wrong: str) -> None:
    """F18, F19, G30."""
    codec = Codec(Hostile(hostile_texts(threading.Event())[wrong]))
    good = stored(Codec(JsonSerializer()).encode(EventData("X", 1)))
    with pytest.raises(SerializationError, match="'X': data: ") as refused:
        codec.encode(EventData("X", 1))
    with pytest.raises(SerializationError, match="'X': event at position 9: ") as unreadable:
        codec.decode(good)

    for raised in (refused, unreadable):
        assert len(str(raised.value)) < 3_000
        assert isinstance(raised.value.__cause__, HostileError)


@pytest.mark.parametrize("returned", ["text", None, [1], 7])
def test_what_is_not_bytes_is_not_stored(returned: Any) -> None:
    """F18, G28, G30: a serializer's mistake is known at the append, not in the writer."""

    class Wrong(JsonSerializer):
        def serialize(self, value: Any) -> Any:
            return returned

    with pytest.raises(SerializationError, match=r"'X': data: the serializer must return bytes: "):
        Codec(Wrong()).encode(EventData("X", 1))


class Odd(bytes):
    def __len__(self) -> int:
        raise RuntimeError("no length")


@pytest.mark.parametrize("kind", [bytearray, memoryview, Odd])
def test_bytes_of_another_class_are_copied(kind: Any) -> None:
    """F18: the serializer may change them later, or answer for itself."""

    class Other(JsonSerializer):
        def serialize(self, value: Any) -> Any:
            return kind(super().serialize(value))

    encoded = Codec(Other()).encode(EventData("X", [1], {"a": 2}))

    assert (type(encoded.data), encoded.data) == (bytes, b"[1]")
    assert (type(encoded.metadata), encoded.metadata) == (bytes, b'{"a":2}')


class Loud(JsonSerializer):
    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return payload_type, payload.upper()


def test_a_serializer_of_the_applications_own_reads_data_and_metadata() -> None:
    """G10: JSON alone is read without a call of the serializer."""
    codec = Codec(Loud(), [OrderPlaced])
    typed = stored(codec.encode(EventData.of(OrderPlaced("a"))))
    plain = stored(codec.encode(EventData("noted", "b", "c")))
    assert codec.decode(typed).data == (OrderPlaced, b'{"SKU":"A"}')
    assert codec.decode(plain).data == (None, b'"B"')
    assert codec.decode(plain).metadata == (None, b'"C"')


class Line(msgspec.Struct):
    sku: str
    tags: set[str] = set()


@dataclass
class Basket:
    lines: list[Line]
    extra: Any = None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"lines":[]}', b'{"lines":[],"extra":null}', True),
        (
            b'{"lines":[{"sku":"A","tags":["x","y"]}]}',
            b'{"lines":[{"tags":["y","x"],"sku":"A"}]}',
            True,
        ),
        (b'{"lines":[{"sku":"A"}]}', b'{"lines":[{"sku":"A","tags":[],"unknown":1}]}', True),
        (b'{"lines":[{"sku":"A"}]}', b'{"lines":[{"sku":"B"}]}', False),
        (b'{"lines":[],"extra":{"n":1}}', b'{"lines":[],"extra":{"n":true}}', False),
        (b'{"lines":[],"extra":[1]}', b'{"lines":[],"extra":[1,1]}', False),
        (b'{"lines":[]}', b'{"lines":null}', False),
        (b'{"lines":[]}', b"{", False),
    ],
)
def test_the_same_data_is_what_the_class_reads_as_equal(
    one: bytes, other: bytes, same: bool
) -> None:
    """F29, G6."""
    codec = Codec(JsonSerializer(), [Basket])
    first = EncodedEvent(uuid4(), "Basket", one)
    second = EncodedEvent(first.event_id, "Basket", other)
    assert codec.is_same(first, stored(second)) is codec.is_same(second, stored(first)) is same
    assert not codec.is_same(first, stored(msgspec.structs.replace(first, event_type="Other")))
    assert not codec.is_same(first, stored(msgspec.structs.replace(first, format="other")))


def test_an_error_names_the_event() -> None:
    """F26: what is to be stored by its id, what is stored by its place, too."""
    codec = Codec(JsonSerializer(), [OrderPlaced])
    event = EventData("OrderPlaced", {"sku": 7})
    with pytest.raises(
        SerializationError, match="'OrderPlaced': data could not be read"
    ) as refused:
        codec.encode(event)
    wrong = "Expected `str`, got `int` - at `$.sku`"
    assert vars(refused.value) == {
        "event_type": "OrderPlaced",
        "reason": f"data could not be read again: {wrong}",
        "event_id": event.event_id,
        "stream_id": None,
        "position": None,
    }
    with pytest.raises(SerializationError, match="event at position 9: ") as unread:
        codec.decode(stored(Codec(JsonSerializer()).encode(event)))
    assert vars(unread.value) == {
        "event_type": "OrderPlaced",
        "reason": f"event at position 9: {wrong}",
        "event_id": event.event_id,
        "stream_id": "order-1",
        "position": 9,
    }
