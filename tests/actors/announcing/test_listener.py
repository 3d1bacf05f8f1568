"""The listener's thread: what it reads, what it tells, and that it tells it again when in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as replace_heard
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.names import ALL_STREAMS
from eventstore_actors.announcing.listener import Listener
from eventstore_actors.kernel.messages import (
    HeadHeard,
    HistoryRewound,
    ListenerDeaf,
    ListenerFailed,
)
from tests.support.heads import (
    ScriptedHeads,
    ScriptedHeadsStorage,
    away,
    connected,
    looked,
    moved,
    touched,
)
from tests.support.rooms import ANY, Ear, Rooms, encoded, one, rooms_over, soon
from tests.support.waiting import PATIENCE, wait_until


class DoubtfulStorage(ScriptedHeadsStorage):
    """A store that cannot always say whether its history holds."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.unreachable = 0
        self.asked: list[int] = []

    def history_holds(self, global_position: int, event_id: UUID, deadline: float) -> bool:
        self.asked.append(global_position)
        if self.unreachable:
            self.unreachable -= 1
            raise StorageUnavailableError("away again")
        return super().history_holds(global_position, event_id, deadline)


class Scene:
    """A listener, what it hears, and what it tells."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.publisher = Ear()
        self.listener = Listener(rooms.shared, self.publisher.ref)
        assert isinstance(rooms.storage, DoubtfulStorage)
        self.storage = rooms.storage
        self.heads: ScriptedHeads = rooms.storage.heads[0]
        self.listener.start()

    def append(self, count: int, size: int = 2) -> None:
        events = [encoded(b"x" * size) for _ in range(count)]
        self.storage.append_session().append([one("a", ANY, *events)], soon())

    def told(self) -> tuple[HeadHeard, list[int]]:
        told = self.publisher.next(HeadHeard)
        return told, [event.global_position for event in told.events]


@pytest.fixture
def scene() -> Iterator[Scene]:
    config = Config("memory:", poll_interval=60)
    with rooms_over(config, lambda _: DoubtfulStorage(config)) as rooms:
        scene = Scene(rooms)
        yield scene
        scene.listener.end(5)
        assert not scene.listener.is_alive()


def test_a_new_connection_is_told_with_the_newest_event(scene: Scene) -> None:
    scene.append(3)
    scene.heads.say(connected(3))
    told, positions = scene.told()
    assert told.heard == connected(3)
    assert positions == [3]


def test_what_is_new_is_told_in_order_and_once(scene: Scene) -> None:
    scene.heads.say(connected(0))
    scene.told()
    scene.append(2)
    scene.heads.say(moved(2))
    assert scene.told()[1] == [1, 2]
    scene.append(1)
    scene.heads.say(moved(2))
    scene.heads.say(moved(3))
    assert scene.told()[1] == [3]


def test_while_nobody_watches_it_reads_the_newest_event_alone(scene: Scene) -> None:
    """G31: the newest event is its mark; the others would be read for nobody."""
    scene.rooms.shared.recent.watched = False
    scene.heads.say(connected(0))
    scene.told()
    scene.append(5)
    scene.heads.say(moved(5))
    assert [scene.told()[1], scene.told()[1]] == [[], [5]]
    assert not scene.heads.prompt


def test_asked_to_look_it_reads_though_nothing_was_announced(scene: Scene) -> None:
    scene.heads.say(connected(0))
    scene.told()
    scene.append(2)
    scene.listener.look()
    told, positions = scene.told()
    assert positions == [1, 2]
    assert told.heard.head == 2


def test_what_touched_it_is_told_once_with_the_events(scene: Scene) -> None:
    scene.heads.say(connected(0))
    scene.told()
    scene.append(1_001)
    scene.heads.say(touched(1_001))
    assert scene.told()[0].heard.touched
    told, positions = scene.told()
    assert positions == [1_001]
    assert not told.heard.touched


def test_many_bytes_are_told_in_pages_up_to_what_the_memory_holds(scene: Scene) -> None:
    """G22: one page is in flight at a time, not the backlog."""
    scene.heads.say(connected(0))
    scene.told()
    scene.append(20, size=3 * 1024 * 1024)
    scene.heads.say(moved(20))
    pages: list[tuple[HeadHeard, list[int]]] = []
    while not pages or pages[-1][0].heard.head < 20:
        pages.append(scene.told())
    assert [positions for _, positions in pages] == [[n] for n in range(1, 12)] + [[], [20]]
    assert pages[-2][0].heard.head == 19


def test_the_history_is_compared_again_until_the_storage_answers(scene: Scene) -> None:
    """G31: a connection counts when the history behind it is known to be the same."""
    scene.append(1)
    scene.rooms.shared.recent.extend(scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon()))
    scene.storage.unreachable = 2
    scene.heads.say(connected(1))
    for _ in range(2):
        assert isinstance(scene.publisher.next(), ListenerDeaf)
        scene.heads.say(moved(1))
    told, _ = scene.told()
    assert told.heard.reconnected
    assert scene.storage.asked == [1, 1, 1]


def test_a_lost_history_is_told_to_the_supervisor_and_nothing_more(scene: Scene) -> None:
    """G31: nothing is delivered out of another history."""
    scene.append(1)
    (event,) = scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon())
    lost = type(event)(
        7, 7, "a", 7, event.event_id, "T", b"", None, None, None, "json", event.created_at
    )
    scene.rooms.shared.recent.extend([lost])
    scene.heads.say(connected(1))
    assert isinstance(scene.rooms.supervisor.next(), HistoryRewound)
    scene.listener.join(PATIENCE)
    assert not scene.listener.is_alive()
    assert scene.publisher.so_far() == []


def test_a_head_that_falls_is_compared_with_the_history(scene: Scene) -> None:
    """G31: restored in place, no connection breaks."""
    scene.append(3)
    events = scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon())
    scene.rooms.shared.recent.extend(events)
    scene.heads.say(connected(3))
    scene.told()
    scene.heads.say(moved(2))  # announced before what was read
    wait_until(lambda: scene.storage.asked == [3, 3, 2])
    lost = replace(events[-1], position=4, global_position=4, stream_version=4)
    scene.rooms.shared.recent.extend([lost])
    scene.heads.say(moved(3))
    scene.heads.say(moved(2))
    assert isinstance(scene.rooms.supervisor.next(), HistoryRewound)
    scene.listener.join(PATIENCE)
    assert not scene.listener.is_alive()
    assert scene.publisher.so_far() == []


def test_another_event_at_the_head_is_compared_with_the_history(scene: Scene) -> None:
    """G31: set back and grown again between two looks, with nothing announced."""
    scene.append(3)
    events = scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon())
    scene.rooms.shared.recent.extend(events)
    scene.heads.say(connected(3))
    scene.told()
    scene.heads.say(looked(3, events[-1].event_id))
    lost = replace(events[-1], position=4, global_position=4, stream_version=4)
    scene.heads.say(moved(2))
    wait_until(lambda: scene.storage.asked == [3, 3, 2])
    scene.rooms.shared.recent.extend([lost])
    scene.heads.say(looked(4, uuid4()))
    assert isinstance(scene.rooms.supervisor.next(), HistoryRewound)
    scene.listener.join(PATIENCE)
    assert scene.publisher.so_far() == []


def test_what_was_at_the_head_of_the_last_look_has_to_be_there_still(scene: Scene) -> None:
    """G31: an append of our own has come right behind what was lost, and is at the head now."""
    scene.append(3)
    events = scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon())
    scene.heads.say(replace_heard(connected(3), newest=events[-1].event_id))
    scene.told()
    scene.append(1)
    (own,) = scene.storage.read_after(ALL_STREAMS, 3, 10, 10**6, soon())
    scene.rooms.shared.recent.extend([own])
    scene.heads.say(replace_heard(looked(4, own.event_id), holds=False))
    assert isinstance(scene.rooms.supervisor.next(), HistoryRewound)
    scene.listener.join(PATIENCE)
    assert scene.heads.known == (3, events[-1].event_id)
    assert scene.publisher.so_far() == []


def test_whether_announcements_arrive_is_told_without_news(scene: Scene) -> None:
    """G32: health shows it, though nothing is appended."""
    scene.heads.say(connected(0))
    scene.told()
    scene.heads.say(replace_heard(moved(0), deaf=True))
    assert scene.told()[0].heard.deaf
    scene.heads.say(moved(0))
    assert not scene.told()[0].heard.deaf


def test_what_does_not_follow_the_newest_known_event_is_not_told(scene: Scene) -> None:
    """G31: read together, they are one history."""
    scene.append(4)
    events = scene.storage.read_after(ALL_STREAMS, 0, 10, 10**6, soon())
    scene.heads.say(connected(2))
    scene.told()
    scene.rooms.shared.recent.extend([*events[:2], replace(events[2], event_id=uuid4())])
    scene.heads.say(moved(4))
    assert isinstance(scene.rooms.supervisor.next(), HistoryRewound)
    scene.listener.join(PATIENCE)
    assert scene.publisher.so_far() == []


def test_a_database_that_is_away_is_told_and_tried_again(scene: Scene) -> None:
    scene.heads.say(away())
    scene.heads.say(away())
    scene.heads.say(connected(0))
    assert isinstance(scene.publisher.next(), ListenerDeaf)
    assert isinstance(scene.publisher.next(), ListenerDeaf)
    assert scene.told()[0].heard.reconnected


def test_its_crash_is_told(scene: Scene) -> None:
    """G24: nothing is half alive."""
    scene.heads.say(RuntimeError("broken"))
    failed = scene.publisher.next(ListenerFailed)
    assert str(failed.error) == "broken"
    scene.listener.join(PATIENCE)
    assert scene.heads.closed


def test_it_ends_at_once(scene: Scene) -> None:
    """G26."""
    scene.heads.say(connected(0))
    scene.told()
    scene.listener.end(10)
    assert scene.heads.closed
