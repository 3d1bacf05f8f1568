"""A follower stores nothing: it changes nothing for a subscription, before it or beside it."""

from __future__ import annotations

from eventstore import EventStore, ExpectedVersion
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import Subscriber, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


def followed(store: EventStore) -> list[int]:
    """Follow the stream until nothing comes for a moment; return the numbers."""
    return [event.data["event"] for event in store.follow_stream("order-1", idle_timeout=0.1)]


def test_what_was_followed_is_told_to_a_new_subscription(
    store: EventStore, subscriber: Subscriber
) -> None:
    """SUB-25: from the origin, as if nobody had followed it."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    assert followed(store) == [1, 2, 3]
    assert store.subscriptions() == []

    store.subscribe_to_stream("order-1", "shipping", subscriber.ref)

    subscriber.subscribed()
    assert numbers(subscriber.batch()) == [1, 2, 3]


def test_what_is_followed_moves_no_checkpoint(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-26, G15: the subscription goes on where it was."""
    store.append_to_stream("order-1", ANY, numbered(1, 5))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    subscriber.batch()
    subscription.ack(2)
    wait_until(lambda: subscription.checkpoint == 2)
    subscription.unsubscribe()
    subscriber.lost()

    assert followed(store) == [1, 2, 3, 4, 5]

    assert store.subscription_info("order-1", "shipping").checkpoint == 2
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    assert numbers(subscriber.batch()) == [3, 4, 5]
