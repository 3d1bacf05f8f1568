"""Subscribers that die or hang: their events go to their successors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pykka
import pytest

from eventstore import Config, EventData, Events, EventStore, ExpectedVersion, SubscriptionState
from tests.acceptance.guarantees.conftest import Record, Settings
from tests.support.recorder import Seen, Stuck
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"


@pytest.fixture
def other(settings: Settings) -> Iterator[EventStore]:
    """Another runtime, with a lease that lasts longer than the test: nothing waits for its end."""
    with closing(EventStore.connect(Config(**{**settings, "lease": 60.0}))) as store:
        yield store


@pytest.fixture
def store(settings: Settings) -> Iterator[EventStore]:
    with closing(EventStore.connect(Config(**{**settings, "lease": 60.0}))) as store:
        yield store


def append(store: EventStore, count: int) -> None:
    events = [EventData("X", number) for number in range(count)]
    store.append_to_stream("s", ExpectedVersion.ANY, events)


def test_an_actor_that_stops_leaves_its_events_to_a_standby(
    store: EventStore, other: EventStore, record: Record
) -> None:
    """G21, G17: acknowledged ones do not come again."""
    seen, standby = Seen(), Seen()
    dying = record(seen, acks=False)
    subscription = store.subscribe_to_all_streams(NAME, dying)
    other.subscribe_to_all_streams(NAME, record(standby), when_owned="wait")
    append(store, 10)
    seen.wait(10)
    subscription.ack(4)
    dying.stop()
    standby.wait(6)
    assert standby.positions == [5, 6, 7, 8, 9, 10]
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)


class Crashing(pykka.ThreadingActor):
    """Dies of its first batch."""

    use_daemon_thread = True

    def on_receive(self, message: object) -> None:
        match message:
            case Events():
                raise RuntimeError("a defect in the subscriber")


def test_an_actor_that_crashes_in_its_batch_leaves_it_to_its_successor(
    store: EventStore, record: Record
) -> None:
    """G21, G30."""
    crashing = Crashing.start()
    subscription = store.subscribe_to_all_streams(NAME, crashing)
    append(store, 3)
    wait_until(lambda: not crashing.is_alive())
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    seen = Seen()
    store.subscribe_to_all_streams(NAME, record(seen))
    wait_until(lambda: seen.positions == [1, 2, 3])


class Hanging(pykka.ThreadingActor):
    """Does not return from its first batch until it is released."""

    def __init__(self, released: threading.Event, seen: Seen) -> None:
        super().__init__()
        self._released = released
        self._seen = seen

    def on_receive(self, message: object) -> None:
        self._seen.messages.append(message)
        if isinstance(message, Events):
            self._released.wait(60)


def test_an_actor_that_hangs_beyond_its_ack_timeout_is_released_to_its_successor(
    store: EventStore, other: EventStore, record: Record
) -> None:
    """G21: not earlier; and what it acknowledges later does not count."""
    released, seen, standby = threading.Event(), Seen(), Seen()
    hanging = Hanging.start(released, seen)
    try:
        subscription = store.subscribe_to_all_streams(NAME, hanging, ack_timeout=0.6)
        other.subscribe_to_all_streams(NAME, record(standby, acks=False), when_owned="wait")
        began = time.monotonic()
        append(store, 3)
        wait_until(lambda: standby.positions == [1, 2, 3])
        assert time.monotonic() - began > 0.5
        assert seen.positions == [1, 2, 3]
    finally:
        released.set()
        hanging.stop()
    assert other.subscription_info("$all", NAME).checkpoint == 0
    assert subscription.checkpoint == 0


def test_a_function_that_hangs_is_stopped_never_run_twice_and_succeeded(
    store: EventStore, other: EventStore, record: Record
) -> None:
    """G21, G19: what it returns in the end acknowledges nothing."""
    stuck, standby = Stuck(), Seen()
    subscription = store.subscribe_to_all_streams(NAME, stuck, ack_timeout=0.5)
    other.subscribe_to_all_streams(NAME, record(standby, acks=False), when_owned="wait")
    append(store, 3)
    assert stuck.entered.wait(PATIENCE)
    wait_until(lambda: standby.positions == [1, 2, 3])
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    assert subscription.last_error is not None
    append(store, 1)
    wait_until(lambda: standby.positions == [1, 2, 3, 4])
    assert stuck.positions == [1, 2, 3]
    stuck.released.set()
    assert other.subscription_info("$all", NAME).checkpoint == 0


def test_a_slow_function_within_its_ack_timeout_keeps_everything(store: EventStore) -> None:
    """G21: the clock starts again with each acknowledgement."""
    stuck = Stuck()
    subscription = store.subscribe_to_all_streams(NAME, stuck, ack_timeout=30)
    append(store, 1)
    assert stuck.entered.wait(PATIENCE)
    stuck.released.set()
    wait_until(lambda: subscription.checkpoint == 1)
    assert subscription.state is not SubscriptionState.STOPPED
