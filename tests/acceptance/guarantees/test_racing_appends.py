"""Appends that race: one winner per version, no trace of losers, no deadlock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from eventstore import (
    AppendError,
    AppendResult,
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.acceptance.guarantees.conftest import Settings, Start

ROUNDS = 150


def test_of_six_processes_that_expect_the_same_version_exactly_one_succeeds(
    start: Start, observer: EventStore
) -> None:
    """G1, G2, G3: each version is won once, by the event that is stored there."""
    racers = start(6, runtime="caller")
    for racer in racers:
        racer.do("race", stream="contended", until=ROUNDS)
    for racer in racers:
        racer.wait("raced", timeout=40)
    wins = {won["expected"]: won["id"] for racer in racers for won in racer.reports("won")}
    assert sum(len(racer.reports("won")) for racer in racers) == ROUNDS
    assert sorted(wins) == list(range(ROUNDS))
    losses = [lost for racer in racers for lost in racer.reports("lost")]
    assert len(losses) > ROUNDS / 10, "they did not race"
    assert all(lost["expected"] < lost["actual"] <= ROUNDS for lost in losses)

    events = observer.read_all_streams_forward()
    assert [str(event.event_id) for event in events] == [wins[n] for n in range(ROUNDS)]
    assert [event.stream_version for event in events] == list(range(1, ROUNDS + 1))
    assert [event.global_position for event in events] == list(range(1, ROUNDS + 1))


def test_appends_to_two_streams_in_changing_order_are_atomic_and_do_not_deadlock(
    start: Start, observer: EventStore
) -> None:
    """G9, G2: both streams move together, at the versions expected of each."""
    movers = start(4, runtime="caller")
    for seed, mover in enumerate(movers):
        mover.do("transfer", pair=["x", "y"], until=100, seed=seed)
    for mover in movers:
        mover.wait("transferred", timeout=40)
    moved = [report["pair"] for mover in movers for report in mover.reports("moved")]
    in_x, in_y = (
        [event.data["pair"] for event in observer.read_stream_forward(stream)]
        for stream in ("x", "y")
    )
    assert len(in_x) == 100
    assert in_x == in_y
    assert sorted(in_x) == sorted(moved)


@pytest.fixture(params=["actors", "caller"])
def either(request: pytest.FixtureRequest, settings: Settings) -> EventStore:
    """The store run by actors, and by the caller's thread."""
    name = "store" if request.param == "actors" else "observer"
    store: EventStore = request.getfixturevalue(name)
    return store


def test_a_refused_append_leaves_no_event_no_stream_and_no_gap(either: EventStore) -> None:
    """G1, G3, G9."""
    kept = EventData("Kept", 1)
    either.append_to_stream("kept", 0, [kept])
    fresh = [EventData("Lost", 1), EventData("Lost", 2)]
    with pytest.raises(WrongExpectedVersionError) as wrong:
        either.append_to_streams([("fresh", 0, fresh), ("kept", 0, [EventData("Lost", 3)])])
    assert (wrong.value.stream_id, wrong.value.expected, wrong.value.actual) == ("kept", 0, 1)
    with pytest.raises(DuplicateEventError) as twice:
        either.append_to_stream("fresh", ExpectedVersion.ANY, [*fresh, kept])
    assert twice.value.event_id == kept.event_id
    for expected in (3, ExpectedVersion.STREAM_EXISTS):
        with pytest.raises(WrongExpectedVersionError) as missing:
            either.append_to_stream("fresh", expected, fresh)
        assert missing.value.actual == 0

    assert [info.stream_id for info in either.streams()] == ["kept"]
    with pytest.raises(StreamNotFoundError):
        either.read_stream_forward("fresh")
    result = either.append_to_stream("fresh", ExpectedVersion.NO_STREAM, fresh)
    assert (result.first_version, result.first_global_position) == (1, 2)
    assert [event.data for event in either.read_all_streams_forward()] == [1, 1, 2]


def test_a_repeated_append_returns_the_first_result_also_after_other_appends(
    either: EventStore,
) -> None:
    """G6."""
    three = [EventData("Once", number) for number in range(3)]
    first = either.append_to_stream("s", 0, three)
    either.append_to_stream("s", 3, [EventData("Between", 0)])
    either.append_to_stream("t", 0, [EventData("Between", 0)])
    # Ids, stream, order, types and data are compared, not the version expected nor the trace.
    again = [EventData("Once", e.data, {"trace": 2}, event_id=e.event_id) for e in three]
    for expected in (0, 3, 17, ExpectedVersion.ANY):
        repeated = either.append_to_stream("s", expected, again)
        assert replace(repeated, repeated=False) == first
    tail = either.append_to_stream("s", 4, three[1:])
    assert (tail.first_version, tail.last_version) == (2, 3)
    assert len(either.read_all_streams_forward()) == 5


def test_any_other_use_of_a_stored_id_is_refused(either: EventStore) -> None:
    """G6, G1."""
    a, b, c = (EventData("Once", name) for name in "abc")
    either.append_to_stream("s", 0, [a, b, c])
    new = EventData("New", 0)
    reused: list[tuple[str, list[EventData]]] = [
        ("t", [a, b, c]),  # another stream
        ("s", [b, a]),  # another order
        ("s", [a, c]),  # not consecutive
        ("s", [b, c, new]),  # stored ones followed by a new one
        ("s", [new, a]),
    ]
    for stream, events in reused:
        with pytest.raises(DuplicateEventError):
            either.append_to_stream(stream, ExpectedVersion.ANY, events)
    assert [event.data for event in either.read_all_streams_forward()] == ["a", "b", "c"]


def test_the_same_ids_appended_at_once_by_two_runtimes_are_stored_once(
    store: EventStore, observer: EventStore
) -> None:
    """G6, G1, F29: all get the same place, and one of them is told that it stored the events."""

    def appended(events: list[EventData]) -> list[AppendResult]:
        calls = [
            threads.submit(either.append_to_stream, "s", ExpectedVersion.ANY, events)
            for either in (store, observer, store, observer)
        ]
        return [call.result(timeout=60) for call in calls]

    with ThreadPoolExecutor(4) as threads:
        for number in range(40):
            results = appended([EventData("Once", number), EventData("Once", number)])
            assert {result.last_version for result in results} == {2 * number + 2}
            assert len({replace(result, repeated=False) for result in results}) == 1
            assert sorted(result.repeated for result in results) == [False, True, True, True]
    assert observer.stream_info("s").stream_version == 80


def test_a_refusal_is_an_append_error_that_is_not_worth_a_retry(store: EventStore) -> None:
    """G1: the type of the error says that nothing was written."""
    store.append_to_stream("s", 0, [EventData("X", 1)])
    with pytest.raises(AppendError) as refused:
        store.append_to_stream("s", 0, [EventData("X", 2)])
    assert not refused.value.retryable
