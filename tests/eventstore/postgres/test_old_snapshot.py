"""A checkpoint costs as much while somebody holds an old snapshot, as a dump does for hours."""

from __future__ import annotations

import psycopg

from eventstore.ports.ownership import Fence
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql

CHECKPOINTS = 1_500

STEADY = 20
"""Blocks by which two checkpoints may differ: a row that moved to another page, a catalogue."""


def test_the_versions_that_a_snapshot_keeps_are_not_searched(user: User, psql: Psql) -> None:
    """G22."""
    user.store("order-1", CHECKPOINTS + 20)
    fence = user.own("shipping", "order-1").fence
    # The first calls plan, and read what the session will keep.
    few = min(blocks_read(psql, fence, position) for position in range(1, 10))
    with psycopg.connect(psql.connection.info.dsn) as somebody:
        somebody.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        somebody.execute("SELECT 1")
        for position in range(10, CHECKPOINTS):
            assert user.keep(fence, position).checkpoint == position
        many = blocks_read(psql, fence, CHECKPOINTS)
    assert many <= few + STEADY


def blocks_read(psql: Psql, fence: Fence, position: int) -> int:
    """Store a checkpoint; return the number of blocks that the server looked at."""
    [[[explained]]] = psql(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {}.keep_subscriptions("
        "1000, 10, ARRAY[%s::bigint], ARRAY[%s::uuid], ARRAY[%s::bigint], ARRAY[%s::bigint],"
        " ARRAY[0::bigint], ARRAY['live'], ARRAY[NULL], ARRAY[0])",
        fence.position_id,
        fence.owner,
        fence.epoch,
        position,
    )
    plan = explained["Plan"]
    hit, read = plan["Shared Hit Blocks"], plan["Shared Read Blocks"]
    assert isinstance(hit, int)
    assert isinstance(read, int)
    return hit + read
