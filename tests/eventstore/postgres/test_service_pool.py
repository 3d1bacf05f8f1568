"""Reads over the service's own pool: the same store, the same deadlines, and no trace in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool

from eventstore import CallerRuntime, EventData, EventStore, ExpectedVersion
from eventstore.model.config import Config
from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from tests.conformance.conftest import numbered, soon
from tests.conformance.port.conftest import User
from tests.conformance.subscriptions.recording import Handler
from tests.eventstore.postgres.conftest import Psql
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

AnyPool = ConnectionPool[psycopg.Connection[Any]]


class Shouting(Loader):
    """What a service may have registered for its own values."""

    def load(self, data: Any) -> str:
        return bytes(data).decode().upper()


def make_odd(connection: psycopg.Connection[Any]) -> None:
    """Set what a service may set, and what a read must not fall over."""
    connection.row_factory = dict_row
    connection.cursor_factory = psycopg.ClientCursor
    for name in ("text", "uuid", "bytea", "int8", "timestamp", "timestamptz"):
        connection.adapters.register_loader(name, Shouting)
    connection.execute("SET search_path = information_schema")
    connection.commit()


@pytest.fixture
def pool(dsn: str) -> Iterator[AnyPool]:
    with ConnectionPool(
        dsn, min_size=1, max_size=2, open=True, configure=make_odd, kwargs={"application_name": "s"}
    ) as pool:
        yield pool


@pytest.fixture
def reading(config: Config, user: User, pool: AnyPool) -> Iterator[PostgresStorage]:
    """A storage that reads three events over the service's pool."""
    user.store("order-1", 3)
    storage = PostgresStorage(config, pool=pool)
    storage.open(init=False, deadline=soon())
    yield storage
    storage.close()


def read(storage: PostgresStorage, deadline: float | None = None) -> int:
    return len(storage.read_all(1, 10, ReadDirection.FORWARD, deadline or soon()))


def asleep(connection: GuardedConnection) -> object:
    return connection.execute(b"SELECT pg_sleep(60)", (), time.monotonic() + 60)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def test_reads_go_over_the_pool_whatever_its_connections_are_set_to(
    reading: PostgresStorage, user: User, pool: AnyPool
) -> None:
    """G34: row factory, cursor, loaders and search path are the service's, and stay."""
    before = pool.get_stats()["requests_num"]
    events = reading.read_all(1, 10, ReadDirection.FORWARD, soon())
    assert events == user.storage.read_all(1, 10, ReadDirection.FORWARD, soon())
    assert pool.get_stats()["requests_num"] == before + 1
    with pool.connection() as connection:
        assert connection.row_factory is dict_row
        assert connection.execute("SHOW search_path").fetchall() == [
            {"search_path": "INFORMATION_SCHEMA"}
        ]
        assert not connection.execute("SELECT 1 FROM pg_prepared_statements").fetchall()


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_read_leaves_no_transaction_behind(
    config: Config, user: User, dsn: str, *, autocommit: bool
) -> None:
    user.store("order-1", 3)
    with ConnectionPool(
        dsn, min_size=1, max_size=1, open=True, kwargs={"autocommit": autocommit}
    ) as pool:
        storage = PostgresStorage(config, pool=pool)
        storage.open(init=False, deadline=soon())
        statuses: list[object] = []
        pool._reset = lambda c: statuses.append(c.pgconn.transaction_status)
        assert read(storage) == 3
        wait_until(lambda: statuses)
        assert statuses == [psycopg.pq.TransactionStatus.IDLE]
        storage.close()


def test_a_stream_is_read_from_its_snapshot_on_over_the_pool(
    reading: PostgresStorage, user: User, pool: AnyPool
) -> None:
    """G34, G5: whatever its connections are set to; recorded it is over one of the store's own."""
    before = pool.get_stats()["requests_num"]
    recorded = EncodedSnapshot("T", "json", b"1", None)
    assert reading.record_snapshot("order-1", 2, recorded, soon())
    assert pool.get_stats()["requests_num"] == before

    found = reading.read_from_snapshot("order-1", "T", 10, soon())

    assert found == user.storage.read_from_snapshot("order-1", "T", 10, soon())
    assert [event.position for event in found[1]] == [3]
    assert pool.get_stats()["requests_num"] == before + 1


def test_claims_and_changes_go_over_connections_of_the_store(
    reading: PostgresStorage, pool: AnyPool
) -> None:
    """G5: the service's may have been told to lose commits."""
    before = pool.get_stats()["requests_num"]
    assert reading.subscriptions(soon()) == []
    assert pool.get_stats()["requests_num"] == before


def test_the_facade_takes_a_pool_and_leaves_it_open(config: Config, pool: AnyPool) -> None:
    """CFG-03, SHP-03."""
    for runtime in (CallerRuntime, None):
        with EventStore.connect(config, runtime=runtime, init=True, pool=pool) as store:
            before = pool.get_stats()["requests_num"]
            store.append_to_stream("order-1", ExpectedVersion.ANY, [EventData("Placed", {})])
            assert store.read_stream_forward("order-1")
            assert pool.get_stats()["requests_num"] > before
        assert not pool.closed


def test_two_stores_over_one_pool_read_and_deliver_each_its_own(
    config: Config, pool: AnyPool
) -> None:
    """SHP-03, SHP-05, SHP-06, G34: and the pool is there for one when the other is closed."""
    other = replace(config, schema=f"{config.schema}_2")
    our_handler, their_handler = Handler(), Handler()
    try:
        with EventStore.connect(config, init=True, pool=pool) as ours:
            with EventStore.connect(other, init=True, pool=pool) as theirs:
                ours.subscribe_to_stream("order-1", "shipping", our_handler)
                theirs.subscribe_to_stream("order-1", "shipping", their_handler)
                ours.append_to_stream("order-1", 0, numbered(1, 1))
                theirs.append_to_stream("order-1", 0, numbered(7, 7))
                assert (our_handler.call(), their_handler.call()) == ([1], [7])
                assert [e.data["event"] for e in theirs.read_all_streams_forward()] == [7]
            assert [e.data["event"] for e in ours.read_all_streams_forward()] == [1]
    finally:
        storage = PostgresStorage(other)
        storage.drop(soon())
        storage.close()


# ── refusing ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", ["postgresql://", object(), 3])
def test_what_is_no_pool_is_refused(config: Config, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"pool must be a psycopg_pool\.ConnectionPool, not"):
        PostgresStorage(config, pool=wrong)


def test_a_pool_of_another_colour_is_refused(config: Config, dsn: str) -> None:
    with pytest.raises(TypeError, match="not AsyncConnectionPool"):
        EventStore.connect(config, pool=AsyncConnectionPool(dsn, open=False))


def test_memory_takes_no_pool(pool: AnyPool) -> None:
    with pytest.raises(ValueError, match="pool needs a store in PostgreSQL"):
        EventStore.connect("memory:", pool=pool)


def test_another_encoding_is_refused(config: Config, user: User, dsn: str) -> None:
    """G4: its texts would be others."""
    kwargs = {"client_encoding": "LATIN1"}
    with ConnectionPool(dsn, min_size=0, max_size=1, open=True, kwargs=kwargs) as pool:
        storage = PostgresStorage(config, pool=pool)
        with pytest.raises(StorageError, match=r"client_encoding .* is LATIN1, it must be UTF8"):
            storage.open(init=False, deadline=soon())
        storage.close()


def test_another_store_is_refused(config: Config, user: User, dsn: str, psql: Psql) -> None:
    """G34: the same names in another database, for instance that of the tests."""
    name = f"other_{config.schema}"
    psql(f"CREATE DATABASE {name}")
    there = make_conninfo(dsn, dbname=name)
    other = PostgresStorage(replace(config, dsn=there))
    other.open(init=True, deadline=soon())
    other.close()
    with ConnectionPool(there, min_size=0, max_size=1, open=True) as pool:
        storage = PostgresStorage(config, pool=pool)
        with pytest.raises(StorageError, match="pool leads to another store than dsn"):
            storage.open(init=False, deadline=soon())
        storage.close()
    psql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_without_the_store_is_refused(config: Config, user: User, dsn: str) -> None:
    with ConnectionPool(
        dsn, min_size=0, max_size=1, open=True, kwargs={"dbname": "template1"}
    ) as pool:
        storage = PostgresStorage(config, pool=pool)
        with pytest.raises(StorageError, match="does not exist"):
            storage.open(init=False, deadline=soon())
        storage.close()


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────


def test_a_pool_in_use_is_waited_for_until_the_deadline(
    reading: PostgresStorage, pool: AnyPool
) -> None:
    """G25: and then the caller is told so, in an error of ours."""
    with pool.connection(), pool.connection():
        began = time.monotonic()
        with pytest.raises(StorageUnavailableError, match="had no connection before the deadline"):
            read(reading, began + 0.3)
        assert time.monotonic() - began < 2
    assert read(reading) == 3


@pytest.mark.parametrize("kind", [ConnectionPool, NullConnectionPool])
def test_a_closed_pool_is_unavailable(
    config: Config, user: User, dsn: str, kind: type[AnyPool]
) -> None:
    """G25."""
    user.store("order-1", 3)
    pool = kind(dsn, min_size=0, max_size=1, open=True)
    storage = PostgresStorage(config, pool=pool)
    storage.open(init=False, deadline=soon())
    assert read(storage) == 3
    pool.close()
    with pytest.raises(StorageUnavailableError, match="cannot be used"):
        read(storage, time.monotonic() + 0.2)
    storage.close()


def test_a_black_hole_ends_at_the_deadline(config: Config, user: User, dsn: str) -> None:
    """G25: the pool replaces the connection that is lost by it."""
    user.store("order-1", 3)
    with (
        Proxy(dsn) as proxy,
        ConnectionPool(f"{proxy.dsn} connect_timeout=2", min_size=0, max_size=1, open=True) as pool,
    ):
        storage = PostgresStorage(config, pool=pool)
        storage.open(init=False, deadline=soon())
        proxy.swallow()
        began = time.monotonic()
        with pytest.raises(StorageUnavailableError):
            read(storage, began + 0.4)
        assert time.monotonic() - began < 3
        storage.close()
        proxy.cut()


def test_a_connection_that_died_in_the_pool_costs_no_read(
    reading: PostgresStorage, psql: Psql
) -> None:
    """G25: repeated on another one."""
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 's'")
    assert read(reading) == 3


def test_closing_cuts_off_a_read_and_not_the_pool(
    reading: PostgresStorage, pool: AnyPool, psql: Psql
) -> None:
    """G26."""
    assert reading._family.service_pool is not None
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(
            reading._family.service_pool.run, asleep, time.monotonic() + 60, "sleeping"
        )
        wait_until(lambda: psql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        reading.close()
        with pytest.raises(StorageUnavailableError):
            call.result(PATIENCE)
    with pytest.raises(StorageUnavailableError, match="closed"):
        read(reading)
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone()
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
