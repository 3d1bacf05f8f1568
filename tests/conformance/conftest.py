"""The two storages and the two runtimes, so that one suite says what a store means with each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol
from uuid import uuid4

import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, NotRunningError, Runtime
from eventstore.client.targets import registered_runtime, storage_for
from eventstore.ports.storage import Storage
from eventstore.storages.postgres import PostgresStorage
from tests.conftest import ONLOOKER
from tests.support.over_loop import LoopThread, connect_over

CHINESE = "東"
"""Three bytes of UTF-8."""

POLL_INTERVAL = 0.05
LEASE = 10.0
SHORT_STOP = 0.2
"""Seconds that the end of a test waits for acknowledgements that nobody sends any more."""


def soon() -> float:
    """Return a deadline that no call of a test should need to reach."""
    return time.monotonic() + 60


def numbered(first: int, last: int) -> list[EventData]:
    """Return new events that carry the numbers *first* to *last*."""
    return [
        EventData("Numbered", {"event": number}, {"user": "someone"})
        for number in range(first, last + 1)
    ]


def opened(config: Config) -> Storage:
    storage = storage_for(config)
    storage.open(init=True, deadline=soon())
    return storage


def has_ended(store: EventStore) -> bool:
    """Return whether *store* takes no more appends: it is closing, or closed."""
    try:
        return not store.health().running
    except NotRunningError:
        return True


EVERY_DAY = [("memory", "caller"), ("postgres", "actors")]
"""Each storage and each runtime once; the tests of the other pairs are left to `make test-slow`."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of pairs that are not run every day."""
    if (pair := _pair_of(item)) is not None and pair not in EVERY_DAY:
        item.add_marker(pytest.mark.slow)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another pair shows."""
    left_out = [item for item in items if _is_shown_elsewhere(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_shown_elsewhere(item: pytest.Item) -> bool:
    match _pair_of(item):
        case ("memory", "actors"):  # they append and read for coroutines, too
            return "subscriptions" not in item.path.parts
        case ("postgres", "caller"):  # arguments are checked before a storage is reached
            return item.path.name.startswith("test_input")
        case _:
            return False


def _pair_of(item: pytest.Item) -> tuple[str, str] | None:
    """Return the storage and the surface that a test runs on; None if it is not run on several."""
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    return (chosen["config"], chosen["surface"]) if {"config", "surface"} <= chosen.keys() else None


@pytest.fixture(params=["memory", "postgres"])
def config(request: pytest.FixtureRequest) -> Iterator[Config]:
    """Settings of a fresh store that lives as long as the test, whoever opens and closes it."""
    settings = Config("memory:", poll_interval=POLL_INTERVAL, lease=LEASE, pool_size=4)
    if request.param == "memory":
        settings = replace(settings, dsn=f"memory:{uuid4().hex}")
    else:
        dsn, schema = request.getfixturevalue("dsn"), request.getfixturevalue("schema")
        settings = replace(settings, dsn=dsn, schema=schema)
    keeper = opened(settings)
    try:
        yield settings
    finally:
        keeper.close()


@pytest.fixture
def open_storage(config: Config) -> Iterator[Callable[[], Storage]]:
    """Return what opens the store of the test once more, as another process would."""
    storages: list[Storage] = []

    def open_another() -> Storage:
        storages.append(opened(config))
        return storages[-1]

    yield open_another
    for storage in storages:
        storage.close()


@pytest.fixture(params=["caller", "actors"])
def runtime(request: pytest.FixtureRequest) -> type[Runtime]:
    return CallerRuntime if request.param == "caller" else registered_runtime()


@pytest.fixture(params=["caller", "actors", "asyncio"])
def surface(request: pytest.FixtureRequest) -> Iterator[Surface]:
    """What a test calls: the store over one of its runtimes, or for coroutines over the actors."""
    if request.param != "asyncio":
        yield CallerRuntime if request.param == "caller" else registered_runtime()
        return
    loop = LoopThread()
    yield loop
    loop.close()


Surface = type[Runtime] | LoopThread


def connect_by(surface: Surface, config: Config) -> EventStore:
    if isinstance(surface, LoopThread):
        store: EventStore = connect_over(surface, config)
        return store
    return EventStore.connect(config, runtime=surface)


@pytest.fixture
def for_threads(surface: Surface) -> None:
    """Skip a test of what coroutines do in another way; tests/coroutines has its counterpart."""
    if isinstance(surface, LoopThread):
        pytest.skip("coroutines do it in another way, which tests/coroutines shows")


class Connect(Protocol):
    """Connects to the store of the test once more; keywords replace settings."""

    def __call__(self, **settings: Any) -> EventStore: ...


@pytest.fixture
def connect(config: Config, surface: Surface) -> Iterator[Connect]:
    with ExitStack() as stores:

        def connect(**settings: Any) -> EventStore:
            store = connect_by(surface, replace(config, **settings))
            stores.callback(store.close, timeout=SHORT_STOP)
            return store

        yield connect


@pytest.fixture
def store(connect: Connect) -> EventStore:
    return connect()


@pytest.fixture
def neighbour(config: Config, connect: Connect) -> Iterator[EventStore]:
    """Another store, in another schema of the same database."""
    settings = replace(config, schema=f"{config.schema}_2")
    keeper = opened(settings)
    store = connect(schema=settings.schema)
    try:
        yield store
    finally:
        store.close(timeout=SHORT_STOP)
        if isinstance(keeper, PostgresStorage):
            keeper.drop(soon())
        keeper.close()


@pytest.fixture
def other(config: Config, request: pytest.FixtureRequest) -> Iterator[str]:
    """Another schema, of which nothing is left behind."""
    yield from _another(config, "b", request)


@pytest.fixture
def third(config: Config, request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _another(config, "c", request)


def _another(config: Config, name: str, request: pytest.FixtureRequest) -> Iterator[str]:
    schema = f"{config.schema}_{name}"
    yield schema
    if not config.dsn.startswith("memory:"):
        request.config.stash[ONLOOKER].drop_schema(schema)


@pytest.fixture
def one(store: EventStore) -> Iterator[EventStore]:
    """A store with one event; it must be the only one afterwards, and the store still works."""
    store.append_to_stream("order-1", 0, numbered(1, 1))
    yield store
    assert [event.data["event"] for event in store.read_all_streams_forward()] == [1]
    result = store.append_to_stream("order-1", 1, numbered(2, 2))
    assert (result.last_version, result.last_global_position) == (2, 2)
