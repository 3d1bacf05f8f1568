"""A caller that is alone appends in its own thread; whatever goes wrong, the writer takes over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    OutcomeUnknownError,
    WrongExpectedVersionError,
)
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore_actors.kernel.messages import Child
from tests.actors.application import Application, append_one
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

ON_DISK = pytest.mark.parametrize("config", ["postgres"], indirect=True)

_KILL_APPENDING = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND query LIKE %s AND wait_event_type = 'Lock'
"""


@pytest.fixture
def appending_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of each append, as it goes to the database."""
    names: list[str] = []
    append: Callable[..., Any] = PostgresAppendSession.append

    def noted(session: PostgresAppendSession, *arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return append(session, *arguments)

    monkeypatch.setattr(PostgresAppendSession, "append", noted)
    return names


@ON_DISK
def test_a_caller_that_is_alone_appends_in_its_own_thread(
    store: EventStore, appending_threads: list[str]
) -> None:
    for number in range(3):
        append_one(store, number)
    assert appending_threads == [threading.current_thread().name] * 3


@ON_DISK
def test_after_a_commit_of_several_the_writer_is_asked_once_more(
    store: EventStore, appending_threads: list[str]
) -> None:
    """Who shared a commit may share the next one; who is alone then stays alone."""
    store._runtime._tree.turn.shared = True  # type: ignore[attr-defined]
    for number in range(3):
        append_one(store, number)
    own = threading.current_thread().name
    assert appending_threads == ["eventstore-writer", own, own]


@ON_DISK
def test_callers_at_once_share_the_commits_of_the_writer(
    store: EventStore, appending_threads: list[str]
) -> None:
    with ThreadPoolExecutor(20) as threads:
        for done in [threads.submit(append_one, store, number) for number in range(200)]:
            done.result()
    assert "eventstore-writer" in appending_threads
    assert len(appending_threads) < 200
    assert store.read_all_streams_backward(count=1)[0].global_position == 200


def test_it_is_delivered_at_once_and_in_order(store: EventStore) -> None:
    """G14, G23: by whichever thread an event was appended."""
    seen = Seen()
    store.subscribe_to_all_streams("all", seen.handle)
    for number in range(50):
        append_one(store, number)
    with ThreadPoolExecutor(5) as threads:
        for done in [threads.submit(append_one, store, number) for number in range(100)]:
            done.result()
    wait_until(lambda: len(seen.positions) == 150)
    assert seen.positions == list(range(1, 151))


def test_checks_alone_are_announced_to_nobody(store: EventStore) -> None:
    """G15, G24: an append without events leaves the publisher at work, however often it comes."""
    seen = Seen()
    store.subscribe_to_all_streams("all", seen.handle)
    for _ in range(20):
        store.append_to_streams([("empty", ExpectedVersion.NO_STREAM, [])])
    append_one(store, 1)
    wait_until(lambda: seen.positions == [1])
    assert store.health().failure is None
    assert store.health().restarts == 0


def test_a_refusal_is_raised_and_the_next_append_goes_through(store: EventStore) -> None:
    """G2, G7."""
    event = EventData("Tested", {})
    with pytest.raises(WrongExpectedVersionError):
        store.append_to_stream("a", 7, [event])
    assert store.append_to_stream("a", ExpectedVersion.NO_STREAM, [event]).last_version == 1
    assert store.health().queued_appends == 0


def test_a_first_subscription_hears_of_what_is_appended_while_it_starts(store: EventStore) -> None:
    """G15, G23: no append falls between telling nobody and telling the publisher."""
    seen = Seen()
    appended: list[int] = []

    def append_until_it_is_live() -> None:
        while len(seen.positions) < 100 + len(appended) // 2:
            append_one(store, len(appended))
            appended.append(len(appended))

    with ThreadPoolExecutor(1) as threads:
        appending = threads.submit(append_until_it_is_live)
        wait_until(lambda: len(appended) > 50)
        store.subscribe_to_all_streams("all", seen.handle)
        appending.result(timeout=60)
    wait_until(lambda: len(seen.positions) == len(appended))
    assert seen.positions == list(range(1, len(appended) + 1))


@ON_DISK
def test_a_killed_backend_costs_a_second_attempt_and_stores_nothing_twice(
    store: EventStore, config: Config, appending_threads: list[str]
) -> None:
    """G6, G25: the writer sends it again, with the same ids."""
    append_one(store, 1)
    with ThreadPoolExecutor(1) as threads, psycopg.connect(config.dsn) as other:
        lock = sql.SQL("SELECT FROM {}.write_lock FOR UPDATE")
        other.execute(lock.format(sql.Identifier(config.schema)))
        appended = threads.submit(append_one, store, 2)
        wait_until(lambda: _killed(config) == 1)
        other.rollback()
        appended.result(timeout=PATIENCE)
    assert len(store.read_all_streams_forward()) == 2
    assert appending_threads[-1] == "eventstore-writer"
    assert store.health().queued_appends == 0


@ON_DISK
def test_what_may_be_stored_is_in_doubt_though_the_writer_never_sent_it(
    store: EventStore, config: Config
) -> None:
    """G25: what may be stored is never called unwritten."""
    append_one(store, 1)
    with psycopg.connect(config.dsn) as other:
        lock = sql.SQL("SELECT FROM {}.write_lock FOR UPDATE")
        other.execute(lock.format(sql.Identifier(config.schema)))
        killer = threading.Thread(target=wait_until, args=(lambda: _killed(config) == 1,))
        killer.start()
        with pytest.raises(OutcomeUnknownError):
            store.append_to_stream("a", ExpectedVersion.ANY, [EventData("Tested", {})], timeout=1.5)
        killer.join()
    assert store.health().queued_appends == 0


@ON_DISK
def test_a_bug_on_the_way_is_told_as_the_writer_tells_it(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G25: no caller sees anything but errors of the store."""

    def divide(*_: object) -> object:
        return 1 / 0

    monkeypatch.setattr(PostgresAppendSession, "append", divide)
    with pytest.raises(OutcomeUnknownError) as failure:
        append_one(store, 1)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


@ON_DISK
def test_a_writer_that_crashes_meanwhile_costs_a_second_attempt(
    application: Application, store: EventStore, config: Config
) -> None:
    """G24, G6: its session is cut off, and the next writer sends the append again."""
    append_one(store, 1)
    with ThreadPoolExecutor(1) as threads, psycopg.connect(config.dsn) as other:
        lock = sql.SQL("SELECT FROM {}.write_lock FOR UPDATE")
        other.execute(lock.format(sql.Identifier(config.schema)))
        appended = threads.submit(append_one, store, 2)
        wait_until(lambda: store.health().queued_appends == 1)
        application.find(Child.WRITER).tell("nonsense")
        wait_until(lambda: store.health().restarts == 1)
        other.rollback()
        appended.result(timeout=PATIENCE)
    assert len(store.read_all_streams_forward()) == 2


@ON_DISK
def test_closing_waits_for_it(config: Config) -> None:
    """G26: every accepted append is answered."""
    with EventStore.connect(config, init=True) as store:
        append_one(store, 1)
        with ThreadPoolExecutor(2) as threads, psycopg.connect(config.dsn) as other:
            lock = sql.SQL("SELECT FROM {}.write_lock FOR UPDATE")
            other.execute(lock.format(sql.Identifier(config.schema)))
            appended = threads.submit(append_one, store, 2)
            wait_until(lambda: store.health().queued_appends == 1)
            closed = threads.submit(store.close, timeout=5)
            wait_until(lambda: not store.health().running)
            other.rollback()
            appended.result(timeout=PATIENCE)
            closed.result(timeout=PATIENCE)


def _killed(config: Config) -> int:
    with psycopg.connect(config.dsn) as connection:
        found = connection.execute(_KILL_APPENDING, (f'%"{config.schema}".append_events%',))
        row = found.fetchone()
    assert row is not None
    return int(row[0])
