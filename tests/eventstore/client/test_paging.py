"""Reads in pages: complete, in order, over gaps, one page at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from uuid import UUID
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import RecordedEvent, StreamNotFoundError
from eventstore.client.codec import as_stored_bytes
from eventstore.client.paging import (
    PAGE_BYTES,
    Pages,
    check_count,
    check_start,
    iterated,
    listed,
    unfiltered,
)
from eventstore.ports.reads import Examined, ReadDirection
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.memory.event_pages import ended_by_bytes

FORWARD, BACKWARD = ReadDirection.FORWARD, ReadDirection.BACKWARD


def event(position: int, size: int = 1) -> StoredEvent:
    return StoredEvent(
        position=position,
        global_position=position,
        stream_id="s",
        stream_version=position,
        event_id=UUID(int=position),
        event_type="X",
        data=b"x" * size,
        metadata=None,
        causation_id=None,
        correlation_id=None,
        format="json",
        created_at=datetime.now(UTC),
    )


class Stream:
    """Events at some positions, with their sizes, and how many pages and events were read."""

    def __init__(self, sizes: dict[int, int], direction: ReadDirection) -> None:
        self.sizes = sizes
        self.positions = sorted(sizes, reverse=direction is BACKWARD)
        self.direction = direction
        self.read_events = 0
        self.read_pages = 0

    def read(self, start: int, count: int, max_bytes: int | None) -> Examined:
        wanted = [p for p in self.positions if (p - start) * self.direction.value >= 0][:count]
        page = ended_by_bytes([event(p, self.sizes[p]) for p in wanted], max_bytes)
        self.read_events += len(page)
        self.read_pages += 1
        return unfiltered(page, start, count, max_bytes, self.direction)

    def after(self, start: int) -> list[int]:
        return [p for p in self.positions if (p - start) * self.direction.value >= 0]


@given(
    sizes=st.dictionaries(st.integers(1, 40), st.integers(0, 30)),
    start=st.integers(1, 45),
    size=st.integers(1, 12),
    count=st.none() | st.integers(1, 50),
    max_bytes=st.none() | st.integers(1, 60),
    direction=st.sampled_from(ReadDirection),
)
def test_every_event_comes_once_and_in_order_whatever_the_gaps_and_the_sizes(
    sizes: dict[int, int],
    start: int,
    size: int,
    count: int | None,
    max_bytes: int | None,
    direction: ReadDirection,
) -> None:
    """G11, F47."""
    stream = Stream(sizes, direction)
    wanted = stream.after(start)
    read = listed(stream.read, as_stored_bytes, start, count, direction)
    assert [e.position for e in read] == wanted[:count]
    lazily = iterated(Pages(stream.read, start, size, max_bytes, direction), as_stored_bytes)
    assert [e.position for e in lazily] == wanted
    paged = Pages(stream.read, start, size, max_bytes, direction)
    assert [e.position for page in paged for e in page] == wanted


def test_an_iteration_holds_one_page() -> None:
    """G11."""
    stream = Stream(dict.fromkeys(range(1, 1_001), 1), FORWARD)
    iterator = Pages(stream.read, 1, 10, None, FORWARD)
    for number, page in enumerate(iterator, 1):
        assert len(page) == 10
        assert stream.read_events == 10 * number


def test_a_page_ends_with_the_event_that_reaches_the_bytes() -> None:
    """F47, G11: and a page that its bytes ended is not taken for the last one."""
    stream = Stream({1: 4, 2: 5, 3: 1, 4: 30, 5: 2, 6: 1}, FORWARD)
    paged = Pages(stream.read, 1, 10, 10, FORWARD)
    assert [[e.position for e in page] for page in paged] == [[1, 2, 3], [4], [5, 6]]


class Listing(list[StoredEvent]):
    """A list that can be watched."""


def test_the_page_before_is_let_go_before_the_next_is_read() -> None:
    """F47, G11."""
    stream = Stream(dict.fromkeys(range(1, 31), 1), FORWARD)
    held: list[ref[Listing]] = []

    def read(start: int, count: int, max_bytes: int | None) -> Examined:
        assert not any(page() for page in held)
        page = stream.read(start, count, max_bytes)
        events = Listing(page.events)
        held.append(ref(events))
        return page._replace(events=events)

    events = iterated(Pages(read, 1, 10, None, FORWARD), as_stored_bytes)
    assert sum(1 for _ in events) == 30
    assert len(held) == 4


def test_a_short_read_is_one_page() -> None:
    """F47: a limit in bytes costs no further statement."""
    stream = Stream(dict.fromkeys(range(1, 31), 1), FORWARD)
    assert len(listed(stream.read, as_stored_bytes, 1, None, FORWARD)) == 30
    assert stream.read_pages == 1
    assert (
        len(list(iterated(Pages(stream.read, 1, 1_000, PAGE_BYTES, FORWARD), as_stored_bytes)))
        == 30
    )
    assert stream.read_pages == 2


def test_an_event_that_cannot_be_decoded_is_an_error_when_it_is_reached() -> None:
    """F26: those before it are there, and the next step goes on after it."""

    def decode(stored: StoredEvent) -> RecordedEvent:
        if stored.position == 3:
            raise ZeroDivisionError
        return as_stored_bytes(stored)

    stream = Stream(dict.fromkeys(range(1, 6), 1), FORWARD)
    events = iterated(Pages(stream.read, 1, 10, None, FORWARD), decode)
    assert [e.position for e in islice(events, 2)] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        next(events)
    assert [e.position for e in events] == [4, 5]


def test_a_missing_stream_is_an_error_before_the_first_event() -> None:
    """G12, SST-11."""

    def missing(_start: int, _count: int, _max_bytes: int | None) -> Examined:
        raise StreamNotFoundError("s")

    with pytest.raises(StreamNotFoundError, match="'s'"):
        iterated(Pages(missing, 1, 10, None, FORWARD), as_stored_bytes)


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
