"""Changes of projections stay whole beside handlers, readers, other changes, and what fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    Config,
    Events,
    EventStore,
    ProjectionError,
    StorageError,
    StorageUnavailableError,
    SubscriptionError,
    SubscriptionLostError,
    SubscriptionOptionsError,
    SubscriptionState,
)
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect, Surface, connect_by
from tests.conformance.subscriptions.projected import NAME, Numbers
from tests.conformance.subscriptions.test_projections import append, info_of, reaches
from tests.support.waiting import wait_until


@pytest.fixture(params=["postgres"])
def config(request: pytest.FixtureRequest, dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


@pytest.fixture(autouse=True)
def _installed(config: Config) -> None:
    EventStore.connect(config, init=True, runtime=registered_runtime()).close()


@pytest.fixture
def shown(dsn: str, schema: str) -> Iterator[Numbers]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Numbers(connection, schema)


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else, in a transaction."""
    with psycopg.connect(dsn) as connection:
        yield connection


def lock(other: psycopg.Connection[Any], schema: str, table: str, mode: str) -> None:
    name = sql.Identifier(schema, table)
    other.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(name, sql.SQL(mode)))


# ── beside handlers ──────────────────────────────────────────────────────────────────────────────


def test_what_is_dropped_before_it_runs_does_not_begin_anew(
    connect: Connect, shown: Numbers, other: psycopg.Connection[Any], schema: str
) -> None:
    """G39: a subscription without its version would count everything again."""
    first, store = connect(), connect()
    append(first, 1, 5)
    reaches(first.project(shown.version(1)), 5)
    first.close()
    lock(other, schema, "subscriptions", "ACCESS EXCLUSIVE")
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(store.project, shown.version(1))
        wait_until(shown.waiters)
        drop = sql.SQL("SELECT {}(5000, pg_current_xact_id()::text::bigint, %s, 1)")
        other.execute(drop.format(sql.Identifier(schema, "drop_projection")), [NAME])
        other.commit()
        with pytest.raises(SubscriptionLostError, match="'numbers@1' to '\\$all' was deleted"):
            starting.result()
    assert (store.projections(), store.subscriptions()) == ([], [])
    assert shown.of(1) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("change", ["rebuild_projection", "drop_projection"])
def test_tables_that_are_emptied_row_by_row_miss_no_batch(
    connect: Connect, shown: Numbers, change: str
) -> None:
    """G39: a handler that is under way has committed before, or has not begun."""
    owner, operator = connect(), connect()
    begun, emptied = threading.Event(), threading.Event()

    def is_handled() -> bool:
        return info_of(owner, 2).position == 20

    def handle(events: Events, connection: Any) -> None:
        shown.version(2).handle(events, connection)
        begun.set()
        wait_until(lambda: emptied.is_set() or shown.waiters() > 0)

    def drop(connection: Any) -> None:
        shown.run(connection, "drop", "DELETE FROM {}", 2)
        emptied.set()
        wait_until(is_handled)

    projection = shown.version(2, handle=handle, drop=drop, create=None)
    owner.project(shown.version(1))
    with psycopg.connect(owner.config.dsn, autocommit=True) as connection:
        shown.run(connection, "create", "CREATE TABLE {} (number bigint)", 2)
    append(owner, 1, 20)
    owner.project(projection)
    assert begun.wait(30)
    getattr(operator, change)(projection)
    if change == "drop_projection":
        assert shown.of(2) == []
        return
    wait_until(is_handled)
    assert shown.of(2) == list(range(1, 21))


def test_a_reader_delays_a_rebuild_and_what_waits_behind_it_for_a_limited_time(
    config: Config, connect: Connect, shown: Numbers, other: psycopg.Connection[Any], schema: str
) -> None:
    """G39: the handler goes on, and so does the rebuild when it is tried again."""
    store = connect()
    append(store, 1, 5)
    subscription = store.project(shown.version(1))
    reaches(subscription, 5)
    lock(other, schema, "numbers_1", "ACCESS SHARE")
    with EventStore.connect(
        replace(config, connect_timeout=3.0), runtime=registered_runtime()
    ) as operator:
        for change in (operator.rebuild_projection, operator.drop_projection):
            with pytest.raises(StorageUnavailableError, match="due to lock timeout"):
                change(shown.version(1), force=True)
    append(store, 6, 9)
    reaches(subscription, 9)
    other.rollback()
    store.rebuild_projection(shown.version(1), force=True)
    wait_until(lambda: info_of(store, 1).position == 9)
    assert shown.of(1) == list(range(1, 10))


# ── beside other changes ─────────────────────────────────────────────────────────────────────────


def test_its_subscription_changes_with_its_tables_alone(store: EventStore, shown: Numbers) -> None:
    """G39: a reset or delete by its name would count events twice, a stranger would take them."""
    append(store, 1, 5)
    reaches(store.project(shown.version(1)), 5)
    key = "$all", "numbers@1"
    store.unsubscribe_from_all_streams("numbers@1")
    changes: list[Callable[[], object]] = [
        lambda: store.reset_subscription(*key, 0),
        lambda: store.delete_subscription(*key),
        lambda: store.subscribe_to_all_streams("numbers@1", lambda _: None),
    ]
    for change in changes:
        with pytest.raises(SubscriptionError, match="belongs to a projection, whose tables change"):
            change()
    reaches(store.project(shown.version(1)), 5)
    assert shown.of(1) == [1, 2, 3, 4, 5]


def test_other_options_need_a_rebuild(connect: Connect, shown: Numbers) -> None:
    """G39, G40: they are stored with it, and an owner with the old ones ends."""
    owner, operator = connect(), connect()
    append(owner, 1, 5)
    old = owner.project(shown.version(1))
    reaches(old, 5)
    changed = shown.version(1, stream_prefix="no-", when_owned="wait")
    with pytest.raises(SubscriptionOptionsError, match="give those, rebuild it"):
        operator.project(changed)
    operator.rebuild_projection(changed, force=True)
    wait_until(lambda: old.state is SubscriptionState.STOPPED)
    reaches(operator.project(changed), 5)
    assert shown.of(1) == []


def test_a_new_version_does_not_replace_a_current_one_that_was_dropped(
    store: EventStore, shown: Numbers
) -> None:
    """G39: only the first version of a name is current before it has caught up."""
    append(store, 1, 5)
    for version in (1, 2):
        reaches(store.project(shown.version(version)), 5)
    store.drop_projection(NAME, 1, force=True)
    store.project(shown.version(3))
    assert [(info.version, info.is_current) for info in store.projections()] == [
        (2, False),
        (3, False),
    ]
    assert shown.calls[-1] == "create 3"


def test_a_rebuild_does_not_take_a_subscription_that_is_not_its_own(
    store: EventStore, shown: Numbers
) -> None:
    """G39: of that name is another one, which somebody else runs."""
    append(store, 1, 5)
    reaches(store.project(shown.version(1)), 5)
    store.unsubscribe_from_all_streams("numbers@1")
    shown.forget(1)
    store.subscribe_to_all_streams("numbers@1", lambda _: None)
    with pytest.raises(ProjectionError, match="there is a subscription 'numbers@1'"):
        store.rebuild_projection(shown.version(1), force=True)
    assert shown.of(1) == [1, 2, 3, 4, 5]


def test_nobody_switches_to_what_nobody_keeps_up_to_date(store: EventStore, shown: Numbers) -> None:
    """G39: not even by force."""
    for version in (1, 2):
        store.project(shown.version(version))
    store.unsubscribe_from_all_streams("numbers@2")
    shown.forget(2)
    with pytest.raises(ProjectionError, match="has no subscription 'numbers@2' any more"):
        store.switch_projection(NAME, 2, force=True)
    assert info_of(store, 1).is_current


def test_a_switch_to_the_current_version_waits_for_nothing(
    store: EventStore, shown: Numbers
) -> None:
    """G39: it is behind, and the timeout is longer than any test."""
    store.project(shown.version(1)).pause()
    append(store, 1, 5)
    store.switch_projection(NAME, 1, timeout=10_000)
    assert shown.calls == ["create 1", "switch 1"]


# ── what fails ───────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_dropped_goes_on(store: EventStore, shown: Numbers) -> None:
    """G39: here, too, as before the call."""

    def fail(_connection: Any) -> None:
        raise LookupError("not today")

    store.project(shown.version(1))
    kept = store.project(shown.version(2, drop=fail))
    with pytest.raises(LookupError, match="not today"):
        store.drop_projection(NAME, 2)
    append(store, 1, 5)
    reaches(kept, 5)
    assert shown.of(2) == [1, 2, 3, 4, 5]


def test_a_commit_that_is_refused_changes_nothing(store: EventStore, shown: Numbers) -> None:
    """G39: the server has answered, so nothing is unknown."""
    deferred = (
        "CREATE TABLE {0} (number bigint PRIMARY KEY, before bigint REFERENCES {0}"
        " DEFERRABLE INITIALLY DEFERRED)"
    )

    def create(connection: Any) -> None:
        shown.run(connection, "create", deferred, 1)
        shown.run(connection, "fill", "INSERT INTO {} VALUES (1, 2)", 1)

    with pytest.raises(StorageError, match="violates foreign key constraint"):
        store.project(shown.version(1, create=create))
    assert (shown.tables(), store.projections()) == ([], [])


@pytest.mark.parametrize("way", ["killed", "idle"])
def test_a_connection_that_is_lost_in_a_function_changes_nothing(
    config: Config, surface: Surface, store: EventStore, shown: Numbers, way: str
) -> None:
    """G39: it is not the fault of the function, and the next call creates everything."""

    def create(connection: Any) -> None:
        shown.version(1).create(connection)  # type: ignore[misc]
        if way == "killed":
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        pid = connection.info.backend_pid
        wait_until(lambda: not shown.is_there(pid))
        connection.execute("SELECT 1")

    with (
        connect_by(surface, replace(config, lease=1.0)) as hurried,
        pytest.raises(StorageUnavailableError, match="changing a projection failed"),
    ):
        hurried.project(shown.version(1, create=create))
    assert (shown.tables(), store.projections()) == ([], [])
    store.project(shown.version(1))
    assert shown.tables() == ["numbers_1"]
