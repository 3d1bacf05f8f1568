"""The memory of the newest events: never a hole, never more than it may hold, never a wrong end."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventstore.model.names import ALL_STREAMS
from eventstore.ports.stored_events import StoredEvent
from eventstore_actors.state.recent_events import RecentEvents

AT = datetime.now(UTC)
MANY = 1_000
LARGE = 1_000_000


def stored(position: int, stream_id: str, version: int, size: int = 1) -> StoredEvent:
    return StoredEvent(
        position,
        position,
        stream_id,
        version,
        uuid4(),
        "T",
        b"x" * size,
        None,
        None,
        None,
        "json",
        AT,
    )


def log_of(*streams: str, size: int = 1) -> list[StoredEvent]:
    """Return a store's events, one per name, in order."""
    versions: dict[str, int] = {}
    log = []
    for position, stream_id in enumerate(streams, start=1):
        versions[stream_id] = versions.get(stream_id, 0) + 1
        log.append(stored(position, stream_id, versions[stream_id], size))
    return log


def positions(found: tuple[StoredEvent, ...] | None) -> list[int] | None:
    return None if found is None else [event.position for event in found]


def read(recent: RecentEvents, stream_id: str, after: int) -> list[int] | None:
    return positions(recent.after(stream_id, after, MANY, LARGE))


def test_a_new_memory_covers_nothing() -> None:
    recent = RecentEvents()
    assert recent.head is None
    assert read(recent, ALL_STREAMS, 0) is None
    assert read(recent, "a", 0) is None


def test_all_events_are_read_after_any_position_of_the_run() -> None:
    recent = RecentEvents()
    recent.extend(log_of("a", "b", "a", "c")[1:])
    assert [read(recent, ALL_STREAMS, after) for after in range(6)] == [
        None,
        [2, 3, 4],
        [3, 4],
        [4],
        [],
        None,
    ]


def test_a_stream_is_read_in_its_own_versions() -> None:
    recent = RecentEvents()
    recent.extend(log_of("a", "b", "a", "b", "a")[1:])
    assert [read(recent, "a", after) for after in range(5)] == [None, [2, 3], [3], [], None]
    assert read(recent, "c", 0) is None
    found = recent.after("b", 0, MANY, LARGE)
    assert found is not None
    assert [(e.position, e.stream_version, e.global_position) for e in found] == [
        (1, 1, 2),
        (2, 2, 4),
    ]


def test_what_is_known_is_ignored_and_what_is_new_is_told() -> None:
    recent = RecentEvents()
    log = log_of(*"abcde")
    assert recent.extend(log[:3]) == log[:3]
    assert recent.extend(log[1:]) == log[3:]
    assert recent.extend(log) == []
    assert read(recent, ALL_STREAMS, 0) == [1, 2, 3, 4, 5]


def test_behind_a_hole_it_starts_anew() -> None:
    recent = RecentEvents()
    log = log_of(*"aaaaaa")
    recent.extend(log[:2])
    assert recent.extend(log[4:]) == log[4:]
    assert read(recent, ALL_STREAMS, 2) is None
    assert read(recent, "a", 2) is None
    assert read(recent, "a", 4) == [5, 6]
    assert recent.head == 6


def test_what_may_be_in_a_hole_is_not_denied() -> None:
    """G23: the newest known event of a stream is perhaps not its newest."""
    recent = RecentEvents()
    log = log_of(*"abba")
    recent.extend(log[:2])
    recent.extend(log[3:])
    assert read(recent, "b", 1) is None


def test_a_page_is_bounded_in_events_and_bytes_but_has_the_first_event() -> None:
    recent = RecentEvents()
    recent.extend(log_of(*"aaaa", size=10))
    for stream_id in (ALL_STREAMS, "a"):
        assert positions(recent.after(stream_id, 1, 2, LARGE)) == [2, 3]
        assert positions(recent.after(stream_id, 1, MANY, 29)) == [2, 3]
        assert positions(recent.after(stream_id, 1, MANY, 5)) == [2]


def test_the_oldest_events_go_first() -> None:
    recent = RecentEvents(max_bytes=39, max_events=MANY)
    recent.extend(log_of(*"aaaa", size=10))
    assert read(recent, ALL_STREAMS, 0) is None
    assert read(recent, ALL_STREAMS, 1) == [2, 3, 4]
    few = RecentEvents(max_bytes=LARGE, max_events=2)
    few.extend(log_of(*"aaaa"))
    assert read(few, "a", 1) is None
    assert read(few, "a", 2) == [3, 4]


def test_an_event_larger_than_the_memory_empties_it() -> None:
    recent = RecentEvents(max_bytes=30)
    recent.extend(log_of(*"ab", size=10))
    recent.extend([stored(3, "c", 1, size=31)])
    assert read(recent, ALL_STREAMS, 2) is None
    assert read(recent, "a", 0) is None
    assert read(recent, ALL_STREAMS, 3) == []
    recent.extend([stored(4, "d", 1)])
    assert read(recent, ALL_STREAMS, 3) == [4]


def test_cleared_at_a_head_it_proves_that_nothing_is_beyond() -> None:
    recent = RecentEvents()
    recent.extend(log_of("a"))
    recent.clear(head=7)
    assert read(recent, ALL_STREAMS, 0) is None
    assert read(recent, "a", 1) is None
    assert read(recent, ALL_STREAMS, 7) == []
    recent.extend([stored(8, "b", 4)])
    assert read(recent, ALL_STREAMS, 7) == [8]
    recent.clear()
    assert recent.head is None
    assert read(recent, ALL_STREAMS, 8) is None


def test_the_newest_event_is_remembered_beyond_a_clear() -> None:
    """G31: after a reconnect the history is compared with it."""
    recent = RecentEvents()
    assert recent.mark is None
    log = log_of(*"ab")
    recent.extend(log)
    recent.clear(head=9)
    assert recent.mark == (2, log[1].event_id)


def test_another_event_at_a_known_position_is_a_contradiction() -> None:
    """G31: the database went back and gave the position out again."""
    recent = RecentEvents()
    log = log_of(*"ab")
    recent.extend(log)
    assert not recent.contradicts(log[1])
    assert recent.contradicts(msgspec.structs.replace(log[1], event_id=uuid4()))
    assert not recent.contradicts(stored(3, "c", 1))


def test_the_newest_version_of_a_stream_is_known_while_its_events_are_held() -> None:
    recent = RecentEvents(max_events=2)
    recent.extend(log_of(*"aab"))
    assert (recent.version_of("a"), recent.version_of("b")) == (2, 1)
    recent.extend([stored(4, "b", 2)])
    assert (recent.version_of("a"), recent.version_of("b")) == (None, 2)


class MemoryOfAStore(RuleBasedStateMachine):
    """Any order of announcements, against the log of the store itself."""

    def __init__(self) -> None:
        super().__init__()
        self.recent = RecentEvents(max_bytes=40, max_events=12)
        self.log: list[StoredEvent] = []
        self.versions: dict[str, int] = {}

    @initialize(count=st.integers(0, 5))
    def begin(self, count: int) -> None:
        for _ in range(count):
            self.commit(stream_id="a", size=1)

    @rule(stream_id=st.sampled_from("abc"), size=st.sampled_from([1, 1, 1, 5, 50]))
    def commit(self, stream_id: str, size: int) -> None:
        self.versions[stream_id] = self.versions.get(stream_id, 0) + 1
        self.log.append(stored(len(self.log) + 1, stream_id, self.versions[stream_id], size))

    @rule(start=st.integers(0, 60), count=st.integers(0, 20))
    def announce(self, start: int, count: int) -> None:
        before = self.recent.head
        events = self.log[start : start + count]
        known = before or 0
        assert self.recent.extend(events) == [e for e in events if e.global_position > known]

    @rule(back=st.integers(0, 3))
    def announce_the_newest(self, back: int) -> None:
        self.recent.extend(self.log[max(0, (self.recent.head or 0) - back) :])

    @rule(known=st.booleans())
    def clear(self, known: bool) -> None:
        self.recent.clear(head=len(self.log) if known else None)

    @invariant()
    def never_reads_a_hole_or_a_false_end(self) -> None:
        head = self.recent.head
        for stream_id in (ALL_STREAMS, *self.versions):
            whole = [e for e in self.log[: head or 0] if stream_id in (ALL_STREAMS, e.stream_id)]
            for after in range(len(whole) + 2):
                found = self.recent.after(stream_id, after, MANY, LARGE)
                if found is not None:
                    expected = whole[after:]
                    assert after <= len(whole)
                    assert [e.event_id for e in found] == [e.event_id for e in expected]
                    assert [e.position for e in found] == list(range(after + 1, len(whole) + 1))

    @invariant()
    def stays_within_its_bounds(self) -> None:
        held = self.recent._run
        assert len(held) <= 12
        assert sum(event.size for event in held) == self.recent._bytes <= 40
        streams = {event.stream_id for event in held}
        assert self.recent._by_stream == {
            stream_id: [event for event in held if event.stream_id == stream_id]
            for stream_id in streams
        }


TestMemoryOfAStore = MemoryOfAStore.TestCase


@given(st.integers(1, 50), st.integers(1, 9))
def test_what_was_just_announced_can_be_read(length: int, last: int) -> None:
    recent = RecentEvents(max_events=10)
    log = log_of(*("a" for _ in range(length)))
    recent.extend(log)
    after = max(length - last, 0)
    assert read(recent, "a", after) == list(range(after + 1, length + 1))
    assert read(recent, ALL_STREAMS, after) == list(range(after + 1, length + 1))
