"""What becomes of a subscription whose subscriber ends, hangs or fails."""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

from eventstore import (
    DeliveryTimeoutError,
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
QUICKLY = Retry(first=0.01, longest=0.02)


class Failing(pykka.ThreadingActor):
    """Dies of its first batch."""

    def on_receive(self, message: Any) -> None:
        assert not isinstance(message, Events), "dies of it"


def test_all_subscriptions_of_a_dead_subscriber_stop(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """CON-12, MSU-01, MSU-04, G21: and no other."""
    dying, living = new_subscriber(), new_subscriber()
    ending = [
        store.subscribe_to_all_streams("first", dying.ref),
        store.subscribe_to_stream("order-1", "second", dying.ref),
    ]
    going_on = store.subscribe_to_all_streams("third", living.ref)
    living.subscribed()

    dying.die()

    wait_until(lambda: all(each.state is SubscriptionState.STOPPED for each in ending))
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert numbers(living.acknowledged_batch()) == [1]
    assert going_on.state is not SubscriptionState.STOPPED
    wait_until(lambda: store.subscription_info("$all", "first").owner is None)


def test_a_subscriber_that_dies_of_a_batch_leaves_it_to_its_successor(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-11, MSU-05, G21, G13: nothing of it counts as acknowledged."""
    failing = Failing.start()
    subscription = store.subscribe_to_all_streams("shipping", failing)
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    wait_until(lambda: not failing.is_alive())
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)

    store.subscribe_to_all_streams("shipping", subscriber.ref)

    subscriber.subscribed()
    assert numbers(subscriber.batch()) == [1, 2, 3]


def test_a_dead_subscriber_frees_its_place_for_a_standby(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G21, G27, SLK-06: at once, not at the end of the lease."""
    owner, standby = connect(lease=60), connect(lease=60)
    first, second = new_subscriber(), new_subscriber()
    owner.append_to_stream("order-1", ANY, numbered(1, 2))
    owner.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()
    standby.subscribe_to_all_streams("shipping", second.ref, when_owned="wait")

    first.die()

    second.subscribed()
    assert numbers(second.batch()) == [1, 2]


def test_unsubscribed_it_is_told_no_more(store: EventStore, subscriber: Subscriber) -> None:
    """OLD-06, MSU-03, SUB-27: but that it has ended."""
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()

    subscription.unsubscribe()
    subscription.unsubscribe()
    store.append_to_stream("order-1", ANY, numbered(1, 1))

    subscriber.lost()
    assert subscriber.is_told_nothing()
    assert subscription.state is SubscriptionState.STOPPED
    subscription.join(timeout=PATIENCE)


def test_a_subscriber_that_acknowledges_nothing_in_time_loses_its_place(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """G21: its successor is told what was in flight."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", first.ref, ack_timeout=0.2)
    first.subscribed()
    first.batch()

    first.lost()
    wait_until(lambda: store.subscription_info("$all", "shipping").checkpoint == 0)
    subscription.unsubscribe()
    store.subscribe_to_all_streams("shipping", second.ref)

    second.subscribed()
    assert numbers(second.batch()) == [1, 2, 3]


@pytest.mark.usefixtures("for_threads")
def test_a_handler_that_hangs_is_given_up_and_never_run_twice_at_once(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """F17, G21, G19: its place is free, and its successor may run beside it.

    Here its function is never called twice at once, and its late return counts for nothing.
    """
    store, other = connect(), connect()
    successor = new_subscriber()
    calls, go_on = [], threading.Event()

    def hang(events: Events) -> None:
        calls.append(numbers(events))
        go_on.wait(30)

    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", hang, ack_timeout=0.2)
    try:
        wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
        other.subscribe_to_all_streams("shipping", successor.ref)
        successor.subscribed()
        assert numbers(successor.batch()) == [1, 2, 3]
    finally:
        go_on.set()
    assert calls == [[1, 2, 3]]
    assert subscription.checkpoint == 0
    assert other.subscription_info("$all", "shipping").checkpoint == 0


def test_a_handler_that_raises_is_called_again_from_the_same_event_on(store: EventStore) -> None:
    """F22, G30, G13, G14: with less at once, until it succeeds; meanwhile it can be seen why."""
    handler = Handler(ValueError("first"), ValueError("second"))
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=QUICKLY)

    assert [handler.call() for _ in range(5)] == [[1, 2, 3], [1], [1], [2], [3]]
    wait_until(lambda: subscription.checkpoint == 3)
    wait_until(lambda: subscription.attempts == 0)


def test_a_handler_that_keeps_raising_can_be_seen(store: EventStore, connect: Connect) -> None:
    """G30, G32: in the handle, in health, and from another process."""
    handler = Handler(*[ValueError("always")] * 10_000)
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=QUICKLY)

    wait_until(lambda: subscription.attempts >= 2)
    wait_until(lambda: subscription.state is SubscriptionState.RETRYING)
    assert isinstance(subscription.last_error, ValueError)
    (health,) = store.health().subscriptions
    assert health.last_error is not None
    assert "always" in health.last_error
    other = connect()
    wait_until(lambda: other.subscription_info("$all", "shipping").attempts >= 2)
    assert "always" in (other.subscription_info("$all", "shipping").last_error or "")
    with pytest.raises(DeliveryTimeoutError, match="always") as timed_out:
        subscription.wait_for(store.append_to_stream("order-1", ANY, numbered(4, 4)), timeout=0.1)
    assert isinstance(timed_out.value.__cause__, ValueError)


def test_after_so_many_attempts_it_stops(store: EventStore) -> None:
    """G30, G32, G13: if asked for; what failed is not skipped, and comes to the next subscriber."""
    handler, healed = Handler(*[ValueError("always")] * 10), Handler()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams(
        "shipping", handler, on_error=Retry(first=0.01, longest=0.02, attempts=3)
    )

    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    assert [handler.call() for _ in range(4)] == [[1, 2, 3], [1], [1], [1]]
    assert handler.is_not_called()
    assert isinstance(subscription.last_error, ValueError)
    info = store.subscription_info("$all", "shipping")
    assert (info.state, info.owner, info.checkpoint) == (SubscriptionState.STOPPED, None, 0)
    assert "always" in (info.last_error or "")
    store.subscribe_to_all_streams("shipping", healed)
    assert healed.call() == [1, 2, 3]


@pytest.mark.parametrize(
    "returned",
    [False, True, 0, "done", [], map(str, []), threading.Lock()],
    ids=["False", "True", "0", "text", "list", "iterator", "object"],
)
def test_what_a_handler_returns_is_no_acknowledgement(store: EventStore, returned: Any) -> None:
    """G19, G30: only None is; the batch is delivered again."""
    handler = Handler(returned)
    store.append_to_stream("order-1", ANY, numbered(1, 1))

    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=QUICKLY)

    assert [handler.call(), handler.call()] == [[1], [1]]
    wait_until(lambda: subscription.checkpoint == 1)


def test_an_awaitable_is_no_acknowledgement(store: EventStore) -> None:
    """G19: of a callable that does not look like a coroutine function."""

    async def later() -> None: ...

    calls: list[int] = []

    def handle(events: Events) -> Any:
        calls.extend(numbers(events))
        return later() if len(calls) == 1 else None

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams("shipping", handle, on_error=QUICKLY)

    wait_until(lambda: subscription.checkpoint == 1)
    assert calls == [1, 1]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_not_even_the_end_of_the_process_leaves_a_handler(
    store: EventStore, error: BaseException
) -> None:
    """G30: in pykka it would stop every actor there is."""
    other, handler = Handler(), Handler(error)
    store.append_to_stream("order-1", ANY, numbered(1, 1))

    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=QUICKLY)
    store.subscribe_to_all_streams("other", other)

    assert [handler.call(), handler.call()] == [[1], [1]]
    assert other.call() == [1]
    wait_until(lambda: subscription.checkpoint == 1)


def test_a_mapper_that_raises_harms_its_subscription_alone(store: EventStore) -> None:
    """G30: visibly."""
    failing, fine = Handler(), Handler()

    def explode(event: Any) -> Any:
        raise LookupError("no map")

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = store.subscribe_to_all_streams(
        "failing", failing, mapper=explode, on_error=QUICKLY
    )
    store.subscribe_to_all_streams("fine", fine)

    assert fine.call() == [1, 2]
    wait_until(lambda: subscription.state is SubscriptionState.RETRYING)
    assert isinstance(subscription.last_error, LookupError)
    assert failing.is_not_called()
