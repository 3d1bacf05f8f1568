"""The pool of connections: whom it serves, what it says when it cannot, and what ends with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.pool import Pool
from tests.conformance.conftest import soon
from tests.eventstore.postgres.conftest import Psql
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

SIZE = 4


@pytest.fixture
def pool(storage: PostgresStorage) -> Pool:
    return storage._pool


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


def backend(connection: GuardedConnection) -> int:
    return connection.raw.info.backend_pid


def asked(connection: GuardedConnection) -> int:
    """Use the connection; return its backend."""
    connection.execute(b"SELECT 1", (), soon())
    return backend(connection)


def sleeping(connection: GuardedConnection) -> object:
    return connection.execute(b"SELECT pg_sleep(60)", (), time.monotonic() + 60)


class Holders:
    """Threads that keep connections until they are let go."""

    def __init__(self, pool: Pool, count: int, threads: ThreadPoolExecutor) -> None:
        self._all_there = threading.Barrier(count + 1)
        self._enough = threading.Event()
        self.backends = [threads.submit(pool.run, self._hold, soon(), "held") for _ in range(count)]
        self._all_there.wait(10)

    def let_go(self) -> set[int]:
        """Return the backends that were held."""
        self._enough.set()
        return {held.result(10) for held in self.backends}

    def _hold(self, connection: GuardedConnection) -> int:
        self._all_there.wait(10)
        assert self._enough.wait(10)
        return asked(connection)


def test_as_many_connections_as_its_size_are_used_at_once_and_no_more(pool: Pool) -> None:
    """G25: the next one waits until its deadline, and is told why."""
    with ThreadPoolExecutor(SIZE) as threads:
        holders = Holders(pool, SIZE, threads)
        with pytest.raises(StorageUnavailableError, match="x: all 4 connections are in use"):
            pool.run(asked, time.monotonic() + 0.1, "x")
        held = holders.let_go()
    assert len(held) == SIZE
    assert pool.run(asked, soon(), "x") in held


def test_busy_callers_let_each_other_in(pool: Pool) -> None:
    """G25: nobody waits until the others have had enough."""
    rounds = [0] * (5 * SIZE)

    def work(number: int) -> None:
        while max(rounds) < 100:
            pool.run(asked, soon(), "asking")
            rounds[number] += 1

    with ThreadPoolExecutor(len(rounds)) as threads:
        for done in [threads.submit(work, number) for number in range(len(rounds))]:
            done.result()
    assert min(rounds) > 50


def test_a_connection_is_used_again(pool: Pool) -> None:
    assert len({pool.run(asked, soon(), "x") for _ in range(20)}) == 1


def test_what_comes_too_late_is_not_sent_and_costs_no_connection(pool: Pool) -> None:
    """G25: then it is certain that nothing was written."""
    before = pool.run(asked, soon(), "asking")

    with pytest.raises(StorageUnavailableError, match="before the statement was sent"):
        pool.run_once(lambda c: c.execute(b"SELECT 1", (), time.monotonic() - 1), soon())

    assert pool.run(asked, soon(), "asking") == before


def test_connections_that_died_idle_are_replaced_without_an_error_or_a_pause(
    pool: Pool, psql: Psql
) -> None:
    """G25: however many they are; nobody's first call after a restart pays for them."""
    with ThreadPoolExecutor(SIZE) as threads:
        dead = Holders(pool, SIZE, threads).let_go()
    used = time.monotonic()
    for pid in dead:
        psql("SELECT pg_terminate_backend(%s)", pid)
    wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [*dead]))
    # Who was in use a moment ago is not looked at.
    wait_until(lambda: time.monotonic() > used + 0.1)
    began = time.monotonic()
    assert pool.run_once(asked, soon()) not in dead
    assert time.monotonic() - began < 0.9


def test_a_connect_that_hangs_holds_nobody_else_up(
    config: Config, storage: PostgresStorage, proxy: Proxy
) -> None:
    """G25: the network is back, one caller still waits for an answer that was lost meanwhile."""
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    proxy.swallow()
    with ThreadPoolExecutor(1) as threads:
        patient = threads.submit(behind._pool.run_once, asked, time.monotonic() + 60)
        wait_until(lambda: proxy.lost_bytes)
        proxy.pass_on(cut=False)
        began = time.monotonic()
        assert behind._pool.run_once(asked, began + 5)
        assert time.monotonic() - began < 2
        assert not patient.done()
        behind.close()
        with pytest.raises(StorageUnavailableError):
            patient.result(5)
    proxy.cut()


def test_many_callers_connect_at_the_same_time(
    config: Config, storage: PostgresStorage, proxy: Proxy
) -> None:
    """G25: a connect that takes long costs each of them its own time, not the sum of all."""
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    proxy.swallow()
    with ThreadPoolExecutor(SIZE) as threads:
        calls = [
            threads.submit(behind._pool.run_once, asked, time.monotonic() + 60) for _ in range(SIZE)
        ]
        wait_until(lambda: len(proxy._pairs) == SIZE)
        behind.close()
        for call in calls:
            with pytest.raises(StorageUnavailableError):
                call.result(5)
    proxy.cut()


def test_closing_cuts_off_what_is_in_use(pool: Pool, psql: Psql) -> None:
    """G26: no call outlives it, and none begins after it."""
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.run, sleeping, time.monotonic() + 60, "sleeping")
        wait_until(
            lambda: psql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' LIMIT 1")
        )
        pool.close()
        with pytest.raises(StorageUnavailableError):
            call.result(5)
    with pytest.raises(StorageUnavailableError, match="closed"):
        pool.run_once(asked, soon())
    assert not pool._idle
    assert not pool._lent
    # The server would notice at the end of its sleep.
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
