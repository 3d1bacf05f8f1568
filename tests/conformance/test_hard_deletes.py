"""Deleting a stream for good, with its events and every link to them."""

from __future__ import annotations

import pytest

from eventstore import (
    EventNotFoundError,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import Connect, numbered

ANY = ExpectedVersion.ANY


@pytest.fixture
def store(connect: Connect) -> EventStore:
    return connect(enable_hard_deletes=True)


@pytest.fixture
def source(store: EventStore) -> list[RecordedEvent]:
    """The events of a stream, which is gone, that had versions 1 to 3 and positions 2 to 4."""
    store.append_to_stream("kept", 0, numbered(1, 1))
    store.append_to_stream("order-1", 0, numbered(2, 4))
    store.append_to_stream("kept", 1, numbered(5, 5))
    events = store.read_stream_forward("order-1")
    store.link_to_stream("linked", 0, [*events[:2], *store.read_stream_forward("kept"), events[2]])
    store.delete_stream("order-1", 3, hard=True)
    return events


def read(store: EventStore, stream_id: str) -> list[tuple[int, int]]:
    """Return place and number of each event."""
    return [(each.position, each.data["event"]) for each in store.read_stream_forward(stream_id)]


def test_nothing_of_the_stream_can_be_read(store: EventStore, source: list[RecordedEvent]) -> None:
    """PAG-06, HDL-08, HDL-11, HDL-16, ALL-10, G36: neither here, nor elsewhere, nor by an id."""
    for reading in (store.read_stream_forward, store.read_stream_backward, store.stream_info):
        with pytest.raises(StreamNotFoundError):
            reading("order-1")
    for iterating in (store.stream_forward, store.stream_backward):
        with pytest.raises(StreamNotFoundError):
            next(iterating("order-1"))
    assert [each.position for each in store.read_all_streams_forward()] == [1, 5]
    assert [each.position for each in store.read_all_streams_backward()] == [5, 1]
    assert [each.position for each in store.stream_all_forward(2, batch_size=1)] == [5]
    assert store.find_event(source[0].event_id) is None
    assert [info.stream_id for info in store.streams()] == ["kept", "linked"]
    assert read(store, "kept") == [(1, 1), (2, 5)]


def test_links_to_its_events_are_gone_and_their_versions_stay_used(
    store: EventStore, source: list[RecordedEvent]
) -> None:
    """G2, G35, G36: in the middle of the linked stream, and at its end."""
    assert read(store, "linked") == [(3, 1), (4, 5)]
    assert [each.position for each in store.read_stream_backward("linked", 4, 1)] == [4]
    assert store.stream_info("linked").stream_version == 5
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.append_to_stream("linked", 4, numbered(6, 6))
    assert refused.value.actual == 5

    assert store.append_to_stream("linked", 5, numbered(6, 6)).first_version == 6
    assert read(store, "linked") == [(3, 1), (4, 5), (6, 6)]
    with pytest.raises(EventNotFoundError):
        store.link_to_stream("linked", ANY, source[:1])


def test_its_name_is_free_and_its_positions_are_not(
    store: EventStore, source: list[RecordedEvent]
) -> None:
    """HDL-09, G3, G36: another stream begins at version 1, behind every position."""
    with pytest.raises(WrongExpectedVersionError):
        store.append_to_stream("order-1", 3, numbered(6, 6))
    again = store.append_to_stream("order-1", ExpectedVersion.NO_STREAM, numbered(6, 7))
    assert (again.first_version, again.first_global_position) == (1, 6)
    assert read(store, "order-1") == [(1, 6), (2, 7)]
    assert store.find_event(source[0].event_id) is None


def test_the_newest_positions_are_not_given_out_again(store: EventStore) -> None:
    """G3, G36: the head stays, whatever was there."""
    store.append_to_stream("order-1", 0, numbered(1, 3))
    store.delete_stream("order-1", ANY, hard=True)
    assert store.stream_info("$all").stream_version == 3
    assert store.read_all_streams_forward() == []
    assert store.append_to_stream("kept", 0, numbered(4, 4)).first_global_position == 4


def test_ids_of_events_that_are_gone_can_be_used_again(store: EventStore) -> None:
    """G6, G36: once they are erased, the same append is a new one."""
    events = numbered(1, 2)
    store.append_to_stream("order-1", 0, events)
    store.delete_stream("order-1", 2, hard=True)
    again = store.append_to_stream("order-1", 0, events)
    assert (again.first_version, again.first_global_position, again.repeated) == (1, 3, False)


def test_a_linked_stream_goes_without_its_source(store: EventStore) -> None:
    """G35: what the original gets wrong: it deletes the source's events."""
    store.append_to_stream("order-1", 0, numbered(1, 2))
    store.link_to_stream("linked", 0, store.read_stream_forward("order-1"))
    store.append_to_stream("linked", 2, numbered(3, 3))

    store.delete_stream("linked", 3, hard=True)

    assert read(store, "order-1") == [(1, 1), (2, 2)]
    assert [each.position for each in store.read_all_streams_forward()] == [1, 2]
    store.link_to_stream("linked", 0, store.read_stream_forward("order-1"))
    assert read(store, "linked") == [(1, 1), (2, 2)]


@pytest.mark.parametrize("expected", [ANY, ExpectedVersion.STREAM_EXISTS, 2])
def test_a_stream_goes_at_the_version_that_is_expected(store: EventStore, expected: int) -> None:
    """HDL-02."""
    store.append_to_stream("order-1", 0, numbered(1, 2))
    store.delete_stream("order-1", expected, hard=True)
    assert store.streams() == []


def test_what_cannot_be_deleted_says_why(store: EventStore, source: list[RecordedEvent]) -> None:
    """HDL-04, HDL-05, HDL-06, HDL-07, HDL-10."""
    with pytest.raises(StreamNotFoundError):
        store.delete_stream("order-1", ANY, hard=True)
    with pytest.raises(StreamNotFoundError):
        store.delete_stream("order-2", ANY, hard=True)
    with pytest.raises(WrongExpectedVersionError):
        store.delete_stream("kept", 1, hard=True)
    with pytest.raises(ValueError, match="stream_id must not start with"):
        store.delete_stream("$all", ANY, hard=True)
    store.delete_stream("kept", 2)
    with pytest.raises(StreamDeletedError):
        store.delete_stream("kept", 2, hard=True)
    with pytest.raises(TypeError, match="hard must be a bool"):
        store.delete_stream("linked", ANY, hard=1)  # type: ignore[arg-type]


def test_hard_deletes_have_to_be_enabled(connect: Connect) -> None:
    """HDL-19: a stream is not deleted for good by a slip."""
    store = connect()
    store.append_to_stream("order-1", 0, numbered(1, 1))
    with pytest.raises(ValueError, match="hard deletes need Config"):
        store.delete_stream("order-1", ANY, hard=True)
    assert read(store, "order-1") == [(1, 1)]
