"""What health says is so at once, and seconds without progress count only while something waits."""

from __future__ import annotations

import threading
import time

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    SubscriptionHealth,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Handler
from tests.support.recorder import Stuck
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY


def health_of(store: EventStore, name: str = "shipping") -> SubscriptionHealth:
    (found,) = [s for s in store.health().subscriptions if s.subscription_name == name]
    return found


def let_pass(seconds: float) -> None:
    """Let time go by, where its passing is what the test is about."""
    threading.Event().wait(seconds)


def test_right_after_connect_everything_is_well(connect: Connect) -> None:
    """F49: whatever is asked first."""
    for _ in range(5):
        health = connect().health()
        assert (health.running, health.database_reachable) == (True, True)
        assert (health.stuck, health.failure) == ((), None)


def test_a_standby_waits_for_nothing(connect: Connect) -> None:
    """F49: however long, and though there are events that its owner does not handle."""
    owner, standby = connect(), connect()
    stuck = Stuck()
    owner.subscribe_to_all_streams("shipping", stuck)
    standby.subscribe_to_all_streams("shipping", Handler(), when_owned="wait")
    owner.append_to_stream("order-1", ANY, numbered(1, 1))
    assert stuck.entered.wait(PATIENCE)
    wait_until(lambda: health_of(owner).seconds_without_progress > 0.3)
    assert health_of(standby).state is SubscriptionState.WAITING
    assert health_of(standby).seconds_without_progress == 0.0
    stuck.released.set()


def test_one_that_was_deleted_has_nothing_in_flight(store: EventStore, connect: Connect) -> None:
    """F49."""
    stuck = Stuck()
    store.subscribe_to_all_streams("shipping", stuck)
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert stuck.entered.wait(PATIENCE)
    wait_until(lambda: health_of(store).seconds_without_progress > 0.1)
    connect().delete_subscription("$all", "shipping")
    stuck.released.set()
    wait_until(lambda: health_of(store).state is SubscriptionState.STOPPED)
    assert health_of(store).in_flight == 0


def test_a_paused_one_waits_for_nothing(store: EventStore) -> None:
    """F49."""
    handler = Handler()
    subscription = store.subscribe_to_all_streams("shipping", handler)
    subscription.pause()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    let_pass(0.3)
    assert health_of(store).state is SubscriptionState.PAUSED
    assert health_of(store).seconds_without_progress == 0.0
    subscription.resume()
    assert handler.call() == [1, 2, 3]


def test_one_that_was_idle_for_long_has_waited_for_no_longer_than_its_event(
    store: EventStore,
) -> None:
    """F49: the time before there was anything to do does not count."""
    stuck = Stuck()
    subscription = store.subscribe_to_all_streams("shipping", stuck)
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    let_pass(1.0)
    assert health_of(store).seconds_without_progress == 0.0
    appended_at = time.monotonic()
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert stuck.entered.wait(PATIENCE)
    wait_until(lambda: health_of(store).seconds_without_progress)
    assert health_of(store).seconds_without_progress <= time.monotonic() - appended_at
    stuck.released.set()
    wait_until(lambda: health_of(store).seconds_without_progress == 0.0)


def test_attempts_that_fail_are_no_progress(store: EventStore) -> None:
    """F49, G32: however often it tries again."""

    def fail(_: Events) -> None:
        raise ValueError("always")

    subscription = store.subscribe_to_all_streams(
        "shipping", fail, on_error=Retry(first=0.01, longest=0.02)
    )
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    wait_until(lambda: health_of(store).seconds_without_progress > 0.5)
    assert subscription.attempts > 3
