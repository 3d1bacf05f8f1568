"""Publisher and listener over PostgreSQL: killed connections, other processes, a lost history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import HistoryRewoundError
from eventstore.model.names import ALL_STREAMS
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore_actors.kernel.messages import Child, HeadMoved, HistoryRewound, Touched, Watch
from tests.support.pgserver import TestServer
from tests.support.rooms import ANY, Ear, Rooms, claim, in_threads, one, rooms_over, several, soon
from tests.support.unprotected import unprotected
from tests.support.waiting import AGES, PATIENCE, wait_until

POLL = 0.5


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, poll_interval=POLL)


@contextmanager
def two_runtimes(config: Config) -> Iterator[tuple[Rooms, Rooms]]:
    """Run one store twice, as two processes do."""
    with ExitStack() as stack:
        rooms = [stack.enter_context(rooms_over(config)) for _ in range(2)]
        for each in rooms:
            each.start_publisher()
            each.start_writer()
        for each in rooms:
            wait_until(lambda each=each: each.shared.recent.listening)  # type: ignore[misc]
        yield rooms[0], rooms[1]


@pytest.fixture
def pair(config: Config) -> Iterator[tuple[Rooms, Rooms]]:
    with two_runtimes(config) as pair:
        yield pair


def watch(rooms: Rooms, stream_id: str) -> Ear:
    ear = Ear()
    assert rooms.shared.directory.tell(Child.PUBLISHER, Watch(stream_id, ear.ref))
    return ear


def hear_of(ear: Ear, position: int) -> None:
    """Wait until the watcher was told of *position*, or told to look."""
    while True:
        moved = ear.next(HeadMoved)
        if moved.position is None or moved.position >= position:
            return


def kill_listening(rooms: Rooms) -> None:
    """End the backend that *rooms* listens through, as an administrator may."""
    assert isinstance(rooms.storage, PostgresStorage)
    (listener,) = (
        each for each in rooms.storage._sessions if isinstance(each, PostgresHeadListener)
    )
    wait_until(lambda: listener._ears.connection is not None)
    connection = listener._ears.connection
    assert connection is not None
    with psycopg.connect(rooms.storage.dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.raw.info.backend_pid])


def held(rooms: Rooms) -> list[tuple[int, str, int]] | None:
    """Return what the memory of a runtime holds, if it holds everything."""
    found = rooms.shared.recent.after(ALL_STREAMS, 0, 100_000, 10**9)
    if found is None:
        return None
    return [(e.global_position, e.stream_id, e.stream_version) for e in found]


def test_what_another_runtime_commits_arrives_without_polling(config: Config) -> None:
    """G23: by notification, long before the poll interval is over."""
    with two_runtimes(replace(config, poll_interval=AGES)) as (ours, theirs):
        ear = watch(ours, "a")
        ear.next()
        theirs.append(one("a", 0, *several(2)))
        assert ear.next(timeout=PATIENCE) == HeadMoved(2)
        found = ours.shared.recent.after("a", 0, 10, 10**6)
        assert found is not None
        stored = ours.storage.read_after("a", 0, 10, 10**6, soon())
        assert list(found) == stored


def test_a_killed_listening_connection_delays_and_loses_nothing(
    pair: tuple[Rooms, Rooms],
) -> None:
    """G23: within the poll interval after the connection is back."""
    ours, theirs = pair
    ear = watch(ours, ALL_STREAMS)
    ear.next()
    for turn in range(5):
        kill_listening(ours)
        theirs.append(one("a", turn))
        hear_of(ear, turn + 1)
        recent = ours.shared.recent
        wait_until(lambda recent=recent, turn=turn: (recent.head or 0) >= turn + 1)  # type: ignore[misc]
    assert ours.shared.recent.after(ALL_STREAMS, 5, 10, 10**6) == ()


def test_two_runtimes_that_write_alternately_hold_the_same_history(
    pair: tuple[Rooms, Rooms],
) -> None:
    """G4, G14: whatever the order in which their own and the others' events arrive."""
    ears = [watch(each, "shared") for each in pair]
    for ear in ears:
        ear.next()

    def work(number: int) -> None:
        rooms = pair[number % 2]
        for version in range(60):
            rooms.append(one(f"s{number}", ANY, *several(1 + version % 3)))
            rooms.append(one("shared"))

    in_threads(4, work)
    total = 4 * (60 * 2 + 60)
    stored = [(position, stream, version) for position, stream, version, _ in pair[0].stored()]
    assert len(stored) == total
    for rooms, ear in zip(pair, ears, strict=True):
        recent = rooms.shared.recent
        wait_until(lambda recent=recent: recent.head == total)  # type: ignore[misc]
        assert held(rooms) == stored
        hear_of(ear, 240)


def test_a_lost_listening_connection_under_load_leaves_no_hole(
    pair: tuple[Rooms, Rooms],
) -> None:
    ours, theirs = pair

    def work(number: int) -> None:
        rooms = pair[number % 2]
        for turn in range(80):
            rooms.append(one(f"s{number}", ANY, *several(2)))
            if number == 0 and turn % 20 == 10:
                kill_listening(theirs)

    in_threads(4, work)
    stored = [(position, stream, version) for position, stream, version, _ in ours.stored()]
    for rooms in (ours, theirs):
        recent = rooms.shared.recent
        wait_until(lambda recent=recent: recent.head == len(stored))  # type: ignore[misc]
        for position in range(len(stored)):
            found = recent.after(ALL_STREAMS, position, 10_000, 10**9)
            if found is not None:
                places = [(e.global_position, e.stream_id, e.stream_version) for e in found]
                assert places == stored[position:]


def test_a_change_of_a_subscription_elsewhere_touches_us(pair: tuple[Rooms, Rooms]) -> None:
    """G20: a pause from another process is heard, not only polled."""
    ours, theirs = pair
    keeper = ours.listen_as(Child.KEEPER)
    claimed = claim(theirs.storage, "mine", "a", lease=10)
    theirs.storage.set_paused("a", "mine", paused=True, deadline=soon())
    assert keeper.next() == Touched(frozenset({claimed.subscription_id}))


def test_a_database_that_went_back_is_noticed_when_it_returns() -> None:
    """G31: what was announced is gone after the restart; the runtime must not go on."""
    with TestServer() as own, rooms_over(Config(own.dsn, poll_interval=POLL)) as rooms:
        rooms.start_publisher()
        rooms.start_writer()
        rooms.append(one("a", 0, *several(3)))
        wait_until(lambda: rooms.shared.recent.head == 3)
        with own.connect() as connection, unprotected(connection, "eventstore"):
            connection.execute("DELETE FROM eventstore.events WHERE global_position > 1")
        own.restart("fast")
        rewound = rooms.supervisor.next(HistoryRewound)
        assert isinstance(rewound.error, HistoryRewoundError)
