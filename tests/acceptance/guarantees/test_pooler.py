"""Behind PgBouncer in transaction mode everything holds that holds without it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import (
    Record,
    Settings,
    installed,
    wait_for_checkpoint,
)
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.cli import Shell
from tests.support.pgserver import TestServer
from tests.support.pooler import PROGRAM, Pooler
from tests.support.processes import Service
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed; on Debian: apt-get install pgbouncer"
)


@pytest.fixture(scope="module")
def behind() -> Iterator[TestServer]:
    """The server that is behind the pooler."""
    with TestServer() as server:
        yield server


@pytest.fixture(scope="module")
def pooler(behind: TestServer) -> Iterator[Pooler]:
    with Pooler(behind.dsn) as pooler:
        yield pooler


def append(store: EventStore, stream: str, count: int = 1) -> None:
    store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def write_and_deliver(stores: list[Settings], processes: int = 3) -> None:
    """Let so many processes use each of *stores*: one subscribes, the others write."""
    services = [[Service(settings) for _ in range(processes)] for settings in stores]
    try:
        for *writers, subscriber in services:
            subscriber.ready().do("subscribe", name="sub")
            for seed, writer in enumerate(writers):
                writer.ready().do(
                    "write", streams=["a", "b"], seed=seed, appends=60, most_streams=2
                )
        for settings, (*writers, subscriber) in zip(stores, services, strict=True):
            for writer in writers:
                writer.wait("written", timeout=40)
                assert not writer.reports("failed")
            with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
                stored = everything(store)
            for writer in writers:
                assert_stored(writer.reports("appended"), stored)
            written = [i for w in writers for r in w.reports("appended") for i in ids_of(r)]
            assert sorted(written) == sorted(stored)
            assert subscriber.wait_delivered("sub", len(stored)) == list(range(1, len(stored) + 1))
            assert [event_id for *_, event_id in subscriber.delivered("sub")] == list(stored)
            assert "no problem" in Shell(settings["dsn"], settings["schema"]).run("verify")
    finally:
        for service in (service for each in services for service in each):
            service.kill9()


def ids_of(report: dict[str, dict[str, list[str]]]) -> list[str]:
    return [event_id for ids in report["ids"].values() for event_id in ids]


def test_a_direct_connection_for_listening_makes_deliveries_instant(
    behind: TestServer, pooler: Pooler, record: Record
) -> None:
    """CFG-07, G23, G13: long before the next look."""
    settings = {**installed(pooler.dsn, "direct"), "poll_interval": 60.0, "lease": 60.0}
    seen = Seen()
    with (
        EventStore.connect(Config(**settings, listen_dsn=behind.dsn)) as store,
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
    ):
        store.subscribe_to_all_streams("sub", record(seen))
        for _ in range(10):
            append(store, "a", 2)
            append(others, "b")
        assert seen.wait(30) == list(range(1, 31))
        assert store.health().listening
        wait_for_checkpoint(store, 30)


def test_stores_that_share_connections_work_behind_a_pooler(
    behind: TestServer, pooler: Pooler, record: Record
) -> None:
    """G23, G13, G34: each is told of its own events long before the next look."""
    settings = {**installed(pooler.dsn, "first"), "poll_interval": 60.0, "lease": 60.0}
    with (
        EventStore.connect(Config(**settings, listen_dsn=behind.dsn)) as first,
        first.for_schema("beside", init=True) as beside,
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
    ):
        seen = {store: Seen() for store in (first, beside)}
        for store, each in seen.items():
            store.subscribe_to_all_streams("sub", record(each))
        for _ in range(10):
            append(first, "a", 2)
            append(others.for_schema("beside"), "b")
        assert seen[first].wait(20) == list(range(1, 21))
        assert seen[beside].wait(10) == list(range(1, 11))
        assert beside.health().listening
        wait_for_checkpoint(beside, 10)


def test_without_one_deliveries_wait_for_the_next_look_and_the_log_says_so_once(
    pooler: Pooler, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """G23, G32."""
    settings = installed(pooler.dsn, "deaf")
    seen = Seen()
    with (
        caplog.at_level(logging.WARNING),
        EventStore.connect(Config(**settings)) as store,
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
    ):
        store.subscribe_to_all_streams("sub", record(seen))
        wait_until(lambda: store.health().database_reachable)
        assert not store.health().listening
        for number in range(1, 11):
            append(others, "a")
            assert seen.wait(number) == list(range(1, number + 1))
    said = [r.getMessage() for r in caplog.records if "LISTEN is deaf" in r.getMessage()]
    assert len(said) == 1
    assert "listen_dsn" in said[0]


def test_two_stores_behind_one_pooler_never_touch_each_other(pooler: Pooler) -> None:
    """G34, G3, G14, G16: the sessions that they share were set to the other's schema, too."""
    stores = [installed(pooler.dsn, schema) for schema in ("tenant_a", "tenant_b")]
    with pooler.connect() as rude:
        for schema in ("tenant_b", "tenant_a"):
            rude.execute(f"SET search_path = {schema}")
    write_and_deliver(stores)


class Gate:
    """Holds every session of a pooler but one, so that whoever comes gets that one."""

    def __init__(self, pooler: Pooler, sessions: int, until: ExitStack) -> None:
        self._holders = [until.enter_context(pooler.connect()) for _ in range(sessions)]
        for holder in self._holders:
            holder.execute("BEGIN")

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        self._holders[number].execute("COMMIT")
        yield
        self._holders[number].execute("BEGIN")


def test_a_statement_of_another_store_with_the_same_name_is_never_run(behind: TestServer) -> None:
    """G34: prepared statements belong to a session, and all clients give them the same names."""
    one, other = (installed(behind.dsn, schema) for schema in ("name_a", "name_b"))
    with Pooler(behind.dsn, sessions=4) as fresh, ExitStack() as until:

        def opened(settings: Settings) -> EventStore:
            config = Config(**{**settings, "dsn": fresh.dsn})
            return until.enter_context(EventStore.connect(config, runtime=CallerRuntime))

        gate = Gate(fresh, 4, until)
        with gate.only(0):
            store = opened(one)
        with gate.only(1):
            append(store, "s")
        with gate.only(2):
            another = opened(other)
        with gate.only(3):
            append(another, "s")
            append(store, "s")
            heads = [each.stream_info("$all").stream_version for each in (store, another)]
    assert heads == [2, 1]
