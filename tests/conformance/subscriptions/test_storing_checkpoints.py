"""Checkpoints that are stored less often than acknowledged: `checkpoint_after`, `…_threshold`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eventstore import (
    EventStore,
    ExpectedVersion,
    Subscription,
    SubscriptionKeywords,
)
from tests.conformance.conftest import SHORT_STOP, Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
NEVER: SubscriptionKeywords = {"checkpoint_after": 3_600, "checkpoint_threshold": 1_000}
"""Limits that no test reaches."""


def stored(store: EventStore, stream_id: str = "order-1", name: str = "shipping") -> int:
    return store.subscription_info(stream_id, name).checkpoint


def acknowledge(subscription: Subscription, position: int) -> None:
    subscription.ack(position)
    wait_until(lambda: subscription.checkpoint == position)


@pytest.fixture
def let_the_keeper_store(store: EventStore) -> Iterator[Callable[[], None]]:
    """Return what waits until the keeper has stored what it was told before.

    The checkpoints of another subscription are stored by the same statements, and two of one
    subscription are told further apart than one may be late.
    """
    store.subscribe_to_stream("witnessed", "witness", Handler())

    def wait() -> None:
        for _ in range(2):
            appended = store.append_to_stream("witnessed", ANY, numbered(1, 1))
            wait_until(lambda: stored(store, "witnessed", "witness") == appended.last_version)  # noqa: B023

    yield wait
    store.unsubscribe_from_stream("witnessed", "witness")


def test_the_checkpoint_is_stored_once_enough_events_are_acknowledged(
    store: EventStore, subscriber: Subscriber, let_the_keeper_store: Callable[[], None]
) -> None:
    """ACK-02, G15: not after 5 of 6, after 6, and not again after 7."""
    store.append_to_stream("order-1", ANY, numbered(1, 12))
    subscription = store.subscribe_to_stream(
        "order-1", "shipping", subscriber.ref, checkpoint_threshold=6
    )
    subscriber.subscribed()
    subscriber.batch()

    for position in range(1, 6):
        acknowledge(subscription, position)
    let_the_keeper_store()
    assert stored(store) == 0

    acknowledge(subscription, 6)
    wait_until(lambda: stored(store) == 6)

    acknowledge(subscription, 7)
    let_the_keeper_store()
    assert stored(store) == 6


def test_events_that_are_left_out_count_as_acknowledged(
    store: EventStore, subscriber: Subscriber, let_the_keeper_store: Callable[[], None]
) -> None:
    """SUB-07, G15: of four events only the second is delivered."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    subscription = store.subscribe_to_stream(
        "order-1",
        "shipping",
        subscriber.ref,
        selector=lambda event: event.data["event"] == 2,
        checkpoint_threshold=4,
    )
    subscriber.subscribed()
    assert numbers(subscriber.batch()) == [2]
    let_the_keeper_store()
    assert stored(store) == 0

    subscription.ack(2)

    wait_until(lambda: stored(store) == 4)


def test_the_checkpoint_is_stored_once_its_time_has_come(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G15: however few events are acknowledged, and though nothing else happens."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream(
        "order-1", "shipping", subscriber.ref, checkpoint_after=0.2, checkpoint_threshold=1_000
    )
    subscriber.subscribed()
    subscriber.batch()

    subscription.ack(1)
    wait_until(lambda: stored(store) == 1)
    subscription.ack(3)
    wait_until(lambda: stored(store) == 3)


@pytest.mark.parametrize(
    "end",
    [
        lambda store: store.unsubscribe_from_stream("order-1", "shipping"),
        lambda store: store.pause_subscription("order-1", "shipping"),
        lambda store: store.close(),
    ],
    ids=["unsubscribe", "pause", "close"],
)
def test_everything_acknowledged_is_stored_before_a_pause_or_an_end(
    connect: Connect, new_subscriber: NewSubscriber, end: Callable[[EventStore], Any]
) -> None:
    """ACK-04, G20, G26: whatever the limits."""
    store, watching = connect(), connect()
    subscriber = new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, **NEVER)
    subscriber.subscribed()
    subscriber.batch()
    acknowledge(subscription, 3)

    end(store)

    wait_until(lambda: stored(watching) == 3)


def test_a_pause_from_elsewhere_has_everything_stored(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G20: and what is acknowledged in the pause, too."""
    store, elsewhere = connect(), connect()
    subscriber = new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, **NEVER)
    subscriber.subscribed()
    subscriber.batch()
    acknowledge(subscription, 2)

    elsewhere.pause_subscription("order-1", "shipping")
    wait_until(lambda: stored(elsewhere) == 2)

    acknowledge(subscription, 3)
    wait_until(lambda: stored(elsewhere) == 3)


def test_a_standby_goes_on_after_everything_acknowledged(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G13, G27: after an end in order nothing comes again."""
    store, standby = connect(), connect()
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 5))
    subscription = store.subscribe_to_stream("order-1", "shipping", first.ref, **NEVER)
    first.subscribed()
    first.batch()
    acknowledge(subscription, 3)
    standby.subscribe_to_stream("order-1", "shipping", second.ref, when_owned="wait")

    store.close(timeout=SHORT_STOP)

    second.subscribed()
    assert numbers(second.batch()) == [4, 5]


def test_the_owner_knows_what_is_acknowledged_and_others_what_is_stored(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G13: `wait_for`, checkpoint and lag."""
    store, elsewhere = connect(), connect()
    subscriber = new_subscriber(acknowledges=True)
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, **NEVER)
    appended = store.append_to_stream("order-1", ANY, numbered(1, 3))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(elsewhere.wait_for, "order-1", "shipping", appended, PATIENCE)
        subscription.wait_for(appended, PATIENCE)
        store.wait_for("order-1", "shipping", appended, PATIENCE)
        info = elsewhere.subscription_info("order-1", "shipping")
        assert (subscription.checkpoint, info.checkpoint, info.lag_events) == (3, 0, 3)
        assert not waiting.done()

        subscription.pause()

        waiting.result()
    assert elsewhere.subscription_info("order-1", "shipping").lag_events == 0
