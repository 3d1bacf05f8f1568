"""Parked events and processes that are killed while they deliver them again."""

from __future__ import annotations

import itertools
import tracemalloc

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, Events, EventStore, ExpectedVersion, Park
from tests.acceptance.guarantees.conftest import Settings, installed
from tests.support.parked_relay import NAME, TABLE
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.waiting import wait_until

PROGRAM = "tests.support.parked_relay"
STREAMS, EVENTS = 8, 400
"""Streams, and events over all of them."""


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Settings of a process whose table lies beside those of the store."""
    dsn = make_conninfo(settings["dsn"], options=f"-csearch_path={settings['schema']}")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLE.encode())
    return {**settings, "dsn": dsn}


def park_all(settings: Settings) -> None:
    """Append the events, and have all of them parked."""

    def refuse(events: Events) -> None:
        raise Park("no such product", events[0])

    with EventStore.connect(Config(**settings)) as store:
        for number in range(EVENTS):
            event = EventData("T", number)
            store.append_to_stream(f"s-{number % STREAMS}", ExpectedVersion.ANY, [event])
        subscription = store.subscribe_to_all_streams(NAME, refuse)
        wait_until(lambda: subscription.checkpoint == EVENTS)


def test_who_is_killed_in_a_replay_loses_nothing(own: Settings) -> None:
    """G38: in the order of each stream; what was removed before does not come again."""
    park_all(own)
    observer = EventStore.connect(Config(**own), runtime=CallerRuntime)
    connection = psycopg.connect(own["dsn"], autocommit=True)
    assert observer.retry_parked("$all", NAME) == EVENTS

    def handled() -> int:
        [(count,)] = connection.execute("SELECT count(*) FROM handled").fetchall()
        return int(count)

    for _ in range(3):
        before = handled()
        relay = Service(own, program=PROGRAM).ready()
        wait_until(lambda before=before: handled() >= before + 30)  # type: ignore[misc]
        relay.kill9()
    last = Service(own, program=PROGRAM).ready()
    wait_until(lambda: observer.parked("$all", NAME) == [])
    last.kill9()

    rows = connection.execute("SELECT stream, number, replay FROM handled ORDER BY nth").fetchall()
    assert all(replay for _, _, replay in rows)
    for stream in range(STREAMS):
        numbers = [number for stream_id, number, _ in rows if stream_id == f"s-{stream}"]
        assert sorted({*numbers}) == [*range(stream, EVENTS, STREAMS)]
        for earlier, later in itertools.pairwise(numbers):
            assert later <= earlier + STREAMS
    assert len(rows) <= EVENTS + 3 * 100
    connection.close()
    observer.close()


def test_a_replay_holds_a_page_of_parked_events(settings: Settings) -> None:
    """G38, G22: however many there are, each once, and in the order of its stream."""
    streams, each, size = 100, 40, 10_000
    refuses = True
    delivered: list[tuple[str, int]] = []

    def handle(events: Events) -> None:
        if refuses:
            raise Park("no such product", events[0])
        assert events.replay
        delivered.extend((event.stream_id, event.data[0]) for event in events)

    with EventStore.connect(Config(**settings)) as store:
        for number in range(each):
            parts = [
                (f"s-{stream}", ExpectedVersion.ANY, [EventData("T", [number, "x" * size])])
                for stream in range(streams)
            ]
            store.append_to_streams(parts)
        subscription = store.subscribe_to_all_streams(NAME, handle, buffer_size=100)
        wait_until(lambda: subscription.checkpoint == streams * each)
        refuses = False

        tracemalloc.start()
        try:
            assert store.retry_parked("$all", NAME) == streams * each
            wait_until(lambda: store.parked("$all", NAME, 0, 1) == [])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    numbers = {f"s-{stream}": list(range(each)) for stream in range(streams)}
    assert delivered == [(stream_id, n) for stream_id in numbers for n in numbers[stream_id]]
    assert peak < streams * each * size / 4


def test_what_follows_a_parked_event_survives_a_crash_of_the_server(
    private_server: TestServer, schema: str
) -> None:
    """G38: its owner goes on after it, so nobody would deliver it again."""
    with private_server.connect() as connection:
        # Nobody else writes the log to the disk meanwhile: neither the server nor a renewal.
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("SELECT pg_reload_conf()")
    settings = {**installed(private_server.dsn, schema), "lease": 60.0, "append_timeout": 30.0}
    handled: list[int] = []

    def handle(events: Events) -> None:
        if events[0].data == 0:
            raise Park("no such product", events[0])
        handled.extend(event.data for event in events)

    with EventStore.connect(Config(**settings)) as store:
        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("T", 0)])
        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("T", 1)])
        store.subscribe_to_all_streams(NAME, handle)
        wait_until(lambda: len(store.parked("$all", NAME)) == 2)
        private_server.kill9_postmaster()
        private_server.start()
        store.append_to_stream("t", ExpectedVersion.ANY, [EventData("T", 2)])
        wait_until(lambda: handled == [2])

        assert [event.position for event in store.parked("$all", NAME)] == [1, 2]
