"""What many subscriptions cost each other and the server: leases, releases, standbys, deletes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pykka
import pytest
from psycopg import sql

from eventstore import Config, EventData, EventStore
from eventstore.ports.ownership import Fence, Progress
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from eventstore_actors.delivering import subscription_actor
from eventstore_actors.kernel.messages import Release, StandBy
from tests.acceptance.guarantees.conftest import Record, Settings, Start
from tests.acceptance.guarantees.handing_over import COUNT, hand_over
from tests.actors.seated import start_keeper
from tests.support.recorder import Recorder, Seen
from tests.support.rooms import Ear, rooms_over
from tests.support.statement_log import StatementLog, logging_server
from tests.support.waiting import AGES, wait_until

pytestmark = pytest.mark.slow

LONG = 600.0
"""A lease that nobody renews while a test runs."""


def subscribe_many(
    store: EventStore, subscriber: pykka.ActorRef[Recorder], count: int
) -> list[str]:
    """Subscribe one actor under *count* names, and return them."""
    names = [f"many-{number}" for number in range(count)]
    for name in names:
        store.subscribe_to_all_streams(name, subscriber, when_owned="wait")
    return names


@contextmanager
def rows_of(settings: Settings) -> Iterator[Rows]:
    with psycopg.connect(settings["dsn"], autocommit=True) as connection:
        yield Rows(connection, settings["schema"])


class Rows:
    """The tables of a store as SQL shows them."""

    def __init__(self, connection: psycopg.Connection, schema: str) -> None:
        self.connection = connection
        self._schema = sql.Identifier(schema)

    def run(self, statement: str, *arguments: Any) -> psycopg.Cursor[Any]:
        composed = sql.SQL(statement).format(schema=self._schema)
        return self.connection.execute(composed, arguments)

    def one(self, statement: str, *arguments: Any) -> Any:
        row = self.run(statement, *arguments).fetchone()
        assert row is not None
        return row[0]

    def column(self, statement: str, *arguments: Any) -> list[Any]:
        return [row[0] for row in self.run(statement, *arguments)]


def lock(rows: Rows, name: str) -> None:
    """Change the position of a subscription, in a transaction that goes on."""
    rows.run(
        "UPDATE {schema}.positions p SET checkpoint = p.checkpoint"
        " FROM {schema}.subscriptions s WHERE s.subscription_id = p.subscription_id"
        " AND s.subscription_name = %s",
        name,
    )


_STALE = "SELECT count(*) FROM {schema}.leases WHERE renewed_at < %s + make_interval(secs => %s)"
_CHECKPOINTS = "SELECT checkpoint FROM {schema}.positions WHERE checkpoint > 0"


def test_a_transaction_that_locks_a_position_costs_nobody_a_lease(
    settings: Settings, record: Record
) -> None:
    """G16, G22, G27: for two leases, beside 500 others; its checkpoint is stored afterwards."""
    count, lease, seen = 500, 4.0, Seen()
    config = Config(**{**settings, "lease": lease})
    with rows_of(settings) as rows, EventStore.connect(config) as store:
        names = subscribe_many(store, record(seen), count)
        epochs = rows.column("SELECT epoch FROM {schema}.positions ORDER BY position_id")
        with psycopg.connect(settings["dsn"]) as connection:
            lock(Rows(connection, settings["schema"]), names[0])
            locked_at = rows.one("SELECT clock_timestamp()")
            store.append_to_stream("s", 0, [EventData("X", 1)])
            wait_until(lambda: rows.column(_CHECKPOINTS) == [1] * (count - 1), timeout=60)
            wait_until(lambda: rows.one(_STALE, locked_at, 2 * lease) == 0, timeout=60)
            assert store.subscription_info("$all", names[0]).checkpoint == 0
            connection.commit()
        wait_until(lambda: rows.column(_CHECKPOINTS) == [1] * count)
        assert rows.column("SELECT epoch FROM {schema}.positions ORDER BY position_id") == epochs
        assert seen.lost == []
        assert (seen.runs, len(seen.positions)) == (count, count)


def test_hundreds_of_subscriptions_are_released_by_a_close_in_a_few_statements(
    settings: Settings, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10, G26: all of them, and their checkpoints are stored, when it returns.

    The first statement lasts until all of them have asked, however fast they come to it.
    """
    count, seen = 400, Seen()
    asked: list[Release] = []
    releases: list[int] = []
    statements: list[object] = []
    release, execute = PostgresKeeperSession.release, GuardedConnection.execute

    def counted_release(
        self: PostgresKeeperSession, progress: Sequence[Progress], deadline: float
    ) -> list[Fence]:
        releases.append(len(progress))
        waited_from = time.monotonic()
        wait_until(lambda: len(asked) == count, timeout=60)
        return release(self, progress, deadline + time.monotonic() - waited_from)

    def counted_request(*arguments: Any) -> Release:
        request = Release(*arguments)
        asked.append(request)
        return request

    def counted_execute(self: GuardedConnection, statement: Any, *rest: Any, **more: Any) -> Any:
        statements.append(statement)
        return execute(self, statement, *rest, **more)

    monkeypatch.setattr(subscription_actor, "Release", counted_request)
    monkeypatch.setattr(PostgresKeeperSession, "release", counted_release)
    monkeypatch.setattr(GuardedConnection, "execute", counted_execute)
    config = Config(**{**settings, "stop_timeout": AGES, "lease": LONG, "poll_interval": 5.0})
    with rows_of(settings) as rows, EventStore.connect(config) as store:
        subscribe_many(store, record(seen), count)
        store.append_to_stream("s", 0, [EventData("X", 1)])
        seen.wait(count)
        statements.clear()
        before = time.monotonic()

        store.close()

        print(f"{time.monotonic() - before:.3f} s, releases {releases}, {len(statements)} in all")  # noqa: T201 -- for information
        assert rows.one("SELECT count(*) FROM {schema}.positions WHERE owner IS NOT NULL") == 0
        assert rows.column(_CHECKPOINTS) == [1] * count
        assert sum(releases) == count
        assert len(releases) <= count / 10
        assert len(statements) <= count / 4


_OWNED = (
    "SELECT subscription_name FROM {schema}.subscriptions JOIN {schema}.positions"
    " USING (subscription_id) WHERE owner IS NOT NULL ORDER BY subscription_id"
)


def test_a_locked_position_holds_up_no_other_release(settings: Settings, record: Record) -> None:
    """F10, G22, G26, G27: neither while it is unsubscribed nor when all of them are closed."""
    config = Config(**{**settings, "lease": LONG, "connect_timeout": AGES, "stop_timeout": 5.0})
    with rows_of(settings) as rows, psycopg.connect(settings["dsn"]) as connection:
        with EventStore.connect(config) as store:
            names = subscribe_many(store, record(Seen()), 20)
            lock(Rows(connection, settings["schema"]), names[0])
            store.unsubscribe_from_all_streams(names[0])
            for name in names[1:4]:
                store.unsubscribe_from_all_streams(name)
                assert rows.column(_OWNED).count(name) == 0
        assert rows.column(_OWNED) == [names[0]]


def test_a_locked_position_is_released_when_the_transaction_ends(
    settings: Settings, record: Record
) -> None:
    """G26, G27: though whoever unsubscribed it did not wait so long."""
    config = Config(**{**settings, "lease": LONG, "connect_timeout": AGES})
    with rows_of(settings) as rows, EventStore.connect(config) as store:
        (name,) = subscribe_many(store, record(Seen()), 1)
        with psycopg.connect(settings["dsn"]) as connection:
            lock(Rows(connection, settings["schema"]), name)
            store.unsubscribe_from_all_streams(name)
            assert rows.column(_OWNED) == [name]
        wait_until(lambda: rows.column(_OWNED) == [])


# ── standbys ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def log() -> Iterator[StatementLog]:
    with logging_server() as log:
        yield log


def _xmax(log: StatementLog) -> int:
    """Return the next transaction id that the server gives out."""
    with log.server.connect() as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def kept_standbys(config: Config, awaited: dict[int, int]) -> Iterator[None]:
    """Run what looks after the standbys of a runtime: its keeper, without their actors."""
    with rooms_over(config) as rooms:
        keeper, standby = start_keeper(rooms), Ear()
        for subscription_id, position_id in awaited.items():
            keeper.tell(StandBy(subscription_id, position_id, standby.ref))
        yield


def test_idle_standbys_ask_little_and_take_no_transaction_id(
    log: StatementLog, schema: str, record: Record
) -> None:
    """F11, G22, G27: 20 runtimes with 50 names each, four of them whole, 16 as far as they look."""
    count, real, kept, poll_interval = 50, 4, 16, 1.0
    config = Config(log.dsn("r0"), schema=schema, poll_interval=poll_interval, lease=LONG)
    config = replace(config, pool_size=2)
    with ExitStack() as stack:
        for number in range(real):
            own = replace(config, dsn=log.dsn(f"r{number}"))
            store = stack.enter_context(EventStore.connect(own, init=number == 0))
            subscribe_many(store, record(Seen()), count)
        with log.server.connect() as connection:
            rows = Rows(connection, schema)
            awaited = dict(
                rows.run("SELECT subscription_id, position_id FROM {schema}.positions").fetchall()
            )
        for number in range(real, real + kept):
            own = replace(config, dsn=log.dsn(f"r{number}"))
            stack.enter_context(kept_standbys(own, awaited))
        names = {f"r{number}" for number in range(real + kept)}
        log.forget()
        wait_until(lambda: _all_looked(log, names, 1))

        began = time.monotonic()
        log.forget()
        taken = _xmax(log)
        wait_until(lambda: _all_looked(log, names, 4))
        counts, ended = log.counts(), time.monotonic()

        assert _xmax(log) == taken
        intervals = (ended - began) / poll_interval + 1
        most = max(counts[name] for name in names)
        print(f"at most {most} statements in {intervals - 1:.1f} intervals: {dict(counts)}")  # noqa: T201 -- for information
        assert most <= 4 * intervals


def _all_looked(log: StatementLog, names: set[str], times: int) -> bool:
    looks = log.counts("look_at_subscriptions")
    return all(looks[name] >= times for name in names)


def test_100_subscriptions_are_handed_over_in_few_transactions(
    log: StatementLog, schema: str
) -> None:
    """F11, G17, G27: from an owner that closes to two standbys in other processes."""
    taken = hand_over(log, schema)

    print(f"{taken.seconds:.3f} s, {taken.statements} statements, {taken.owners}")  # noqa: T201 -- for information
    assert taken.statements < 1_000
    assert taken.owners.keys() <= set(taken.standbys)
    assert sum(taken.owners.values()) == COUNT


def test_a_thousand_deletes_beside_two_standbys_bring_nothing_back(
    settings: Settings, start: Start, store: EventStore, observer: EventStore, record: Record
) -> None:
    """F7, G16: a standby claims what it waits for, and never creates it."""
    waited_for, count, seen = 40, 1_000, Seen()
    names = subscribe_many(store, record(seen), waited_for)
    standbys = start(2)
    for standby in standbys:
        standby.do("subscribe_many", prefix="many", count=waited_for)
    for standby in standbys:
        standby.wait("connected", name="many")
    with rows_of(settings) as rows:
        others = [f"other-{number}" for number in range(count - waited_for)]
        rows.run(
            "SELECT {schema}.create_subscription('$all', name, 0) FROM unnest(%s::text[]) name",
            others,
        )
        deleted = [*names, *others]
        random.Random(1).shuffle(deleted)
        for name in deleted:
            observer.delete_subscription("$all", name)

        assert rows.one("SELECT count(*) FROM {schema}.subscriptions") == 0
        wait_until(lambda: len(seen.lost) == waited_for)
        for standby in standbys:
            standby.wait("lost", count=waited_for)
        assert rows.one("SELECT count(*) FROM {schema}.subscriptions") == 0
        assert rows.one("SELECT count(*) FROM {schema}.positions") == 0
        # Ids are never used twice: nothing was created in between either.
        rows.run("SELECT {schema}.create_subscription('$all', 'witness', 0)")
        assert rows.one("SELECT subscription_id FROM {schema}.subscriptions") == count + 1
