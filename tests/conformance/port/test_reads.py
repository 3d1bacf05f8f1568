"""What reads return, on the port itself."""

from __future__ import annotations

from uuid import uuid4

import pytest

from eventstore.model.errors import StreamNotFoundError
from eventstore.model.events import StreamInfo
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import EncodedEvent, StoredEvent
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, part

FORWARD = ReadDirection.FORWARD
BACKWARD = ReadDirection.BACKWARD


def positions(events: list[StoredEvent]) -> list[int]:
    return [e.position for e in events]


@pytest.mark.parametrize(
    ("start", "count", "direction", "expected"),
    [
        (1, 100, FORWARD, [1, 2, 3, 4, 5]),
        (1, 2, FORWARD, [1, 2]),
        (4, 2, FORWARD, [4, 5]),
        (5, 2, FORWARD, [5]),
        (6, 2, FORWARD, []),
        (5, 2, BACKWARD, [5, 4]),
        (2, 100, BACKWARD, [2, 1]),
        (1_000, 2, BACKWARD, [5, 4]),
        (2**63 - 1, 1, BACKWARD, [5]),
        (0, 2, BACKWARD, []),
    ],
)
def test_a_page_of_a_stream_starts_where_it_is_asked_to(
    user: User, start: int, count: int, direction: ReadDirection, expected: list[int]
) -> None:
    """RDS-06, RDS-07, SST-18, SST-23, G10: versions are inclusive and count from 1."""
    user.store("before", 2)
    user.store("order-1", 5)
    user.store("after", 2)

    page = user.storage.read_stream("order-1", start, count, direction, soon())

    assert positions(page) == [e.stream_version for e in page] == expected
    assert [e.global_position for e in page] == [version + 2 for version in expected]


@pytest.mark.parametrize(
    ("start", "count", "direction", "expected"),
    [
        (1, 100, FORWARD, [1, 2, 3, 4]),
        (2, 2, FORWARD, [2, 3]),
        (5, 10, FORWARD, []),
        (4, 3, BACKWARD, [4, 3, 2]),
        (1_000, 100, BACKWARD, [4, 3, 2, 1]),
        (0, 10, BACKWARD, []),
    ],
)
def test_a_page_of_all_streams_is_in_commit_order(
    user: User, start: int, count: int, direction: ReadDirection, expected: list[int]
) -> None:
    """RDS-09, RDS-10, G3: positions are global ones, versions stay those of each stream."""
    for stream in ("a", "b", "a", "b"):
        user.store(stream)

    page = user.storage.read_all(start, count, direction, soon())

    assert positions(page) == [e.global_position for e in page] == expected
    own = {1: ("a", 1), 2: ("b", 1), 3: ("a", 2), 4: ("b", 2)}
    assert [(e.stream_id, e.stream_version) for e in page] == [own[place] for place in expected]


def test_an_empty_store_has_nothing_to_read(user: User) -> None:
    """RDS-02, RDS-08: no error, no event, head 0."""
    assert user.storage.read_all(1, 10, FORWARD, soon()) == []
    assert user.storage.read_all(2**63 - 1, 10, BACKWARD, soon()) == []
    assert user.storage.read_after("$all", 0, 10, 1_000, soon()) == []
    assert user.storage.stream_info("$all", soon()) == StreamInfo(
        stream_id="$all", stream_version=0, created_at=None, deleted_at=None
    )


@pytest.mark.parametrize("direction", ReadDirection)
def test_a_missing_stream_is_an_error_that_names_it(user: User, direction: ReadDirection) -> None:
    """RDS-01, SST-10, G12: for a read; for a subscription it is an empty stream."""
    user.store("other")

    with pytest.raises(StreamNotFoundError, match="'missing'"):
        user.storage.read_stream("missing", 1, 10, direction, soon())
    assert user.storage.read_after("missing", 0, 10, 1_000, soon()) == []


def test_what_is_read_is_what_was_appended(user: User) -> None:
    """RDS-04, RDS-05, G10: every field, the missing ones missing, empty bytes empty."""
    full = EncodedEvent(uuid4(), "Größe 🐘", b"\x00\xff{}", b"", uuid4(), uuid4())
    bare = EncodedEvent(uuid4(), "bare", b"")
    user.append(part("straße", (full, bare)))

    stored = user.storage.read_stream("straße", 1, 10, FORWARD, soon())

    assert [
        EncodedEvent(e.event_id, e.event_type, e.data, e.metadata, e.causation_id, e.correlation_id)
        for e in stored
    ] == [full, bare]
    assert {e.stream_id for e in stored} == {"straße"}
    assert stored == user.storage.read_all(1, 10, FORWARD, soon())


@pytest.mark.parametrize("stream_id", ["order-1", "$all"])
@pytest.mark.parametrize(
    ("after", "count", "max_bytes", "expected"),
    [
        (0, 10, 1_000, [1, 2, 3, 4]),
        (1, 2, 1_000, [2, 3]),
        (4, 10, 1_000, []),
        (9, 10, 1_000, []),
        (0, 10, 250, [1, 2]),
        (0, 10, 300, [1, 2, 3]),
        (0, 10, 299, [1, 2]),
        (0, 10, 1, [1]),
        (3, 10, 100, [4]),
    ],
)
def test_what_a_subscription_has_not_seen_is_read_within_its_bytes(
    user: User, stream_id: str, after: int, count: int, max_bytes: int, expected: list[int]
) -> None:
    """G18, G22: data and metadata count, and one event is always read."""
    hundred = [EncodedEvent(uuid4(), "Big", b"d" * 60, b"m" * 40) for _ in range(4)]
    user.append(part("order-1", tuple(hundred)))

    page = user.storage.read_after(stream_id, after, count, max_bytes, soon())

    assert positions(page) == expected


@pytest.mark.parametrize("stream_id", ["order-1", "$all"])
@pytest.mark.parametrize(
    ("start", "count", "max_bytes", "direction", "expected"),
    [
        (1, 10, 1_000, FORWARD, [1, 2, 3, 4, 5]),
        (1, 10, 10, FORWARD, [1, 2, 3, 4]),
        (1, 10, 9, FORWARD, [1, 2, 3]),
        (1, 10, 5, FORWARD, [1, 2]),
        (1, 10, 3, FORWARD, [1, 2]),
        (1, 10, 1, FORWARD, [1]),
        (2, 1, 1_000, FORWARD, [2]),
        (3, 10, 100, FORWARD, [3, 4]),
        (4, 10, 100, FORWARD, [4]),
        (6, 10, 100, FORWARD, []),
        (10, 10, 3, BACKWARD, [5, 4]),
        (10, 10, 2, BACKWARD, [5]),
        (3, 10, 6, BACKWARD, [3, 2]),
        (10, 3, 1_000, BACKWARD, [5, 4, 3]),
        (10, 10, 2**62, BACKWARD, [5, 4, 3, 2, 1]),
    ],
)
def test_a_page_ends_with_the_event_that_reaches_its_bytes(
    user: User,
    stream_id: str,
    start: int,
    count: int,
    max_bytes: int,
    direction: ReadDirection,
    expected: list[int],
) -> None:
    """F47, G11: data and metadata count; fewer bytes mean that nothing follows."""
    sizes = (2, 3, 4, 100, 2)
    events = [EncodedEvent(uuid4(), "Sized", b"d" * (n - 1), b"m") for n in sizes]
    user.append(part("order-1", tuple(events)))

    if stream_id == "$all":
        page = user.storage.read_all(start, count, direction, soon(), max_bytes)
    else:
        page = user.storage.read_stream(stream_id, start, count, direction, soon(), max_bytes)

    assert positions(page) == expected
    assert [e.size for e in page] == [sizes[position - 1] for position in expected]


def test_a_bounded_page_of_a_missing_stream_is_an_error(user: User) -> None:
    """F47, G12."""
    with pytest.raises(StreamNotFoundError, match="'missing'"):
        user.storage.read_stream("missing", 1, 10, FORWARD, soon(), 100)


def test_what_a_subscription_reads_counts_in_its_own_positions(user: User) -> None:
    """SUB-20: the same event has two places."""
    user.store("a", 2)
    user.store("b", 2)

    own = user.storage.read_after("b", 1, 10, 1_000, soon())
    everywhere = user.storage.read_after("$all", 3, 10, 1_000, soon())

    assert [(e.position, e.global_position) for e in own] == [(2, 4)]
    assert [(e.position, e.global_position) for e in everywhere] == [(4, 4)]
    assert own[0].event_id == everywhere[0].event_id


def test_the_state_of_a_stream(user: User) -> None:
    """INF-11, INF-01, INF-02, INF-03, INF-08, INF-09, INF-10, SST-27: each its own version."""
    first = user.store("a", 3)
    user.store("b", 2)
    user.store("c", 1)

    assert user.storage.stream_info("a", soon()) == StreamInfo(
        stream_id="a", stream_version=3, created_at=first.created_at, deleted_at=None
    )
    assert user.storage.stream_info("b", soon()).stream_version == 2
    assert user.storage.stream_info("c", soon()).stream_version == 1
    assert user.storage.stream_info("$all", soon()).stream_version == 6
    with pytest.raises(StreamNotFoundError):
        user.storage.stream_info("d", soon())


def test_a_position_that_holds_another_event_is_another_history(user: User) -> None:
    """G31: beyond the head, or with another id, the database went back in time."""
    known = event()
    user.append(part("a", (event(), known)))

    assert user.storage.history_holds(2, known.event_id, soon())
    assert not user.storage.history_holds(2, uuid4(), soon())
    assert not user.storage.history_holds(1, known.event_id, soon())
    assert not user.storage.history_holds(3, known.event_id, soon())
