"""Hot statements find what they need by an index, also with plans made while all was empty."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from eventstore.model.event_filter import EventFilter
from eventstore.ports.parking import Most, ParkedPlace, Parking, ParkingOutcome, Why
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import EncodedEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import ANY, User, event, events, part

EXPLAIN = [
    "LOAD 'auto_explain'",
    "SET auto_explain.log_min_duration = 0",
    "SET auto_explain.log_nested_statements = on",
    "SET auto_explain.log_level = notice",
]

PLANS_BECOME_GENERIC_AFTER = 6

BIG_TABLES = "events|streams|links|tombstones|snapshots"
SLOW = re.compile(
    rf"Seq Scan on ({BIG_TABLES})\b|Bitmap Heap Scan on ({BIG_TABLES})\b"
    r"|-> +Sort .*\n +Sort Key: .*\b(e\.|position\b)|^Sort .*\n +Sort Key: .*\b(e\.|position\b)",
    re.MULTILINE,
)


FILTERS = [
    EventFilter(event_types=("Happened",)),
    EventFilter(stream_prefix="order"),
    EventFilter(metadata=(("k", ("v",)),)),
]


class Spy:
    """The plans of everything that the store's connections execute."""

    def __init__(self, user: User) -> None:
        self.plans: list[str] = []
        storage, appender, keeper = user.storage, user.appender, user.keeper
        assert isinstance(storage, PostgresStorage)
        assert isinstance(appender, PostgresAppendSession)
        assert isinstance(keeper, PostgresKeeperSession)
        storage._pool.run_once(self._watch, soon())
        appender._connection.run_once(self._watch, soon())
        keeper._connection.run_once(self._watch, soon())

    def _watch(self, connection: GuardedConnection) -> None:
        for setting in EXPLAIN:
            connection.raw.execute(setting.encode())
        connection.raw.add_notice_handler(self._take)

    def _take(self, notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            self.plans.append(text)

    def slow(self) -> list[str]:
        return [plan for plan in self.plans if SLOW.search(plan)]


def use_everything(user: User, fence: Any, stored: EncodedEvent) -> None:
    """Every hot path once: appends new, refused and repeated, reads of all kinds, keeping."""
    storage = user.storage
    user.append(part("order-1", (stored,)))
    user.append_all(
        (part("order-1", events(2)),), (part("new-" + event().event_id.hex, events(2)),)
    )
    user.append(part("order-1", events(1), expected=0))
    user.append(part("order-1", (stored,), expected=0))
    user.append(part("order-1", (replace(stored, data=b"other"),), expected=0))
    for direction in ReadDirection:
        for max_bytes in (None, 1 << 20, 1):
            storage.read_stream("order-1", 1, 10, direction, soon(), max_bytes)
            storage.read_all(3, 10, direction, soon(), max_bytes)
    for stream_id in ("$all", "order-1"):
        storage.read_after(stream_id, 1, 10, 1 << 20, soon())
        for event_filter in FILTERS:
            storage.read_matching_after(stream_id, 1, 10, 1 << 20, event_filter, soon())
            for direction in ReadDirection:
                storage.read_matching(stream_id, 3, 10, direction, event_filter, soon())
        storage.stream_info(stream_id, soon())
    storage.record_snapshot("order-1", 1, EncodedSnapshot("T", "json", b"1", None), soon())
    storage.read_from_snapshot("order-1", "T", 10, soon())
    storage.history_holds(1, stored.event_id, soon())
    storage.subscriptions(soon())
    user.keep(fence, 1)


@contextmanager
def watched(user: User) -> Iterator[Spy]:
    spy = Spy(user)
    yield spy
    assert spy.plans


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
def test_plans_made_on_an_empty_store_stay_good(user: User, stream_id: str) -> None:
    """G22: no hot statement reads a table as a whole, hashes or sorts it."""
    stored = event()
    claimed = user.own("shipping", stream_id)
    with watched(user) as spy:
        assert plans_after_growth(user, spy, claimed.fence, stored) == []
        assert len(spy.plans) > 30


def test_plans_made_on_a_small_store_stay_good(user: User) -> None:
    """G22: a table that was small when it was analyzed is read as a whole no longer."""
    stored = event()
    claimed = user.own("shipping", "$all")
    user.append_all(*((part(f"first-{n}", events(5), ANY),) for n in range(60)))
    vacuum_and_analyze(user)
    with watched(user) as spy:
        assert plans_after_growth(user, spy, claimed.fence, stored) == []


def plans_after_growth(user: User, spy: Spy, fence: Any, stored: EncodedEvent) -> list[str]:
    """Have plans made now, let the store grow, and return those that do not suit it then."""
    for _ in range(PLANS_BECOME_GENERIC_AFTER):
        use_everything(user, fence, stored)
    for group in range(20):
        user.append_all(*((part(f"{group}-{n}", events(5), ANY),) for n in range(20)))
    spy.plans.clear()
    use_everything(user, fence, stored)
    return spy.slow()


def test_what_is_parked_is_found_by_its_place(user: User) -> None:
    """G22, G38: no event that is parked is compared with each that is parked already."""
    user.append(part("order-1", events(9)))
    fence = user.own().fence
    with watched(user) as spy:
        for position in range(1, 10):
            place = ParkedPlace("order-1", position, position)
            parking = Parking(
                fence=fence,
                checkpoint=position,
                events=[place],
                why=Why("no stock"),
                follows=position > 1,
                most=Most(events=9, of_key=9),
            )
            assert user.storage.park(parking, soon()) is ParkingOutcome.DONE
        assert [plan for plan in spy.plans if "Join Filter" in plan] == []
        assert any("parked_key_idx" in plan for plan in spy.plans)


def vacuum_and_analyze(user: User) -> None:
    """Do what autovacuum does a minute after the first events."""
    storage = user.storage
    assert isinstance(storage, PostgresStorage)
    with psycopg.connect(storage.dsn, autocommit=True) as connection:
        for table in ("streams", "events"):
            name = sql.Identifier(storage._config.schema, table)
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(name))


def test_the_search_finds_a_slow_plan(user: User) -> None:
    """G22: the test above can fail."""
    user.store("order-1", 3)
    with watched(user) as spy:
        storage = user.storage
        assert isinstance(storage, PostgresStorage)
        schema = storage._config.schema
        by_type = f'SELECT * FROM "{schema}".events e WHERE event_type = %b'.encode()
        by_order = f'SELECT * FROM "{schema}".events e ORDER BY e.created_at LIMIT %b'.encode()
        storage._pool.run_once(lambda c: c.execute(by_type, ("T",), soon()), soon())
        storage._pool.run_once(lambda c: c.execute(by_order, (1,), soon()), soon())
        assert len(spy.slow()) == 2
