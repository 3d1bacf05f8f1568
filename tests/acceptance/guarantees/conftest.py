"""A store of each test's own, services in other processes that use it, a look from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal, Protocol

import psycopg
import pykka
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventStore
from tests.support.pgserver import TestServer
from tests.support.plain_sql import Sql
from tests.support.processes import Service
from tests.support.recorder import Recorder, Seen
from tests.support.waiting import PATIENCE, wait_until

Settings = dict[str, Any]

QUICK: Settings = {"poll_interval": 0.1, "lease": 3.0, "pool_size": 4, "stop_timeout": 1.5}
"""A lease is short where its end is waited for, and longer than a busy machine stands still."""


def installed(dsn: str, schema: str) -> Settings:
    """Install a store and return the settings to connect to it; its sessions bear its name."""
    settings = {"dsn": make_conninfo(dsn, application_name=schema), "schema": schema, **QUICK}
    EventStore.connect(Config(**settings), runtime=CallerRuntime, init=True).close()
    return settings


def sessions(dsn: str, schema: str) -> list[int]:
    """Return the process ids of the backends that serve the store in *schema*."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, %s)", [schema]
        )
        return [pid for (pid,) in rows]


@pytest.fixture
def private_server() -> Iterator[TestServer]:
    """A server of the test's own, which it may stop, break and set up."""
    with TestServer() as server:
        yield server


@pytest.fixture
def settings(dsn: str, schema: str) -> Iterator[Settings]:
    """The settings of a fresh store; no connection of it may be left after the test."""
    yield installed(dsn, schema)
    wait_until(lambda: not sessions(dsn, schema))


@pytest.fixture
def store(settings: Settings) -> Iterator[EventStore]:
    """The store, run by actors."""
    with EventStore.connect(Config(**settings)) as store:
        yield store


@pytest.fixture
def observer(settings: Settings) -> Iterator[EventStore]:
    """The same store as another process has it: no thread, no subscription."""
    with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
        yield store


def wait_for_checkpoint(
    store: EventStore, position: int, *, name: str = "sub", timeout: float = PATIENCE
) -> None:
    """Wait until exactly *position* is the stored checkpoint of a subscription to all streams."""
    wait_until(lambda: store.subscription_info("$all", name).checkpoint == position, timeout)


class Start(Protocol):
    """Starts services, ready when it returns; keywords replace settings of the store."""

    def __call__(
        self, count: int = 1, *, runtime: Literal["actors", "caller"] = "actors", **settings: Any
    ) -> list[Service]: ...


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    services: list[Service] = []

    def start(
        count: int = 1, *, runtime: Literal["actors", "caller"] = "actors", **more: Any
    ) -> list[Service]:
        started = [Service({**settings, **more}, runtime) for _ in range(count)]
        services.extend(started)
        return [service.ready() for service in started]

    yield start
    for service in services:
        service.kill9()


class Record(Protocol):
    """Starts an actor that keeps what it is told."""

    def __call__(self, seen: Seen, *, acks: bool = True) -> pykka.ActorRef[Recorder]: ...


@pytest.fixture
def record() -> Iterator[Record]:
    with ExitStack() as actors:

        def record(seen: Seen, *, acks: bool = True) -> pykka.ActorRef[Recorder]:
            recorder = Recorder.start(seen, acks=acks)
            actors.callback(recorder.stop)
            return recorder

        yield record


@pytest.fixture
def foreign(settings: dict[str, Any], dsn: str, schema: str) -> Iterator[Callable[[], Sql]]:
    """Connect somebody with plain SQL."""
    opened: list[psycopg.Connection[Any]] = []

    def connect() -> Sql:
        opened.append(psycopg.connect(dsn, autocommit=True))
        return Sql(opened[-1], schema)

    yield connect
    for connection in opened:
        connection.close()
