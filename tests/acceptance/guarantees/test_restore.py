"""A dump in another server is the same store; in the place of what goes on, it is noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    HistoryRewoundError,
    RecordedEvent,
)
from tests.acceptance.guarantees.conftest import (
    Record,
    Settings,
    installed,
    wait_for_checkpoint,
)
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.cli import Shell
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.programs import dump, restore
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

SCHEMA = "kept"


@pytest.fixture
def old() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


@pytest.fixture
def young() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


def append(store: EventStore, stream: str, count: int) -> RecordedEvent:
    """Append; return the newest event."""
    events = [EventData("X", {"n": n}) for n in range(count)]
    store.append_to_stream(stream, ExpectedVersion.ANY, events)
    return store.read_stream_backward(stream, count=1)[0]


def acknowledge(settings: Settings, stream: str | None, name: str, event: RecordedEvent) -> None:
    """Let a subscription, which ends then, acknowledge everything up to *event*."""
    with EventStore.connect(Config(**settings)) as store:
        if stream is None:
            handle = store.subscribe_to_all_streams(name, lambda events: None)
        else:
            handle = store.subscribe_to_stream(stream, name, lambda events: None)
        handle.wait_for(event, timeout=PATIENCE)


@contextmanager
def services(settings: Settings, count: int) -> Iterator[list[Service]]:
    """Processes that use a store, until the end of the block."""
    started = [Service(settings) for _ in range(count)]
    try:
        yield [service.ready() for service in started]
    finally:
        for service in started:
            service.kill9()


def transactions(server: TestServer) -> int:
    with server.connect() as connection:
        row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


def test_a_dump_in_a_younger_server_goes_on_where_it_was(
    old: TestServer, young: TestServer, tmp_path: Path
) -> None:
    """G29, G3, G13: taken while a writer writes; transaction numbers start again, ours do not."""
    settings = installed(old.dsn, SCHEMA)
    with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
        append(store, "a", 5)
        acknowledge(settings, "a", "one", append(store, "a", 1))
        acknowledge(settings, None, "all", append(store, "b", 4))
        writer = Service(settings, "caller").ready()
        writer.do("write", streams=["a", "b", "c"], seed=29, most_streams=2)
        writer.wait("appended", count=20)
        dump(old.dsn, tmp_path / "dump")
        writer.wait("appended", count=len(writer.reports("appended")) + 5)
        writer.kill9()
        before = list(store.stream_all_forward())
    assert transactions(young) < transactions(old)

    restore(young.dsn, tmp_path / "dump")

    assert "no problem" in Shell(young.dsn, SCHEMA).run("verify")
    moved = {**settings, "dsn": young.dsn}
    with (
        EventStore.connect(Config(**moved), runtime=CallerRuntime) as store,
        services(moved, 3) as (writer, every, one),
    ):
        kept = list(store.stream_all_forward())
        assert kept == before[: len(kept)]
        assert 10 < len(kept) < len(before)
        version = store.stream_info("a").stream_version
        every.do("subscribe", name="all")
        one.do("subscribe", name="one", stream="a")
        assert every.wait("subscribed")["checkpoint"] == 10
        assert one.wait("subscribed")["checkpoint"] == 6
        result = store.append_to_stream("a", version, [EventData("X", 1), EventData("X", 2)])
        assert result.first_global_position == len(kept) + 1
        writer.do("write", streams=["new"], seed=30, appends=5).wait("written")
        stored = everything(store)
        assert_stored(writer.reports("appended"), stored)
        assert every.wait_delivered("all", len(stored) - 10) == list(range(11, len(stored) + 1))
        assert [event_id for *_, event_id in every.delivered("all")] == list(stored)[10:]
        assert one.wait_delivered("one", version + 2 - 6) == list(range(7, version + 3))
        wait_for_checkpoint(store, len(stored), name="all")
    assert "no problem" in Shell(young.dsn, SCHEMA).run("verify")


def test_a_dump_holds_protection_and_ownership(
    old: TestServer, young: TestServer, tmp_path: Path
) -> None:
    """G29, G8, G16: nobody owns what nobody runs any more, and history stays as it is."""
    settings = installed(old.dsn, SCHEMA)
    with EventStore.connect(Config(**settings)) as store:
        store.subscribe_to_all_streams("all", lambda events: None).wait_for(
            append(store, "a", 3), timeout=10
        )
        wait_for_checkpoint(store, 3, name="all")
        dump(old.dsn, tmp_path / "dump")
        epoch = store.subscription_info("$all", "all").epoch
    restore(young.dsn, tmp_path / "dump")
    with EventStore.connect(Config(**{**settings, "dsn": young.dsn})) as store:
        newest = append(store, "a", 1)
        seen = Seen()
        store.subscribe_to_all_streams("all", seen.handle).wait_for(newest, timeout=PATIENCE)
        assert seen.positions == [4]
        assert store.subscription_info("$all", "all").epoch > epoch
    with young.connect() as connection, pytest.raises(psycopg.Error, match="is refused"):
        connection.execute(f"UPDATE {SCHEMA}.events SET data = '1'")


def test_an_earlier_state_under_a_live_runtime_stops_it(
    old: TestServer, tmp_path: Path, record: Record
) -> None:
    """G31: restored in place, so that no connection breaks; others go on at once.

    Not delivering would be skipping: the positions behind the restored head are given out again.
    """
    settings = installed(old.dsn, SCHEMA)
    seen = Seen()
    with (
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
        EventStore.connect(Config(**settings)) as store,
    ):
        store.subscribe_to_all_streams("all", record(seen))
        append(others, "a", 3)
        dump(old.dsn, tmp_path / "dump")
        append(others, "a", 5)
        assert seen.wait(8) == list(range(1, 9))
        wait_for_checkpoint(others, 8, name="all")

        restore(old.dsn, tmp_path / "dump")
        append(others, "a", 2)

        with pytest.raises(HistoryRewoundError):
            store.join(timeout=PATIENCE)
        wait_until(lambda: not store.health().running)
        with pytest.raises(HistoryRewoundError):
            append(store, "a", 1)
        assert seen.positions == list(range(1, 9))
        assert len(seen.lost) == 1


def test_an_earlier_state_while_the_database_is_away_stops_it(
    old: TestServer, tmp_path: Path, record: Record
) -> None:
    """G31: longer than what was lost by the time that the runtime is let in again."""
    settings = installed(old.dsn, SCHEMA)
    seen = Seen()
    with old.connect() as connection:
        connection.execute("CREATE ROLE shop SUPERUSER LOGIN")
    shop = make_conninfo(settings["dsn"], user="shop")
    with EventStore.connect(Config(**{**settings, "dsn": shop})) as store:
        store.subscribe_to_all_streams("all", record(seen))
        append(store, "a", 3)
        dump(old.dsn, tmp_path / "dump")
        append(store, "a", 2)
        seen.wait(5)
        with old.connect() as connection:
            connection.execute("ALTER ROLE shop NOLOGIN")
        old.terminate_backends()
        restore(old.dsn, tmp_path / "dump")
        with EventStore.connect(Config(**settings), runtime=CallerRuntime) as others:
            append(others, "b", 7)
        with old.connect() as connection:
            connection.execute("ALTER ROLE shop LOGIN")
        with pytest.raises(HistoryRewoundError):
            store.join(timeout=60)
        assert seen.positions == list(range(1, 6))


def test_every_process_that_delivered_what_a_restore_took_back_stops_and_says_so(
    old: TestServer, tmp_path: Path
) -> None:
    """G31: within the poll interval, without delivering more; started again, they go on."""
    poll_interval = 1.0
    settings = {**installed(old.dsn, SCHEMA), "poll_interval": poll_interval}
    names = ("one", "two")
    with EventStore.connect(Config(**settings), runtime=CallerRuntime) as others:
        with services(settings, 2) as running:
            append(others, "a", 3)
            for name, service in zip(names, running, strict=True):
                service.do("subscribe", name=name).wait_delivered(name, 3)
                wait_for_checkpoint(others, 3, name=name)
            dump(old.dsn, tmp_path / "dump")
            append(others, "a", 5)
            for name, service in zip(names, running, strict=True):
                service.wait_delivered(name, 8)
                service.do("join").wait("joining")
            restore(old.dsn, tmp_path / "dump")
            append(others, "b", 2)
            appended = time.monotonic()
            for name, service in zip(names, running, strict=True):
                assert service.exit_code() != 0
                lost = service.wait("lost", reason="HistoryRewoundError")
                assert lost["at"] - appended < poll_interval + PATIENCE
                assert service.positions(name) == list(range(1, 9))
        with services(settings, 1) as (again,):
            again.do("subscribe", name="one")
            assert again.wait_delivered("one", 2) == [4, 5]
