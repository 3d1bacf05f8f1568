"""Announcing wakes other processes, and no append depends on its lock or its queue."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion, Runtime
from eventstore.client.targets import registered_runtime
from eventstore.storages.postgres.statements import channel_of
from tests.acceptance.guarantees.conftest import Record, Settings, Start, installed
from tests.acceptance.guarantees.test_live_delivery import listening
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.recorder import Seen
from tests.support.standbys import require_standbys
from tests.support.waiting import AGES, PATIENCE, wait_until

NAME = "sub"
STORE = "announced"
ABROAD = "abroad"
APPENDS = 60
CHANGES = 10
"""So many that all of them together take longer than `PATIENCE` if each waits for a deadline."""

_HOLDERS = """
    SELECT pid FROM pg_locks
     WHERE locktype = 'object' AND database = 0 AND classid = 'pg_database'::regclass
       AND objid = 0 AND granted
"""
"""The lock of the whole server that every commit with a notification takes, and who has it."""


def store_settings(server: TestServer, name: str = STORE) -> Settings:
    """Install a store whose own commits wait for no standby."""
    alone = make_conninfo(server.dsn, options="-c synchronous_commit=local")
    return {**installed(alone, name), "allow_unsafe_durability": True}


@pytest.fixture
def subscriber(private_server: TestServer) -> Iterator[Service]:
    """Another process that hears of the store's events, and polls now and then."""
    service = Service(store_settings(private_server)).ready()
    try:
        service.do("subscribe", name=NAME).wait("subscribed")
        wait_until(lambda: listening(service))
        yield service
    finally:
        service.kill9()


def holders(server: TestServer) -> set[int]:
    with server.connect() as looker:
        return {pid for (pid,) in looker.execute(_HOLDERS)}


@contextmanager
def waiting_for_a_standby(server: TestServer, database: str) -> Iterator[int]:
    """Have somebody commit with a notification, and wait for a standby that is not there.

    Yields:
        The process id of that session, which has the lock of all notifications.
    """
    require_standbys(server.dsn, "nobody")
    with server.connect() as admin, psycopg.connect(server.dsn, dbname=database) as foreign:
        foreign.execute("SET synchronous_commit = 'on'")
        # A commit that only notifies waits for nothing.
        foreign.execute("SELECT pg_logical_emit_message(true, 'theirs', 'something is written')")
        foreign.execute("SELECT pg_notify('theirs', 'news')")
        pid = foreign.info.backend_pid
        committing = threading.Thread(target=_commit, args=[foreign])
        committing.start()
        try:
            wait_until(lambda: holders(server) == {pid})
            yield pid
        finally:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            committing.join()


def _commit(connection: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.OperationalError):
        connection.commit()


@contextmanager
def connected(settings: Settings, runtime: type[Runtime]) -> Iterator[EventStore]:
    with EventStore.connect(Config(**settings), runtime=runtime) as store:
        yield store


RUNTIMES = pytest.mark.parametrize(
    "runtime", [CallerRuntime, registered_runtime()], ids=["caller", "actors"]
)


@pytest.mark.parametrize("database", ["postgres", ABROAD])
@RUNTIMES
def test_a_foreign_notifying_commit_that_waits_for_a_standby_delays_no_append(
    private_server: TestServer, subscriber: Service, runtime: type[Runtime], database: str
) -> None:
    """G4, G23: it has the lock of all notifications of the server, here or in another database.

    Every announcement is lost meanwhile, and the events are delivered all the same.
    """
    if database == ABROAD:
        with private_server.connect() as admin:
            admin.execute(f"CREATE DATABASE {ABROAD}")
    with (
        connected(store_settings(private_server), runtime) as store,
        waiting_for_a_standby(private_server, database) as foreign,
    ):
        began = time.monotonic()
        for number in range(APPENDS):
            store.append_to_stream("s", number, [EventData("X", number)])
        assert time.monotonic() - began < PATIENCE
        assert subscriber.wait_delivered(NAME, APPENDS) == list(range(1, APPENDS + 1))
        assert holders(private_server) == {foreign}


def test_operators_wait_for_no_foreign_commit_that_notifies(
    private_server: TestServer, subscriber: Service
) -> None:
    """G4, G20: what they change is changed, and found by the next poll."""
    with (
        connected(store_settings(private_server), CallerRuntime) as operator,
        waiting_for_a_standby(private_server, "postgres") as foreign,
    ):
        began = time.monotonic()
        for _ in range(CHANGES):
            operator.pause_subscription("$all", NAME)
        assert time.monotonic() - began < PATIENCE
        wait_until(lambda: state(subscriber) == "paused")
        operator.append_to_stream("s", 0, [EventData("X", 1)])
        operator.resume_subscription("$all", NAME)
        assert subscriber.wait_delivered(NAME, 1) == [1]
        operator.reset_subscription("$all", NAME, 0)
        assert subscriber.wait_delivered(NAME, 2) == [1, 1]
        operator.delete_subscription("$all", NAME)
        subscriber.wait("lost", name=NAME, reason="SubscriptionLostError", count=2)
        assert holders(private_server) == {foreign}


def test_who_cannot_prove_that_it_hears_polls_and_tries_again(
    private_server: TestServer, subscriber: Service
) -> None:
    """F5, G4, G23: a foreign commit that notifies holds up the probe; that is no proof."""
    settings = store_settings(private_server)
    with connected(settings, CallerRuntime) as writer, ExitStack() as stack:
        with waiting_for_a_standby(private_server, "postgres"):
            second = Service(settings).ready()
            stack.callback(second.kill9)
            second.do("subscribe", name="meanwhile")
            writer.append_to_stream("s", 0, [EventData("X", 1)])
            assert second.wait_delivered("meanwhile", 1) == [1]
            wait_until(lambda: reached(second))
            assert not listening(second)
        wait_until(lambda: listening(second))
        writer.append_to_stream("s", 1, [EventData("X", 2)])
        assert second.wait_delivered("meanwhile", 2) == [1, 2]


def reached(service: Service) -> bool:
    count = len(service.reports("health"))
    return bool(service.do("health").wait("health", count=count + 1)["reached"])


def state(service: Service) -> str:
    count = len(service.reports("seen"))
    return str(service.do("look", name=NAME).wait("seen", count=count + 1)["state"])


@contextmanager
def full_notification_queue(dsn: str) -> Iterator[None]:
    """Have somebody listen and never take in anything, and others notify until it is refused."""
    with psycopg.connect(dsn) as frozen, psycopg.connect(dsn, autocommit=True) as foreign:
        frozen.execute("LISTEN theirs")
        frozen.commit()
        frozen.execute("SELECT 1")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            notify_for_ever(foreign)
        yield
        frozen.rollback()


def notify_for_ever(connection: psycopg.Connection[Any]) -> None:
    while True:
        connection.execute("SELECT pg_notify('theirs', repeat('x', 7000) || random())")


@RUNTIMES
def test_a_full_notification_queue_refuses_no_append(
    server_version: int, runtime: type[Runtime]
) -> None:
    """F6, G4, G23, G25: nor does it end a runtime that begins to listen meanwhile.

    Whether that one hears cannot be proved before the queue is empty again; until then it polls.
    """
    if server_version < 170_000:
        pytest.skip("before PostgreSQL 17 the queue has no limit that a test can reach")
    with ExitStack() as stack:
        server = stack.enter_context(TestServer({"max_notify_queue_pages": "64"}))
        settings = store_settings(server)
        first = Service(settings).ready()
        stack.callback(first.kill9)
        first.do("subscribe", name="before").wait("subscribed")
        wait_until(lambda: listening(first))
        store = stack.enter_context(connected(settings, runtime))
        full = stack.enter_context(ExitStack())
        full.enter_context(full_notification_queue(server.dsn))
        store.append_to_stream("s", 0, [EventData("X", 1)])
        assert first.wait_delivered("before", 1) == [1]

        second = Service(settings).ready()
        stack.callback(second.kill9)
        second.do("subscribe", name="meanwhile")
        assert second.wait_delivered("meanwhile", 1) == [1]
        wait_until(lambda: reached(second))
        store.append_to_stream("s", 1, [EventData("X", 2)])
        for service, name in ((first, "before"), (second, "meanwhile")):
            assert service.wait_delivered(name, 2) == [1, 2]
            service.do("health")
            assert service.wait("health", failure=None)["running"]
        assert not listening(second)
        full.close()
        wait_until(lambda: listening(second))


@pytest.fixture
def server_version(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.info.server_version


# ── who hears ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", ["caller", "actors"])
def test_a_live_event_of_another_process_waits_neither_for_the_next_one_nor_for_a_poll(
    start: Start, runtime: Any
) -> None:
    """G23: one at a time; that process connected when nobody listened, and only appends."""
    (writer,) = start(runtime=runtime, poll_interval=AGES)
    append_one(writer)
    (subscriber,) = start(poll_interval=AGES)
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    wait_until(lambda: listening(subscriber))
    assert subscriber.wait_delivered(NAME, 1) == [1]
    for count in range(1, 4):
        append_one(writer)
        assert subscriber.wait_delivered(NAME, 1 + count) == list(range(1, 2 + count))


def append_one(writer: Service) -> None:
    count = len(writer.reports("appended")) + 1
    writer.do("write", streams=["s"], seed=count, appends=1, most_events=1)
    writer.wait("appended", count=count)


# ── who shouts ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stranger(dsn: str, schema: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody who may connect to the database, and nothing else."""
    name = f"{schema}_stranger"
    role = sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        try:
            with psycopg.connect(dsn, user=name, autocommit=True) as stranger:
                yield stranger
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


def garbage(chance: random.Random, count: int) -> list[str]:
    """Return texts of all kinds, some of which look like what the store says."""
    letters = ["s", "e", "p", "0", "7", ",", "-", " ", "\n", "'", "\\", "%", "ö", "東", "²", "\x7f"]
    lengths = [0, 1, 5, 40, 2_000]
    beginnings = ["", "s", "e", "p", "s1,", "s999999999999999999", f"p{'0' * 36}"]
    return [
        chance.choice(beginnings) + "".join(chance.choices(letters, k=chance.choice(lengths)))
        for _ in range(count)
    ]


def test_whatever_strangers_say_on_the_channel_live_events_are_delivered(
    settings: Settings,
    schema: str,
    observer: EventStore,
    stranger: psycopg.Connection[Any],
    record: Record,
) -> None:
    """F1, F2, G23, G24: each by its announcement, and nothing crashes."""
    texts = garbage(random.Random(schema), 200)
    seen = Seen()
    with connected({**settings, "poll_interval": AGES}, registered_runtime()) as store:
        store.subscribe_to_all_streams(NAME, record(seen))
        wait_until(lambda: store.health().listening)
        wait_until(lambda: seen.runs)
        for number in range(20):
            for text in texts:
                stranger.execute("SELECT pg_notify(%s, %s)", [channel_of(schema), text])
            observer.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", number)])
            for text in texts:
                stranger.execute("SELECT pg_notify(%s, %s)", [channel_of(schema), text])
            assert seen.wait(number + 1) == list(range(1, number + 2))
        health = store.health()
        assert (health.running, health.restarts, health.failure) == (True, 0, None)
        assert seen.runs == 1
