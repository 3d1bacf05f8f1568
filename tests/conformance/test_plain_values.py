"""What an application passes may be of a subclass: the store keeps the plain value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from eventstore import EventData, EventStore, EventStoreError, ExpectedVersion, OutcomeUnknownError
from tests.conformance.conftest import Connect


class Moment(datetime):
    """As those of pendulum, pandas and freezegun: what it returns is of other classes."""

    def __sub__(self, other: Any) -> Any:
        return "an interval"

    def astimezone(self, tz: Any = None) -> Any:
        return Moment(2000, 1, 1, tzinfo=UTC)

    def time(self) -> Any:
        return "a time"


class Name(str):
    """A str that shows itself otherwise."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def encode(self, *_: Any) -> bytes:
        raise NotImplementedError

    def startswith(self, *_: Any) -> bool:
        raise NotImplementedError


class Id(UUID):
    @property
    def bytes(self) -> Any:
        raise NotImplementedError


class Version(IntEnum):
    FIRST = 1


class Stream(StrEnum):
    ORDERS = "orders"
    ALL = "$all"


NOON = datetime(2024, 5, 6, 12, 0, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        Moment(2024, 5, 6, 12, 0, 0, 7, tzinfo=UTC),
        Moment(2024, 5, 6, 14, 0, 0, 7, tzinfo=timezone(timedelta(hours=2))),
        datetime(2024, 5, 6, 12, 19, 32, 7, tzinfo=timezone(timedelta(minutes=19, seconds=32))),
        datetime(2024, 5, 6, 11, 59, 59, 999_999, tzinfo=timezone(-timedelta(microseconds=8))),
        datetime(2024, 5, 6, 14, 0, 0, 7, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
    ids=repr,
)
def test_a_time_is_kept_in_utc_to_the_microsecond(store: EventStore, moment: datetime) -> None:
    """F27, F28, G10: whatever its class and its zone."""
    event = EventData("X", 1, created_at=moment)
    assert event.created_at == NOON
    assert type(event.created_at) is datetime

    store.append_to_stream("s", 0, [event])

    (read,) = store.read_stream_forward("s")
    assert (read.created_at, read.created_at.tzinfo) == (NOON, UTC)


class Zone(tzinfo):
    def __init__(self, offset: Any) -> None:
        self._offset = offset

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        if isinstance(self._offset, Exception):
            raise self._offset
        return self._offset  # type: ignore[no-any-return]

    def tzname(self, _: datetime | None) -> str:
        return "?"

    def dst(self, _: datetime | None) -> None:
        return None


class Broken(datetime):
    @property
    def year(self) -> Any:
        return float("nan")


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (datetime(2020, 1, 1, tzinfo=Zone(ZeroDivisionError("no"))), "no usable .*ZeroDivision"),
        (datetime(2020, 1, 1, tzinfo=Zone(timedelta(hours=24))), "no usable .*ValueError"),
        (datetime(2020, 1, 1, tzinfo=Zone(3600)), "no usable .*TypeError"),
        (datetime(2020, 1, 1, tzinfo=Zone(None)), "must have a time zone: 2020-01-01T00:00:00"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(seconds=1))), "out of range in UTC: 9999"),
        (Broken(2020, 1, 1, tzinfo=UTC), "no usable .*TypeError"),
    ],
    ids=["raises", "too far", "no timedelta", "none", "too late", "no year"],
)
def test_a_time_without_a_usable_zone_is_refused_when_the_event_is_made(
    moment: datetime, message: str
) -> None:
    """F27, G28: by name."""
    with pytest.raises(ValueError, match=f"created_at (has )?.*{message}"):
        EventData("X", 1, created_at=moment)


def test_subclasses_become_plain(store: EventStore) -> None:
    """F27, G10: in every field of an event and in the arguments of the calls."""
    own, cause, conversation = uuid4(), uuid4(), uuid4()
    event = EventData(
        Name("placed"),
        {"x": 1},
        event_id=Id(own.hex),
        causation_id=Id(cause.hex),
        correlation_id=Id(conversation.hex),
    )

    result = store.append_to_stream(Name("orders"), 0, [event])
    store.append_to_stream(Stream.ORDERS, Version.FIRST, [EventData("X", 2)])
    store.append_to_streams([(Stream.ORDERS, 2, [EventData("X", 3)])])

    assert (result.stream_id, type(result.stream_id)) == ("orders", str)
    first, *_ = read = store.read_stream_forward(Stream.ORDERS, Version.FIRST, Version.FIRST + 5)
    assert len(read) == 3
    assert (first.stream_id, first.event_type) == ("orders", "placed")
    assert (first.event_id, first.causation_id, first.correlation_id) == (own, cause, conversation)
    assert {type(text) for text in (first.stream_id, first.event_type)} == {str}
    assert type(event.event_id) is UUID
    assert len(list(store.stream_backward(Stream.ORDERS, batch_size=Version.FIRST))) == 3
    assert store.stream_info(Stream.ALL).stream_version == 3
    assert [info.stream_id for info in store.streams(after=Name("a"))] == ["orders"]


class Typed:
    """A serializer whose bytes are of any kind."""

    format = "typed"

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def serialize(self, value: Any) -> Any:
        return self._kind(value)

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return payload.decode()


class Bytes(bytes):
    def __len__(self) -> int:
        return 1_000

    def __bytes__(self) -> bytes:
        return b"something else"


def test_what_a_serializer_returns_is_copied_as_plain_bytes(connect: Connect) -> None:
    """F27, G10: it may go on writing to it."""
    buffer = bytearray(b"first")
    kinds = {"bytearray": lambda _: buffer, "view": lambda _: memoryview(buffer)}
    for name, kind in {**kinds, "bytes": lambda _: Bytes(b"first")}.items():
        store = connect(serializer=Typed(kind))
        store.append_to_stream(name, 0, [EventData("X", 1)])
        buffer[:] = b"later"
        assert store.read_stream_forward(name)[0].data == "first"
        buffer[:] = b"first"


@pytest.mark.parametrize("wrong", ["text", 7, None, [1, 2]])
def test_what_a_serializer_returns_that_is_no_bytes_is_refused(
    connect: Connect, wrong: Any
) -> None:
    """F27, G30: before anything is sent, so the outcome is known."""
    store = connect(serializer=Typed(lambda _: wrong))
    with pytest.raises(EventStoreError, match=r"the serializer must return bytes: ") as refused:
        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
    assert not isinstance(refused.value, OutcomeUnknownError)
    assert not refused.value.retryable
