"""Pausing and resuming, from here and from elsewhere."""

from __future__ import annotations

import pytest

from eventstore import EventStore, ExpectedVersion, SubscriptionNotFoundError, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


def test_after_a_pause_no_batch_is_sent(store: EventStore, subscriber: Subscriber) -> None:
    """G20: neither what waits nor what comes."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=2)
    subscriber.subscribed()
    first = subscriber.batch()

    subscription.pause()
    assert subscription.state is SubscriptionState.PAUSED
    subscription.ack(first)
    store.append_to_stream("order-1", ANY, numbered(5, 5))

    wait_until(lambda: subscription.checkpoint == 2)
    assert subscriber.is_told_nothing()
    assert store.subscription_info("$all", "shipping").paused


def test_resumed_it_goes_on_after_the_last_sent(store: EventStore, subscriber: Subscriber) -> None:
    """G20, G14: what is in flight is not sent again, nothing is skipped."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=2)
    subscriber.subscribed()
    first = subscriber.batch()
    subscription.pause()

    subscription.resume()
    subscription.ack(first)

    assert numbers(subscriber.acknowledged_batch()) == [3, 4]
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    assert not store.subscription_info("$all", "shipping").paused


def test_a_pause_outlives_the_store_that_it_was_made_in(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G20: resumed in another one, it goes on after the checkpoint."""
    first, second = new_subscriber(), new_subscriber()
    store = connect()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()
    subscription.ack(first.batch()[0])
    subscription.pause()
    wait_until(lambda: store.subscription_info("$all", "shipping").checkpoint == 1)
    store.close(timeout=0.1)

    again = connect().subscribe_to_all_streams("shipping", second.ref)
    wait_until(lambda: again.state is SubscriptionState.PAUSED)
    second.subscribed()
    assert second.is_told_nothing()

    again.resume()
    assert numbers(second.batch()) == [2, 3]


def test_another_process_pauses_and_resumes(connect: Connect, subscriber: Subscriber) -> None:
    """G20: it takes effect within the poll interval."""
    here, there = connect(), connect()
    subscription = here.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    there.pause_subscription("$all", "shipping")
    wait_until(lambda: subscription.state is SubscriptionState.PAUSED)
    here.append_to_stream("order-1", ANY, numbered(1, 2))
    assert subscriber.is_told_nothing()

    there.resume_subscription("$all", "shipping")
    assert numbers(subscriber.acknowledged_batch()) == [1, 2]


def test_a_handler_finishes_its_batch_in_a_pause(store: EventStore) -> None:
    """G20: its acknowledgement counts, and the next batch waits."""
    handler = Handler()
    subscription = store.subscribe_to_stream("order-1", "shipping", handler, max_batch_size=1)
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert handler.call() == [1]
    wait_until(lambda: subscription.checkpoint == 1)

    store.pause_subscription("order-1", "shipping")
    store.append_to_stream("order-1", ANY, numbered(2, 3))
    assert handler.is_not_called()

    store.resume_subscription("order-1", "shipping")
    assert [handler.call(), handler.call()] == [[2], [3]]


def test_pausing_twice_is_pausing_once(store: EventStore, subscriber: Subscriber) -> None:
    """G20."""
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    subscription.pause()
    subscription.pause()
    subscription.resume()
    subscription.resume()

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert numbers(subscriber.acknowledged_batch()) == [1]


def test_what_does_not_exist_cannot_be_paused(store: EventStore) -> None:
    """G20."""
    for use in (
        store.pause_subscription,
        store.resume_subscription,
        store.delete_subscription,
        store.subscription_info,
    ):
        with pytest.raises(SubscriptionNotFoundError, match="'shipping' to 'order-1'"):
            use("order-1", "shipping")
    with pytest.raises(SubscriptionNotFoundError):
        store.reset_subscription("order-1", "shipping", 0)
