"""What is read is what was appended, whatever the value and whatever the session is set to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    SerializationError,
)
from tests.acceptance.guarantees.conftest import Settings

HOSTILE = " ".join(
    f"-c {setting}"
    for setting in (
        "TimeZone=Asia/Kathmandu",
        "DateStyle=German",
        "IntervalStyle=sql_standard",
        "bytea_output=escape",
        "extra_float_digits=-15",
        "client_encoding=LATIN1",
        "standard_conforming_strings=off",
        "lc_messages=C",
        "row_security=off",
    )
)

MIB = 1024 * 1024


@pytest.fixture(params=["plain", "hostile"])
def config(request: pytest.FixtureRequest, settings: Settings) -> Config:
    """A connection with the server's settings, and one with all that could bend a value."""
    if request.param == "plain":
        return Config(**settings)
    return Config(**{**settings, "dsn": make_conninfo(settings["dsn"], options=HOSTILE)})


@pytest.fixture
def either(config: Config) -> Iterator[EventStore]:
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        yield store


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63,
    -(2**64),
    2**200,
    0.1,
    -0.0,
    1.0,
    1e308,
    5e-324,
    3.141592653589793,
    "",
    " ",
    "東京 𝄞 ÿ \u2028 \U0010ffff \x7f \x01 \\ \" ' % {} $$",
    "\ufeff",
    "null",
    [],
    {},
    [[[[]]]],
    {"": {"": [None, {"é": "é", "e\u0301": "decomposed"}]}},
    {"b": 1, "a": 2, "c": {"z": 1, "y": 2}},
    list(range(1000)),
    "x" * 100_000,
]


def test_values_of_json_come_back_unchanged(either: EventStore) -> None:
    """G10, G28: as data and as metadata, with their types and the order of their keys."""
    events = [EventData("Odd", value, {"is": value}) for value in VALUES]
    either.append_to_stream("s", ExpectedVersion.NO_STREAM, events)
    for read in (
        either.read_stream_forward("s"),
        either.read_all_streams_forward(),
        either.read_stream_backward("s")[::-1],
        list(either.stream_all_forward(batch_size=7)),
    ):
        assert [repr(event.data) for event in read] == [repr(value) for value in VALUES]
        assert [repr(e.metadata) for e in read] == [repr({"is": v}) for v in VALUES]


def test_names_ids_and_order_come_back_unchanged(either: EventStore) -> None:
    """G10, G3."""
    stream, event_type = "straße-東/ %s '\";-- \\", "Überfall 東 %s '\";--"
    cause, conversation = uuid4(), UUID(int=2**128 - 1)
    event = EventData(
        event_type, {"n": 1}, event_id=UUID(int=0), causation_id=cause, correlation_id=conversation
    )
    plain = EventData(event_type, {"n": 2})
    either.append_to_stream(stream, 0, [event, plain])
    for first, second in (
        either.read_stream_forward(stream),
        either.read_all_streams_forward(),
    ):
        assert (first.stream_id, first.event_type, first.event_id) == (
            stream,
            event_type,
            event.event_id,
        )
        assert (first.causation_id, first.correlation_id) == (cause, conversation)
        assert (second.causation_id, second.correlation_id) == (None, None)
        assert (second.event_id, second.metadata) == (plain.event_id, None)
        assert [e.stream_version for e in (first, second)] == [1, 2]
        assert [e.global_position for e in (first, second)] == [1, 2]
    assert either.stream_info(stream).stream_id == stream


def test_times_are_utc_to_the_microsecond(either: EventStore) -> None:
    """G10."""
    before = datetime.now(UTC)
    either.append_to_stream("now", 0, [EventData("Timed", 1)])
    after = datetime.now(UTC)
    (event,) = either.read_stream_forward("now")
    # The server's clock is this machine's.
    assert before - timedelta(seconds=1) < event.created_at < after + timedelta(seconds=1)
    assert event.created_at.utcoffset() == timedelta(0)

    given = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-11))),
        datetime(1913, 5, 1, 0, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(2999, 12, 31, 23, 59, 59, 123_456, tzinfo=UTC),
    ]
    either.append_to_stream("past", 0, [EventData("Timed", 1, created_at=at) for at in given])
    times = [event.created_at for event in either.read_stream_forward("past")]
    assert times == given
    assert {time.utcoffset() for time in times} == {timedelta(0)}
    assert either.stream_info("past").created_at == given[0]


@dataclass(frozen=True)
class Placed:
    sku: str
    at: datetime
    quantity: int = 1


def test_registered_classes_come_back_as_themselves(settings: Settings) -> None:
    """G10, G28: other types stay plain values."""
    placed = Placed("A-1", datetime(2024, 1, 1, tzinfo=UTC))
    config = Config(**settings, types={"order-placed": Placed})
    with EventStore.connect(config, runtime=CallerRuntime) as store:
        store.append_to_stream("s", 0, [EventData.of(placed), EventData("Other", {"sku": "B"})])
        first, second = store.read_stream_forward("s")
        assert (first.event_type, first.data) == ("order-placed", placed)
        assert second.data == {"sku": "B"}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (float("nan"), "nan"),
        ({"deep": [1, float("-inf")]}, "inf"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({"deep": ["a\x00b"]}, "NUL"),
        ({"a\x00": 1}, "NUL"),
        ({1: "one"}, "1"),
        ({"deep": object()}, "object"),
    ],
)
def test_what_is_no_json_is_refused_by_name_and_stores_nothing(
    observer: EventStore, value: object, named: str
) -> None:
    """G28, G1: in data and in metadata, and its neighbours in the append with it."""
    good = EventData("Good", 1)
    for bad in (EventData("Bad", value), EventData("Bad", 1, value)):
        with pytest.raises(SerializationError) as refused:
            observer.append_to_stream("s", ExpectedVersion.ANY, [good, bad, good])
        assert named in str(refused.value)
        assert refused.value.event_type == "Bad"
    assert observer.read_all_streams_forward() == []


@pytest.mark.slow
def test_an_event_of_64_mib_is_stored_and_a_larger_one_is_refused(observer: EventStore) -> None:
    """G28."""
    size = 64 * MIB - len('""')
    largest = "é" + "x" * (size - 2)
    observer.append_to_stream("s", 0, [EventData("Large", largest)], timeout=60)
    (event,) = observer.read_stream_forward("s")
    assert event.data == largest
    with pytest.raises(SerializationError, match="Large"):
        observer.append_to_stream("s", 1, [EventData("Large", largest + "x")])


def test_the_time_of_storing_is_kept_beside_a_created_at_that_was_given(
    either: EventStore, dsn: str, schema: str
) -> None:
    """G10: and nowhere else; lag and ages count from it."""
    given = datetime(2013, 1, 1, 5, 15, tzinfo=UTC)
    events = [EventData("Now", 1), EventData("Then", 2, created_at=given), EventData("Now", 3)]
    either.append_to_stream("s", 0, events)
    columns = sql.SQL("SELECT created_at, stored_at FROM {} ORDER BY global_position")
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(columns.format(sql.Identifier(schema, "events"))).fetchall()
    now = rows[0][0]
    assert now > given
    assert rows == [(now, None), (given, now), (now, None)]
