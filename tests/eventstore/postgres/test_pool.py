"""The pool of connections: whom it serves, what it says when it cannot, and what ends with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from eventstore.model.config import Config
from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.pool import Pool
from tests.conformance.conftest import soon
from tests.eventstore.postgres.conftest import Psql
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

SIZE = 4


@pytest.fixture
def pool(storage: PostgresStorage) -> Pool:
    return storage._family.pool


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def behind(config: Config, storage: PostgresStorage, proxy: Proxy) -> Iterator[PostgresStorage]:
    """The same store over a network that can be hurt."""
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    yield behind
    behind.close()
    proxy.cut()


def pool_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("eventstore-reads")]


def connections(pool: Pool) -> int:
    return pool._pool.get_stats()["pool_size"]


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
        self._all_there.wait(PATIENCE)

    def let_go(self) -> set[int]:
        """Return the backends that were held."""
        self._enough.set()
        return {held.result(PATIENCE) for held in self.backends}

    def _hold(self, connection: GuardedConnection) -> int:
        self._all_there.wait(PATIENCE)
        assert self._enough.wait(PATIENCE)
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
    assert min(rounds) > 20


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


def test_a_connect_that_hangs_holds_others_up_for_one_attempt_at_most(
    behind: PostgresStorage, proxy: Proxy
) -> None:
    """G25: the network is back, one connect still waits for an answer that was lost meanwhile."""
    proxy.swallow()
    with ThreadPoolExecutor(1) as threads:
        patient = threads.submit(behind._family.pool.run, asked, time.monotonic() + 60, "asking")
        wait_until(lambda: proxy.lost_bytes)
        proxy.pass_on(cut=False)
        assert behind._family.pool.run(asked, soon(), "asking")
        assert patient.result(PATIENCE)


def test_a_server_that_comes_back_serves_who_waits(behind: PostgresStorage, proxy: Proxy) -> None:
    """G25: also those who came while the pool had given up."""
    assert behind._family.pool.run(asked, soon(), "asking")
    proxy.swallow()
    proxy.cut()
    with ThreadPoolExecutor(2 * SIZE) as threads:
        calls = [
            threads.submit(behind._family.pool.run, asked, soon(), "x") for _ in range(2 * SIZE)
        ]
        wait_until(lambda: behind._family.pool._patience.pause > 0.1)
        proxy.pass_on()
        assert all(call.result(PATIENCE) for call in calls)


def test_who_waits_in_vain_is_told_why(config: Config) -> None:
    """G25: the pool's threads met with the error; the caller gets it at the deadline."""
    storage = PostgresStorage(replace(config, dsn="host=127.0.0.1 port=1 dbname=none"))
    with pytest.raises(StorageUnavailableError, match=r"x: cannot connect.*refused"):
        storage._family.pool.run(asked, time.monotonic() + 0.5, "x")
    storage.close()


def test_a_server_that_will_not_do_is_an_error_of_its_own(config: Config, dsn: str) -> None:
    """G25: waiting does not help against a missing database, and the caller is told so."""
    storage = PostgresStorage(replace(config, dsn=make_conninfo(dsn, dbname="no_such_database")))
    with pytest.raises(StorageError, match="no_such_database"):
        storage._family.pool.run(asked, time.monotonic() + 0.5, "x")
    storage.close()


def test_who_is_interrupted_costs_nobody_else_a_place(pool: Pool) -> None:
    """G25: Ctrl-C in one of many threads."""
    with ThreadPoolExecutor(SIZE + 1) as threads:
        holders = Holders(pool, SIZE, threads)

        def interrupt() -> None:
            wait_until(lambda: pool._waiting)
            os.kill(os.getpid(), signal.SIGINT)

        interrupting = threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.run(asked, soon(), "asking")
        interrupting.result(PATIENCE)
        holders.let_go()
        assert len(Holders(pool, SIZE, threads).let_go()) == SIZE


def test_nothing_runs_before_the_first_read(storage: PostgresStorage) -> None:
    """No thread and no connection for who only appends."""
    assert pool_threads() == []
    storage._family.pool.run(asked, soon(), "asking")
    assert pool_threads()
    storage.close()
    assert pool_threads() == []


def test_idle_connections_are_closed_one_after_the_other(
    config: Config, storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of reads does not keep the server's connections for ever."""
    monkeypatch.setattr("eventstore.storages.postgres.connecting.pool._MAX_IDLE", 0.1)
    burst = PostgresStorage(config)
    with ThreadPoolExecutor(SIZE) as threads:
        held = Holders(burst._family.pool, SIZE, threads).let_go()
    assert len(held) == SIZE
    wait_until(lambda: connections(burst._family.pool) == 0)
    assert burst._family.pool.run(asked, soon(), "asking") not in held
    burst.close()


# ── too few connections ──────────────────────────────────────────────────────────────────────────


def test_a_writer_that_is_refused_gets_what_the_pool_can_spare(
    storage: PostgresStorage, psql: Psql
) -> None:
    """G25: what is idle is closed at once, and not opened again for nobody."""
    with ThreadPoolExecutor(SIZE) as threads:
        idle = Holders(storage._family.pool, SIZE, threads).let_go()
    storage._family.precedence.refused()
    wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [*idle]))
    wait_until(lambda: connections(storage._family.pool) == 0)
    storage._family.precedence.granted()
    assert storage._family.pool.run(asked, soon(), "asking") not in idle


def test_readers_let_the_writer_connect_first(storage: PostgresStorage) -> None:
    """G25: a refused writer tries again before a reader takes the free connection."""
    storage._family.precedence.refused()
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(storage._family.pool.run, asked, soon(), "asking")
        wait_until(lambda: storage._family.pool._waiting)
        with pytest.raises(psycopg.OperationalError, match="connect first"):
            storage._family.pool._connect()
        storage._family.precedence.granted()
        assert reading.result(PATIENCE)


def test_readers_wait_for_a_writer_no_longer_than_it_tries(storage: PostgresStorage) -> None:
    """G25: who gave up does not hold them back."""
    storage._family.precedence.refused()
    assert storage._family.pool.run(asked, soon(), "asking")


# ── saying so ────────────────────────────────────────────────────────────────────────────────────


def test_the_log_is_silent_until_it_is_asked(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """What psycopg's pool warns of is said at debug level, by the library's own logger."""
    storage = PostgresStorage(replace(config, dsn="host=127.0.0.1 port=1 dbname=none"))
    with caplog.at_level("DEBUG"), pytest.raises(StorageUnavailableError):
        storage._family.pool.run(asked, time.monotonic() + 0.3, "x")
    storage.close()
    assert {record.levelname for record in caplog.records if record.name == "eventstore"} == {
        "DEBUG"
    }
    assert "error connecting" in caplog.text
    assert not [r for r in caplog.records if r.name == "psycopg.pool" and r.levelname == "WARNING"]


def test_the_log_of_other_pools_is_left_alone(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("WARNING"),
        ConnectionPool(
            "host=127.0.0.1 port=1", min_size=1, open=True, name="theirs", reconnect_timeout=0.1
        ),
    ):
        wait_until(lambda: "error connecting in 'theirs'" in caplog.text)


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ("rolconnlimit", "ALTER ROLE {role} CONNECTION LIMIT 5"),
        ("datconnlimit", "ALTER DATABASE {database} CONNECTION LIMIT 5"),
    ],
)
def test_a_limit_below_what_a_process_needs_is_warned_of(
    config: Config, psql: Psql, limit: str, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At connect, before a burst of reads meets with it."""
    role, database = f"{config.schema}_role", f"{config.schema}_db"
    psql(f"CREATE ROLE {role} LOGIN SUPERUSER")
    psql(f"CREATE DATABASE {database} OWNER {role}")
    psql(setting.format(role=role, database=database))
    storage = PostgresStorage(
        replace(config, dsn=make_conninfo(config.dsn, user=role, dbname=database))
    )
    storage.open(init=True, deadline=soon())
    storage.close()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == [f"the server may refuse connections limit='{limit}' allowed=5 needed=8"]
    wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE datname = %s", database))
    psql(f"DROP DATABASE {database}")
    psql(f"DROP ROLE {role}")


# ── closing ──────────────────────────────────────────────────────────────────────────────────────


def test_closing_gives_up_waiting_and_connecting(behind: PostgresStorage, proxy: Proxy) -> None:
    """G26: nobody waits for a server that does not answer."""
    proxy.swallow()
    with ThreadPoolExecutor(SIZE) as threads:
        calls = [
            threads.submit(behind._family.pool.run, asked, time.monotonic() + 60, "asking")
            for _ in range(SIZE)
        ]
        wait_until(lambda: behind._family.pool._waiting == SIZE and proxy.lost_bytes)
        behind.close()
        for call in calls:
            with pytest.raises(StorageUnavailableError, match="closed"):
                call.result(PATIENCE)


def test_closing_cuts_off_what_is_in_use(pool: Pool, psql: Psql) -> None:
    """G26: no call outlives it, and none begins after it."""
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.run, sleeping, time.monotonic() + 60, "sleeping")
        wait_until(
            lambda: psql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' LIMIT 1")
        )
        pool.close()
        with pytest.raises(StorageUnavailableError):
            call.result(PATIENCE)
    with pytest.raises(StorageUnavailableError, match="closed"):
        pool.run_once(asked, soon())
    assert not pool._lent
    assert pool_threads() == []
    # The server would notice at the end of its sleep.
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
