"""Processes that run a projection start at once, and are killed in the middle of everything."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Settings
from tests.support.processes import Service
from tests.support.projector import LOCK, NAME
from tests.support.waiting import PATIENCE, wait_until

PROGRAM = "tests.support.projector"


class Run(Protocol):
    """Starts processes that run a version; they are killed at the end."""

    def __call__(self, version: int = 1, *, switches: bool = False) -> Service: ...


@pytest.fixture
def settings(settings: Settings, schema: str) -> Settings:
    """The tables of the projection lie beside those of the store, in its schema."""
    return {
        **settings,
        "dsn": make_conninfo(settings["dsn"], options=f"-csearch_path={schema}"),
        "append_timeout": PATIENCE,
    }


@pytest.fixture
def run(settings: Settings) -> Iterator[Run]:
    services: list[Service] = []

    def run(version: int = 1, *, switches: bool = False) -> Service:
        given = {**settings, "version": version, "switches": switches}
        services.append(Service(given, program=PROGRAM))
        return services[-1].ready()

    yield run
    for service in services:
        service.kill9()


@pytest.fixture
def look(settings: Settings) -> Iterator[Callable[[str], list[Any]]]:
    """Return what somebody else sees."""
    with psycopg.connect(settings["dsn"], autocommit=True) as connection:
        yield lambda query: [row[0] for row in connection.execute(query.encode())]


@pytest.fixture
def halfway(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Stops every function in its middle, until it commits."""
    with psycopg.connect(settings["dsn"]) as connection:
        yield connection


def stop_halfway(connection: psycopg.Connection[Any]) -> None:
    connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")


def append(store: EventStore, count: int) -> None:
    events = [EventData("Entered", {}) for _ in range(count)]
    store.append_to_stream("book", ExpectedVersion.ANY, events)


def head(store: EventStore) -> int:
    return store.stream_info("$all").stream_version


def wait_for_all(store: EventStore, look: Callable[[str], list[Any]], version: int = 1) -> None:
    """Wait until every event has been handled; each must be there once."""
    name = f"{NAME}@{version}"
    wait_until(lambda: store.subscription_info("$all", name).checkpoint == head(store))
    positions = look(f"SELECT position FROM {NAME}_{version} ORDER BY 1")
    assert positions == list(range(1, head(store) + 1))


def test_of_three_processes_that_start_at_once_one_creates(
    run: Run,
    observer: EventStore,
    look: Callable[[str], list[Any]],
    halfway: psycopg.Connection[Any],
) -> None:
    """G39: the others find its tables, and stand by."""
    append(observer, 25)
    stop_halfway(halfway)
    services = [run() for _ in range(3)]
    wait_until(lambda: any(service.reports("in") for service in services))
    assert observer.projections() == []
    halfway.commit()
    for service in services:
        service.wait("projected")
    wait_for_all(observer, look)
    for function in ("create", "switch"):
        assert sum(len(each.reports("in", function=function)) for each in services) == 1


def test_who_is_killed_while_it_creates_leaves_nothing_behind(
    run: Run,
    observer: EventStore,
    look: Callable[[str], list[Any]],
    halfway: psycopg.Connection[Any],
) -> None:
    """G39: the next one creates everything."""
    append(observer, 25)
    stop_halfway(halfway)
    killed = run()
    killed.wait("in", function="create")
    killed.kill9()
    halfway.commit()
    assert (observer.projections(), observer.subscriptions()) == ([], [])
    run().wait("projected")
    wait_for_all(observer, look)


def test_who_is_killed_while_it_switches_leaves_the_old_version_to_readers(
    run: Run,
    observer: EventStore,
    look: Callable[[str], list[Any]],
    halfway: psycopg.Connection[Any],
) -> None:
    """G39: view and record change together."""
    run(1).wait("projected")
    new = run(2)
    new.wait("projected")
    append(observer, 25)
    for version in (1, 2):
        wait_for_all(observer, look, version)
    new.kill9()
    stop_halfway(halfway)
    killed = run(2, switches=True)
    killed.wait("in", function="switch")
    killed.kill9()
    halfway.commit()

    defined = f"SELECT pg_get_viewdef('{NAME}'::regclass)"
    assert f"{NAME}_1" in look(defined)[0]
    assert [info.is_current for info in observer.projections()] == [True, False]
    run(2, switches=True).wait("switched")
    assert f"{NAME}_2" in look(defined)[0]
    assert [info.is_current for info in observer.projections()] == [False, True]


def test_who_is_killed_while_it_handles_counts_each_event_once(
    run: Run,
    observer: EventStore,
    look: Callable[[str], list[Any]],
    halfway: psycopg.Connection[Any],
) -> None:
    """G39: again and again, with an heir that stands by."""
    rng = random.Random(39)
    services = [run(), run()]
    for _ in range(4):
        owners = services[:]
        before = [len(each.reports("in", function="handle")) for each in owners]
        append(observer, 40)
        if rng.random() < 1 / 2:
            stop_halfway(halfway)
        wait_until(
            lambda before=before, owners=owners: any(  # type: ignore[misc]
                len(each.reports("in", function="handle")) > count
                for each, count in zip(owners, before, strict=True)
            )
        )
        victim = max(services, key=lambda each: len(each.reports("in", function="handle")))
        victim.kill9()
        halfway.rollback()
        services = [each for each in services if each is not victim] + [run()]
    wait_for_all(observer, look)
