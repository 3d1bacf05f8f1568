from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

import pykka
import pytest

from eventstore import (
    Config,
    EventData,
    EventStore,
    Health,
    NotRunningError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageUnavailableError,
    SubscriptionInUseError,
    SubscriptionNotFoundError,
    SubscriptionState,
)
from eventstore_actors import ActorRuntime
from eventstore_actors.kernel.messages import Child
from tests.actors.application import NONSENSE, Application, append_one
from tests.support.pgserver import TestServer
from tests.support.recorder import Recorder, Seen, Stuck
from tests.support.waiting import AGES, PATIENCE, wait_until

NOBODY = "host=/nowhere dbname=postgres"
"""No server listens there."""


def test_it_is_what_connect_runs_on(config: Config) -> None:
    with EventStore.connect(config, init=True) as store:
        assert isinstance(store._runtime, ActorRuntime)


# ── starting ─────────────────────────────────────────────────────────────────────────────────


def test_a_database_that_cannot_be_reached_is_an_error_within_connect_timeout() -> None:
    before = time.monotonic()
    with pytest.raises(StorageUnavailableError) as caught:
        EventStore.connect(Config(NOBODY, connect_timeout=2.0))
    assert time.monotonic() - before < PATIENCE
    assert caught.value.__cause__ is not None


def test_a_schema_that_is_missing_is_an_error_at_once_and_leaves_nothing(
    dsn: str, schema: str
) -> None:
    before = time.monotonic()
    with pytest.raises(SchemaVersionError):
        EventStore.connect(Config(dsn, schema=schema, connect_timeout=AGES))
    assert time.monotonic() - before < PATIENCE
    assert not pykka.ActorRegistry.get_all()


def test_a_connect_that_is_interrupted_leaves_nothing_that_goes_on_trying() -> None:
    main_thread = threading.get_ident()

    def interrupt() -> None:
        wait_until(lambda: "wait_up" in _methods_of(main_thread))
        signal.pthread_kill(main_thread, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        EventStore.connect(Config(NOBODY, connect_timeout=30))
    interrupting.join()
    assert not pykka.ActorRegistry.get_all()


# ── calls ────────────────────────────────────────────────────────────────────────────────────


def test_an_append_waits_for_the_writer_that_is_being_restarted(
    application: Application, store: EventStore
) -> None:
    """G24: it was never sent, so its caller need not know."""
    directory = application.tree.directory
    writer = application.find(Child.WRITER)
    directory.remove(Child.WRITER)
    done = threading.Event()

    def append() -> None:
        append_one(store, 1)
        done.set()

    thread = threading.Thread(target=append)
    thread.start()
    assert not done.wait(0.1)
    directory.enter(Child.WRITER, writer)
    assert done.wait(PATIENCE)
    thread.join()


def test_an_append_waits_for_a_writer_no_longer_than_its_deadline(
    application: Application, store: EventStore
) -> None:
    """G25: no call ever blocks longer than its deadline."""
    writer = application.find(Child.WRITER)
    application.tree.directory.remove(Child.WRITER)
    before = time.monotonic()
    with pytest.raises(StorageUnavailableError):
        store._runtime.append((), before + 0.2)
    assert time.monotonic() - before < PATIENCE
    assert store.health().queued_appends == 0
    application.tree.directory.enter(Child.WRITER, writer)


def test_calls_to_a_supervisor_that_was_stopped_say_so(config: Config) -> None:
    with Application(config) as application:
        store = application.attach()
        application.supervisor.stop(timeout=PATIENCE)
        for call in (
            lambda: append_one(store, 1),
            lambda: store.subscribe_to_all_streams("all", print),
            lambda: store.unsubscribe_from_all_streams("all"),
            store.read_all_streams_forward,
        ):
            with pytest.raises(NotRunningError):
                call()
        assert not store.health().running
        store.join(timeout=PATIENCE)


def test_a_second_living_subscriber_is_refused_and_a_dead_one_makes_room(
    store: EventStore,
) -> None:
    """G17: a dead subscriber never counts as connected."""
    first, second = Seen(), Seen()
    dying, next_one = Recorder.start(first, acks=False), Recorder.start(second)
    store.subscribe_to_all_streams("all", dying)
    append_one(store, 1)
    wait_until(lambda: first.positions == [1])
    with pytest.raises(SubscriptionInUseError) as caught:
        store.subscribe_to_all_streams("all", next_one)
    assert caught.value.subscription_name == "all"
    assert caught.value.since is not None
    dying.stop(timeout=PATIENCE)
    subscription = store.subscribe_to_all_streams("all", next_one)
    wait_until(lambda: subscription.checkpoint == 1)
    assert second.positions == [1]
    next_one.stop(timeout=PATIENCE)


def test_a_subscription_that_was_ended_can_be_subscribed_to_again_at_once(
    store: EventStore,
) -> None:
    """G17."""
    for number in range(1, 6):
        append_one(store, number)
        _deliver(store, [number])
    with pytest.raises(SubscriptionNotFoundError):
        store.unsubscribe_from_all_streams("all")


def test_a_hanging_handler_can_be_unsubscribed(store: EventStore) -> None:
    stuck = Stuck()
    subscription = store.subscribe_to_all_streams("hangs", stuck)
    append_one(store, 1)
    assert stuck.entered.wait(PATIENCE)
    store.unsubscribe_from_all_streams("hangs")
    assert subscription.state is SubscriptionState.STOPPED
    stuck.released.set()


# ── health ───────────────────────────────────────────────────────────────────────────────────


def test_health_shows_every_part_at_work(store: EventStore) -> None:
    """G32."""
    seen = Seen()
    recorder = Recorder.start(seen, acks=False)
    store.subscribe_to_all_streams("all", recorder)
    append_one(store, 1)
    wait_until(lambda: seen.positions == [1])
    wait_until(lambda: store.health().head == 1 and store.health().listening)
    wait_until(lambda: store.health().subscriptions[0].in_flight == 1)
    health = store.health()
    assert isinstance(health, Health)
    assert health.running
    assert health.database_reachable
    assert (health.queued_appends, health.queued_bytes, health.restarts) == (0, 0, 0)
    assert health.failure is None
    (subscription,) = health.subscriptions
    assert subscription.stream_id == "$all"
    assert subscription.checkpoint == 0
    wait_until(lambda: store.health().subscriptions[0].seconds_without_progress > 0.1)
    recorder.stop(timeout=PATIENCE)


def test_health_of_a_store_that_failed_says_why(config: Config) -> None:
    """G32."""
    with Application(config) as application:
        store = application.attach()
        application.supervisor.tell(NONSENSE)
        wait_until(lambda: not application.supervisor.is_alive())
        health = store.health()
        assert not health.running
        assert "crashed" in str(health.failure)


# ── the database away, and forks ─────────────────────────────────────────────────────────────


def test_everything_resumes_by_itself_when_the_database_is_back(own_server: TestServer) -> None:
    """G25: nothing counts as a crash, and nobody waits longer than his deadline."""
    config = Config(
        own_server.dsn, max_restarts=0, connect_timeout=1, poll_interval=0.2, append_timeout=AGES
    )
    seen = Seen()
    with EventStore.connect(config, init=True) as store:
        subscription = store.subscribe_to_all_streams("all", seen.handle)
        append_one(store, 1)
        wait_until(lambda: subscription.checkpoint == 1)
        own_server.stop("immediate")
        wait_until(lambda: not store.health().database_reachable)
        before = time.monotonic()
        with pytest.raises((StorageUnavailableError, OutcomeUnknownError)):
            store.append_to_stream("numbers", 1, [_event()], timeout=1)
        assert time.monotonic() - before < PATIENCE
        own_server.start()
        append_one(store, 3)
        wait_until(lambda: subscription.checkpoint == store.read_all_streams_backward()[0].position)
        assert store.health().restarts == 0


def test_after_a_fork_every_call_is_refused_and_closing_touches_nothing(config: Config) -> None:
    """A forked child shares sockets with its parent, and has none of its threads."""
    with EventStore.connect(config, init=True) as store:
        append_one(store, 1)
        child = os.fork()
        if child == 0:
            _leave(_tries(store))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        append_one(store, 2)
        assert len(store.read_all_streams_forward()) == 2


def _methods_of(thread: int) -> list[str]:
    """Return the names of what the thread is in the middle of."""
    frame = sys._current_frames().get(thread)
    return [each.f_code.co_name for each, _ in traceback.walk_stack(frame)]


def _deliver(store: EventStore, positions: list[int]) -> None:
    """Subscribe until *positions* are acknowledged, which is all that is delivered."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams("all", seen.handle)
    wait_until(lambda: subscription.checkpoint == positions[-1])
    assert seen.positions == positions
    store.unsubscribe_from_all_streams("all")
    assert subscription.state is SubscriptionState.STOPPED


def _tries(store: EventStore) -> int:
    """Return how many calls of a forked store did something else than to refuse."""
    wrong = 0
    for call in (lambda: append_one(store, 9), store.health, store.read_all_streams_forward):
        try:
            call()
        except NotRunningError:
            continue
        wrong += 1
    store.close()
    return wrong


def _leave(code: int) -> None:
    os._exit(code)


def _event() -> EventData:
    return EventData("Number", {"n": 2})
