"""A store set back, and grown again before anybody looked, is noticed all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventData, EventStore, ExpectedVersion
from eventstore.storages.postgres.statements import channel_of
from tests.acceptance.guarantees.conftest import Settings, installed, wait_for_checkpoint
from tests.support.pgserver import TestServer
from tests.support.plain_sql import Sql
from tests.support.pooler import PROGRAM, Pooler
from tests.support.processes import Service
from tests.support.programs import dump, restore
from tests.support.proxy import Proxy
from tests.support.waiting import AGES

BEFORE = 3
LOST = 5

NO_LOOK: Settings = {"poll_interval": 60.0, "lease": 60.0}
"""What is noticed is noticed by announcements alone."""


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with TestServer() as server:
        yield server


def append(store: EventStore, count: int) -> None:
    """Append *count* events in one commit."""
    events = [EventData("X", n) for n in range(count)]
    store.append_to_stream("a", ExpectedVersion.ANY, events)


@contextmanager
def subscriber(settings: Settings, work: float = 0.0) -> Iterator[Service]:
    """Run a service whose subscriber works on each batch for *work* seconds."""
    service = Service(settings)
    try:
        yield service.ready().do("subscribe", name="all", work=work)
    finally:
        service.kill9()


def deliver_and_set_back(
    server: TestServer, service: Service, others: EventStore, backup: Path
) -> None:
    """Let the service deliver events that are gone when this returns."""
    append(others, BEFORE)
    dump(server.dsn, backup)
    append(others, LOST)
    service.wait_delivered("all", BEFORE + LOST)
    wait_for_checkpoint(others, BEFORE + LOST, name="all")
    restore(server.dsn, backup)


def assert_stopped(service: Service) -> None:
    """It tells its subscriber, refuses to append, and delivered nothing out of the new history."""
    service.wait("lost", name="all")
    # The subscriber may be told a moment before the writer is.
    service.do("write", streams=["b"], seed=1, pause=0.01)
    assert service.wait("failed")["error"] == "HistoryRewoundError"
    assert service.positions("all") == list(range(1, BEFORE + LOST + 1))


@pytest.mark.parametrize("beyond", [0, 1])
def test_one_commit_up_to_and_beyond_the_lost_events_does_not_hide_their_loss(
    server: TestServer, tmp_path: Path, beyond: int
) -> None:
    """G31: the head is told once, where it would be without the loss."""
    settings = {**installed(server.dsn, f"overtaken_{beyond}"), **NO_LOOK}
    with (
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
        subscriber(settings) as service,
    ):
        deliver_and_set_back(server, service, others, tmp_path / "dump")
        append(others, LOST + beyond)
        assert_stopped(service)


def test_an_append_of_its_own_right_behind_does_not_hide_the_loss(
    server: TestServer, tmp_path: Path
) -> None:
    """G31: its position is the next one, and is known before the others' commit is heard of."""
    settings = {**installed(server.dsn, "overtaken_by_itself"), **NO_LOOK}
    with (
        Proxy(server.dsn) as network,
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
        subscriber({**settings, "listen_dsn": network.dsn}) as service,
    ):
        deliver_and_set_back(server, service, others, tmp_path / "dump")
        network.delay(AGES)
        append(others, LOST)
        service.do("write", streams=["b"], seed=7, appends=1, most_events=1)
        assert service.wait("appended")["places"] == {"b": [1, BEFORE + LOST + 1]}
        network.hurry()
        service.wait("lost", name="all")


def test_an_append_of_its_own_hides_no_loss_though_nothing_was_announced(
    server: TestServer, tmp_path: Path
) -> None:
    """F3, G31: what the head was at the last look is known, whoever made it grow since."""
    settings = {**installed(server.dsn, "hidden_by_itself"), **NO_LOOK}
    with (
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
        # It acknowledges its last batch when the subscription is lost already.
        subscriber(settings, work=0.3) as service,
        psycopg.connect(server.dsn, autocommit=True) as somebody,
    ):
        deliver_and_set_back(server, service, others, tmp_path / "dump")
        Sql(somebody, "hidden_by_itself").append("c", LOST)
        service.do("write", streams=["b"], seed=7, appends=1, most_events=1)
        assert service.wait("appended")["places"] == {"b": [1, BEFORE + LOST + 1]}
        # A hint that makes it look, and says nothing of events.
        somebody.execute("SELECT pg_notify(%s, 's1')", [channel_of("hidden_by_itself")])
        service.wait("lost", name="all")


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_a_look_notices_it_where_nothing_is_announced(server: TestServer, tmp_path: Path) -> None:
    """G31: through a pooler, within the poll interval."""
    settings = {**installed(server.dsn, "looked_at"), "poll_interval": 2.0, "lease": 60.0}
    with (
        Pooler(server.dsn) as pooler,
        EventStore.connect(Config(**settings), runtime=CallerRuntime) as others,
        subscriber({**settings, "listen_dsn": pooler.dsn}) as service,
    ):
        deliver_and_set_back(server, service, others, tmp_path / "dump")
        append(others, LOST)
        assert_stopped(service)
