"""A table is written anew, as by a restore of the same rows, while a call waits for its lock.

A snapshot from before the wait sees an empty table: its rows have another transaction's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from eventstore.model.errors import WrongExpectedVersionError
from eventstore.model.subscription_start import Origin
from eventstore.ports.ownership import Claimed
from eventstore.ports.stored_events import Committed
from eventstore.ports.stored_snapshots import EncodedSnapshot
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.plain_sql import Sql
from tests.support.waiting import wait_until

COUNT = 3
REWRITE = {
    "events": "stored_at TYPE timestamptz USING stored_at + interval '0'",
    "streams": "deleted_at TYPE timestamptz USING deleted_at + interval '0'",
    "snapshots": "created_at TYPE timestamptz USING created_at + interval '0'",
    "subscriptions": "start_from TYPE bigint USING start_from + 0",
    "positions": "owner TYPE uuid USING owner::text::uuid",
    "leases": "epoch TYPE bigint USING epoch + 0",
}
"""Tables, and a column that no view has."""


class Stored:
    """A stream of three events, a subscription to it and one to all streams, at the end."""

    def __init__(self, user: User) -> None:
        self.user = user
        user.store("order-1", COUNT)
        self.one = user.own("one", "order-1").fence
        self.all = user.own("all", "$all").fence
        # From the sixth call on a session has a plan, and waits for locks in the middle of it.
        for _ in range(6):
            self.head()
            self.stream_head()
            self.look()
            self.refused()
            self.record()
            self.read_snapshot()

    def head(self) -> object:
        return self.user.storage.stream_info("$all", soon()).stream_version

    def stream_head(self) -> object:
        return self.user.storage.stream_info("order-1", soon()).stream_version

    def look(self) -> object:
        ids = [self.one.position_id, self.all.position_id]
        return len(self.user.keeper.look(ids, soon()))

    def lags(self) -> object:
        return [(info.head, info.lag_events) for info in self.user.storage.subscriptions(soon())]

    def refused(self) -> object:
        outcome = self.user.append(part("order-1", events(1), expected=0))
        assert isinstance(outcome, WrongExpectedVersionError)
        return outcome.actual

    def append(self) -> object:
        outcome = self.user.append(part("order-1", events(1)))
        assert isinstance(outcome, Committed)
        return outcome.results[0].first_version, outcome.results[0].first_global_position

    def record(self) -> object:
        snapshot = EncodedSnapshot("T", "json", b"1", None)
        return self.user.storage.record_snapshot("order-1", COUNT, snapshot, soon())

    def read_snapshot(self) -> object:
        found, after = self.user.storage.read_from_snapshot("order-1", "T", 9, soon())
        return found and found.stream_version, len(after)

    def keep(self) -> object:
        kept = self.user.keep(self.all, COUNT)
        return kept.checkpoint if kept.owned else None

    def subscribe(self) -> object:
        claimed = self.user.claim("new", "order-1", start=Origin.CURRENT)
        assert isinstance(claimed, Claimed)
        return claimed.checkpoint, claimed.head

    def reset(self) -> object:
        self.user.storage.reset_subscription("order-1", "one", COUNT, soon())
        return self.user.info("one", "order-1").checkpoint


CALLS: list[tuple[Callable[[Stored], object], object, tuple[str, ...]]] = [
    (Stored.head, COUNT, ("events",)),
    (Stored.stream_head, COUNT, ("events", "streams")),
    (Stored.look, 2, ("subscriptions", "positions", "leases")),
    (Stored.lags, [(COUNT, COUNT), (COUNT, COUNT)], ("events", "streams", "positions", "leases")),
    (Stored.refused, COUNT, ("events", "streams")),
    (Stored.append, (COUNT + 1, COUNT + 1), ("events", "streams")),
    (Stored.record, True, ("events", "streams", "snapshots")),
    (Stored.read_snapshot, (COUNT, 0), ("events", "streams", "snapshots")),
    (Stored.keep, COUNT, ("events", "positions", "leases")),
    (Stored.subscribe, (COUNT, COUNT), ("events", "streams", "subscriptions", "positions")),
    (Stored.reset, COUNT, ("events", "subscriptions", "positions", "leases")),
]


@pytest.fixture
def locker(dsn: str, schema: str) -> Iterator[Sql]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Sql(connection, schema)


@pytest.mark.parametrize(
    ("call", "expected", "table"),
    [
        pytest.param(call, expected, table, id=f"{call.__name__}-{table}")
        for call, expected, tables in CALLS
        for table in tables
    ],
)
def test_a_call_that_waits_for_a_table_sees_what_is_in_it_afterwards(
    user: User,
    psql: Psql,
    locker: Sql,
    call: Callable[[Stored], object],
    expected: object,
    table: str,
) -> None:
    """F33, G4, G13, G24, G29: no head is 0, no stream is missing, nothing starts over."""
    stored = Stored(user)
    with ThreadPoolExecutor(1) as threads:
        with locker.transaction():
            locker(f"LOCK TABLE {{}}.{table} IN ACCESS EXCLUSIVE MODE")
            calling = threads.submit(call, stored)
            wait_until(lambda: waits(psql))
            locker(f"ALTER TABLE {{}}.{table} ALTER COLUMN {REWRITE[table]}")
        assert calling.result() == expected


def waits(psql: Psql) -> list[tuple[Any, ...]]:
    return psql("SELECT pid FROM pg_locks WHERE NOT granted")
