"""What was stored can be read: by whom, from where, and what else is read if it cannot be."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import msgspec
import pytest

from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    JsonSerializer,
    RecordedEvent,
    SerializationError,
    SnapshotData,
)
from eventstore.client.targets import registered_runtime
from eventstore.model.serializer import MAX_DEPTH
from tests.conformance.conftest import Connect
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


def nested(levels: int) -> Any:
    value: Any = "innermost"
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value


def test_a_payload_as_deep_as_possible_is_delivered_and_a_deeper_one_is_refused(
    config: Config,
) -> None:
    """F25, G28, G30: by name, before anything is stored."""
    delivered: list[RecordedEvent] = []

    def handle(events: Events) -> None:
        delivered.extend(events)

    with EventStore.connect(config, runtime=registered_runtime()) as store:
        subscription = store.subscribe_to_all_streams("deep", handle)
        deepest = nested(MAX_DEPTH)
        result = store.append_to_stream("s", 0, [EventData("Deep", deepest, deepest)])
        for bad in (EventData("Deep", nested(984)), EventData("Deep", 1, nested(MAX_DEPTH + 1))):
            with pytest.raises(SerializationError, match="nested more than 200 levels") as refused:
                store.append_to_stream("s", 1, [bad])
            assert refused.value.event_id == bad.event_id
        subscription.wait_for(result, timeout=30)
    assert [(event.data, event.metadata) for event in delivered] == [(deepest, deepest)]


def deeply(levels: int, work: Callable[[], Any]) -> Any:
    """Call *work* below that many frames."""
    return work() if not levels else deeply(levels - 1, work)


def test_the_stack_that_is_left_decides_nothing(store: EventStore) -> None:
    """F25: neither what can be stored nor what can be read."""
    deepest = nested(MAX_DEPTH)
    event = EventData("Deep", deepest, {"m": [[]]})
    deeply(850, lambda: store.append_to_stream("s", 0, [event]))
    assert deeply(850, lambda: store.read_stream_forward("s"))[0].data == deepest
    deeply(850, lambda: store.record_snapshot("s", 1, SnapshotData("Deep", deepest, deepest)))
    found = deeply(850, lambda: store.read_snapshot("s", "Deep"))
    assert found.data == found.metadata == deepest
    with pytest.raises(SerializationError, match="nested more than 200 levels"):
        deeply(850, lambda: store.append_to_stream("s", 1, [EventData("Deep", nested(201))]))


def test_a_thread_with_a_small_stack_reads_the_deepest_payload(store: EventStore) -> None:
    """F25."""
    store.append_to_stream("s", 0, [EventData("Deep", nested(MAX_DEPTH))])
    read: list[RecordedEvent] = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: read.extend(store.read_stream_forward("s")))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert [event.data for event in read] == [nested(MAX_DEPTH)]


class Recursing(JsonSerializer):
    """Always out of stack."""

    format = "recursing"

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return self.deserialize(payload, payload_type)


def test_a_serializer_that_recurses_without_end_is_an_error_of_its_event(connect: Connect) -> None:
    """F25, G30."""
    store = connect(serializer=Recursing())
    store.append_to_stream("s", 0, [EventData("X", 1)])
    with pytest.raises(SerializationError, match=r"'X': event at position 1: .*recursion"):
        store.read_stream_forward("s")


@dataclass
class Order:
    sku: str
    quantity: int = 1


@dataclass
class ByCard:
    number: str


@dataclass
class ByInvoice:
    address: str


@dataclass
class Payment:
    means: ByCard | ByInvoice


class Sealed(msgspec.Struct):
    at: datetime
    names: set[str]
    lines: list[Order] = []


def test_a_class_that_cannot_be_read_is_refused_by_the_settings() -> None:
    """F26, G28: by name; a serializer that reads by itself may know it."""
    with pytest.raises(
        TypeError, match=r"types has a class .*'Payment': Payment .*union"
    ) as refused:
        Config("memory:", types=[Order, Payment])
    assert "ByCard" in str(refused.value)

    class Own(JsonSerializer):
        def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
            return super().deserialize(payload, None)

    Config("memory:", types=[Payment], serializer=Own())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (Order(7), r"Expected `str`, got `int` - at `\$\.sku`"),  # type: ignore[arg-type]
        (Order("A", "1"), r"Expected `int`, got `str` - at `\$\.quantity`"),  # type: ignore[arg-type]
        (Order(None), "Expected `str`, got `null`"),  # type: ignore[arg-type]
        (Sealed("yesterday", set()), "Invalid RFC3339"),  # type: ignore[arg-type]
        (Sealed(datetime(2020, 1, 1, tzinfo=UTC), {"a"}, [Order(7)]), r"\$\.lines\[0\]\.sku"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_the_wrong_type_is_refused_at_the_append(
    connect: Connect, payload: Any, reason: str
) -> None:
    """F26, G28, G1: nothing is stored that its class cannot read."""
    store = connect(types=[Order, Sealed])
    good = EventData.of(Order("A"))
    bad = EventData.of(payload)
    with pytest.raises(SerializationError, match=f"could not be read again: .*{reason}") as refused:
        store.append_to_stream("s", 0, [good, bad])
    error = refused.value
    assert (error.event_type, error.event_id) == (type(payload).__name__, bad.event_id)
    assert (error.stream_id, error.position) == (None, None)
    assert store.read_all_streams_forward() == []


def test_a_dict_under_a_registered_name_must_fit_its_class(connect: Connect) -> None:
    """F26: it comes back as the class, too."""
    store = connect(types={"order": Order})
    store.append_to_stream("s", 0, [EventData("order", {"sku": "A"})])
    with pytest.raises(SerializationError, match="'order': data could not be read again"):
        store.append_to_stream("s", 1, [EventData("order", {"quantity": 1})])
    assert [event.data for event in store.read_stream_forward("s")] == [Order("A")]


@pytest.fixture
def spoilt(connect: Connect) -> EventStore:
    """Five orders, the third of which an older or careless service wrote."""
    payloads: list[Any] = [{"sku": str(n)} if n != 3 else {"sku": 3} for n in range(1, 6)]
    events = [EventData("Order", payload, {"n": 1}) for payload in payloads]
    connect().append_to_stream("order-1", 0, events)
    return connect(types=[Order])


def lazily(store: EventStore) -> list[Iterator[RecordedEvent]]:
    return [store.stream_forward("order-1"), store.stream_all_forward()]


def test_a_lazy_read_gives_what_is_before_and_after_an_event_that_cannot_be_read(
    spoilt: EventStore,
) -> None:
    """F26, G30: its error says where it is, and crosses processes."""
    for events in lazily(spoilt):
        assert [event.data for event in islice(events, 2)] == [Order("1"), Order("2")]
        with pytest.raises(SerializationError, match="'Order': event at position 3: ") as reached:
            next(events)
        assert [event.data for event in events] == [Order("4"), Order("5")]
        (third,) = spoilt.read_stream_forward("order-1", 3, 1, raw=True)
        for error in (reached.value, pickle.loads(pickle.dumps(reached.value))):
            assert (error.stream_id, error.position) == ("order-1", 3)
            assert error.event_id == third.event_id


def test_an_event_that_cannot_be_read_harms_nobody_who_does_not_read_it(
    spoilt: EventStore,
) -> None:
    """F26, G30."""
    assert len(spoilt.read_stream_forward("order-1", count=2)) == 2
    assert len(spoilt.read_stream_forward("order-1", 4)) == 2
    assert len(spoilt.read_all_streams_backward(count=2)) == 2
    for read in (
        spoilt.read_stream_forward,
        spoilt.read_stream_backward,
        lambda _: spoilt.read_all_streams_forward(),
        lambda _: spoilt.read_all_streams_backward(count=3),
    ):
        with pytest.raises(SerializationError, match="position 3"):
            read("order-1")


def test_a_raw_read_returns_the_bytes_that_are_stored(spoilt: EventStore) -> None:
    """F26, G10: of every event, whatever wrote it, by every kind of read."""
    stored = [b'{"sku":"1"}', b'{"sku":"2"}', b'{"sku":3}', b'{"sku":"4"}', b'{"sku":"5"}']
    for events in (
        spoilt.read_stream_forward("order-1", raw=True),
        spoilt.read_stream_backward("order-1", raw=True)[::-1],
        spoilt.read_all_streams_forward(raw=True),
        spoilt.read_all_streams_backward(raw=True)[::-1],
        list(spoilt.stream_forward("order-1", raw=True)),
        list(spoilt.stream_backward("order-1", raw=True))[::-1],
        list(spoilt.stream_all_forward(raw=True)),
        list(spoilt.stream_all_backward(raw=True, batch_size=2))[::-1],
    ):
        assert [event.data for event in events] == stored
        assert {event.metadata for event in events} == {b'{"n":1}'}
        assert [event.stream_version for event in events] == [1, 2, 3, 4, 5]
        assert {event.stream_id for event in events} == {"order-1"}
    (bare,) = spoilt.read_stream_forward("order-1", 1, 1, raw=True)
    (typed,) = spoilt.read_stream_forward("order-1", 1, 1)
    assert msgspec.structs.replace(bare, data=typed.data, metadata=typed.metadata) == typed


def test_a_raw_read_needs_no_format(connect: Connect) -> None:
    """F26: payloads of another serializer are bytes like any."""
    connect(serializer=Recursing()).append_to_stream("s", 0, [EventData("X", [1])])
    (event,) = connect().read_stream_forward("s", raw=True)
    assert (event.data, event.metadata) == (b"[1]", None)


def test_raw_is_a_flag(store: EventStore) -> None:
    with pytest.raises(TypeError, match="raw must be a bool, not int: 1"):
        store.read_all_streams_forward(raw=1)  # type: ignore[arg-type]


def test_a_subscription_gets_what_is_before_an_event_that_cannot_be_read(
    connect: Connect, config: Config
) -> None:
    """F26, G30, G15: then it says which one it is; a subscription to another stream goes on."""
    with EventStore.connect(config, runtime=registered_runtime()) as writer:
        events = [EventData("Order", {"sku": 3 if n == 3 else "A"}) for n in range(1, 6)]
        writer.append_to_stream("order-1", 0, events)
        writer.append_to_stream("order-2", 0, [EventData("Order", {"sku": "B"})])
    seen: list[int] = []

    def handle(events: Events) -> None:
        seen.extend(event.position for event in events)

    typed = replace(config, types=(Order,))
    with EventStore.connect(typed, runtime=registered_runtime()) as store:
        subscription = store.subscribe_to_all_streams("all", handle)
        other = store.subscribe_to_stream("order-2", "other", lambda _: None)
        wait_until(lambda: subscription.last_error is not None)
        error = subscription.last_error
        assert isinstance(error, SerializationError)
        assert (error.stream_id, error.position, error.event_id) == (
            "order-1",
            3,
            events[2].event_id,
        )
        wait_until(lambda: subscription.checkpoint == 2)
        wait_until(lambda: other.checkpoint == 1)
        assert seen == [1, 2]


LATER = timedelta(minutes=19, seconds=32)


@pytest.mark.parametrize(
    "offset", [LATER, -LATER, timedelta(seconds=20), timedelta(microseconds=1)]
)
def test_an_offset_with_seconds_is_refused_by_name(store: EventStore, offset: timedelta) -> None:
    """F28, G10, G28: JSON has no place for them, and the instant must not shift."""
    moment = datetime(1900, 1, 1, tzinfo=timezone(offset))
    place = r"at \$\.at has seconds"
    for event in (EventData("X", {"at": moment}), EventData("X", 1, {"at": moment})):
        with pytest.raises(SerializationError, match=place):
            store.append_to_stream("s", 0, [event])
    store.append_to_stream("s", 0, [EventData("X", {"at": moment.astimezone(UTC)})])
    (read,) = store.read_stream_forward("s")
    assert datetime.fromisoformat(read.data["at"]) == moment
