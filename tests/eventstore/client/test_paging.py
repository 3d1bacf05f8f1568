"""Reads in pages: complete, in order, over gaps, one page at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import RecordedEvent, StreamNotFoundError
from eventstore.client.paging import all_events, check_count, check_start, pages
from eventstore.ports.storage import ReadDirection

FORWARD, BACKWARD = ReadDirection.FORWARD, ReadDirection.BACKWARD


def event(position: int) -> RecordedEvent:
    return RecordedEvent(
        event_id=UUID(int=position),
        event_type="X",
        stream_id="s",
        stream_version=position,
        global_position=position,
        position=position,
        data=None,
        metadata=None,
        causation_id=None,
        correlation_id=None,
        created_at=datetime.now(UTC),
    )


class Stream:
    """Events at some positions, and how much was read of them."""

    def __init__(self, positions: set[int], direction: ReadDirection) -> None:
        self.positions = sorted(positions, reverse=direction is BACKWARD)
        self.direction = direction
        self.read_events = 0

    def read(self, start: int, count: int) -> list[RecordedEvent]:
        wanted = [p for p in self.positions if (p - start) * self.direction.value >= 0][:count]
        self.read_events += len(wanted)
        return [event(position) for position in wanted]


@given(
    positions=st.sets(st.integers(1, 40)),
    start=st.integers(1, 45),
    size=st.integers(1, 12),
    count=st.none() | st.integers(1, 50),
    direction=st.sampled_from(ReadDirection),
)
def test_every_event_comes_once_and_in_order_whatever_the_gaps(
    positions: set[int], start: int, size: int, count: int | None, direction: ReadDirection
) -> None:
    """G11."""
    stream = Stream(positions, direction)
    wanted = [p for p in stream.positions if (p - start) * direction.value >= 0]
    read = all_events(stream.read, start, count, size, direction)
    assert [e.position for e in read] == wanted[:count]
    paged = [e.position for page in pages(stream.read, start, size, direction) for e in page]
    assert paged == wanted


def test_an_iteration_holds_one_page() -> None:
    """G11."""
    stream = Stream(set(range(1, 1_001)), FORWARD)
    iterator = pages(stream.read, 1, 10, FORWARD)
    for number, page in enumerate(iterator, 1):
        assert len(page) == 10
        assert stream.read_events == 10 * number


def test_a_missing_stream_is_an_error_before_the_first_event() -> None:
    """G12, SST-11."""

    def missing(_start: int, _count: int) -> list[RecordedEvent]:
        raise StreamNotFoundError("s")

    with pytest.raises(StreamNotFoundError, match="'s'"):
        pages(missing, 1, 10, FORWARD)


@pytest.mark.parametrize(
    ("value", "direction", "message"),
    [
        (0, FORWARD, "start_version must be at least 1: 0"),
        (-1, FORWARD, "start_version must be at least 1: -1"),
        (-2, BACKWARD, "start_version must be at least 0: -2"),
        ("1", FORWARD, "start_version must be an int, not str: '1'"),
        (True, BACKWARD, "start_version must be an int, not bool"),
    ],
)
def test_a_start_out_of_range_is_named(
    value: object, direction: ReadDirection, message: str
) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        check_start("start_version", value, direction)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("value", [0, -1, 10_001])
def test_a_count_out_of_range_is_named(value: int) -> None:
    with pytest.raises(ValueError, match=rf"count must be 1 to 10,000: {value}"):
        check_count("count", value)
