"""Versions of a projection are created once, built side by side, switched, rebuilt and dropped."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from eventstore import (
    CallerRuntime,
    Config,
    Events,
    EventStore,
    ExpectedVersion,
    NotRunningError,
    Projection,
    ProjectionError,
    ProjectionInfo,
    ProjectionNotFoundError,
    StorageUnavailableError,
    Subscription,
    SubscriptionInUseError,
    SubscriptionState,
)
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.projected import NAME, Numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
SOON = 0.2
"""Seconds to wait for a version that does not catch up."""
OVER = 0.1
"""Seconds between two looks at what goes on."""


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


def append(store: EventStore, first: int, last: int) -> None:
    store.append_to_stream("order-1", ANY, numbered(first, last))


def info_of(store: EventStore, version: int) -> ProjectionInfo:
    [found] = [info for info in store.projections() if info.version == version]
    return found


@contextlib.contextmanager
def appending(store: EventStore, number: int) -> Iterator[None]:
    """Append one event after the other, from *number* on, until the block ends."""
    enough = threading.Event()

    def append_all() -> None:
        for following in itertools.count(number):
            append(store, following, following)
            if enough.wait(0.001):
                return

    thread = threading.Thread(target=append_all)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def reaches(subscription: Subscription, position: int) -> None:
    wait_until(lambda: subscription.checkpoint == position)


def test_its_tables_are_there_before_the_first_event_is_handled(
    store: EventStore, shown: Numbers
) -> None:
    """G39: also before there is an event, and readers see them."""
    subscription = store.project(shown.version(1))
    assert shown.current() == []
    append(store, 1, 3)
    reaches(subscription, 3)

    assert (shown.of(1), shown.current()) == ([1, 2, 3], [1, 2, 3])
    assert shown.calls == ["create 1", "switch 1"]
    assert subscription.subscription_name == "numbers@1"
    info = info_of(store, 1)
    assert info.is_current
    assert info.switched_at is not None
    assert info.switched_at >= info.created_at


def test_its_tables_are_created_once(connect: Connect, shown: Numbers) -> None:
    """G39: the second process, and the next start, find them."""
    first, second = connect(), connect()
    first.project(shown.version(1))
    standby = second.project(shown.version(1, when_owned="wait"))
    append(first, 1, 3)
    first.close()
    reaches(standby, 3)
    assert shown.of(1) == [1, 2, 3]
    assert shown.calls == ["create 1", "switch 1"]


@pytest.mark.parametrize("version", [1, 2])
def test_of_two_that_start_at_once_one_creates_and_the_other_waits(
    connect: Connect, shown: Numbers, version: int
) -> None:
    """G39: nobody subscribes before the tables are there."""
    going, go_on = threading.Event(), threading.Event()

    def create(connection: Any) -> None:
        shown.run(connection, "create", "CREATE TABLE {} (number bigint)", version)
        going.set()
        assert go_on.wait(30)

    first, second = connect(), connect()
    for earlier in range(1, version):
        first.project(shown.version(earlier))
    projection = shown.version(version, create=create, when_owned="wait")
    starts = [
        threading.Thread(target=store.project, args=[projection]) for store in (first, second)
    ]
    starts[0].start()
    assert going.wait(30)
    starts[1].start()
    assert len(first.projections()) == version - 1
    wait_until(shown.waiters)
    go_on.set()
    for start in starts:
        start.join()
    append(first, 1, 2)
    wait_until(lambda: info_of(first, version).lag_events == 0)
    assert shown.of(version) == [1, 2]
    assert shown.calls.count(f"create {version}") == 1


def test_who_waits_too_long_for_another_that_creates_is_told_to_try_again(
    connect: Connect, shown: Numbers
) -> None:
    """G25, G39: nothing was created by it."""
    going, go_on = threading.Event(), threading.Event()

    def create(connection: Any) -> None:
        shown.run(connection, "create", "CREATE TABLE {} (number bigint)", 1)
        going.set()
        assert go_on.wait(30)

    first, second = connect(), connect(connect_timeout=1.0)
    start = threading.Thread(target=first.project, args=[shown.version(1, create=create)])
    start.start()
    assert going.wait(30)
    # By its lock timeout, or by its deadline if a slow server tells of the other one too late.
    with pytest.raises(StorageUnavailableError):
        second.project(shown.version(1))
    go_on.set()
    start.join()
    assert shown.calls == ["create 1", "switch 1"]


def test_what_create_raises_leaves_nothing_behind(store: EventStore, shown: Numbers) -> None:
    """G39: the next start creates everything."""

    def fail(connection: Any) -> None:
        shown.run(connection, "create", "CREATE TABLE {} (number bigint)", 1)
        raise LookupError("no space")

    with pytest.raises(LookupError, match="no space"):
        store.project(shown.version(1, create=fail))
    assert (shown.tables(), store.projections(), store.subscriptions()) == ([], [], [])
    store.project(shown.version(1))
    assert shown.tables() == ["numbers_1"]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN"])
def test_a_function_that_ends_the_transaction_is_an_error(
    store: EventStore, shown: Numbers, end: str
) -> None:
    """G39: the version does not count as created."""

    def create(connection: Any) -> None:
        shown.run(connection, "create", "CREATE TABLE {} (number bigint)", 1)
        connection.execute(end)

    with pytest.raises(RuntimeError, match="has ended the transaction itself"):
        store.project(shown.version(1, create=create, switch=None))
    assert (store.projections(), store.subscriptions()) == ([], [])


def test_a_new_version_is_built_beside_the_old_one(store: EventStore, shown: Numbers) -> None:
    """G39: readers see the old one, which goes on, until they are switched."""
    append(store, 1, 100)
    old = store.project(shown.version(1))
    reaches(old, 100)
    new = store.project(shown.version(2, max_batch_size=7))
    append(store, 101, 110)
    reaches(old, 110)
    reaches(new, 110)
    assert shown.of(1) == shown.of(2) == list(range(1, 111))
    assert [info.is_current for info in store.projections()] == [True, False]

    store.switch_projection(NAME, 2)
    assert [info.is_current for info in store.projections()] == [False, True]
    assert info_of(store, 1).switched_at is None
    append(store, 111, 111)
    reaches(new, 111)
    reaches(old, 111)
    assert shown.current() == list(range(1, 112))
    assert shown.calls == ["create 1", "switch 1", "create 2", "switch 2"]


def test_a_switch_back_leads_readers_to_the_old_version(store: EventStore, shown: Numbers) -> None:
    """G39: the old one runs until it is dropped."""
    for version in (1, 2):
        store.project(shown.version(version))
    store.switch_projection(NAME, 2)
    store.switch_projection(NAME, 1)
    store.switch_projection(NAME, 1)
    assert shown.calls[-2:] == ["switch 2", "switch 1"]
    assert info_of(store, 1).is_current


def test_a_switch_to_what_is_behind_is_refused(store: EventStore, shown: Numbers) -> None:
    """G39: unless it is forced."""
    append(store, 1, 5)
    store.project(shown.version(1))
    behind = store.project(shown.version(2))
    reaches(behind, 5)
    behind.pause()
    append(store, 6, 9)

    with pytest.raises(ProjectionError, match="has not caught up: it is at 5 of 9") as refused:
        store.switch_projection(NAME, 2, timeout=SOON)
    assert (refused.value.name, refused.value.version) == (NAME, 2)
    assert info_of(store, 1).is_current
    store.switch_projection(NAME, 2, force=True)
    assert info_of(store, 2).is_current
    assert shown.current() == [1, 2, 3, 4, 5]


def test_a_switch_waits_until_the_version_has_caught_up(store: EventStore, shown: Numbers) -> None:
    """G39: with what was stored at the call."""
    store.project(shown.version(1))
    behind = store.project(shown.version(2))
    behind.pause()
    append(store, 1, 5)
    switch = threading.Thread(
        target=store.switch_projection, args=[NAME, 2], kwargs={"timeout": PATIENCE}
    )
    switch.start()
    wait_until(shown.has_looked)
    behind.resume()
    switch.join()
    assert info_of(store, 2).is_current
    assert shown.current() == [1, 2, 3, 4, 5]


def test_a_switch_that_fails_changes_nothing(store: EventStore, shown: Numbers) -> None:
    """G39: the function and the record commit together."""

    def fail(connection: Any) -> None:
        shown.run(connection, "switch", "DROP TABLE {} CASCADE", 1)
        raise LookupError("not today")

    store.project(shown.version(1))
    store.project(shown.version(2, switch=fail))
    with pytest.raises(LookupError, match="not today"):
        store.switch_projection(NAME, 2)
    assert (shown.tables(), shown.current()) == (["numbers_1", "numbers_2"], [])
    assert info_of(store, 1).is_current


def test_a_dropped_version_is_gone(store: EventStore, shown: Numbers) -> None:
    """G39: with its tables and its subscription."""
    for version in (1, 2):
        store.project(shown.version(version))
    with pytest.raises(ProjectionError, match="version 1 is the current one and has readers"):
        store.drop_projection(NAME, 1)
    store.switch_projection(NAME, 2)
    store.drop_projection(NAME, 1)

    assert shown.tables() == ["numbers_2"]
    assert [info.version for info in store.projections()] == [2]
    assert [info.subscription_name for info in store.subscriptions()] == ["numbers@2"]
    with pytest.raises(ProjectionNotFoundError, match="projection 'numbers' has no version 1"):
        store.drop_projection(NAME, 1)
    store.drop_projection(NAME, 2, force=True)
    assert (shown.tables(), store.projections()) == ([], [])


def test_a_version_that_runs_elsewhere_is_dropped(connect: Connect, shown: Numbers) -> None:
    """G39: by its name without its tables, by the projection with them."""
    owner, operator = connect(), connect()
    handles = [owner.project(shown.version(version)) for version in (1, 2, 3)]
    operator.drop_projection(NAME, 3)
    operator.drop_projection(shown.version(2))

    wait_until(lambda: handles[2].state == handles[1].state == SubscriptionState.STOPPED)
    assert shown.tables() == ["numbers_1", "numbers_3"]
    assert [info.version for info in owner.projections()] == [1]
    assert handles[0].state is not SubscriptionState.STOPPED


def test_a_rebuild_counts_each_event_once_again(connect: Connect, shown: Numbers) -> None:
    """G39: in empty tables, while its owner runs in another process."""
    owner, operator = connect(), connect()
    append(owner, 1, 20)
    owner.project(shown.version(1))
    rebuilt = owner.project(shown.version(2, max_batch_size=3))
    reaches(rebuilt, 20)

    operator.rebuild_projection(shown.version(2))
    append(owner, 21, 30)
    wait_until(lambda: info_of(owner, 2).position == 30)
    assert shown.of(2) == list(range(1, 31))
    with pytest.raises(ProjectionError, match="version 1 is the current one and would be rebuilt"):
        operator.rebuild_projection(shown.version(1))
    operator.rebuild_projection(shown.version(1), force=True)
    wait_until(lambda: info_of(owner, 1).position == 30)
    assert shown.current() == list(range(1, 31))


def test_a_rebuild_in_the_middle_of_a_batch_takes_its_effects_back(
    connect: Connect, shown: Numbers
) -> None:
    """G39, G16: the rebuild waits for the handler that is under way."""
    going, go_on = threading.Event(), threading.Event()

    def insert(events: Events, connection: Any) -> None:
        going.set()
        assert go_on.wait(30)
        shown.version(2).handle(events, connection)

    owner, operator = connect(), connect()
    owner.project(shown.version(1))
    append(owner, 1, 20)
    owner.project(shown.version(2, handle=insert))
    assert going.wait(30)
    rebuild = threading.Thread(target=operator.rebuild_projection, args=[shown.version(2)])
    rebuild.start()
    wait_until(shown.waiters)
    go_on.set()
    rebuild.join()
    wait_until(lambda: info_of(owner, 2).position == 20)
    assert shown.of(2) == list(range(1, 21))


def test_a_version_whose_subscription_was_deleted_is_not_run(
    store: EventStore, shown: Numbers
) -> None:
    """G39: it would count everything twice. A rebuild mends it."""
    append(store, 1, 5)
    reaches(store.project(shown.version(1)), 5)
    projection = shown.version(1)
    store.unsubscribe_from_all_streams(projection.subscription_name)
    shown.forget(1)

    for change in (store.project, store.project):
        with pytest.raises(ProjectionError, match="nobody knows which events are in its tables"):
            change(projection)
    info = info_of(store, 1)
    assert (info.state, info.position, info.lag_events) == (None, 0, 5)
    store.rebuild_projection(projection, force=True)
    reaches(store.project(projection), 5)
    assert shown.of(1) == [1, 2, 3, 4, 5]


def test_a_subscription_of_its_name_is_no_projection(store: EventStore, shown: Numbers) -> None:
    """G39: whoever handled its events wrote elsewhere."""
    store.subscribe_to_all_streams("numbers@1", lambda _: None)
    with pytest.raises(ProjectionError, match="there is a subscription 'numbers@1'"):
        store.project(shown.version(1))
    assert (shown.tables(), store.projections()) == ([], [])


def test_it_is_run_once_in_a_process(store: EventStore, shown: Numbers) -> None:
    """G17: as every subscription."""
    store.project(shown.version(1))
    with pytest.raises(SubscriptionInUseError):
        store.project(shown.version(1))


def test_options_are_those_of_a_subscription(store: EventStore, shown: Numbers) -> None:
    """G40: filters and starts reach it."""
    append(store, 1, 5)
    store.append_to_stream("other-1", ANY, numbered(6, 6))
    projection = shown.version(1, start_from=2, stream_prefix="order-")
    subscription = store.project(projection)
    reaches(subscription, 6)
    assert shown.of(1) == [3, 4, 5]
    store.rebuild_projection(projection, force=True)
    wait_until(lambda: info_of(store, 1).position == 6)
    assert shown.of(1) == [3, 4, 5]


def test_a_start_beyond_the_head_is_refused(store: EventStore, shown: Numbers) -> None:
    with pytest.raises(ValueError, match="start_from must be 0 to the head of '\\$all', 0: 7"):
        store.project(shown.version(1, start_from=7))
    assert shown.tables() == []


def test_its_progress_can_be_seen(store: EventStore, shown: Numbers) -> None:
    """G32: what is left, who does it, and how fast."""
    append(store, 1, 5)
    subscription = store.project(shown.version(1))
    reaches(subscription, 5)
    subscription.pause()
    append(store, 6, 9)

    info = info_of(store, 1)
    assert (info.name, info.position, info.head, info.lag_events) == (NAME, 5, 9, 4)
    assert (info.paused, info.rate, info.last_error) == (True, None, None)
    assert info.owner == store.subscription_info("$all", "numbers@1").owner
    [standing] = store.projections(over=0.01)
    assert standing.rate == 0
    subscription.resume()
    seen: list[tuple[float, float]] = []

    def moves() -> float:
        began = time.monotonic()
        [moving] = store.projections(over=OVER)
        seen.append((moving.rate or 0, time.monotonic() - began))
        return seen[-1][0]

    with appending(store, 10):
        wait_until(moves)
    rate, took = seen[-1]
    assert 1 / took <= rate <= (info_of(store, 1).head - 5) / OVER


def test_functions_that_are_not_known_are_asked_for(store: EventStore, shown: Numbers) -> None:
    for change in (store.switch_projection, store.rebuild_projection):
        with pytest.raises(ValueError, match="does not know the functions of projection 'numbers'"):
            change(NAME, 1)
    with pytest.raises(ValueError, match="needs drop for a rebuild"):
        store.rebuild_projection(shown.version(1, drop=None))
    for change in (store.switch_projection, store.rebuild_projection, store.drop_projection):
        with pytest.raises(ProjectionNotFoundError):
            change(shown.version(1))
        with pytest.raises(TypeError, match="version is that of the Projection: 1"):
            change(shown.version(1), 1)
    assert store.projections() == []


def test_operators_need_no_actors(config: Config, store: EventStore, shown: Numbers) -> None:
    for version in (1, 2):
        store.project(shown.version(version))
    with EventStore.connect(config, runtime=CallerRuntime) as operator:
        with pytest.raises(NotRunningError, match="needs a runtime with actors"):
            operator.project(shown.version(3))
        operator.switch_projection(shown.version(2))
        operator.drop_projection(shown.version(1))
        assert [info.version for info in operator.projections()] == [2]
    assert shown.tables() == ["numbers_2"]


def test_a_store_in_memory_refuses(shown: Numbers) -> None:
    with EventStore.connect("memory:") as store:
        with pytest.raises(ValueError, match="projections need a store in PostgreSQL"):
            store.project(shown.version(1))
        assert (store.projections(), store.subscriptions()) == ([], [])


def test_coroutine_functions_are_for_coroutines(config: Config) -> None:
    async def handle(events: Events, connection: Any) -> None: ...

    with (
        EventStore.connect(config) as store,
        pytest.raises(TypeError, match="which AsyncEventStore alone can call"),
    ):
        store.project(Projection(NAME, 1, handle))
