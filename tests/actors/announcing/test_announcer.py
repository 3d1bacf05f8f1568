"""The announcer's thread: what it sends, when nobody listens, and at its end."""

from __future__ import annotations

import queue
from collections.abc import Collection, Iterator

import pytest

from eventstore.model.config import Config
from eventstore.ports.announcing import Announced
from eventstore.storages.memory import MemoryStorage
from eventstore_actors.announcing.announcer import Announcer
from eventstore_actors.kernel.messages import LookForEvents
from tests.actors.seated import let_pass
from tests.support.rooms import Ear, Rooms, rooms_over
from tests.support.waiting import AGES, PATIENCE, wait_until


class ScriptedAnnounceSession:
    """Notes what is announced, and answers as a test wants."""

    def __init__(self) -> None:
        self.answer = Announced.SENT
        self.announced: queue.SimpleQueue[tuple[bool, set[int]]] = queue.SimpleQueue()
        self.looked_at: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
        self.ended: dict[int, bool] = {}
        self.closed = False

    def announce(
        self, *, events: bool, subscriptions: Collection[int], deadline: float
    ) -> Announced:
        self.announced.put((events, set(subscriptions)))
        return self.answer

    def committed(self, transactions: Collection[int], deadline: float) -> dict[int, bool]:
        ended = {each: self.ended[each] for each in transactions if each in self.ended}
        self.looked_at.put(set(transactions))
        return ended

    def next(self) -> tuple[bool, set[int]]:
        return self.announced.get(timeout=PATIENCE)

    def close(self) -> None:
        self.closed = True


class ScriptedStorage(MemoryStorage):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.session = ScriptedAnnounceSession()

    def announce_session(self) -> ScriptedAnnounceSession:  # type: ignore[override]
        return self.session


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    config = Config("memory:", poll_interval=AGES)
    with rooms_over(config, lambda _: ScriptedStorage(config)) as rooms:
        yield rooms


@pytest.fixture
def session(rooms: Rooms) -> ScriptedAnnounceSession:
    assert isinstance(rooms.storage, ScriptedStorage)
    return rooms.storage.session


@pytest.fixture
def publisher() -> Ear:
    return Ear()


@pytest.fixture
def announcer(rooms: Rooms, publisher: Ear) -> Iterator[Announcer]:
    announcer = Announcer(rooms.shared, publisher.ref)
    announcer.start()
    yield announcer
    announcer.end(PATIENCE)
    assert not announcer.is_alive()


def test_commits_and_changes_are_sent(
    rooms: Rooms, session: ScriptedAnnounceSession, announcer: Announcer
) -> None:
    """G23, G27."""
    rooms.shared.announcements.note_events()
    assert session.next() == (True, set())
    rooms.shared.announcements.note_subscriptions([7, 8])
    assert session.next() == (False, {7, 8})


def test_events_wait_where_nobody_listens_and_changes_do_not(
    rooms: Rooms,
    session: ScriptedAnnounceSession,
    announcer: Announcer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G22: whether somebody listens is looked at now and then, not at every commit."""
    monkeypatch.setattr("eventstore_actors.announcing.announcer.QUIET", AGES)
    session.answer = Announced.UNHEARD
    rooms.shared.announcements.note_events()
    assert session.next() == (True, set())

    rooms.shared.announcements.note_events()
    let_pass(0.1)
    rooms.shared.announcements.note_subscriptions([7])

    assert session.next() == (True, {7})


def test_what_cannot_be_sent_is_counted_and_holds_nothing_up(
    rooms: Rooms, session: ScriptedAnnounceSession, announcer: Announcer
) -> None:
    """G23: others find it out by polling."""
    session.answer = Announced.LOST
    for number in (1, 2):
        rooms.shared.announcements.note_events()
        session.next()
        wait_until(lambda number=number: announcer.lost == number)  # type: ignore[misc]


def test_at_its_end_it_sends_what_is_left(
    rooms: Rooms, session: ScriptedAnnounceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G27: the releases of a clean stop are the last that is noted."""
    announcer = Announcer(rooms.shared, Ear().ref)
    rooms.shared.announcements.note_subscriptions([7])
    rooms.shared.announcements.close()
    announcer.start()
    announcer.join(PATIENCE)
    assert session.next() == (False, {7})
    assert session.closed


def test_a_transaction_of_a_caller_is_news_once_it_has_committed(
    rooms: Rooms, session: ScriptedAnnounceSession, publisher: Ear, announcer: Announcer
) -> None:
    """G37, G23: for this runtime and for others; until then it is looked at, again and again."""
    rooms.shared.announcements.note_transaction(7)
    for _ in range(3):
        assert session.looked_at.get(timeout=PATIENCE) == {7}
    assert session.announced.empty()
    session.ended[7] = True
    publisher.next(LookForEvents)
    assert session.next() == (True, set())


def test_a_transaction_that_was_rolled_back_is_no_news(
    rooms: Rooms, session: ScriptedAnnounceSession, publisher: Ear, announcer: Announcer
) -> None:
    """G37, G22: nobody looks for its events, and it is looked at no more."""
    announcements = rooms.shared.announcements
    session.ended[7] = False
    announcements.note_transaction(7)
    assert session.looked_at.get(timeout=PATIENCE) == {7}
    announcements.note_subscriptions([1])
    assert session.next() == (False, {1})
    assert publisher.so_far() == []
    announcements.note_transaction(8)
    assert session.looked_at.get(timeout=PATIENCE) == {8}


def test_looks_wait_for_no_listener_and_make_none_wait(
    rooms: Rooms,
    session: ScriptedAnnounceSession,
    announcer: Announcer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G22, G37: events that wait because nobody listens still do."""
    monkeypatch.setattr("eventstore_actors.announcing.announcer.QUIET", AGES)
    session.answer = Announced.UNHEARD
    rooms.shared.announcements.note_events()
    assert session.next() == (True, set())
    rooms.shared.announcements.note_events()
    rooms.shared.announcements.note_transaction(7)
    for _ in range(3):
        assert session.looked_at.get(timeout=PATIENCE) == {7}
    assert session.announced.empty()
