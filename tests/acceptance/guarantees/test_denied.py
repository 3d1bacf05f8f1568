"""The database lets the running store in no more for a while: all wait, visibly, and go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    StorageError,
    StorageUnavailableError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import (
    Record,
    Settings,
    installed,
    wait_for_checkpoint,
)
from tests.support.guarded import PASSWORD, Guarded
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

LONG = 2.0
"""Seconds; a runtime that counted refusals as crashes would stop in a third of it."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with closing(Guarded()) as guarded:
        yield guarded


@pytest.fixture
def settings(guarded: Guarded) -> Settings:
    return installed(guarded.dsn, "kept") | {"connect_timeout": 2.0}


@pytest.fixture(autouse=True)
def _dropped(guarded: Guarded) -> Iterator[None]:
    yield
    guarded("DROP SCHEMA kept CASCADE", database="shop")


# ── ways to be shut out ──────────────────────────────────────────────────────────────────────────


@contextmanager
def without_the_schema(guarded: Guarded) -> Iterator[None]:
    guarded("REVOKE USAGE ON SCHEMA kept FROM shop", database="shop")
    try:
        yield
    finally:
        guarded("GRANT USAGE ON SCHEMA kept TO shop", database="shop")


@contextmanager
def without_the_functions(guarded: Guarded) -> Iterator[None]:
    guarded("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kept FROM shop, PUBLIC", database="shop")
    guarded("REVOKE ALL ON ALL TABLES IN SCHEMA kept FROM shop", database="shop")
    try:
        yield
    finally:
        guarded("GRANT ALL ON ALL FUNCTIONS IN SCHEMA kept TO shop", database="shop")
        guarded("GRANT ALL ON ALL TABLES IN SCHEMA kept TO shop", database="shop")


@contextmanager
def without_log_in(guarded: Guarded) -> Iterator[None]:
    guarded("ALTER ROLE shop NOLOGIN")
    try:
        guarded.put_out()
        yield
    finally:
        guarded("ALTER ROLE shop LOGIN")


@contextmanager
def without_connections(guarded: Guarded) -> Iterator[None]:
    guarded("ALTER ROLE shop CONNECTION LIMIT 0")
    try:
        guarded.put_out()
        yield
    finally:
        guarded("ALTER ROLE shop CONNECTION LIMIT -1")


@contextmanager
def shut_out_by_address(guarded: Guarded) -> Iterator[None]:
    with guarded.shut():
        guarded.put_out()
        yield


@contextmanager
def with_another_password(guarded: Guarded) -> Iterator[None]:
    change = sql.SQL("ALTER ROLE shop PASSWORD {}")
    guarded(change.format("rotated"))
    try:
        guarded.put_out()
        yield
    finally:
        guarded(change.format(PASSWORD))


@contextmanager
def with_a_closed_database(guarded: Guarded) -> Iterator[None]:
    guarded("ALTER DATABASE shop ALLOW_CONNECTIONS false")
    try:
        guarded.put_out()
        yield
    finally:
        guarded("ALTER DATABASE shop ALLOW_CONNECTIONS true")


@contextmanager
def with_the_database_renamed(guarded: Guarded) -> Iterator[None]:
    with without_connections(guarded):
        guarded("ALTER DATABASE shop RENAME TO elsewhere")
    try:
        yield
    finally:
        guarded("ALTER DATABASE elsewhere RENAME TO shop")


@contextmanager
def read_only(guarded: Guarded) -> Iterator[None]:
    guarded("ALTER DATABASE shop SET default_transaction_read_only = on")
    try:
        guarded.put_out()
        yield
    finally:
        guarded("ALTER DATABASE shop SET default_transaction_read_only = off")


ShutOut = Callable[[Guarded], AbstractContextManager[None]]

WAYS = [
    without_the_schema,
    without_the_functions,
    without_log_in,
    without_connections,
    shut_out_by_address,
    with_another_password,
    with_a_closed_database,
    with_the_database_renamed,
    read_only,
]


@pytest.mark.parametrize("shut_out", WAYS)
def test_a_running_store_waits_until_it_is_let_in_again(
    guarded: Guarded, settings: Settings, shut_out: ShutOut, record: Record
) -> None:
    """F36, G24, G25: nothing stops, nothing is lost, and health says why nothing happens."""
    seen, called = Seen(), Seen()
    with EventStore.connect(Config(**settings)) as store, ThreadPoolExecutor(1) as threads:
        actor = store.subscribe_to_all_streams("actor", record(seen))
        function = store.subscribe_to_all_streams("function", called.handle)
        first = store.append_to_stream("s", 0, [EventData("X", 0)])
        actor.wait_for(first, timeout=30)
        function.wait_for(first, timeout=30)
        for name in ("actor", "function"):
            wait_for_checkpoint(store, 1, name=name)  # else it comes again

        with shut_out(guarded):
            began = time.monotonic()
            wait_until(lambda: not store.health().database_reachable)
            never = [EventData("Never", 0)]
            with pytest.raises(StorageUnavailableError) as refused:
                store.append_to_stream("never", 0, never, timeout=0.5)
            assert refused.value.retryable
            with pytest.raises(StorageUnavailableError):
                store.read_all_streams_forward()
            patient = threads.submit(
                store.append_to_stream, "s", 1, [EventData("X", 1)], timeout=60
            )
            wait_until(lambda: actor.state is function.state is SubscriptionState.WAITING)
            wait_until(lambda: time.monotonic() > began + LONG)
            assert not patient.done()

        assert patient.result(timeout=60).last_version == 2
        assert seen.wait(2) == called.wait(2) == [1, 2]
        wait_until(lambda: store.health().running and store.health().database_reachable)
        assert store.health().failure is None


@pytest.mark.parametrize("shut_out", [without_the_schema, without_log_in])
def test_a_script_waits_until_its_deadline(
    guarded: Guarded, settings: Settings, shut_out: ShutOut
) -> None:
    """F36, G25: without actors, too."""
    config = Config(**settings)
    with (
        EventStore.connect(config, runtime=CallerRuntime) as store,
        ThreadPoolExecutor(1) as threads,
    ):
        store.append_to_stream("s", 0, [EventData("X", 0)])
        with shut_out(guarded):
            with pytest.raises(StorageUnavailableError):
                store.append_to_stream("s", 1, [EventData("Never", 0)], timeout=0.5)
            patient = threads.submit(
                store.append_to_stream, "s", 1, [EventData("X", 1)], timeout=60
            )
        assert patient.result(timeout=60).last_version == 2


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
def test_who_begins_is_told_at_once(
    guarded: Guarded, settings: Settings, runtime: type[CallerRuntime] | None
) -> None:
    """F36, F37: nothing worked before, so there is nothing to wait for."""
    with (
        without_the_schema(guarded),
        pytest.raises(StorageError, match="permission denied") as refused,
    ):
        EventStore.connect(Config(**settings | {"connect_timeout": 60.0}), runtime=runtime)
    assert not refused.value.retryable


@pytest.mark.parametrize("runtime", [None, CallerRuntime])
def test_an_append_that_loses_the_right_on_its_way_waits(
    guarded: Guarded, settings: Settings, runtime: type[CallerRuntime] | None
) -> None:
    """F36, G24, G25: between two statements of one call, PostgreSQL calls the tables missing."""
    with (
        EventStore.connect(Config(**settings), runtime=runtime) as store,
        ThreadPoolExecutor(1) as threads,
    ):
        store.append_to_stream("s", 0, [EventData("X", 0)])
        with psycopg.connect(make_conninfo(guarded.server.dsn, dbname="shop")) as locker:
            locker.execute("SELECT FROM kept.write_lock FOR UPDATE")
            append = partial(store.append_to_stream, "s", 1, [EventData("X", 1)], timeout=60)
            waiting = threads.submit(append)
            waits = (
                b"SELECT FROM pg_stat_activity WHERE usename = 'shop' AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: guarded.admin.execute(waits).fetchall())
            with without_the_schema(guarded):
                locker.rollback()
                wait_until(lambda: not guarded.admin.execute(waits).fetchall())
                pause = time.monotonic()
                wait_until(lambda: time.monotonic() > pause + 0.5)
                assert not waiting.done(), waiting.exception()
        assert waiting.result(timeout=60).last_version == 2
        assert store.health().failure is None


def test_a_store_that_is_gone_is_not_waited_for(guarded: Guarded, settings: Settings) -> None:
    """F36, G24: what no right brings back stops the runtime loudly."""
    config = Config(**settings)
    with EventStore.connect(config) as store:
        guarded("ALTER SCHEMA kept RENAME TO away", database="shop")
        try:
            with pytest.raises(StorageError) as stopped:
                store.append_to_stream("s", 0, [EventData("X", 0)])
            assert not isinstance(stopped.value, StorageUnavailableError)
            wait_until(lambda: store.health().failure is not None)
        finally:
            guarded("ALTER SCHEMA away RENAME TO kept", database="shop")
