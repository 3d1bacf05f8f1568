"""The publisher over a store in memory: who is told what, and what the memory holds then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import HistoryRewoundError
from eventstore.model.names import ALL_STREAMS
from eventstore.ports.listening import Heard
from eventstore.ports.storage import AppendSession
from eventstore.ports.stored_events import Append, StoredEvent
from eventstore_actors.kernel.messages import (
    Child,
    ChildFailed,
    EventsCommitted,
    Forget,
    HeadMoved,
    HistoryRewound,
    Ref,
    Touched,
    Unwatch,
    Watch,
)
from tests.support.heads import (
    ScriptedHeads,
    ScriptedHeadsStorage,
    away,
    connected,
    moved,
    touched,
)
from tests.support.rooms import ANY, LONG, Ear, Rooms, one, rooms_over, several, soon, stop
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    config = Config("memory:", poll_interval=60)
    with rooms_over(config, lambda _: ScriptedHeadsStorage(config)) as rooms:
        yield rooms


@pytest.fixture
def publisher(rooms: Rooms) -> Ref:
    return rooms.start_publisher()


@pytest.fixture
def heads(rooms: Rooms, publisher: Ref) -> ScriptedHeads:
    """The listener's ear: nothing is heard but what a test says."""
    return newest_heads(rooms)


def newest_heads(rooms: Rooms, number: int = 1) -> ScriptedHeads:
    assert isinstance(rooms.storage, ScriptedHeadsStorage)
    heads = rooms.storage.heads
    wait_until(lambda: len(heads) >= number)
    return heads[-1]


@pytest.fixture
def session(rooms: Rooms) -> AppendSession:
    """Appends as another process does: this runtime hears of it from the listener at best."""
    return rooms.storage.append_session()


def append(session: AppendSession, *appends: Append) -> None:
    for each in appends:
        session.append([each], soon())


def committed(rooms: Rooms, first: int, last: int) -> EventsCommitted:
    """Return what the writer tells of the events from position *first* to *last*."""
    return EventsCommitted(tuple(stored(rooms)[first - 1 : last]))


def stored(rooms: Rooms) -> list[StoredEvent]:
    return rooms.storage.read_after(ALL_STREAMS, 0, 10_000, 10**9, soon())


def watch(publisher: Ref, stream_id: str) -> Ear:
    ear = Ear()
    publisher.tell(Watch(stream_id, ear.ref))
    return ear


def positions(rooms: Rooms, stream_id: str, after: int) -> list[int] | None:
    found = rooms.shared.recent.after(stream_id, after, 10_000, 10**9)
    return None if found is None else [event.position for event in found]


def held(rooms: Rooms, after: int) -> Any:
    return lambda: positions(rooms, ALL_STREAMS, after)


def listening(rooms: Rooms, heads: ScriptedHeads, head: int = 0) -> None:
    heads.say(connected(head))
    wait_until(lambda: rooms.shared.recent.head == head)


# ── the first who watches ────────────────────────────────────────────────────────────────────


def test_the_listener_listens_when_the_first_one_watches(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: what was committed before, announced to nobody, is looked for."""
    listening(rooms, heads)
    rooms.shared.recent.watched = False
    heads.say(moved(0))
    wait_until(lambda: heads.prompt is False)
    append(session, one("a"))
    a = watch(publisher, "a")
    wait_until(lambda: heads.prompt)
    assert rooms.shared.recent.watched
    heads.say(connected(1))
    assert a.next() == HeadMoved(None)
    assert positions(rooms, "a", 0) == [1]


def test_who_watches_later_wakes_nobody(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G22: the memory is taken up once."""
    listening(rooms, heads)
    append(session, one("a"))
    heads.say(moved(1))
    wait_until(lambda: rooms.shared.recent.head == 1)
    assert watch(publisher, "a").next() == HeadMoved(1)
    assert watch(publisher, "$all").next() == HeadMoved(1)


# ── who is told ──────────────────────────────────────────────────────────────────────────────


def test_only_the_concerned_are_told_each_in_its_own_numbers(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    listening(rooms, heads)
    everything, a, b = (watch(publisher, stream) for stream in (ALL_STREAMS, "a", "b"))
    assert [ear.next() for ear in (everything, a, b)] == [
        HeadMoved(0),
        HeadMoved(None),
        HeadMoved(None),
    ]
    append(session, one("other"), one("a"), one("a"))
    publisher.tell(committed(rooms, 1, 3))
    assert everything.next() == HeadMoved(3)
    assert a.next() == HeadMoved(2)
    assert b.so_far() == []
    assert positions(rooms, ALL_STREAMS, 0) == [1, 2, 3]
    assert positions(rooms, "a", 0) == [1, 2]


def test_what_another_process_commits_is_heard_and_read(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: a live event is found without waiting for the next one."""
    listening(rooms, heads)
    everything, a = watch(publisher, ALL_STREAMS), watch(publisher, "a")
    everything.next(), a.next()
    append(session, one("a", 0, *several(2)))
    heads.say(moved(2))
    assert everything.next() == HeadMoved(2)
    assert a.next() == HeadMoved(2)
    assert positions(rooms, "a", 0) == [1, 2]


def test_who_watches_is_told_at_once_how_far_it_is(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G24: after a restart of the publisher nothing that was lost with it is missed."""
    append(session, one("a", 0, *several(2)))
    early = watch(publisher, "a")
    listening(rooms, heads, 2)
    assert early.next() == HeadMoved(None)
    assert early.so_far() == []
    assert watch(publisher, ALL_STREAMS).next() == HeadMoved(2)
    assert watch(publisher, "a").next() == HeadMoved(2)
    assert watch(publisher, "b").next() == HeadMoved(None)


def test_who_does_not_watch_any_more_is_not_told(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    listening(rooms, heads)
    gone, dead, there = (watch(publisher, ALL_STREAMS) for _ in range(3))
    publisher.tell(Unwatch(ALL_STREAMS, gone.ref))
    publisher.tell(Unwatch("never watched", gone.ref))
    dead.ref.stop()
    append(session, one("a"), one("a"))
    publisher.tell(committed(rooms, 1, 1))
    there.next(), there.next()
    publisher.tell(committed(rooms, 2, 2))
    assert there.next() == HeadMoved(2)
    assert gone.so_far() == [HeadMoved(0)]


class SlowEar:
    """A watcher that holds the publisher up when it is told something."""

    actor_urn = "slow"

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def tell(self, message: object) -> None:
        self.entered.set()
        assert self.released.wait(LONG)


def test_what_comes_while_it_is_busy_is_announced_together(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G22: 500 subscriptions are told once, not once per commit."""
    listening(rooms, heads)
    ear = watch(publisher, ALL_STREAMS)
    ear.next()
    slow: Any = SlowEar()
    publisher.tell(Watch("slow", slow))
    assert slow.entered.wait(LONG)
    append(session, *(one("a") for _ in range(50)))
    for position in range(1, 51):
        publisher.tell(committed(rooms, position, position))
    slow.released.set()
    wait_until(lambda: rooms.shared.recent.head == 50)
    assert ear.next() == HeadMoved(50)
    assert ear.so_far() == []


def test_a_touched_row_makes_the_keeper_look_and_nobody_else(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads
) -> None:
    keeper = rooms.listen_as(Child.KEEPER)
    listening(rooms, heads)
    a = watch(publisher, "a")
    a.next()
    heads.say(touched(0, 7))
    assert keeper.next(timeout=PATIENCE) == Touched(frozenset({7}))
    assert a.so_far() == []


def test_a_deletion_makes_everybody_forget_what_was_not_sent(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads
) -> None:
    """G13: each deletion once; what is held in memory may be what was deleted."""
    listening(rooms, heads)
    a = watch(publisher, "a")
    a.next()
    heads.say(Heard(0, reconnected=False, deletion_no=1))
    a.next(Forget, timeout=PATIENCE)
    heads.say(Heard(0, reconnected=True, deletion_no=1))
    a.next(HeadMoved)
    assert [each for each in a.so_far() if isinstance(each, Forget)] == []


# ── writer and listener, in any order ────────────────────────────────────────────────────────


@pytest.mark.parametrize("writer_first", [True, False])
def test_what_writer_and_listener_both_tell_is_held_once(
    rooms: Rooms,
    publisher: Ref,
    heads: ScriptedHeads,
    session: AppendSession,
    writer_first: bool,
) -> None:
    listening(rooms, heads)
    append(session, one("a"), one("a"), one("b"))
    if writer_first:
        publisher.tell(committed(rooms, 1, 3))
        wait_until(held(rooms, 2))
        heads.say(moved(3))
    else:
        heads.say(moved(3))
        wait_until(held(rooms, 2))
        publisher.tell(committed(rooms, 1, 3))
    publisher.ask(Unwatch("x", publisher), timeout=LONG)
    assert positions(rooms, ALL_STREAMS, 0) == [1, 2, 3]


def test_the_listener_does_not_read_what_the_writer_told(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    listening(rooms, heads)
    append(session, one("a"), one("a"))
    publisher.tell(committed(rooms, 1, 2))
    wait_until(held(rooms, 1))
    keeper = rooms.listen_as(Child.KEEPER)
    heads.say(moved(2))
    heads.say(touched(2, 7))
    assert keeper.next(timeout=PATIENCE) == Touched(frozenset({7}))
    assert len(heads.reads) == 1


def test_the_listener_gives_a_commit_under_way_a_moment(
    rooms: Rooms,
    publisher: Ref,
    heads: ScriptedHeads,
    session: AppendSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The announcement of our own commit is often here before the writer has its answer."""
    monkeypatch.setattr("eventstore_actors.announcing.listener.GRACE", LONG)
    listening(rooms, heads)
    reads = len(heads.reads)
    rooms.shared.recent.writing = True
    append(session, one("a"))
    heads.say(moved(1))
    wait_until(lambda: heads.all_heard)
    publisher.tell(committed(rooms, 1, 1))
    wait_until(held(rooms, 0))
    heads.say(moved(1))
    wait_until(lambda: heads.all_heard)
    assert len(heads.reads) == reads


def test_a_commit_under_way_that_does_not_come_is_read(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: what is announced may be another process's, whatever our writer does."""
    listening(rooms, heads)
    rooms.shared.recent.writing = True
    append(session, one("a"))
    heads.say(moved(1))
    wait_until(held(rooms, 0))


def test_a_hole_before_our_own_events_is_filled_by_the_listener(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G14: two processes write alternately, and nothing is out of order in the memory."""
    listening(rooms, heads)
    everything, ours = watch(publisher, ALL_STREAMS), watch(publisher, "ours")
    everything.next(), ours.next()
    append(session, one("theirs", 0, *several(3)), one("ours"), one("theirs"), one("ours"))
    publisher.tell(committed(rooms, 4, 4))
    publisher.tell(committed(rooms, 6, 6))
    wait_until(lambda: rooms.shared.recent.head == 6)
    assert positions(rooms, ALL_STREAMS, 0) == [1, 2, 3, 4, 5, 6]
    assert positions(rooms, "ours", 0) == [1, 2]
    wait_until(lambda: everything.next() == HeadMoved(6))
    wait_until(lambda: ours.next() == HeadMoved(2))


def test_while_the_database_is_away_a_hole_holds_nobody_up(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: who cannot be told exactly is told to look."""
    listening(rooms, heads)
    a = watch(publisher, "a")
    a.next()
    heads.say(away())
    wait_until(lambda: not rooms.shared.recent.listening)
    append(session, one("theirs"), one("a"))
    publisher.tell(committed(rooms, 2, 2))
    assert a.next() == HeadMoved(None)
    assert positions(rooms, ALL_STREAMS, 0) is None
    assert positions(rooms, ALL_STREAMS, 1) == [2]


def test_what_the_listener_could_not_read_is_looked_for_by_everybody(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: our own events behind a hole outlive a lost connection of the listener."""
    listening(rooms, heads)
    a = watch(publisher, "a")
    a.next()
    append(session, one("theirs"), one("a"))
    heads.before_reading = heads.lose_connection
    publisher.tell(committed(rooms, 2, 2))
    assert a.next() == HeadMoved(None)


def test_more_than_the_memory_holds_is_not_read(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G22: a backlog costs no memory; the subscriptions read it themselves."""
    listening(rooms, heads)
    a = watch(publisher, "a")
    a.next()
    reads = len(heads.reads)
    heads.say(moved(rooms.shared.recent.max_events + 1))
    assert a.next() == HeadMoved(None)
    assert heads.reads[reads:] == [rooms.shared.recent.max_events], "the newest alone"
    assert rooms.shared.recent.head == rooms.shared.recent.max_events + 1


def test_many_new_events_are_read_in_pages(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    listening(rooms, heads)
    append(session, *(one("a", ANY, *several(700)) for _ in range(4)))
    heads.say(moved(2_800))
    wait_until(lambda: rooms.shared.recent.head == 2_800)
    assert positions(rooms, ALL_STREAMS, 0) == list(range(1, 2_801))
    assert heads.reads[1:] == [0, 999, 1_999], "each with the newest known event"


# ── connections and history ──────────────────────────────────────────────────────────────────


def test_after_a_reconnect_nothing_announced_before_is_trusted(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G23: what was announced while the connection was lost is found."""
    listening(rooms, heads)
    append(session, one("a"), one("a"))
    publisher.tell(committed(rooms, 1, 2))
    wait_until(held(rooms, 1))
    a = watch(publisher, "a")
    a.next()
    append(session, one("a"), one("a"))
    heads.say(connected(4))
    assert a.next() == HeadMoved(None)
    assert positions(rooms, ALL_STREAMS, 2) is None
    assert positions(rooms, ALL_STREAMS, 3) == [4]


def test_the_head_never_goes_back_behind_our_own_events(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """The head was read before a commit that the writer told of before the connection was."""
    listening(rooms, heads)
    append(session, one("a"), one("a"))
    publisher.tell(committed(rooms, 1, 2))
    wait_until(held(rooms, 1))
    ear = watch(publisher, ALL_STREAMS)
    assert ear.next() == HeadMoved(2)
    heads.say(connected(1))
    assert ear.next() == HeadMoved(None)
    assert rooms.shared.recent.head == 2


def test_a_database_that_is_away_is_seen_and_its_return_too(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads
) -> None:
    """G25: it resumes by itself."""
    listening(rooms, heads)
    assert rooms.shared.recent.listening
    heads.say(away())
    wait_until(lambda: not rooms.shared.recent.listening)
    heads.say(away())
    heads.say(connected(0))
    wait_until(lambda: rooms.shared.recent.listening)


def test_a_lost_event_is_noticed_at_the_reconnect(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G31: the database went back; the runtime stops."""
    listening(rooms, heads)
    append(session, one("a"))
    (event,) = stored(rooms)
    lost = msgspec.structs.replace(event, event_id=uuid4())
    publisher.tell(EventsCommitted((lost,)))
    wait_until(held(rooms, 0))
    heads.say(connected(1))
    rewound = rooms.supervisor.next(HistoryRewound)
    assert isinstance(rewound.error, HistoryRewoundError)
    assert str(lost.event_id) in str(rewound.error)


def test_an_event_of_the_time_before_the_runtime_counts_as_history_too(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G31: the newest event found at the start must still be there later."""
    append(session, one("a"), one("a"))
    listening(rooms, heads, 2)
    assert rooms.shared.recent.mark == (2, stored(rooms)[1].event_id)


def test_a_position_given_out_twice_is_noticed(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G31: our own commit got a position that is taken: the server lost what was there."""
    listening(rooms, heads)
    append(session, one("a"))
    publisher.tell(committed(rooms, 1, 1))
    (event,) = stored(rooms)
    publisher.tell(EventsCommitted((msgspec.structs.replace(event, event_id=uuid4()),)))
    assert isinstance(rooms.supervisor.next(HistoryRewound).error, HistoryRewoundError)


# ── living ───────────────────────────────────────────────────────────────────────────────────


def test_a_crashed_listener_crashes_the_publisher_and_a_new_one_goes_on(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads, session: AppendSession
) -> None:
    """G24: the listener is restarted with its publisher."""
    listening(rooms, heads)
    heads.say(RuntimeError("the listener broke"))
    failed = rooms.supervisor.next(ChildFailed)
    assert failed.urn == publisher.actor_urn
    assert str(failed.error) == "the listener broke"
    assert heads.closed
    again = rooms.start_publisher()
    append(session, one("a"))
    early = watch(again, ALL_STREAMS)
    wait_until(lambda: rooms.shared.recent.head is None)
    listening(rooms, newest_heads(rooms, 2), 1)
    assert early.next() == HeadMoved(None)
    assert watch(again, ALL_STREAMS).next() == HeadMoved(1)


def test_stopping_ends_the_listener_at_once(
    rooms: Rooms, publisher: Ref, heads: ScriptedHeads
) -> None:
    """G26: it does not wait for the poll interval."""
    listening(rooms, heads)
    stop(publisher)
    assert heads.closed
    assert not rooms.shared.recent.listening
    assert not any(thread.name == "eventstore-listener" for thread in threading.enumerate())
