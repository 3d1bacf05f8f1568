from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pykka
import pytest

from eventstore import (
    Config,
    Events,
    EventStore,
    NotRunningError,
    SchemaVersionError,
    StorageUnavailableError,
    StoreFailed,
)
from eventstore_actors import StoreSupervisor
from tests.actors.application import Application, append_one
from tests.support.recorder import Seen
from tests.support.waiting import AGES, PATIENCE, wait_until

NOBODY = "host=/nowhere dbname=postgres connect_timeout=1"
"""No server listens there."""


def test_an_attached_store_appends_and_delivers(application: Application) -> None:
    seen = Seen()
    with application.attach() as store:
        subscription = store.subscribe_to_all_streams("all", seen.handle)
        append_one(store, 1)
        wait_until(lambda: subscription.checkpoint == 1)
    assert seen.positions == [1]


def test_closing_an_attached_store_only_detaches(application: Application) -> None:
    first, second = application.attach(), application.attach()
    seen = Seen()
    subscription = first.subscribe_to_all_streams("all", seen.handle)
    joined = threading.Thread(target=first.join)
    joined.start()
    first.close()
    joined.join(PATIENCE)
    assert not joined.is_alive()
    with pytest.raises(NotRunningError):
        append_one(first, 1)
    append_one(second, 1)
    wait_until(lambda: subscription.checkpoint == 1)
    second.close()


def test_a_supervisor_starts_without_a_database_and_keeps_trying(config: Config) -> None:
    config = replace(config, dsn=NOBODY, connect_timeout=0.5)
    with Application(config) as application:
        with pytest.raises(StorageUnavailableError, match="not up yet"):
            EventStore.attach(application.supervisor, timeout=0.3)
        assert application.supervisor.is_alive()
        assert application.told.empty()
        assert application.supervisor.stop(timeout=PATIENCE)
        with pytest.raises(NotRunningError):
            EventStore.attach(application.supervisor, timeout=0.3)


def test_attach_waits_until_the_store_is_up(config: Config) -> None:
    with Application(config) as application, application.attach() as store:
        append_one(store, 1)


def test_a_schema_that_is_missing_fails_at_once_and_says_so(dsn: str, schema: str) -> None:
    with Application(Config(dsn, schema=schema), init=False) as application:
        before = time.monotonic()
        with pytest.raises(SchemaVersionError):
            EventStore.attach(application.supervisor, timeout=AGES)
        assert time.monotonic() - before < PATIENCE
        told = application.told.get(timeout=PATIENCE)
        assert isinstance(told, StoreFailed)
        assert isinstance(told.error, SchemaVersionError)
        wait_until(lambda: not application.supervisor.is_alive())
        with pytest.raises(SchemaVersionError):
            EventStore.attach(application.supervisor, timeout=PATIENCE)


def test_a_subscriber_may_subscribe_when_it_starts_and_append_when_it_is_told(
    application: Application,
) -> None:
    seen = Seen()

    class Echo(pykka.ThreadingActor):
        def __init__(self, supervisor: pykka.ActorRef[StoreSupervisor]) -> None:
            super().__init__()
            self._supervisor = supervisor

        def on_start(self) -> None:
            self._store = EventStore.attach(self._supervisor)
            self._store.subscribe_to_stream("numbers", "echo", self.actor_ref)

        def on_receive(self, message: object) -> None:
            if isinstance(message, Events):
                for event in message:
                    append_one(self._store, event.data["n"], "echoes")
                message.subscription.ack(message)

        def on_stop(self) -> None:
            self._store.close()

    echo = Echo.start(application.supervisor)
    with application.attach() as store:
        subscription = store.subscribe_to_stream("echoes", "seen", seen.handle)
        for number in (1, 2, 3):
            append_one(store, number)
        wait_until(lambda: subscription.checkpoint == 3)
    assert [event.data["n"] for event in seen.events] == [1, 2, 3]
    echo.stop(timeout=PATIENCE)


@pytest.mark.parametrize(
    "stranger", ["a supervisor", Seen(), None], ids=lambda it: type(it).__name__
)
def test_attaching_to_anything_else_is_an_error_that_says_what_to_attach_to(
    stranger: object,
) -> None:
    with pytest.raises(TypeError, match=r"StoreSupervisor\.start"):
        EventStore.attach(stranger)


def test_the_schema_is_installed_if_asked_for(dsn: str, schema: str, tmp_path: Path) -> None:
    config = Config(dsn, schema=schema)
    with Application(config, init=True) as application, application.attach() as store:
        append_one(store, 1)
    with Application(config, init=False) as application, application.attach() as store:
        assert len(store.read_all_streams_forward()) == 1
