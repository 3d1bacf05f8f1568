"""The writer over a store in memory: one commit for what waits, one answer for each caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import msgspec
import pykka
import pytest
from msgspec.structs import replace

from eventstore.model.config import Config
from eventstore.model.errors import (
    DuplicateEventError,
    NotRunningError,
    OutcomeUnknownError,
    StorageError,
    StorageUnavailableError,
    WrongExpectedVersionError,
)
from eventstore.ports.stored_events import Append, Outcome, StreamAppend
from eventstore.storages.memory import MemoryStorage
from eventstore_actors.appending.writer import Writer
from eventstore_actors.kernel.messages import Child, ChildFailed, ChildStopped, EventsCommitted
from eventstore_actors.state.announcements import News
from tests.support.rooms import (
    ANY,
    Ear,
    Gate,
    Rooms,
    ScriptedSession,
    encoded,
    in_threads,
    one,
    rooms_over,
    several,
    stop,
)
from tests.support.waiting import PATIENCE, wait_until


class ScriptedStorage(MemoryStorage):
    """A store in memory whose writer's session follows a script."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.session: ScriptedSession

    def append_session(self) -> ScriptedSession:  # type: ignore[override]
        self.session = ScriptedSession(super().append_session())
        return self.session


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    config = Config("memory:", max_commit_bytes=1_000)
    with rooms_over(config, lambda _: ScriptedStorage(config)) as rooms:
        yield rooms


@pytest.fixture
def publisher(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.PUBLISHER)


@pytest.fixture
def writer(rooms: Rooms, publisher: Ear) -> pykka.ActorRef[Writer]:
    return rooms.start_writer()


@pytest.fixture
def session(rooms: Rooms, writer: pykka.ActorRef[Writer]) -> ScriptedSession:
    wait_until(lambda: hasattr(rooms.storage, "session"))
    assert isinstance(rooms.storage, ScriptedStorage)
    return rooms.storage.session


def gated(session: ScriptedSession) -> Gate:
    """Hold up the next attempt, so that appends queue up behind it."""
    gate = Gate(session.through)
    session.steps.put(gate)
    return gate


def sizes(session: ScriptedSession) -> list[int]:
    """Return how many items each attempt had."""
    return [len(appends) for appends in session.attempts]


# ── group commit ─────────────────────────────────────────────────────────────────────────────


def test_what_waits_while_a_commit_runs_becomes_the_next_commit(
    rooms: Rooms, session: ScriptedSession
) -> None:
    gate = gated(session)
    first = rooms.send(one("first", 0))
    assert gate.entered.wait(PATIENCE)
    waiting = [rooms.send(one(f"s{n}", 0)) for n in range(20)]
    gate.opened.set()
    assert first.get().results[0].last_global_position == 1
    positions = [each.get().results[0].last_global_position for each in waiting]
    assert positions == list(range(2, 22))
    assert sizes(session) == [1, 20]


def test_the_callers_of_a_small_commit_share_the_next_one_if_they_come_back_in_a_moment(
    rooms: Rooms, session: ScriptedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore_actors.appending.commit_plan.RETURN_WINDOW", 60.0)
    is_back = threading.Event()
    moment = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: is_back.wait(PATIENCE))
    monkeypatch.setattr("eventstore_actors.appending.writer.time", moment)
    gate = gated(session)
    first = rooms.send(one("first", 0))
    assert gate.entered.wait(PATIENCE)
    waiting = rooms.send(one("a", 0))
    gate.opened.set()
    first.get()
    back = rooms.send(one("b", 0))
    is_back.set()
    for each in (waiting, back):
        each.get()
    assert sizes(session) == [1, 2]
    # It is noted after the answers.
    wait_until(lambda: rooms.shared.turn.shared)
    rooms.append(one("c", 0))
    wait_until(lambda: not rooms.shared.turn.shared)


def test_appends_of_any_version_to_one_stream_share_an_item_and_keep_their_order(
    rooms: Rooms, session: ScriptedSession
) -> None:
    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    waiting = [rooms.send(one("hot", ANY, *several(n))) for n in (1, 3, 2)]
    gate.opened.set()
    results = [each.get().results[0] for each in waiting]
    assert [(r.first_version, r.last_version) for r in results] == [(1, 1), (2, 4), (5, 6)]
    assert [(r.first_global_position, r.last_global_position) for r in results] == [
        (2, 2),
        (3, 5),
        (6, 7),
    ]
    assert sizes(session) == [1, 1]


def test_a_refused_append_fails_no_neighbour(rooms: Rooms, session: ScriptedSession) -> None:
    """G7: each append of a commit stands or falls on its own."""
    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    good, bad, other = (
        rooms.send(one("a", 0)),
        rooms.send(one("b", 7)),
        rooms.send(one("c", 0)),
    )
    gate.opened.set()
    assert good.get().results[0].last_global_position == 2
    with pytest.raises(WrongExpectedVersionError) as refused:
        bad.get()
    assert refused.value.actual == 0
    assert other.get().results[0].last_global_position == 3
    assert len(session.attempts) == 2


def test_a_refused_merged_item_is_decided_append_by_append(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G6, G7: only the append that uses a stored id is refused, and the repeated one is not."""
    used, repeated = encoded(), encoded()
    rooms.append(one("elsewhere", 0, used))
    first = rooms.append(one("hot", ANY, repeated))
    gate = gated(session)
    rooms.send(one("busy"))
    assert gate.entered.wait(PATIENCE)
    waiting = [
        rooms.send(append)
        for append in (
            one("hot", ANY, *several(2)),
            one("hot", ANY, used),
            one("hot", ANY, repeated),
            one("hot"),
        )
    ]
    gate.opened.set()
    assert waiting[0].get().results[0].first_version == 2
    with pytest.raises(DuplicateEventError):
        waiting[1].get()
    again = waiting[2].get()
    assert again.repeated
    assert [replace(result, repeated=False) for result in again.results] == [*first.results]
    assert waiting[3].get().results[0].first_version == 4


def test_later_appends_to_the_stream_wait_for_the_ones_that_are_sent_alone(
    rooms: Rooms, session: ScriptedSession
) -> None:
    used = encoded()
    rooms.append(one("elsewhere", 0, used))
    gate = gated(session)
    rooms.send(one("busy"))
    assert gate.entered.wait(PATIENCE)
    merged = [rooms.send(one("hot")), rooms.send(one("hot", ANY, used)), rooms.send(one("hot"))]
    exact = rooms.send(one("hot", 2))
    gate.opened.set()
    assert [merged[0].get().results[0].last_version, merged[2].get().results[0].last_version] == [
        1,
        2,
    ]
    assert exact.get().results[0].last_version == 3


def test_a_poisonous_append_fails_alone(rooms: Rooms, session: ScriptedSession) -> None:
    """G7: what the server refuses as a whole is sent append by append."""

    def refuse_poison(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        if any(part.stream_id == "poison" for append in appends for part in append):
            raise StorageError("poison")
        return session.through(appends, deadline)

    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    waiting = [rooms.send(one(stream, 0)) for stream in ("a", "poison", "b")]
    for _ in range(4):
        session.steps.put(refuse_poison)
    gate.opened.set()
    assert waiting[0].get().results[0].last_global_position == 2
    with pytest.raises(StorageError, match="poison"):
        waiting[1].get()
    assert waiting[2].get().results[0].last_global_position == 3
    assert sizes(session) == [1, 3, 1, 1, 1]


def test_an_unexpected_error_of_one_append_neither_crashes_nor_spreads(
    rooms: Rooms, session: ScriptedSession, writer: pykka.ActorRef[Writer]
) -> None:
    session.steps.put(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"))
    with pytest.raises(OutcomeUnknownError) as failed:
        rooms.append(one("a"))
    assert isinstance(failed.value.__cause__, UnicodeEncodeError)
    assert rooms.append(one("b", 0)).results[0].last_global_position == 1
    assert writer.is_alive()


def test_a_large_append_goes_alone(rooms: Rooms, session: ScriptedSession) -> None:
    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    large = [rooms.send(one(f"large-{n}", 0, encoded(b"x" * 1_001))) for n in range(3)]
    small = rooms.send(one("small", 0))
    gate.opened.set()
    assert small.get().results[0].last_global_position == 3
    assert [each.get().results[0].last_global_position for each in large] == [2, 4, 5]
    assert sizes(session) == [1, 1, 1, 1, 1]


# ── attempts ─────────────────────────────────────────────────────────────────────────────────


def test_an_append_is_tried_again_while_the_database_is_away(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G25: everything resumes by itself."""
    for _ in range(3):
        session.steps.put(StorageUnavailableError("away"))
    assert rooms.append(one("a", 0)).results[0].last_global_position == 1
    assert len(session.attempts) == 4


def test_a_lost_answer_is_found_by_the_same_ids(rooms: Rooms, session: ScriptedSession) -> None:
    """G6: the append that was stored is not stored again, and its first result is returned."""

    def store_and_lose(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.through(appends, deadline)
        raise OutcomeUnknownError("the connection was lost")

    session.steps.put(store_and_lose)
    committed = rooms.append(one("a", 0, *several(2)))
    assert (committed.results[0].first_version, committed.results[0].last_version) == (1, 2)
    assert [version for _, _, version, _ in rooms.stored()] == [1, 2]


def test_a_merged_item_whose_answer_was_lost_is_split_like_any_other(
    rooms: Rooms, session: ScriptedSession
) -> None:
    def store_and_lose(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.through(appends, deadline)
        raise OutcomeUnknownError("the connection was lost")

    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    waiting = [rooms.send(one("hot", ANY, *several(n))) for n in (2, 1)]
    session.steps.put(store_and_lose)
    gate.opened.set()
    assert [each.get().results[0].first_version for each in waiting] == [1, 3]
    assert len(rooms.stored()) == 4


def test_at_the_deadline_it_was_never_sent(rooms: Rooms, session: ScriptedSession) -> None:
    """G25: certainly not stored."""

    def away(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.steps.put(away)
        raise StorageUnavailableError("connection refused")

    session.steps.put(away)
    begin = time.monotonic()
    with pytest.raises(StorageUnavailableError):
        rooms.append(one("a"), timeout=0.3)
    assert 0.2 < time.monotonic() - begin < PATIENCE


def test_an_early_deadline_in_a_group_is_as_certain_as_the_others(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G25: between two attempts that wrote nothing, a caller that gives up knows that."""
    back = threading.Event()

    def away(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        if back.is_set():
            return session.through(appends, deadline)
        session.steps.put(away)
        raise StorageUnavailableError("connection refused")

    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    early, late = rooms.send(one("early"), timeout=0.5), rooms.send(one("late"))
    session.steps.put(away)
    gate.opened.set()
    with pytest.raises(StorageUnavailableError):
        early.get()
    back.set()
    assert late.get().results[0].first_global_position == 2
    assert len(rooms.stored()) == 2


def test_at_the_deadline_it_may_be_stored(rooms: Rooms, session: ScriptedSession) -> None:
    """G25: an append whose answer was lost is never called unstored, whatever came after."""

    def lose_again(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.steps.put(away)
        raise OutcomeUnknownError("lost")

    def away(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.steps.put(away)
        raise StorageUnavailableError("connection refused")

    session.steps.put(lose_again)
    with pytest.raises(OutcomeUnknownError):
        rooms.append(one("a"), timeout=0.3)


def test_what_expired_in_the_queue_is_never_sent(rooms: Rooms, session: ScriptedSession) -> None:
    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    late = rooms.send(one("late"), timeout=0.05)
    with pytest.raises(StorageUnavailableError):
        late.get()
    assert rooms.limit.queued_appends == 1
    gate.opened.set()
    rooms.append(one("last"))
    assert [stream for _, stream, _, _ in rooms.stored()] == ["first", "last"]


def test_the_caller_is_not_held_up_by_a_session_that_does_not_return(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G25: no call blocks longer than its deadline."""
    gate = gated(session)
    begin = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        rooms.append(one("a"), timeout=0.1)
    assert time.monotonic() - begin < PATIENCE
    assert rooms.limit.queued_appends == 1
    gate.opened.set()
    wait_until(lambda: rooms.limit.queued_appends == 0)


def test_a_dead_connection_does_not_cost_the_whole_deadline(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G25: one attempt waits as long as its bytes justify, not as long as a patient caller."""
    deadlines: list[float] = []

    def note(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        deadlines.append(deadline - time.monotonic())
        return session.through(appends, deadline)

    session.steps.put(note)
    rooms.append(one("a"), timeout=10_000)
    assert deadlines[0] == pytest.approx(rooms.config.connect_timeout, abs=1)


# ── announcing ───────────────────────────────────────────────────────────────────────────────


def test_what_was_stored_is_announced_as_it_would_be_read(rooms: Rooms, publisher: Ear) -> None:
    """G10: the memory and the storage show the same events."""
    rooms.start_writer()
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    dated = msgspec.structs.replace(encoded(), created_at=at, metadata=b"[]")
    two = (
        StreamAppend("a", ANY, (encoded(), dated)),
        StreamAppend("checked", 0, ()),
        StreamAppend("b", 0, (encoded(),)),
    )
    rooms.append(two)
    announced = publisher.next(EventsCommitted).events
    assert list(announced) == rooms.storage.read_after("$all", 0, 10, 10_000, time.monotonic() + 5)
    assert [event.position for event in announced] == [1, 2, 3]
    assert announced[1].created_at.tzinfo is UTC


def test_a_repeated_append_and_a_refused_one_are_not_announced(
    rooms: Rooms, writer: pykka.ActorRef[Writer], publisher: Ear
) -> None:
    event = encoded()
    rooms.append(one("a", 0, event))
    assert rooms.append(one("a", 0, event)).repeated
    with suppress(WrongExpectedVersionError):
        rooms.append(one("a", 0))
    rooms.append((StreamAppend("a", 1, ()),))
    assert len(publisher.next(EventsCommitted).events) == 1
    assert publisher.so_far() == []


def test_commits_are_noted_for_other_processes_and_repetitions_are_not(
    rooms: Rooms, writer: pykka.ActorRef[Writer]
) -> None:
    """G22, G23: others are woken by what is new, and by nothing else."""
    announcements = rooms.shared.announcements
    event = encoded()
    rooms.append(one("a", 0, event))
    stop(writer)
    announcements.close()
    assert announcements.take() == News(events=True, subscriptions=frozenset())
    rooms.start_writer()
    assert rooms.append(one("a", 0, event)).repeated
    with pytest.raises(WrongExpectedVersionError):
        rooms.append(one("a", 0))
    assert announcements.take() is None


def test_what_nobody_watches_is_announced_to_nobody(
    rooms: Rooms, writer: pykka.ActorRef[Writer], publisher: Ear
) -> None:
    rooms.shared.recent.watched = False
    rooms.append(one("a", 0))
    rooms.shared.recent.watched = True
    rooms.append(one("b", 0))
    assert [event.stream_id for event in publisher.next(EventsCommitted).events] == ["b"]


# ── ending ───────────────────────────────────────────────────────────────────────────────────


def test_stopping_stores_what_was_accepted(rooms: Rooms, session: ScriptedSession) -> None:
    """G26: every accepted append is answered."""
    writer = rooms.shared.directory.find(Child.WRITER)
    assert writer is not None
    gate = gated(session)
    first = rooms.send(one("hot", 0))
    assert gate.entered.wait(PATIENCE)
    waiting = [rooms.send(one("hot", n)) for n in range(1, 6)]
    gate.opened.set()
    stop(writer)
    assert first.get().results[0].last_version == 1
    assert [each.get().results[0].last_version for each in waiting] == [2, 3, 4, 5, 6]
    assert session.closed


def test_stopping_does_not_wait_for_a_database_that_is_away(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G26: accepted appends are answered with what is known of them."""
    writer = rooms.shared.directory.find(Child.WRITER)
    assert writer is not None
    for _ in range(1_000):
        session.steps.put(StorageUnavailableError("away"))
    waiting = [rooms.send(one("a")), rooms.send(one("b"))]
    stop(writer)
    for each in waiting:
        with pytest.raises((NotRunningError, StorageUnavailableError)):
            each.get()
    assert rooms.limit.queued_appends == rooms.limit.queued_bytes == 0


def test_stop_all_answers_every_accepted_append(rooms: Rooms, session: ScriptedSession) -> None:
    """G26: also when pykka itself stops the actor, with appends in its inbox."""
    session.steps.put(OutcomeUnknownError("lost"))
    gate = gated(session)
    lost = rooms.send(one("a"))
    assert gate.entered.wait(PATIENCE)
    queued = [rooms.send(one(f"s{n}")) for n in range(5)]
    rooms.shared.directory.find(Child.WRITER).stop(block=False)  # type: ignore[union-attr]
    behind = [rooms.send(one(f"t{n}")) for n in range(5)]
    gate.opened.set()
    assert lost.get().results[0].first_version == 1
    for each in queued + behind:
        with pytest.raises(NotRunningError):
            each.get()
    assert rooms.limit.queued_appends == rooms.limit.queued_bytes == 0
    assert isinstance(rooms.supervisor.next((ChildStopped, ChildFailed)), ChildStopped)


def test_a_crash_says_which_appends_may_be_stored(rooms: Rooms, session: ScriptedSession) -> None:
    """G24: callers get an error that says whether their append may have been stored."""

    def return_nonsense(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        session.through(appends, deadline)
        return []

    gate = Gate(return_nonsense)
    session.steps.put(gate)
    sent = rooms.send(one("a"))
    assert gate.entered.wait(PATIENCE)
    queued = rooms.send(one("b"))
    gate.opened.set()
    with pytest.raises(OutcomeUnknownError):
        sent.get()
    with pytest.raises((StorageUnavailableError, NotRunningError)):
        queued.get()
    assert rooms.limit.queued_appends == rooms.limit.queued_bytes == 0
    assert isinstance(rooms.supervisor.next(ChildFailed).error, ValueError)
    again = rooms.start_writer()
    assert again.is_alive()
    assert rooms.append(one("c")).results[0].last_version == 1


def test_a_crash_answers_what_waited_behind_what_was_sent(
    rooms: Rooms, session: ScriptedSession
) -> None:
    """G24, G26: the writer had it in its hands, and certainly did not send it."""

    def return_nonsense(appends: Sequence[Append], deadline: float) -> list[Outcome]:
        return []

    gate = gated(session)
    rooms.send(one("first"))
    assert gate.entered.wait(PATIENCE)
    session.steps.put(return_nonsense)
    sent, behind = rooms.send(one("hot", 0), timeout=5), rooms.send(one("hot", 1), timeout=5)
    gate.opened.set()
    with pytest.raises(OutcomeUnknownError):
        sent.get()
    with pytest.raises(StorageUnavailableError, match="crashed before the append was sent"):
        behind.get()
    assert rooms.limit.queued_appends == 0


def test_many_threads_append_to_their_own_streams(rooms: Rooms, session: ScriptedSession) -> None:
    def work(number: int) -> None:
        for version in range(20):
            result = rooms.append(one(f"s{number}", version)).results[0]
            assert result.last_version == version + 1

    in_threads(20, work)
    assert len(rooms.stored()) == 400
    assert [position for position, _, _, _ in rooms.stored()] == list(range(1, 401))
    assert rooms.limit.queued_appends == 0
