"""The writer over PostgreSQL, with real faults: killed backends, poison, floods."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import (
    NotRunningError,
    OutcomeUnknownError,
    StorageError,
    StorageUnavailableError,
    TooManyAppendsError,
)
from eventstore.model.events import AppendResult
from eventstore.ports.stored_events import Append, EncodedEvent, StreamAppend
from eventstore_actors.kernel.messages import Child, ChildFailed
from tests.support.late_answers import expect_late_answers
from tests.support.pgserver import TestServer
from tests.support.rooms import (
    ANY,
    LONG,
    Rooms,
    Waiting,
    encoded,
    in_threads,
    one,
    rooms_over,
    several,
)
from tests.support.waiting import PATIENCE, wait_until

_KILL_APPENDING = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND query LIKE %s
"""


@pytest.fixture
def rooms(dsn: str, schema: str) -> Iterator[Rooms]:
    with rooms_over(Config(dsn, schema=schema, poll_interval=0.2)) as rooms:
        rooms.start_publisher()
        rooms.start_writer()
        yield rooms


@pytest.fixture
def server_of_its_own() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


@pytest.fixture
def fragile(server_of_its_own: TestServer) -> Iterator[Rooms]:
    """A store whose server the test may stop."""
    with rooms_over(Config(server_of_its_own.dsn, poll_interval=0.2)) as rooms:
        rooms.start_publisher()
        rooms.start_writer()
        yield rooms


def ids(append: Append) -> set[UUID]:
    return {event.event_id for part in append for event in part.events}


def position_of(waiting: Waiting) -> int:
    position = waiting.get().results[0].first_global_position
    assert position is not None
    return position


class Ledger:
    """What callers were told is stored, compared with what is."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.told: list[tuple[Append, tuple[AppendResult, ...]]] = []
        self._lock = threading.Lock()

    @property
    def successes(self) -> int:
        return len(self.told)

    def append(self, append: Append, timeout: float = LONG) -> None:
        results = self._rooms.append(append, timeout).results
        with self._lock:
            self.told.append((append, results))

    def check(self) -> None:
        """Every success is stored exactly once, where it was said to be; nothing else is."""
        stored = self._rooms.stored()
        assert [position for position, *_ in stored] == list(range(1, len(stored) + 1))
        by_position = {position: (s, v, i) for position, s, v, i in stored}
        claimed = 0
        for append, results in self.told:
            for part, result in zip(append, results, strict=True):
                assert result.first_global_position is not None
                assert result.first_version is not None
                for n, event in enumerate(part.events):
                    at = result.first_global_position + n
                    expected = (part.stream_id, result.first_version + n, event.event_id)
                    assert by_position[at] == expected
                    claimed += 1
        assert claimed == len(stored)


def kill_the_appending_session(dsn: str) -> None:
    """Kill it in whatever it does; while it connects again, wait for it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        wait_until(lambda: connection.execute(_KILL_APPENDING, ["%append%"]).fetchone() != (0,))


def test_killed_backends_lose_nothing_and_store_nothing_twice(rooms: Rooms, dsn: str) -> None:
    """G5, G6, G7: appends go on through lost connections, with the same ids."""
    ledger = Ledger(rooms)

    def append(number: int) -> None:
        for version in range(60):
            if version % 30 == 2 * number:
                kill_the_appending_session(dsn)
            shape = version % 3
            if shape == 0:
                ledger.append(one(f"own-{number}", ANY, *several(2)))
            elif shape == 1:
                ledger.append(one("hot", ANY, *several(1 + number % 3)))
            else:
                parts = (f"pair-{number}", f"other-{number}")
                ledger.append(tuple(StreamAppend(s, ANY, (encoded(),)) for s in parts))

    in_threads(12, append)
    assert ledger.successes == 12 * 60
    ledger.check()
    assert (rooms.limit.queued_appends, rooms.limit.queued_bytes) == (0, 0)


def test_appends_wait_for_a_server_that_is_restarted(
    fragile: Rooms, server_of_its_own: TestServer
) -> None:
    """G5, G25: accepted before and during the outage, stored once after it, within seconds."""
    ledger = Ledger(fragile)
    ledger.append(one("before"))
    restarted = threading.Event()

    def restart() -> None:
        server_of_its_own.restart("immediate")
        restarted.set()

    def append(number: int) -> None:
        while not restarted.is_set():
            ledger.append(one(f"s{number}"))
        ledger.append(one(f"s{number}"))

    breaker = threading.Thread(target=restart)
    breaker.start()
    in_threads(4, append)
    breaker.join(LONG)
    ledger.check()


def test_while_the_server_is_down_nothing_is_called_stored(
    fragile: Rooms, server_of_its_own: TestServer
) -> None:
    """G25: the deadline holds, and what was never sent is known not to be stored."""
    fragile.append(one("a", 0))
    server_of_its_own.stop()
    # The first one may go into the connection that was lost; none can after it.
    with pytest.raises((StorageUnavailableError, OutcomeUnknownError)):
        fragile.append(one("a", 1), timeout=0.5)
    begin = time.monotonic()
    with pytest.raises(StorageUnavailableError):
        fragile.append(one("a", 1), timeout=0.5)
    assert 0.3 < time.monotonic() - begin < PATIENCE
    server_of_its_own.start()
    assert fragile.append(one("a", 1)).results[0].last_version == 2


def test_a_writer_without_the_lock_stores_nothing_and_knows_it(
    rooms: Rooms, dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G25: a lock that is not had until the deadline is no reason for doubt."""
    expect_late_answers(monkeypatch, margin=4.5)
    with psycopg.connect(dsn) as other:
        other.execute(f'SELECT 1 FROM "{schema}".write_lock FOR UPDATE')
        with pytest.raises(StorageUnavailableError):
            rooms.append(one("a", 0), timeout=5.0)
    assert rooms.append(one("a", 0)).results[0].first_version == 1


def test_a_poisonous_append_fails_alone(rooms: Rooms, dsn: str, schema: str) -> None:
    """G7: the server refuses the statement because of one of its appends."""
    bad_type = "x" * 1_001
    with psycopg.connect(dsn) as other:
        # Held up here, all of them go into one commit.
        other.execute(f'SELECT 1 FROM "{schema}".write_lock FOR UPDATE')
        first = rooms.send(one("first"))
        wait_until(lambda: _waits_for_a_lock(dsn))
        good = [rooms.send(one(f"good-{n}", 0)) for n in range(5)]
        poison = rooms.send(one("poison", 0, encoded(event_type=bad_type)))
        hot = [rooms.send(one("hot")), rooms.send(one("hot", ANY, encoded(event_type=bad_type)))]
        more = [rooms.send(one(f"more-{n}", 0)) for n in range(5)]
    assert first.get().results[0].first_global_position == 1
    for waiting in (poison, hot[1]):
        with pytest.raises(StorageError) as refused:
            waiting.get()
        assert not isinstance(refused.value, StorageUnavailableError)
    assert hot[0].get().results[0].first_version == 1
    positions = [position_of(waiting) for waiting in good + more]
    assert positions == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert len(rooms.stored()) == 12


def _waits_for_a_lock(dsn: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchone()
    return bool(row and row[0])


@pytest.mark.slow
def test_twenty_large_appends_at_once(rooms: Rooms) -> None:
    """Beyond the limit they are refused, none fails another, and small ones pass between them."""
    payload = b'"' + b"x" * (60 * 1024 * 1024 - 2) + b'"'
    large: list[Waiting] = []
    refused = 0
    for number in range(20):
        event = EncodedEvent(encoded().event_id, "Large", payload)
        try:
            large.append(rooms.send(one(f"large-{number}", 0, event), timeout=240))
        except TooManyAppendsError:
            refused += 1
    small = [rooms.send(one(f"small-{n}", 0), timeout=240) for n in range(10)]
    assert len(large) == 4
    assert refused == 16
    large_positions = [position_of(waiting) for waiting in large]
    small_positions = [position_of(waiting) for waiting in small]
    assert sorted(large_positions + small_positions) == list(range(1, 15))
    # The first is on its way when the small ones come; they are next.
    assert small_positions == list(range(2, 12))
    assert (rooms.limit.queued_appends, rooms.limit.queued_bytes) == (0, 0)
    # The memory holds less than one of them, and goes on after them.
    wait_until(lambda: rooms.shared.recent.head == 14)
    rooms.append(one("after", 0))
    wait_until(lambda: rooms.shared.recent.head == 15)


def test_a_crash_of_the_writer_leaks_nothing(rooms: Rooms) -> None:
    """G24: a writer that is started again goes on; every caller of the old one has an answer."""
    ledger = Ledger(rooms)
    refused: list[BaseException] = []

    def append(number: int) -> None:
        for _ in range(100):
            try:
                ledger.append(one(f"s{number}"), timeout=2)
            except (StorageUnavailableError, OutcomeUnknownError, NotRunningError) as error:
                refused.append(error)

    def crash() -> None:
        wait_until(lambda: ledger.successes > 50)
        writer = rooms.shared.directory.find(Child.WRITER)
        assert writer is not None
        writer.tell("no message for a writer")
        assert isinstance(rooms.supervisor.next(ChildFailed).error, TypeError)
        rooms.start_writer()

    breaker = threading.Thread(target=crash)
    breaker.start()
    in_threads(8, append)
    breaker.join(LONG)
    assert ledger.successes + len(refused) == 800
    stored = {event_id for *_, event_id in rooms.stored()}
    assert all(ids(append) <= stored for append, _ in ledger.told)
    rooms.append(one("after"))
    assert (rooms.limit.queued_appends, rooms.limit.queued_bytes) == (0, 0)
