"""Storages of several schemas: what each uses of the connections that they share, and closes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.connecting.reserve import Reserve
from eventstore.storages.postgres.connecting.share import Share
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from tests.actors.application import raise_in_threads
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.conftest import ONLOOKER
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def beside(
    storage: PostgresStorage, config: Config, pytestconfig: pytest.Config
) -> Iterator[PostgresStorage]:
    """A storage beside that of the test."""
    schema = f"{config.schema}_b"
    with ExitStack() as closing:
        closing.callback(pytestconfig.stash[ONLOOKER].drop_schema, schema)
        beside = storage.beside(replace(config, schema=schema))
        closing.callback(beside.close)
        beside.open(init=True, deadline=soon())
        yield beside


@pytest.fixture
def reserve(storage: PostgresStorage) -> Reserve:
    return storage._family.keeping


def asked(connection: GuardedConnection) -> int:
    """Use the connection; return its backend."""
    connection.execute(b"SELECT 1", (), soon())
    return connection.raw.info.backend_pid


def asleep(connection: GuardedConnection) -> object:
    return connection.execute(b"SELECT pg_sleep(60)", (), time.monotonic() + 60)


def sleeps(psql: Psql) -> int:
    return len(psql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


@pytest.fixture(autouse=True)
def no_sleepers(psql: Psql) -> Iterator[None]:
    """End what the server does not know to be over."""
    yield
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")


class Hanging:
    """Calls that last until their connections are lost."""

    def __init__(self, lenders: list[Lender], threads: ThreadPoolExecutor) -> None:
        self.calls = [threads.submit(each.run_once, asleep, soon()) for each in lenders]

    def end(self) -> None:
        for call in self.calls:
            with pytest.raises((StorageUnavailableError, psycopg.OperationalError)):
                call.result(PATIENCE)


# ── closing ──────────────────────────────────────────────────────────────────────────────────────


def test_closing_one_ends_its_calls_and_no_others(
    storage: PostgresStorage, beside: PostgresStorage, psql: Psql
) -> None:
    """G26: over the pool as over what it borrows, whoever else uses them."""
    family, keeper = storage._family, beside.keeper_session()
    assert isinstance(keeper, PostgresKeeperSession)
    with ThreadPoolExecutor(4) as threads:
        others = Hanging([storage._readers, Share(family.keeping)], threads)
        own = Hanging([beside._readers, keeper._connection], threads)
        wait_until(lambda: sleeps(psql) == 4)
        beside.close()
        own.end()
        assert not any(call.done() for call in others.calls)
        storage.close()
        others.end()


def test_a_storage_lives_on_without_the_first_one(
    storage: PostgresStorage, beside: PostgresStorage
) -> None:
    """G26: who leaves last closes what they share."""
    storage.close()
    user = User(beside)
    user.store("order-1", 2)
    assert beside.stream_info("order-1", soon()).stream_version == 2
    with pytest.raises(StorageUnavailableError, match="closed"):
        storage.stream_info("order-1", soon())
    user.close()


def test_none_is_opened_beside_one_that_is_closed(
    storage: PostgresStorage, beside: PostgresStorage, config: Config
) -> None:
    """G26: though another one keeps the connections."""
    storage.close()
    with pytest.raises(StorageUnavailableError, match="closed"):
        storage.beside(replace(config, schema=f"{config.schema}_c"))
    assert beside.stream_count(soon()) == 0


def test_a_closed_reserve_lends_nothing_and_interrupts(
    storage: PostgresStorage, psql: Psql
) -> None:
    """G26: also who waits for a connection, or for one that is being made."""
    reserve = storage._family.keeping
    with ThreadPoolExecutor(3) as threads:
        hanging = Hanging([reserve] * 3, threads)
        wait_until(lambda: sleeps(psql) == 3)
        storage.close()
        hanging.end()
    with pytest.raises(StorageUnavailableError, match="closed"):
        reserve.run_once(asked, soon())


# ── lending ──────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_is_lent_again(reserve: Reserve) -> None:
    """G22: calls one after the other need one."""
    assert len({reserve.run_once(asked, soon()) for _ in range(20)}) == 1


def test_calls_that_hang_hold_up_no_other(reserve: Reserve, psql: Psql) -> None:
    """G16, G22: however many they are; a lease is renewed in time."""
    with ThreadPoolExecutor(5) as threads:
        hanging = Hanging([reserve] * 5, threads)
        wait_until(lambda: sleeps(psql) == 5)
        assert reserve.run_once(asked, time.monotonic() + 1)
        assert not any(call.done() for call in hanging.calls)
        psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        hanging.end()


def test_a_connection_that_died_idle_is_replaced_without_an_error(
    reserve: Reserve, psql: Psql
) -> None:
    """G25."""
    pid = reserve.run_once(asked, soon())
    used = time.monotonic()
    psql("SELECT pg_terminate_backend(%s, 5000)", pid)
    # Who was in use a moment ago is not looked at.
    wait_until(lambda: time.monotonic() > used + 0.1)
    assert reserve.run_once(asked, soon()) != pid


def test_the_statements_of_many_stores_stay_prepared(reserve: Reserve) -> None:
    """G22: one connection serves them all in turn."""

    def prepared(connection: GuardedConnection) -> int:
        for number in range(500):
            connection.execute(b"SELECT %d" % number, (), soon())
        counting = b"SELECT count(*) FROM pg_prepared_statements"
        [(count,)] = connection.execute(counting, (), soon())
        return int(count)

    assert reserve.run_once(prepared, soon()) >= 500


def test_what_is_not_used_is_closed(reserve: Reserve, psql: Psql) -> None:
    """G25: the others stay, and the next call connects again."""
    pid = reserve.run_once(asked, soon())
    reserve.close_unused(time.monotonic() - 60)
    assert reserve.run_once(asked, soon()) == pid
    reserve.close_unused(time.monotonic())
    wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))
    assert reserve.run_once(asked, soon()) != pid


def test_handlers_that_rest_have_no_connection(beside: PostgresStorage, psql: Psql) -> None:
    """G25: of those that write in transactions of the store; the next one connects again."""
    connections = beside._handler_connections
    lent = run_blocking(connections.lend(BLOCKING, soon()))
    pid = lent.raw.info.backend_pid
    connections.close_unused(time.monotonic() + 60)
    assert not lent.lost
    connections.take_back(lent)
    connections.close_unused(time.monotonic())
    wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))
    again = run_blocking(connections.lend(BLOCKING, soon()))
    assert again.raw.info.backend_pid != pid
    connections.take_back(again)
    assert connections in beside._family.unused._watched


def test_a_crash_that_no_runtime_counts_is_logged(
    storage: PostgresStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """G24: the thread that ends calls at their deadlines goes on."""
    raise_in_threads("eventstore-deadlines", ZeroDivisionError)

    def is_logged() -> bool:
        storage.stream_count(time.monotonic() + 0.1)
        return "thread crashed" in caplog.text

    wait_until(is_logged)
    with pytest.raises(psycopg.OperationalError):
        storage._readers.run_once(
            lambda c: c.execute(b"SELECT pg_sleep(60)", (), time.monotonic() + 0.5), soon()
        )
