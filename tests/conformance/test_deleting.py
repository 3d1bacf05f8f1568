"""Deleting a stream; its events stay in ``$all`` and where they are linked."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from eventstore import (
    EventStore,
    ExpectedVersion,
    StorageUnavailableError,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import numbered

ANY = ExpectedVersion.ANY


@pytest.fixture
def deleted(store: EventStore) -> EventStore:
    """A store with a stream of three events, linked to another one, that was deleted."""
    store.append_to_stream("order-1", 0, numbered(1, 3))
    store.link_to_stream("linked", 0, store.read_stream_forward("order-1"))
    store.delete_stream("order-1", 3)
    return store


@pytest.mark.parametrize("expected", [ANY, ExpectedVersion.STREAM_EXISTS, 2])
def test_a_stream_is_deleted_at_the_version_that_is_expected(
    store: EventStore, expected: int
) -> None:
    """PAG-06, SDL-01, SDL-02, SDL-03, G36."""
    store.append_to_stream("order-1", 0, numbered(1, 2))
    store.append_to_stream("order-2", 0, numbered(1, 2))

    store.delete_stream("order-1", expected)

    info = store.stream_info("order-1")
    assert (info.stream_version, info.deleted_at is not None) == (2, True)
    assert store.stream_info("order-2").deleted_at is None
    assert (store.stream_count(), len(store.streams())) == (1, 2)


@pytest.mark.parametrize("expected", [ExpectedVersion.NO_STREAM, 1, 3])
def test_a_stream_at_another_version_is_not_deleted(store: EventStore, expected: int) -> None:
    """SDL-04, G36: what was decided on is what is deleted."""
    store.append_to_stream("order-1", 0, numbered(1, 2))
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.delete_stream("order-1", expected)
    assert (refused.value.expected, refused.value.actual) == (expected, 2)
    assert store.stream_info("order-1").deleted_at is None


def test_what_cannot_be_deleted_says_why(deleted: EventStore) -> None:
    """SDL-05, SDL-06, SDL-09: a missing stream, one that was deleted before, and all streams."""
    with pytest.raises(StreamNotFoundError, match="'order-2'"):
        deleted.delete_stream("order-2", ANY)
    with pytest.raises(StreamDeletedError, match=r"'order-1' was deleted at \d{4}-"):
        deleted.delete_stream("order-1", 3)
    with pytest.raises(ValueError, match="stream_id must not start with"):
        deleted.delete_stream("$all", ANY)
    with pytest.raises(TypeError, match="expected_version"):
        deleted.delete_stream("order-1", "any")  # type: ignore[arg-type]


def test_a_deleted_stream_can_be_neither_read_nor_appended_to(deleted: EventStore) -> None:
    """SDL-07, SDL-08, G36: its name stays in use."""
    for read in (deleted.read_stream_forward, deleted.read_stream_backward):
        with pytest.raises(StreamDeletedError, match=r"'order-1' was deleted at \d{4}-"):
            read("order-1")
    for iterate in (deleted.stream_forward, deleted.stream_backward):
        with pytest.raises(StreamDeletedError):
            next(iterate("order-1"))
    for expected in (ANY, 0, 3):
        with pytest.raises(StreamDeletedError):
            deleted.append_to_stream("order-1", expected, numbered(4, 4))


def test_an_append_that_was_stored_before_the_deletion_is_repeated(store: EventStore) -> None:
    """G6, G36: the answer that was lost is given, whatever became of the stream."""
    events = numbered(1, 2)
    first = store.append_to_stream("order-1", 0, events)
    store.delete_stream("order-1", ANY)

    again = store.append_to_stream("order-1", 0, events)

    assert (again.first_version, again.repeated) == (first.first_version, True)


def test_the_events_of_a_deleted_stream_stay_where_else_they_are(deleted: EventStore) -> None:
    """SDL-12, SDL-13, G36."""
    of_all = deleted.read_all_streams_forward()
    linked = deleted.read_stream_forward("linked")

    assert [(e.stream_id, e.stream_version) for e in of_all] == [("order-1", n) for n in (1, 2, 3)]
    assert [event.event_id for event in linked] == [event.event_id for event in of_all]
    assert deleted.find_event(of_all[0].event_id) == of_all[0]


def test_of_an_append_and_a_deletion_at_one_version_one_is_refused(store: EventStore) -> None:
    """G36: many times, from two threads; whatever is first wins."""
    for number in range(20):
        stream = f"order-{number}"
        store.append_to_stream(stream, 0, numbered(1, 1))
        with ThreadPoolExecutor(2) as pool:
            done: list[Future[Any]] = [
                pool.submit(store.append_to_stream, stream, 1, numbered(2, 2)),
                pool.submit(store.delete_stream, stream, 1),
            ]
        refused: list[Any] = [type(each.exception()) for each in done]
        assert refused in (
            [StreamDeletedError, type(None)],
            [type(None), WrongExpectedVersionError],
        )


def test_a_follower_of_a_deleted_stream_is_told(deleted: EventStore) -> None:
    with pytest.raises(StreamDeletedError):
        next(deleted.follow_stream("order-1", idle_timeout=5))


def test_a_deletion_that_is_late_is_no_deletion(store: EventStore) -> None:
    store.append_to_stream("order-1", 0, numbered(1, 1))
    with pytest.raises(StorageUnavailableError):
        store.delete_stream("order-1", 1, timeout=1e-9)
    assert store.stream_info("order-1").deleted_at is None
