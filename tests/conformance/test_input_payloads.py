"""Events that cannot be stored get an error that says what and where, and lose nothing."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from eventstore import (
    EventData,
    EventStore,
    ExpectedVersion,
    SerializationError,
    StreamNotFoundError,
)

ANY = ExpectedVersion.ANY


class Unserialisable:
    """No JSON in sight."""


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"price": math.nan}, r"nan at \$\.price is not a JSON number"),
        ([1, {"x": [math.inf]}], r"inf at \$\[1\]\.x\[0\] is not a JSON number"),
        ({"text": "a\ud800b"}, "lone surrogate"),
        ({"text": "a\x00b"}, r"text contains NUL at \$\.text"),
        ({"a\x00b": 1}, r"key 'a\\x00b' at \$ contains NUL"),
        ({1: "x"}, r"key 1 at \$ is not a string"),
        ({"a": {None: 1}}, r"key None at \$\.a is not a string"),
        ({"x": Unserialisable()}, "a value of type Unserialisable cannot be JSON"),
        (lambda: None, "a value of type function cannot be JSON"),
        (CYCLE, "nested too deeply, or contains itself"),
    ],
    ids=lambda case: re.sub(r" at 0x\w+", "", str(case)),
)
def test_a_value_that_is_no_json_is_refused(one: EventStore, value: Any, reason: str) -> None:
    """G28, G1: named by type of event, place and reason; as data and as metadata."""
    good = EventData("Good", {})
    for bad in (EventData("OrderPlaced", value), EventData("OrderPlaced", {}, value)):
        with pytest.raises(SerializationError, match=f"'OrderPlaced'.*{reason}") as raised:
            one.append_to_stream("order-1", 1, [good, bad])
        assert raised.value.event_type == "OrderPlaced"


def test_a_class_that_is_not_registered_has_no_name(one: EventStore) -> None:
    """SST-09, G28."""
    with pytest.raises(SerializationError, match=r"Unserialisable is not in Config\.types"):
        one.append_to_stream("order-1", 1, [EventData.of(Unserialisable())])


def test_an_event_of_65_mib_is_refused(one: EventStore) -> None:
    """G28, G1: with its size and the limit."""
    large = EventData("Large", "x" * (65 * 1024 * 1024))

    with pytest.raises(SerializationError, match="68,157,442 bytes, at most 67,108,864"):
        one.append_to_stream("order-1", 1, [large])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"event_type": ""}, ValueError, "event_type must not be empty"),
        ({"event_type": "x" * 1_001}, ValueError, "event_type is 1001 bytes"),
        ({"event_type": 7}, TypeError, "event_type must be a str, not int: 7"),
        ({"event_id": "7"}, TypeError, r"event_id must be a uuid\.UUID, not str: '7'"),
        ({"causation_id": "7"}, TypeError, "causation_id must be .*'7'"),
        ({"correlation_id": 7}, TypeError, "correlation_id must be .*7"),
        ({"created_at": "now"}, TypeError, "created_at must be a datetime, not str: 'now'"),
        (
            {"created_at": datetime(2013, 1, 1)},  # noqa: DTZ001 - the point of the case
            ValueError,
            "created_at must have a time zone: 2013-01-01T00:00:00",
        ),
        (
            {"created_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
            ValueError,
            "created_at is out of range in UTC: 0001-01-01T00:00:00",
        ),
    ],
)
def test_what_cannot_be_an_event_is_refused_when_it_is_made(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """G28: before any store is involved."""
    with pytest.raises(error, match=message):
        EventData(**{"event_type": "Good", "data": {}, **arguments})


def test_a_refused_payload_creates_no_stream(one: EventStore) -> None:
    """G1."""
    with pytest.raises(SerializationError):
        one.append_to_stream("new", 0, [EventData("Bad", math.nan)])
    with pytest.raises(StreamNotFoundError):
        one.stream_info("new")
