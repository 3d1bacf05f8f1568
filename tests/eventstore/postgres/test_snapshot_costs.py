"""A stream that is read from its snapshot on costs what follows the snapshot, not what it has."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg

from benchmarks.workloads.seeding import seed
from eventstore.model.config import Config
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, part

LONG = 100_000
SHORT = 1_000

EXPLAIN = [
    "LOAD 'auto_explain'",
    "SET auto_explain.log_min_duration = 0",
    "SET auto_explain.log_analyze = on",
    "SET auto_explain.log_buffers = on",
    "SET auto_explain.log_level = notice",
]

BLOCKS = re.compile(r"Buffers: shared hit=(\d+)(?: read=(\d+))?")
"""The first one in a plan is of the whole statement."""

PLANS_STAY_AFTER = 7


class Meter:
    """Counts the blocks that the statements of a storage touch."""

    def __init__(self, storage: PostgresStorage) -> None:
        self._blocks = 0
        storage._pool.run_once(self._watch, soon())

    def _watch(self, connection: GuardedConnection) -> None:
        for setting in EXPLAIN:
            connection.raw.execute(setting.encode())
        connection.raw.add_notice_handler(self._take)

    def _take(self, notice: psycopg.errors.Diagnostic) -> None:
        touched = BLOCKS.search(notice.message_primary or "")
        if touched:
            self._blocks += sum(int(count or 0) for count in touched.groups())

    def blocks(self, read: Callable[[], object]) -> int:
        self._blocks = 0
        read()
        assert self._blocks
        return self._blocks


def test_a_read_from_a_late_snapshot_on_costs_no_more_than_that_of_a_short_stream(
    config: Config, user: User
) -> None:
    """G11: 1,000 events behind the snapshot of version 99,000, and a stream of 1,000."""
    storage = user.storage
    assert isinstance(storage, PostgresStorage)
    seed(config.dsn, LONG, per_stream=LONG, schema=config.schema)
    user.append(part("short", tuple(event(b"x" * 110) for _ in range(SHORT))))
    snapshot = EncodedSnapshot("T", "json", b"1", None)
    assert storage.record_snapshot("seed-1", LONG - SHORT, snapshot, soon())
    meter = Meter(storage)

    def from_snapshot() -> None:
        found, events = storage.read_from_snapshot("seed-1", "T", SHORT + 1, soon())
        assert found is not None
        assert [e.position for e in events] == list(range(LONG - SHORT + 1, LONG + 1))

    def short_stream() -> None:
        forward = ReadDirection.FORWARD
        assert len(storage.read_stream("short", 1, SHORT + 1, forward, soon())) == SHORT

    def long_stream() -> None:
        forward = ReadDirection.FORWARD
        assert len(storage.read_stream("seed-1", 1, LONG, forward, soon())) == LONG

    for _ in range(PLANS_STAY_AFTER):
        from_snapshot()
        short_stream()
    blocks, short, whole = map(meter.blocks, (from_snapshot, short_stream, long_stream))
    assert blocks < 1.2 * short + 20
    assert whole > 20 * blocks
