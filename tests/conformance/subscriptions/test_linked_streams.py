"""Subscriptions to streams that events are linked to."""

from __future__ import annotations

from eventstore import EventStore, ExpectedVersion, RecordedEvent, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Handler, Subscriber
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY


def acknowledged(subscriber: Subscriber, count: int) -> list[RecordedEvent]:
    """Acknowledge batch after batch until *count* events came."""
    found: list[RecordedEvent] = []
    while len(found) < count:
        found += subscriber.acknowledged_batch()
    return found


def test_old_and_new_links_come_in_the_order_of_the_stream(
    store: EventStore, subscriber: Subscriber
) -> None:
    """LES-01, G13, G14, G35: between own events, and each is acknowledged by its place there."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    source = store.read_stream_forward("order-1")
    store.append_to_stream("linked", ANY, numbered(5, 5))
    store.link_to_stream("linked", ANY, source[:2])
    subscription = store.subscribe_to_stream("linked", "reports", subscriber.ref)
    subscriber.subscribed()

    old = acknowledged(subscriber, 3)
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    store.link_to_stream("linked", ANY, [source[3]])
    store.append_to_stream("linked", ANY, numbered(6, 6))
    store.link_to_stream("linked", ANY, [source[2]])
    new = acknowledged(subscriber, 3)

    assert [(event.position, event.stream_id, event.stream_version) for event in old + new] == [
        (1, "linked", 1),
        (2, "order-1", 1),
        (3, "order-1", 2),
        (4, "order-1", 4),
        (5, "linked", 5),
        (6, "order-1", 3),
    ]
    wait_until(lambda: subscription.checkpoint == 6)


def test_a_link_of_another_store_is_delivered(connect: Connect) -> None:
    """G23, G35: linked there, delivered here."""
    here, there = connect(), connect()
    there.append_to_stream("order-1", ANY, numbered(1, 1))
    seen = Handler()
    here.subscribe_to_stream("linked", "reports", seen)

    there.link_to_stream("linked", ANY, there.read_stream_forward("order-1"))

    assert seen.call() == [1]


def test_who_waits_for_a_link_is_told_when_it_was_handled(store: EventStore) -> None:
    """G35: by its result, which says where in the linked stream the events are."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    seen = Handler()
    subscription = store.subscribe_to_stream("linked", "reports", seen)

    result = store.link_to_stream("linked", ANY, store.read_stream_forward("order-1"))
    store.wait_for("linked", "reports", result, timeout=PATIENCE)

    assert subscription.checkpoint == 3
    assert seen.call() == [1, 2, 3]


def test_a_follower_sees_links(store: EventStore) -> None:
    """G35: what was linked before, and what is linked while it waits."""
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    source = store.read_stream_forward("order-1")
    store.link_to_stream("linked", ANY, source[:1])
    follower = store.follow_stream("linked", idle_timeout=20)

    first = next(follower)
    store.link_to_stream("linked", ANY, source[1:])

    assert (first.position, next(follower).event_id) == (1, source[1].event_id)
    follower.close()
