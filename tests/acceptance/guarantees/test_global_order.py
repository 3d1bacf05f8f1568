"""Positions under load: gapless, in commit order, for everyone who watches, whoever sits by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.acceptance.guarantees.conftest import Start
from tests.support.processes import Service
from tests.support.waiting import PATIENCE

WRITERS = 4
APPENDS = 120
STREAMS = [f"s-{number}" for number in range(6)]


@pytest.fixture
def bystanders(dsn: str, schema: str) -> Iterator[None]:
    """Transactions that stay open while the test runs: one that wrote, one that read, one afar."""
    other = f"{schema}_afar"
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(other)))
        stack.callback(
            admin.execute,
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(other)),
        )
        for where in (dsn, make_conninfo(dsn, dbname=other)):
            idle = stack.enter_context(psycopg.connect(where))
            idle.execute("SELECT pg_current_xact_id()")
            stack.callback(idle.rollback)
        snapshot = stack.enter_context(psycopg.connect(dsn))
        snapshot.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "events"))
        )
        stack.callback(snapshot.rollback)
        yield


def test_watchers_see_every_position_in_order_while_other_transactions_stay_open(
    start: Start, bystanders: None
) -> None:
    """G3, G4, G9, G13, G14: a reader and a live subscription, against four writing processes."""
    writers = start(WRITERS)
    (reader,) = start(runtime="caller")
    (watcher,) = start()
    reader.do("tail")
    watcher.do("subscribe_callable", name="watch", batch_by="any")
    watcher.wait("connected")
    for seed, writer in enumerate(writers):
        writer.do("write", streams=STREAMS, seed=seed, appends=APPENDS, most_streams=3)
    for writer in writers:
        writer.wait("written", timeout=40)

    stored = appended_places(writers)
    reader.until(lambda: len(read_by(reader)) >= len(stored))
    watcher.until(lambda: len(watcher.delivered("watch")) >= len(stored))
    for seen in (read_by(reader), watcher.delivered("watch")):
        assert [position for position, *_ in seen] == list(range(1, len(stored) + 1))
        assert {event_id: (stream, version, p) for p, stream, version, event_id in seen} == stored
        assert_versions_follow(seen)
    for writer in writers:
        assert not writer.reports("failed")
        assert max(report["seconds"] for report in writer.reports("appended")) < PATIENCE


def appended_places(writers: list[Service]) -> dict[str, tuple[str, int, int]]:
    """Return id → (stream, version, position) as the results of the appends told them."""
    places: dict[str, tuple[str, int, int]] = {}
    for writer in writers:
        for report in writer.reports("appended"):
            for stream, ids in report["ids"].items():
                version, position = report["places"][stream]
                for offset, event_id in enumerate(ids):
                    assert event_id not in places
                    places[event_id] = (stream, version + offset, position + offset)
    return places


def read_by(reader: Service) -> list[list[Any]]:
    return [event for report in reader.reports("read") for event in report["events"]]


def assert_versions_follow(seen: list[list[Any]]) -> None:
    """Each stream's versions must be 1, 2, 3 … in the order of the positions."""
    versions = dict.fromkeys(STREAMS, 0)
    for _, stream, version, _ in seen:
        assert version == versions[stream] + 1
        versions[stream] = version


def test_a_rolled_back_transaction_of_somebody_else_makes_no_gap(
    dsn: str, schema: str, start: Start
) -> None:
    """G3, G4: not even one that called for transaction ids all the time."""
    (writer,) = start(runtime="caller")
    writer.do("write", streams=["s"], seed=0, appends=100, most_events=1)
    with psycopg.connect(dsn) as other:
        while not writer.reports("written"):
            other.execute("SELECT pg_current_xact_id()")
            other.rollback()
    positions = [next(iter(r["places"].values()))[1] for r in writer.reports("appended")]
    assert positions == list(range(1, 101))
