"""A store that logical replication copied row by row goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Settings, installed
from tests.support.cli import Shell
from tests.support.pgserver import TestServer
from tests.support.plain_sql import Sql
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

SCHEMA = "kept"
NOT_COPIED = "SELECT FROM pg_subscription_rel WHERE srsubstate <> 'r'"
PLACE = "SELECT count(*), max(global_position) FROM {}.events"
EMPTIED = ("write_lock", "store", "schema_version")
"""Tables with rows from the start, which the publisher sends."""


@pytest.fixture
def old() -> Iterator[TestServer]:
    with TestServer({"wal_level": "logical"}) as server:
        yield server


@pytest.fixture
def young() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


def append(store: EventStore, stream: str, count: int = 3) -> None:
    store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def subscribe(settings: Settings, name: str) -> int:
    """Acknowledge every event; return how many there were."""
    seen: list[int] = []
    with EventStore.connect(Config(**settings)) as store:
        handle = store.subscribe_to_all_streams(
            name, lambda events: seen.extend(event.global_position for event in events)
        )
        handle.wait_for(store.read_all_streams_backward(count=1)[0], timeout=PATIENCE)
    return len(seen)


def replicate(old: TestServer, young: TestServer, sql: Sql) -> None:
    """Make the store in *young* a copy of that in *old*, and wait for the rows of now."""
    with old.connect() as publisher:
        publisher.execute(f"CREATE PUBLICATION everything FOR TABLES IN SCHEMA {SCHEMA}")
    for table in EMPTIED:
        sql(f"ALTER TABLE {{}}.{table} DISABLE TRIGGER USER")
        sql(f"DELETE FROM {{}}.{table}")
        if table != "schema_version":
            sql(f"ALTER TABLE {{}}.{table} ENABLE ALWAYS TRIGGER refuse_change")
    sql(f"CREATE SUBSCRIPTION everything CONNECTION '{old.dsn}' PUBLICATION everything")
    wait_until(lambda: not sql(NOT_COPIED))


def same(old: TestServer, sql: Sql) -> bool:
    with old.connect() as publisher:
        return Sql(publisher, SCHEMA)(PLACE) == sql(PLACE)


def test_a_copy_by_logical_replication_takes_over(old: TestServer, young: TestServer) -> None:
    """F41, F42, G29, G8: triggers that always fire hinder no copy, and sequences no successor."""
    settings, moved = installed(old.dsn, SCHEMA), installed(young.dsn, SCHEMA)
    with (
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as store,
        psycopg.connect(young.dsn, autocommit=True) as copying,
        psycopg.connect(old.dsn, autocommit=True) as deleting,
    ):
        sql = Sql(copying, SCHEMA)
        for stream in ("a", "b", "c"):
            append(store, stream)
        replicate(old, young, sql)
        append(store, "d")
        assert subscribe(settings, "all") == 12
        deleter = Sql(deleting, SCHEMA)
        with deleter.transaction():
            deleter.delete_stream("b")
        append(store, "a")
        wait_until(lambda: same(old, sql))
        wait_until(lambda: sql("SELECT checkpoint FROM {}.positions") == [(12,)])
        sql("ALTER SUBSCRIPTION everything DISABLE")
        sql("ALTER SUBSCRIPTION everything SET (slot_name = NONE)")
        sql("DROP SUBSCRIPTION everything")
        goes_on(moved, sql, list(store.stream_all_forward()))


def goes_on(settings: Settings, sql: Sql, before: list[Any]) -> None:
    shell = Shell(str(settings["dsn"]), SCHEMA)
    assert [line for line in shell.found("verify") if "setval" not in line] == []
    with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
        assert list(store.stream_all_forward()) == before
        append(store, "e")
        append(store, "a")
        assert store.stream_info("$all").stream_version == 21
    assert subscribe(settings, "all") == 9
    assert subscribe(settings, "another") == 18
    with pytest.raises(psycopg.Error, match="is refused"):
        sql("DELETE FROM {}.events")
    # Whoever drew a number that was in use has drawn on.
    assert "no problem" in shell.run("verify")
