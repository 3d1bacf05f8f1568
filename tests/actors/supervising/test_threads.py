"""No thread is silently dead or frozen: each is restarted, and health asks each for progress."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pykka
import pytest
from psycopg_pool.pool import MaintenanceTask

from eventstore import (
    CallerRuntime,
    Config,
    EventStore,
    NotRunningError,
    StorageUnavailableError,
    StoreFailed,
    SubscriptionState,
)
from eventstore.storages.postgres import PostgresStorage
from eventstore_actors.kernel import inbox
from eventstore_actors.kernel.messages import Child
from tests.actors.application import Application, append_one, raise_in_threads
from tests.support.recorder import Seen, Stuck
from tests.support.waiting import PATIENCE, wait_until

ACTORS = ["writer", "publisher", "keeper", "subscription all handler"]
OTHERS = ["timer", "listener", "announcer"]
WATCHDOG = "deadlines"

ON_DISK = pytest.mark.parametrize("config", ["postgres"], indirect=True)


@pytest.fixture
def config(
    config: Config, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Config:
    """Actors that keep their threads; and where threads freeze, what is late is so soon."""
    monkeypatch.setattr(inbox, "LINGER", 3600.0)
    return replace(config, connect_timeout=1.0) if "frozen" in request.node.name else config


@pytest.fixture
def other(config: Config, store: EventStore) -> Iterator[EventStore]:
    """The same store as another process has it."""
    with EventStore.connect(config, runtime=CallerRuntime) as other:
        yield other


def names(*threads: str) -> list[str]:
    return [f"eventstore-{thread}" for thread in threads]


class Freeze:
    """An exception that does not let go of the thread in which it is raised until it may."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        freeze = self

        class FrozenError(Exception):
            def __init__(self) -> None:
                super().__init__()
                freeze.entered.set()
                freeze.released.wait(60)

        self.error = FrozenError


def works(store: EventStore, seen: Seen, number: int) -> None:
    """Wait until an append of *store* is delivered, its checkpoint is stored, and all is well."""
    append_one(store, number)
    wait_until(lambda: seen.positions and max(seen.positions) == number)
    wait_until(lambda: store.subscription_info("$all", "all").checkpoint == number)


# ── crashed ──────────────────────────────────────────────────────────────────────────────────


@ON_DISK
@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("thread", names(*ACTORS, *OTHERS, WATCHDOG))
def test_a_thread_that_crashes_goes_on_and_is_counted(
    store: EventStore, other: EventStore, thread: str, error: type[BaseException]
) -> None:
    """F44, G24: whatever it is doing at that moment, also nothing."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams("all", seen.handle)
    works(other, seen, 1)

    raise_in_threads(thread, error)

    # An idle one is hit by what wakes it.
    works(other, seen, 2)
    works(store, seen, 3)
    wait_until(lambda: store.health().restarts)
    works(other, seen, 4)
    wait_until(lambda: store.health().running)
    health = store.health()
    assert (health.stuck, health.failure) == ((), None)
    assert subscription.state is not SubscriptionState.STOPPED


@ON_DISK
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("thread", ["worker-0", "worker-1", "scheduler"])
def test_a_thread_of_the_pool_that_dies_is_replaced_with_its_pool(
    config: Config, thread: str
) -> None:
    """F44, G24, G25: else reads would wait in vain for a connection, and health would be fine."""
    with EventStore.connect(config, init=True) as store:
        append_one(store, 1)
        assert len(store.read_all_streams_forward()) == 1
        raise_in_threads(f"eventstore-reads-{thread}", SystemExit)
        assert isinstance(store._runtime.storage, PostgresStorage)
        pool = store._runtime.storage._family.pool._pool

        def is_replaced() -> int:
            """Wake each of them, so that it is hit."""
            pool._sched.enter(0, lambda: None)
            pool.run_task(NoWork(pool))
            return store.health().restarts

        wait_until(is_replaced)
        assert len(store.read_all_streams_forward()) == 1
        wait_until(lambda: store.health().running)


class NoWork(MaintenanceTask):
    """Wakes a worker of a pool."""

    def _run(self, pool: Any) -> None: ...


@ON_DISK
@pytest.mark.parametrize("thread", ["timer", "watchdog"])
def test_a_thread_that_crashes_too_often_stops_the_store_loudly(
    config: Config, thread: str
) -> None:
    """F44, G24: as any other part."""
    with Application(replace(config, max_restarts=1)) as application:
        store = application.attach()
        name = {"watchdog": WATCHDOG}.get(thread, thread)
        for crashes in (1, 2):
            raise_in_threads(f"eventstore-{name}", ZeroDivisionError)
            if crashes == 1:
                wait_until(lambda: store.health().restarts == 1)
        told = application.told.get(timeout=PATIENCE)
        assert isinstance(told, StoreFailed)
        assert isinstance(told.error, NotRunningError)
        assert f"{thread} crashed 2 times" in str(told.error)
        with pytest.raises(NotRunningError, match=thread):
            append_one(store, 1)


def test_a_crash_while_the_storage_is_opened_is_a_failure_and_no_eternal_silence() -> None:
    """F44, G24."""
    with Application(Config("host=/nowhere dbname=postgres", connect_timeout=0.2)) as application:
        wait_until(lambda: _is_opening(application))
        raise_in_threads("eventstore-opener", ZeroDivisionError)
        assert isinstance(application.told.get(timeout=PATIENCE).error, ZeroDivisionError)


def test_the_supervisor_itself_ends_loudly(application: Application, store: EventStore) -> None:
    """F44, G24: between two messages, too, and nothing is half alive."""
    raise_in_threads("eventstore-supervisor", ZeroDivisionError)
    store.health()
    assert isinstance(application.told.get(timeout=PATIENCE), StoreFailed)
    with pytest.raises(NotRunningError, match="supervisor crashed"):
        append_one(store, 1)
    assert pykka.ActorRegistry.get_all() == [application.parent]


# ── frozen ───────────────────────────────────────────────────────────────────────────────────


@ON_DISK
@pytest.mark.parametrize(
    ("thread", "stuck"),
    [
        *[(f"eventstore-{name}", name) for name in ("writer", "publisher", "keeper", *OTHERS)],
        (f"eventstore-{WATCHDOG}", "watchdog"),
        ("eventstore-supervisor", "supervisor"),
    ],
)
def test_a_thread_that_is_frozen_is_seen_until_it_goes_on(
    application: Application, store: EventStore, thread: str, stuck: str
) -> None:
    """F44, G32: health is progress, not a flag that was set once."""
    seen, freeze = Seen(), Freeze()
    store.subscribe_to_all_streams("all", seen.handle)
    works(store, seen, 1)
    assert store.health().running

    raise_in_threads(thread, freeze.error)
    appending = threading.Thread(target=_append_if_possible, args=(store,))
    appending.start()
    try:
        wait_until(lambda: stuck in store.health().stuck)
        assert not store.health().running
        assert freeze.entered.is_set()
    finally:
        freeze.released.set()
        appending.join()
    if thread == "eventstore-supervisor":
        assert isinstance(application.told.get(timeout=PATIENCE), StoreFailed)
        return
    wait_until(lambda: store.health().running)
    assert store.health().stuck == ()
    assert store.health().restarts == 1


@ON_DISK
def test_a_store_that_is_idle_or_waits_for_a_handler_is_not_taken_for_frozen(
    application: Application, store: EventStore, other: EventStore
) -> None:
    """F44, F49: who has no work, or waits for a handler, is not late."""
    stuck = Stuck()
    store.subscribe_to_all_streams("all", stuck)
    append_one(other, 1)
    assert stuck.entered.wait(PATIENCE)
    looked = [application.find(child) for child in Child]
    until = threading.Event()
    for _ in range(40):
        health = store.health()
        assert (health.running, health.stuck) == (True, ())
        until.wait(0.1)
    assert [application.find(child) for child in Child] == looked
    stuck.released.set()


def _append_if_possible(store: EventStore) -> None:
    try:
        append_one(store, 2)
    except (StorageUnavailableError, NotRunningError):
        return


def _is_opening(application: Application) -> bool:
    return application.tree._away is not None
