from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import psycopg
import pykka
import pytest

from eventstore import (
    Config,
    Events,
    EventStore,
    EventStoreError,
    NotRunningError,
    SubscriptionState,
)
from eventstore_actors.delivering.outlets import GRACE
from eventstore_actors.kernel.messages import Child
from eventstore_actors.kernel.workers import WORKERS
from tests.actors.application import Application, Load, append_one
from tests.actors.seated import let_pass
from tests.support.pgserver import TestServer
from tests.support.recorder import Recorder, Seen, Stuck
from tests.support.waiting import AGES, PATIENCE, wait_until

ON_DISK = pytest.mark.parametrize("config", ["postgres"], indirect=True)
"""What is in memory does not outlive its store."""


@pytest.fixture
def connected(config: Config) -> Iterator[EventStore]:
    with EventStore.connect(replace(config, stop_timeout=AGES), init=True) as store:
        yield store


def test_every_append_that_was_accepted_is_answered(connected: EventStore) -> None:
    """G26: under load, each caller hears that it is stored, or that the store is closed."""
    load = Load(connected, 16)
    load.progress(50)
    connected.close()
    answers = load.wait()
    assert [type(answer) for answer in answers if answer is not None] == [NotRunningError] * 16


def test_it_waits_for_acks_in_flight_and_stores_them(config: Config) -> None:
    """G26: longer than a handler gets in any case."""
    with Application(config) as application:
        store = application.attach()
        stuck = Stuck()
        subscription = store.subscribe_to_all_streams("slow", stuck)
        append_one(store, 1)
        assert stuck.entered.wait(PATIENCE)
        stopping = application.supervisor.stop(block=False)
        wait_until(lambda: not application.supervisor.is_alive())
        let_pass(3 * GRACE)
        stuck.released.set()
        assert stopping.get(timeout=PATIENCE)
        assert subscription.state is SubscriptionState.STOPPED
        assert subscription.checkpoint == 1


def test_a_handler_that_is_waited_for_may_append(connected: EventStore) -> None:
    """G26: what is in flight is finished, not broken off."""
    entered, released = threading.Event(), threading.Event()

    def echo(events: Events) -> None:
        entered.set()
        released.wait(PATIENCE)
        append_one(connected, 2, "echoes")

    subscription = connected.subscribe_to_all_streams("echo", echo)
    append_one(connected, 1)
    assert entered.wait(PATIENCE)
    closing = threading.Thread(target=connected.close)
    closing.start()
    wait_until(lambda: not connected.health().running)
    released.set()
    closing.join(PATIENCE)
    assert (subscription.checkpoint, subscription.last_error) == (1, None)
    with pytest.raises(NotRunningError):
        append_one(connected, 3)


@ON_DISK
def test_a_checkpoint_that_was_acknowledged_is_stored_by_the_time_it_is_closed(
    config: Config,
) -> None:
    """G26: checkpoints are flushed and the ownership is released."""
    with EventStore.connect(config, init=True) as store:
        subscription = store.subscribe_to_all_streams("all", Seen().handle)
        for number in range(1, 101):
            append_one(store, number)
        wait_until(lambda: subscription.checkpoint == 100)
    with EventStore.connect(config) as store:
        info = store.subscription_info("$all", "all")
        assert (info.checkpoint, info.owner) == (100, None)


def test_no_batch_is_sent_any_more_once_it_stops(config: Config) -> None:
    """G26."""
    with Application(config) as application:
        store = application.attach()
        stuck = Stuck()
        subscription: Any = store.subscribe_to_all_streams("slow", stuck, max_batch_size=1)
        for number in range(1, 11):
            append_one(store, number)
        assert stuck.entered.wait(PATIENCE)
        wait_until(lambda: subscription._sent == 10)
        stopping = application.supervisor.stop(block=False)
        wait_until(lambda: subscription._sent == 1)
        stuck.released.set()
        stopping.get(timeout=PATIENCE)
        assert stuck.positions == [1]


def test_a_handler_that_does_not_return_is_named_and_the_close_is_in_time(
    connected: EventStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: nothing but its thread, a daemon, is left."""
    monkeypatch.setattr(WORKERS, "_linger", 0.05)  # of the threads that are lent to its actors
    stuck = Stuck()
    with caplog.at_level(logging.WARNING, "eventstore"):
        connected.subscribe_to_all_streams("hangs", stuck)
        append_one(connected, 1)
        assert stuck.entered.wait(PATIENCE)
        before = time.monotonic()
        connected.close(timeout=1)
        assert time.monotonic() - before < PATIENCE
        assert "hangs" in caplog.text
    try:
        # On a busy machine the subscription's own thread ends after the close.
        wait_until(lambda: len(_library_threads()) <= 1)
        assert all(thread.daemon for thread in _library_threads())
    finally:
        stuck.released.set()


def test_a_subscriber_actor_that_never_acknowledges_delays_the_close_only_until_its_end(
    connected: EventStore,
) -> None:
    """G26."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    connected.subscribe_to_all_streams("all", recorder)
    append_one(connected, 1)
    wait_until(lambda: seen.positions == [1])
    before = time.monotonic()
    connected.close(timeout=1)
    assert time.monotonic() - before < PATIENCE
    wait_until(lambda: seen.lost)
    recorder.stop(timeout=PATIENCE)


def test_a_subscriber_actor_that_is_gone_is_not_waited_for(connected: EventStore) -> None:
    """G26: nobody else acknowledges what it has in flight."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    connected.subscribe_to_all_streams("all", recorder)
    append_one(connected, 1)
    wait_until(lambda: seen.positions == [1])
    recorder.stop(timeout=PATIENCE)
    before = time.monotonic()
    connected.close(timeout=AGES)
    assert time.monotonic() - before < PATIENCE


def test_a_subscriber_actor_that_ends_meanwhile_is_waited_for_no_longer(
    connected: EventStore,
) -> None:
    """G26."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    connected.subscribe_to_all_streams("all", recorder)
    append_one(connected, 1)
    wait_until(lambda: seen.positions == [1])
    closing = threading.Thread(target=connected.close, kwargs={"timeout": AGES})
    closing.start()
    recorder.stop(timeout=PATIENCE)
    closing.join(timeout=PATIENCE)
    assert not closing.is_alive()


@ON_DISK
@pytest.mark.parametrize("kind", ["callable", "actor"])
def test_a_subscriber_may_close_the_store_and_its_own_acknowledgement_counts(
    config: Config, kind: str
) -> None:
    """G26: closing in a handler never waits for that handler."""
    took: list[float] = []

    def close_at_the_second(events: Events) -> None:
        if events[0].position == 2:
            before = time.monotonic()
            store.close(timeout=AGES)
            took.append(time.monotonic() - before)

    class Closing(pykka.ThreadingActor):
        def on_receive(self, message: object) -> None:
            if isinstance(message, Events):
                close_at_the_second(message)
                message.subscription.ack(message)

    store = EventStore.connect(config, init=True)
    subscriber = close_at_the_second if kind == "callable" else Closing.start()
    store.subscribe_to_all_streams("all", subscriber, max_batch_size=1)
    append_one(store, 1)
    append_one(store, 2)
    wait_until(lambda: took)
    assert took[0] < PATIENCE
    store.close()
    if isinstance(subscriber, pykka.ActorRef):
        subscriber.stop(timeout=PATIENCE)
    with EventStore.connect(config) as again:
        assert again.subscription_info("$all", "all").checkpoint == 2


def test_a_handler_that_closes_another_store_waits_for_its_end(connected: EventStore) -> None:
    ended: list[bool] = []

    def close_the_other(events: Events) -> None:
        other.close()
        ended.append(other._runtime.wait_stopped(0))

    other = EventStore.connect("memory:")
    subscription = connected.subscribe_to_all_streams("all", close_the_other)
    append_one(connected, 1)
    wait_until(lambda: subscription.checkpoint == 1)
    assert ended == [True]


def test_closing_again_and_from_many_threads_is_harmless(connected: EventStore) -> None:
    threads = [threading.Thread(target=connected.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    connected.close()
    with pytest.raises(NotRunningError):
        append_one(connected, 1)


def test_stop_all_leaves_no_connection_and_answers_what_was_accepted(config: Config) -> None:
    """G26: pykka stops the newest first; what was not acknowledged comes again."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    store = EventStore.connect(config, init=True)
    store.subscribe_to_all_streams("actor", recorder)
    store.subscribe_to_all_streams("callable", Seen().handle)
    load = Load(store, 4)
    wait_until(lambda: len(seen.positions) > 20)
    pykka.ActorRegistry.stop_all(timeout=60)
    answers = load.wait()
    assert [type(answer) for answer in answers if answer is not None] == [NotRunningError] * 4
    with pytest.raises(NotRunningError):
        append_one(store, 1)
    store.close()


@pytest.mark.parametrize("child", Child)
def test_a_store_whose_part_was_stopped_by_somebody_ends_instead_of_living_by_half(
    application: Application, child: Child
) -> None:
    """G24: nothing is half alive."""
    store = application.attach()
    application.find(child).stop(timeout=PATIENCE)
    wait_until(lambda: not application.supervisor.is_alive())
    store.join(timeout=PATIENCE)
    with pytest.raises(NotRunningError):
        append_one(store, 1)


@pytest.mark.parametrize("fault", ["gone", "frozen"])
def test_a_close_is_in_time_and_leaves_no_thread_though_the_database_is_away(
    own_server: TestServer, fault: str
) -> None:
    """G25, G26: also on connections that neither answer nor end."""
    store = EventStore.connect(
        Config(own_server.dsn, poll_interval=0.2, stop_timeout=AGES, append_timeout=AGES),
        init=True,
    )
    subscription = store.subscribe_to_all_streams("all", Seen().handle)
    append_one(store, 1)
    wait_until(lambda: subscription.checkpoint == 1)
    appending = threading.Thread(target=_append_in_vain, args=(store,))
    with ExitStack() as thawed:
        if fault == "gone":
            own_server.stop("immediate")
        else:
            for pid in own_server.backends():
                os.kill(pid, signal.SIGSTOP)
                thawed.callback(os.kill, pid, signal.SIGCONT)
        appending.start()
        wait_until(lambda: store.health().queued_appends == 1)
        before = time.monotonic()
        store.close(timeout=2)
        assert time.monotonic() - before < PATIENCE
        appending.join(PATIENCE)
        assert not appending.is_alive()
        wait_until(lambda: not _library_threads())
    if fault == "gone":
        own_server.start()


@ON_DISK
def test_a_stopped_store_has_given_back_every_connection(config: Config) -> None:
    """G26."""
    name = f"application_name={config.schema}"
    with EventStore.connect(
        Config(f"{config.dsn} {name}", schema=config.schema), init=True
    ) as store:
        store.subscribe_to_all_streams("all", Seen().handle)
        append_one(store, 1)
        assert _connections(config) >= 3
    # The server needs a moment to notice.
    wait_until(lambda: _connections(config) == 0)


def _append_in_vain(store: EventStore) -> None:
    with pytest.raises(EventStoreError):
        append_one(store, 2)


def _library_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("eventstore")]


def _connections(config: Config) -> int:
    with psycopg.connect(config.dsn) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, %s)",
            (config.schema,),
        ).fetchone()
    assert found is not None
    return int(found[0])
