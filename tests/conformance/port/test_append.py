"""What an append stores, refuses and returns, on the port itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from eventstore.model.errors import (
    DuplicateEventError,
    StorageUnavailableError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from eventstore.model.events import AppendResult, ExpectedVersion
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import (
    Committed,
    EncodedEvent,
    Outcome,
    StoredOtherwiseError,
)
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part

FORWARD = ReadDirection.FORWARD


def versions(outcome: Outcome) -> list[tuple[int | None, int]]:
    assert isinstance(outcome, Committed)
    return [(result.first_version, result.last_version) for result in outcome.results]


def stored_ids(user: User) -> list[object]:
    return [e.event_id for e in user.storage.read_all(1, 100, FORWARD, soon())]


def test_events_get_their_places_in_stream_and_store(user: User) -> None:
    """APS-01, APS-02, APS-04, APS-05, G3: versions and positions count from 1 without holes."""
    user.store("order-1", 3)
    user.store("order-2", 1)
    outcome = user.append(part("order-1", events(2), expected=3))

    assert isinstance(outcome, Committed)
    assert not outcome.repeated
    assert outcome.results == (
        AppendResult(
            stream_id="order-1",
            first_version=4,
            last_version=5,
            first_global_position=5,
            last_global_position=6,
        ),
    )
    everything = user.storage.read_all(1, 100, FORWARD, soon())
    assert [e.global_position for e in everything] == [1, 2, 3, 4, 5, 6]
    assert [e.stream_version for e in everything] == [1, 2, 3, 1, 4, 5]


@pytest.mark.parametrize(
    ("expected", "actual"), [(1, 3), (2, 3), (4, 3), (0, 3), (ExpectedVersion.NO_STREAM, 3)]
)
def test_another_version_is_refused_with_the_one_found(
    user: User, expected: int, actual: int
) -> None:
    """APS-07, APS-09, G2: the error says where the stream is."""
    user.store("order-1", 3)

    outcome = user.append(part("order-1", events(1), expected=expected))

    assert isinstance(outcome, WrongExpectedVersionError)
    assert (outcome.stream_id, outcome.expected, outcome.actual) == ("order-1", expected, actual)


@pytest.mark.parametrize("expected", [1, ExpectedVersion.STREAM_EXISTS])
def test_a_refused_append_leaves_no_stream_behind(user: User, expected: int) -> None:
    """APS-08, G1: not even the stream exists, and no position is lost."""
    outcome = user.append(part("missing", events(1), expected=expected))

    assert isinstance(outcome, WrongExpectedVersionError)
    assert outcome.actual == 0
    assert outcome.expected is expected or outcome.expected == expected
    with pytest.raises(StreamNotFoundError):
        user.storage.stream_info("missing", soon())
    assert user.store("other").results[0].first_global_position == 1


def test_a_refused_append_fails_none_of_its_commit(user: User) -> None:
    """G7, G1, G3: neighbours are stored as if it were not there."""
    known = event()
    user.append(part("a", (known,)))

    outcomes = user.append_all(
        (part("b", events(2)),),
        (part("a", events(2), expected=7),),
        (part("c", events(1)), part("d", events(1), expected=1)),
        (part("e", (known, event())),),
        (part("f", events(3)),),
    )

    assert [type(outcome) for outcome in outcomes] == [
        Committed,
        WrongExpectedVersionError,
        WrongExpectedVersionError,
        DuplicateEventError,
        Committed,
    ]
    positions = [
        (e.stream_id, e.global_position) for e in user.storage.read_all(1, 99, FORWARD, soon())
    ]
    assert positions == [("a", 1), ("b", 2), ("b", 3), ("f", 4), ("f", 5), ("f", 6)]


def test_several_streams_stand_or_fall_together(user: User) -> None:
    """G9: each stream's version is checked, and one mismatch refuses everything."""
    user.store("a", 2)

    refused = user.append(part("a", events(1), expected=2), part("b", events(1), expected=1))
    stored = user.append(part("a", events(1), expected=2), part("b", events(2), expected=0))

    assert isinstance(refused, WrongExpectedVersionError)
    assert refused.stream_id == "b"
    assert versions(stored) == [(3, 3), (1, 2)]


def test_a_stream_without_events_is_only_checked(user: User) -> None:
    """G9: its version is found and returned, and it is not created."""
    user.store("account", 2)

    outcome = user.append(part("account", expected=2), part("transfer", events(1), expected=0))
    refused = user.append(part("account", expected=1), part("transfer", events(1)))

    assert isinstance(outcome, Committed)
    assert outcome.results[0] == AppendResult(
        stream_id="account",
        first_version=None,
        last_version=2,
        first_global_position=None,
        last_global_position=None,
    )
    assert isinstance(refused, WrongExpectedVersionError)
    assert (refused.stream_id, refused.actual) == ("account", 2)


def test_an_append_of_checks_only_writes_nothing(user: User) -> None:
    """G9: it passes or is refused, and leaves the store as it was."""
    user.store("a", 2)

    passed = user.append(part("a", expected=2), part("b", expected=0), part("c"))
    refused = user.append(part("a", expected=2), part("b", expected=ExpectedVersion.STREAM_EXISTS))

    assert versions(passed) == [(None, 2), (None, 0), (None, 0)]
    assert isinstance(passed, Committed)
    assert not passed.repeated
    assert isinstance(refused, WrongExpectedVersionError)
    assert user.storage.stream_info("$all", soon()).stream_version == 2
    with pytest.raises(StreamNotFoundError):
        user.storage.stream_info("b", soon())


@pytest.mark.parametrize("expected", [0, 1, 5, ExpectedVersion.ANY, ExpectedVersion.STREAM_EXISTS])
def test_the_same_append_again_returns_the_first_result(user: User, expected: int) -> None:
    """G6: whatever it expects now, and whatever was appended since."""
    again = events(3)
    first = user.append(part("a", again, expected=0))
    user.store("b")
    user.store("a")

    outcome = user.append(part("a", again, expected=expected))

    assert isinstance(first, Committed)
    assert isinstance(outcome, Committed)
    assert outcome.repeated
    assert versions(outcome) == versions(first)
    assert [result.repeated for result in (*first.results, *outcome.results)] == [False, True]
    assert user.storage.stream_info("$all", soon()).stream_version == 5


def test_a_run_of_an_earlier_append_is_the_same_append(user: User) -> None:
    """G6: the middle of it, or several appends in a row, as long as nothing is between."""
    a, b, c, d = events(4)
    user.append(part("a", (a, b, c)))
    user.append(part("a", (d,)))

    assert versions(user.append(part("a", (b, c)))) == [(2, 3)]
    assert versions(user.append(part("a", (b, c, d)))) == [(2, 4)]


@pytest.mark.parametrize("expected", [ExpectedVersion.ANY, 1, 7])
@pytest.mark.parametrize(
    "other",
    [{"data": b'{"other": true}'}, {"event_type": "Other"}, {"format": "pickle"}, {"data": b""}],
)
def test_a_stored_id_with_other_content_is_told_apart(
    user: User, other: dict[str, Any], expected: int
) -> None:
    """F29, G6: with the places, for whoever can decode the bytes. What is stored stays."""
    first = [event(b'{"first": true}') for _ in range(3)]
    user.append(part("a", tuple(first)))
    changed = [first[0], replace(first[1], **other), replace(first[2], **other)]

    outcome = user.append(part("a", tuple(changed), expected=expected))

    assert isinstance(outcome, StoredOtherwiseError)
    assert outcome.event_id == first[1].event_id
    assert [(r.first_version, r.last_version, r.repeated) for r in outcome.results] == [
        (1, 3, True)
    ]
    assert [e.data for e in user.storage.read_all(1, 10, FORWARD, soon())] == [first[0].data] * 3


def test_an_honest_retry_carries_another_trace(user: User) -> None:
    """F29, G6: metadata, times, causation and correlation are not compared."""
    first = event(b"1")
    user.append(part("a", (first,)))

    again = EncodedEvent(
        first.event_id,
        first.event_type,
        first.data,
        b'{"trace": 2}',
        uuid4(),
        uuid4(),
        created_at=datetime(2013, 1, 1, tzinfo=UTC),
    )

    assert versions(user.append(part("a", (again,)))) == [(1, 1)]
    assert user.storage.read_all(1, 10, FORWARD, soon())[0].metadata is None


def test_other_content_in_one_of_several_streams_refuses_the_append(user: User) -> None:
    """F29, G6, G9: and no other append of its commit."""
    a, b, c = events(3)
    user.append(part("a", (a,)), part("b", (b,)))

    other = (part("a", (a,)), part("checked", expected=0), part("b", (replace(b, data=b"2"),)))
    same = (part("c", (c,)),)
    refused, stored = user.append_all(other, same)

    assert isinstance(refused, StoredOtherwiseError)
    assert refused.event_id == b.event_id
    assert [r.first_version for r in refused.results] == [1, None, 1]
    assert versions(stored) == [(1, 1)]


def test_one_append_repeated_and_one_with_other_content_in_one_commit(user: User) -> None:
    """F29, G6, G7."""
    a, b = events(2)
    user.append(part("a", (a,)))
    user.append(part("b", (b,)))

    same, other = user.append_all((part("a", (a,)),), (part("b", (replace(b, data=b"2"),)),))

    assert isinstance(same, Committed)
    assert same.repeated
    assert isinstance(other, StoredOtherwiseError)


def test_any_other_use_of_a_stored_id_is_refused(user: User) -> None:
    """APS-13, G6, G1: the first known id is named, and nothing is stored."""
    a, b, c = events(3)
    user.append(part("a", (a, b)))
    user.append(part("b", (c,)))
    uses = {
        "another stream": (part("b", (a, b)),),
        "a new stream": (part("new", (a,)),),
        "another order": (part("a", (b, a)),),
        "with a new event": (part("a", (a, b, event())),),
        "a new event first": (part("a", (event(), a)),),
        "of two streams": (part("a", (a, c)),),
        "beside a new append": (part("a", (a, b)), part("c", events(1))),
    }

    outcomes = {name: user.append(*append) for name, append in uses.items()}

    assert {
        name: isinstance(outcome, DuplicateEventError) and outcome.event_id
        for name, outcome in outcomes.items()
    } == {name: b.event_id if name == "another order" else a.event_id for name in uses}
    assert stored_ids(user) == [a.event_id, b.event_id, c.event_id]


def test_events_with_something_between_are_not_one_append(user: User) -> None:
    """G6: in the stream they follow each other, in the store they do not."""
    a, b = events(2)
    user.append(part("a", (a,)))
    user.store("b")
    user.append(part("a", (b,)))

    outcome = user.append(part("a", (a, b)))

    assert isinstance(outcome, DuplicateEventError)
    assert outcome.event_id == a.event_id


def test_several_streams_again_return_the_first_results(user: User) -> None:
    """G6, G9: a stream that was only checked says where it is now."""
    append = (part("a", events(2), 0), part("checked", expected=0), part("b", events(1), 0))
    first = user.append(*append)
    user.store("checked", 4)

    again = user.append(*append)

    assert versions(first) == [(1, 2), (None, 0), (1, 1)]
    assert versions(again) == [(1, 2), (None, 4), (1, 1)]
    assert isinstance(again, Committed)
    assert again.repeated


def test_times_are_those_of_the_commit_unless_overridden(user: User) -> None:
    """API-18, API-19, G10: an override is the event's, and that of the stream it creates."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    given = datetime(2013, 1, 1, 5, 17, 0, 123456, tzinfo=UTC)
    overridden = EncodedEvent(event().event_id, "Happened", b"{}", created_at=given)

    commit = user.store("plain", 2)
    user.append(part("old", (overridden, event())))
    user.append(part("plain", (EncodedEvent(event().event_id, "H", b"{}", created_at=given),)))

    times = [e.created_at for e in user.storage.read_all(1, 10, FORWARD, soon())]
    assert times[:2] == [commit.created_at] * 2
    assert before < times[0] <= datetime.now(UTC) + timedelta(seconds=1)
    assert times[2] == given
    assert times[3] > before
    assert times[4] == given
    assert user.storage.stream_info("old", soon()).created_at == given
    assert user.storage.stream_info("plain", soon()).created_at == commit.created_at
    assert {time.utcoffset() for time in times} == {timedelta(0)}


def test_the_format_of_a_payload_is_kept(user: User) -> None:
    """G10: which serializer wrote it; several of them share a stream and a commit."""
    formats = ("json", "msgpack", "json")
    written = tuple(EncodedEvent(uuid4(), "Happened", b"x", format=name) for name in formats)

    user.append(part("a", written))

    stored = user.storage.read_all(1, 10, ReadDirection.FORWARD, soon())
    assert tuple(each.format for each in stored) == formats


def test_one_of_many_concurrent_appends_with_the_same_expectation_wins(storage: Storage) -> None:
    """APS-10, G2, G1: the others learn the version it left."""

    def append(_: int) -> Outcome:
        session = storage.append_session()
        try:
            return session.append([(part("order-1", events(10), expected=0),)], soon())[0]
        finally:
            session.close()

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(append, range(5)))

    refused = [o.actual for o in outcomes if isinstance(o, WrongExpectedVersionError)]
    assert refused == [10] * 4
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
    assert storage.stream_info("$all", soon()).stream_version == 10


def test_concurrent_appends_of_several_streams_stay_gapless(storage: Storage) -> None:
    """G3, G9: in whatever order they name the streams, nobody deadlocks and nothing is lost."""
    streams = ["a", "b", "c", "d"]

    def append(turn: int) -> None:
        session = storage.append_session()
        rotated = streams[turn:] + streams[:turn]
        for _ in range(10):
            (outcome,) = session.append([tuple(part(s, events(2)) for s in rotated)], soon())
            assert isinstance(outcome, Committed)
        session.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))

    everything = storage.read_all(1, 1_000, FORWARD, soon())
    assert [e.global_position for e in everything] == list(range(1, 321))
    for stream in streams:
        own = [e.stream_version for e in everything if e.stream_id == stream]
        assert own == list(range(1, 81))


def test_nothing_is_written_after_the_deadline(user: User) -> None:
    """G25: a call whose deadline passed says so, and is harmless."""
    with pytest.raises(StorageUnavailableError):
        user.appender.append([(part("a", events(1)),)], time.monotonic() - 1)

    assert user.storage.stream_info("$all", soon()).stream_version == 0
