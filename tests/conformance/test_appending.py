"""Appending by the facade, on both storages and both runtimes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from msgspec.structs import replace

from eventstore import (
    AppendResult,
    DuplicateEventError,
    EventData,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import Connect, numbered

ANY = ExpectedVersion.ANY


def appended_at_once(store: EventStore, times: int, expected: int) -> list[object]:
    """Append one event each from several threads at once; return results and errors."""

    def append(number: int) -> object:
        try:
            return store.append_to_stream("order-1", expected, numbered(number, number))
        except EventStoreError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(append, range(times)))


def versions(store: EventStore, stream_id: str) -> list[int]:
    return [event.stream_version for event in store.read_stream_forward(stream_id)]


def test_the_result_says_where_the_events_are(store: EventStore) -> None:
    """SST-01, APS-01, APS-02, APS-05, G3: nobody needs to read again."""
    store.append_to_stream("other", ANY, numbered(1, 2))

    result = store.append_to_stream("order-1", ExpectedVersion.NO_STREAM, numbered(1, 3))

    assert result == AppendResult(
        stream_id="order-1",
        first_version=1,
        last_version=3,
        first_global_position=3,
        last_global_position=5,
    )
    assert versions(store, "order-1") == [1, 2, 3]


def test_any_version_appends_to_a_new_stream_from_many_threads(store: EventStore) -> None:
    """APP-02, G3: all succeed, each at a place of its own."""
    results = appended_at_once(store, 4, ANY)

    assert all(isinstance(result, AppendResult) for result in results)
    assert versions(store, "order-1") == [1, 2, 3, 4]


def test_any_version_appends_to_an_existing_stream(store: EventStore) -> None:
    """APP-03: after what is there."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.append_to_stream("order-1", ANY, numbered(4, 4))

    read = store.read_stream_forward("order-1")
    assert [event.data["event"] for event in read] == [1, 2, 3, 4]


def test_any_version_appends_to_an_existing_stream_from_many_threads(store: EventStore) -> None:
    """APP-04, G3."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    appended_at_once(store, 4, ANY)

    assert versions(store, "order-1") == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("expected", [ExpectedVersion.NO_STREAM, 0])
def test_no_stream_creates_the_stream_and_only_creates_it(store: EventStore, expected: int) -> None:
    """APP-06, APP-05, G2: the second time it exists."""
    store.append_to_stream("order-1", expected, numbered(1, 2))

    with pytest.raises(WrongExpectedVersionError) as refused:
        store.append_to_stream("order-1", expected, numbered(3, 3))

    assert refused.value.actual == 2
    assert versions(store, "order-1") == [1, 2]


def test_stream_exists_appends_to_what_is_there(store: EventStore) -> None:
    """APP-07, G1, G2: and creates nothing."""
    with pytest.raises(WrongExpectedVersionError, match="at version 0, expected STREAM_EXISTS"):
        store.append_to_stream("order-1", ExpectedVersion.STREAM_EXISTS, numbered(1, 1))
    with pytest.raises(StreamNotFoundError):
        store.stream_info("order-1")

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    result = store.append_to_stream("order-1", ExpectedVersion.STREAM_EXISTS, numbered(2, 2))

    assert result.last_version == 2


def test_the_version_that_is_expected_is_appended_to(store: EventStore) -> None:
    """APP-09, APS-04: version after version."""
    store.append_to_stream("order-1", 0, numbered(1, 3))

    result = store.append_to_stream("order-1", 3, numbered(4, 6))

    assert (result.first_version, result.last_version) == (4, 6)


@pytest.mark.parametrize("expected", [1, 2, 4, 1_000_000_000_000])
def test_another_version_is_refused(store: EventStore, expected: int) -> None:
    """APP-10, APS-07, APS-09, SST-03, G1, G2: with the version found, and without a trace."""
    store.append_to_stream("order-1", 0, numbered(1, 3))

    with pytest.raises(WrongExpectedVersionError, match="at version 3") as refused:
        store.append_to_stream("order-1", expected, numbered(4, 4))

    error = refused.value
    assert (error.stream_id, error.expected, error.actual) == ("order-1", expected, 3)
    assert not error.retryable
    assert store.append_to_stream("order-2", 0, numbered(1, 1)).first_global_position == 4


def test_one_of_many_appends_with_the_same_expectation_wins(store: EventStore) -> None:
    """APP-11, APS-10, G2: the others learn the actual version."""
    store.append_to_stream("order-1", 0, numbered(1, 3))

    results = appended_at_once(store, 4, 3)

    refused = [result for result in results if isinstance(result, WrongExpectedVersionError)]
    assert [error.actual for error in refused] == [4, 4, 4]
    assert versions(store, "order-1") == [1, 2, 3, 4]


def test_many_events_go_in_one_append(store: EventStore) -> None:
    """APP-12, G1, G3: 8,001 of them."""
    store.append_to_stream("order-1", 0, numbered(1, 8_001))

    places = [event.position for event in store.stream_all_forward()]
    assert places == list(range(1, 8_002))


def test_events_may_come_from_a_generator(store: EventStore) -> None:
    """API-04: any iterable, read once."""
    result = store.append_to_stream("order-1", 0, (event for event in numbered(1, 3)))

    assert result.last_version == 3


def test_a_stored_event_of_another_stream_is_refused(store: EventStore) -> None:
    """APS-13, G6, G1: the id is named and nothing is stored."""
    known = numbered(1, 2)
    store.append_to_stream("order-1", 0, known)

    with pytest.raises(DuplicateEventError, match=str(known[0].event_id)) as refused:
        store.append_to_stream("order-2", ANY, known)

    assert refused.value.event_id == known[0].event_id
    assert store.stream_info("$all").stream_version == 2


@pytest.mark.parametrize("expected", [ANY, 0, 2, ExpectedVersion.STREAM_EXISTS])
def test_the_same_append_again_changes_nothing(store: EventStore, expected: int) -> None:
    """APS-11, APS-12, G6: the first result, also after other appends."""
    events = numbered(1, 2)
    first = store.append_to_stream("order-1", 0, events)
    store.append_to_stream("order-1", ANY, numbered(3, 3))

    again = store.append_to_stream("order-1", expected, events)
    assert (first.repeated, again.repeated) == (False, True)
    assert replace(again, repeated=False) == first
    assert versions(store, "order-1") == [1, 2, 3]


def test_appending_again_from_many_threads_stores_once(store: EventStore) -> None:
    """G6: everybody gets the one result."""
    events = numbered(1, 3)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: store.append_to_stream("order-1", 0, events), range(8)))

    assert len({(result.first_version, result.first_global_position) for result in results}) == 1
    assert versions(store, "order-1") == [1, 2, 3]


def test_the_id_of_an_event_is_the_callers(store: EventStore) -> None:
    """API-02, G10: with cause and correlation."""
    event = EventData(
        "OrderPlaced", {}, event_id=uuid4(), causation_id=uuid4(), correlation_id=uuid4()
    )
    store.append_to_stream("order-1", 0, [event])

    (read,) = store.read_stream_forward("order-1")
    assert (read.event_id, read.causation_id, read.correlation_id) == (
        event.event_id,
        event.causation_id,
        event.correlation_id,
    )


def test_events_carry_the_time_of_their_commit(store: EventStore) -> None:
    """SST-02, G10: in UTC, within a minute of now, not in the future."""
    store.append_to_stream("order-1", 0, numbered(1, 2))

    first, second = store.read_stream_forward("order-1")
    assert first.created_at == second.created_at
    assert first.created_at.utcoffset() == timedelta(0)
    now = datetime.now(UTC)
    assert now - timedelta(minutes=1) < first.created_at <= now + timedelta(milliseconds=50)


@pytest.mark.parametrize("expected", [ExpectedVersion.NO_STREAM, ANY])
def test_a_given_time_is_kept_by_event_and_new_stream(store: EventStore, expected: int) -> None:
    """API-18, API-20, G10: whatever time zone it was given in."""
    given = datetime(2013, 1, 1, 5, 17, 0, 654321, tzinfo=timezone(timedelta(hours=-5)))

    store.append_to_stream("flight", expected, [EventData("Departed", {}, created_at=given)])

    (event,) = store.read_stream_forward("flight")
    assert event.created_at == given
    assert event.created_at.utcoffset() == timedelta(0)
    assert store.stream_info("flight").created_at == given


@pytest.mark.parametrize("expected", [1, ANY])
def test_a_given_time_does_not_change_an_existing_stream(store: EventStore, expected: int) -> None:
    """API-19, API-21, G10: only the event has it."""
    store.append_to_stream("flight", 0, numbered(1, 1))
    created_at = store.stream_info("flight").created_at
    given = datetime(2013, 1, 1, tzinfo=UTC)

    store.append_to_stream("flight", expected, [EventData("Departed", {}, created_at=given)])

    assert store.read_stream_forward("flight")[1].created_at == given
    assert store.stream_info("flight").created_at == created_at


def test_several_streams_are_appended_to_as_a_whole(store: EventStore) -> None:
    """G9, G1: a wrong version of one refuses all of them."""
    store.append_to_stream("account-1", 0, numbered(1, 2))

    results = store.append_to_streams(
        [("account-1", 2, numbered(3, 3)), ("account-2", 0, numbered(1, 2)), ("rates", ANY, [])]
    )
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.append_to_streams([("account-1", 3, numbered(4, 4)), ("rates", 1, numbered(1, 1))])

    assert [(result.stream_id, result.last_version) for result in results] == [
        ("account-1", 3),
        ("account-2", 2),
        ("rates", 0),
    ]
    assert [result.last_global_position for result in results] == [3, 5, None]
    assert refused.value.stream_id == "rates"
    assert versions(store, "account-1") == [1, 2, 3]


def test_checks_alone_write_nothing(store: EventStore) -> None:
    """G9: they tell the versions, or refuse."""
    store.append_to_stream("account-1", 0, numbered(1, 2))

    (result,) = store.append_to_streams([("account-1", 2, [])])
    with pytest.raises(WrongExpectedVersionError):
        store.append_to_streams([("account-1", 1, [])])

    assert result.last_version == 2
    assert store.stream_info("$all").stream_version == 2


def test_several_streams_in_any_order_from_many_threads(store: EventStore) -> None:
    """G9, G3: nobody waits for the other in a circle, and there is no hole."""
    streams = ["a", "b", "c", "d"]

    def append(turn: int) -> None:
        for _ in range(5):
            rotated = streams[turn:] + streams[:turn]
            store.append_to_streams([(stream, ANY, numbered(1, 2)) for stream in rotated])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))

    places = [event.global_position for event in store.read_all_streams_forward()]
    assert places == list(range(1, 161))
    assert all(versions(store, stream) == list(range(1, 41)) for stream in streams)


def test_two_users_of_one_store_see_each_other(connect: Connect) -> None:
    """API-01, OLD-02, OLD-03, G2, G4: the version is the store's, not the connection's."""
    here, there = connect(), connect()
    here.append_to_stream("order-1", 0, numbered(1, 1))

    with pytest.raises(WrongExpectedVersionError):
        there.append_to_stream("order-1", 0, numbered(1, 1))
    there.append_to_stream("order-1", 1, numbered(2, 2))

    assert versions(here, "order-1") == [1, 2]
