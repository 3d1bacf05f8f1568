"""Stores of several schemas share connections, and what becomes of one of them harms no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import psycopg
import pytest
from psycopg import sql

from eventstore import Config, EventData, EventStore, ExpectedVersion, SubscriptionState
from eventstore_actors import StoreSupervisor
from tests.acceptance.guarantees.conftest import Settings, sessions
from tests.actors.application import raise_in_threads
from tests.conftest import ONLOOKER
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

LEASE = 3.0


def append(store: EventStore) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", {})])


def subscribed(stores: list[EventStore]) -> list[Seen]:
    seen = [Seen() for _ in stores]
    for store, each in zip(stores, seen, strict=True):
        store.subscribe_to_all_streams("sub", each.handle)
    return seen


def appended_and_delivered(stores: list[EventStore], seen: list[Seen], position: int) -> bool:
    """Append to each; return whether each delivers it, and nothing else."""
    for store in stores:
        append(store)
    return [each.wait(position) for each in seen] == [[*range(1, position + 1)]] * len(stores)


def hears(store: EventStore) -> bool:
    [subscription] = store.health().subscriptions
    return subscription.state is SubscriptionState.LIVE and store.health().listening


class Open(Protocol):
    """Opens a store and others beside it."""

    def __call__(self, count: int, **options: float) -> list[EventStore]: ...


@pytest.fixture
def open_stores(settings: Settings, pytestconfig: pytest.Config) -> Iterator[Open]:
    """Return what opens a store and others beside it."""
    names = [settings["schema"]]
    with ExitStack() as stores:

        def opened(count: int, **options: float) -> list[EventStore]:
            names.extend(f"{names[0]}_{number}" for number in range(1, count))
            config = Config(**{**settings, "lease": LEASE, **options})
            first = stores.enter_context(EventStore.connect(config))
            return [first, *(first.for_schema(name, init=True) for name in names[1:])]

        yield opened
    for name in names[1:]:
        pytestconfig.stash[ONLOOKER].drop_schema(name)


# ── how many ─────────────────────────────────────────────────────────────────────────────────────


def threads_below() -> list[str]:
    """Return the names of the threads that connections need."""
    names = ("eventstore-deadlines", "eventstore-ears", "eventstore-reads")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


@pytest.mark.slow  # it installs fifty schemas
def test_fifty_stores_hold_few_connections_and_threads(
    open_stores: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G22, G23: at most 20 and 200 at rest, no thread for each below them; every store delivers.

    They look as often as those of a service: ten times per second, fifty stores are never at rest.
    """
    before = threading.active_count()
    monkeypatch.setattr("eventstore.storages.postgres.family._IDLE", 1.0)
    stores = open_stores(50, poll_interval=1.0)
    seen = subscribed(stores)
    assert appended_and_delivered(stores, seen, 1)
    wait_until(lambda: len(sessions(settings["dsn"], settings["schema"])) <= 20)
    wait_until(lambda: all(map(hears, stores)))
    assert len(threads_below()) <= 6
    wait_until(lambda: threading.active_count() - before <= 200)
    assert appended_and_delivered(stores, seen, 2)


def appenders(settings: Settings) -> int:
    """Return the number of sessions that have done nothing since an append."""
    with psycopg.connect(settings["dsn"], application_name="looking", autocommit=True) as admin:
        rows = admin.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE starts_with(application_name, %s) AND query LIKE '%%append_events(%%'",
            [settings["schema"]],
        )
        return len(rows.fetchall())


def test_a_store_that_rests_has_no_connection_to_append(
    open_stores: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G25: but for the first one, and each connects again when it has to."""
    monkeypatch.setattr("eventstore.storages.postgres.family._IDLE", 1.0)
    stores = open_stores(3)
    seen = subscribed(stores)
    for position in (1, 2):
        assert appended_and_delivered(stores, seen, position)
        wait_until(lambda: appenders(settings) == 1)
    append(stores[0])
    assert appenders(settings) == 1


# ── what becomes of one ──────────────────────────────────────────────────────────────────────────


def kill(settings: Settings) -> int:
    """End every session of the stores; return their number."""
    with psycopg.connect(settings["dsn"], application_name="killer", autocommit=True) as admin:
        killed = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE starts_with(application_name, %s)",
            [settings["schema"]],
        )
        return len(killed.fetchall())


def test_every_store_goes_on_when_the_connections_are_killed(
    open_stores: Open, settings: Settings
) -> None:
    """G23, G25: again and again, and each hears of other processes afterwards."""
    stores = open_stores(3)
    seen = subscribed(stores)
    for position in range(1, 4):
        wait_until(lambda: all(map(hears, stores)))
        assert kill(settings) >= 2
        assert appended_and_delivered(stores, seen, position)
    wait_until(lambda: all(map(hears, stores)))


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_the_thread_that_listens_goes_on_after_a_crash(
    open_stores: Open, error: type[BaseException]
) -> None:
    """G24: every store counts it, and hears again."""
    stores = open_stores(3)
    seen = subscribed(stores)
    wait_until(lambda: all(map(hears, stores)))
    raise_in_threads("eventstore-ears", error)
    wait_until(lambda: all(store.health().restarts for store in stores))
    assert appended_and_delivered(stores, seen, 1)
    wait_until(lambda: all(map(hears, stores)))


@contextmanager
def locked(settings: Settings, schemas: list[str]) -> Iterator[None]:
    """Hold the tables that say who owns what, so that every statement about it hangs."""
    with psycopg.connect(settings["dsn"], application_name="locking") as connection:
        for schema in schemas:
            table = sql.Identifier(schema, "leases")
            connection.execute(sql.SQL("LOCK TABLE {}").format(table))
        yield
        connection.rollback()


class Lease:
    """What the database says of the one lease of a store."""

    def __init__(self, settings: Settings, schema: str) -> None:
        self._dsn = settings["dsn"]
        self._table = sql.Identifier(schema, "leases")

    def look(self) -> tuple[int, float, bool]:
        """Return its epoch, when it was renewed, and whether it still holds."""
        with psycopg.connect(self._dsn, application_name="looking", autocommit=True) as connection:
            row = connection.execute(
                sql.SQL(
                    "SELECT epoch, extract(epoch FROM renewed_at)::float8,"
                    " expires_at > clock_timestamp() FROM {}"
                ).format(self._table)
            ).fetchone()
        assert row is not None
        return row


def test_statements_that_hang_cost_no_other_store_its_lease(
    open_stores: Open, settings: Settings
) -> None:
    """G16, G22: more of them than there are connections that keep the leases."""
    stores = open_stores(6)
    seen = subscribed(stores)
    assert appended_and_delivered(stores, seen, 1)
    free, *frozen = stores[1:]
    lease = Lease(settings, free.config.schema)
    epoch, start, _ = lease.look()
    with locked(settings, [each.config.schema for each in frozen]):

        def lasted() -> bool:
            now, renewed_at, holds = lease.look()
            assert (now, holds) == (epoch, True)
            return renewed_at > start + 2 * LEASE

        wait_until(lasted)
        append(free)
        assert seen[1].wait(2) == [1, 2]
    for store in frozen:
        append(store)
    # What they had delivered when their leases ended may come again.
    wait_until(lambda: all(2 in each.positions for each in seen[2:]))


def test_a_store_lives_on_when_the_first_one_has_failed(
    open_stores: Open, settings: Settings
) -> None:
    """G24: it has its connections from nobody."""
    first, beside = open_stores(2)
    seen = subscribed([beside])
    first._runtime.close(1.0)
    assert not first.health().running
    assert appended_and_delivered([beside], seen, 1)
    wait_until(lambda: hears(beside))


def test_a_store_can_be_opened_beside_one_that_is_attached_to(
    settings: Settings, pytestconfig: pytest.Config
) -> None:
    """G26: it ends with the object that it was opened from, and the supervisor goes on."""
    supervisor = StoreSupervisor.start(Config(**settings))
    name = f"{settings['schema']}_1"
    attached = EventStore.attach(supervisor)
    beside = attached.for_schema(name, init=True)
    seen = subscribed([beside])
    assert appended_and_delivered([beside], seen, 1)
    attached.close()
    assert not beside._runtime.health().running
    with EventStore.attach(supervisor) as again:
        append(again)
    supervisor.stop()
    pytestconfig.stash[ONLOOKER].drop_schema(name)
