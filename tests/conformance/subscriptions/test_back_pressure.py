"""A subscriber that is slow is sent no more than it can hold."""

from __future__ import annotations

import threading

from eventstore import EventData, Events, EventStore, ExpectedVersion, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, flat, numbers
from tests.support.waiting import AGES, PATIENCE, wait_until

ANY = ExpectedVersion.ANY
KIB = 1024


def test_a_full_buffer_waits_for_acknowledgements(
    store: EventStore, subscriber: Subscriber
) -> None:
    """FSM-15, FSM-16, G18, G32: and says that it is full."""
    store.append_to_stream("order-1", ANY, numbered(1, 6))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=3)
    subscriber.subscribed()

    first = subscriber.batch()
    assert numbers(first) == [1, 2, 3]
    wait_until(lambda: subscription.state is SubscriptionState.FULL)
    assert subscriber.is_told_nothing()

    subscription.ack(first)
    second = subscriber.batch()
    assert numbers(second) == [4, 5, 6]
    wait_until(lambda: subscription.state is SubscriptionState.FULL)
    subscription.ack(second)
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    assert subscription.checkpoint == 6


def test_events_that_wait_come_once_it_has_room(store: EventStore, subscriber: Subscriber) -> None:
    """CON-23, BPR-01: twenty old ones in fives."""
    store.append_to_stream("order-1", ANY, numbered(1, 20))
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=5)
    subscriber.subscribed()

    batches = subscriber.acknowledged_batches(20)

    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    assert flat(batches) == list(range(1, 21))


def test_events_appended_meanwhile_come_once_it_has_room(
    store: EventStore, subscriber: Subscriber
) -> None:
    """BPR-02, G13: none is lost while the buffer is full, and none comes twice."""
    store.append_to_stream("order-1", ANY, numbered(1, 5))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=5)
    subscriber.subscribed()
    first = subscriber.batch()
    for number in range(6, 21):
        store.append_to_stream("order-1", ANY, numbered(number, number))
    wait_until(lambda: subscription.state is SubscriptionState.FULL)

    subscription.ack(first)

    batches = subscriber.acknowledged_batches(15)
    assert flat(batches) == list(range(6, 21))
    assert max(len(batch) for batch in batches) <= 5
    assert subscriber.is_told_nothing()


def test_news_of_what_cannot_be_read_loses_and_repeats_nothing(
    connect: Connect, subscriber: Subscriber
) -> None:
    """BPR-03, G13, G14: many announcements of events that it has, or is about to read."""
    store, other = connect(), connect()
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=2)
    subscriber.subscribed()

    for number in range(1, 11):
        store.append_to_stream("elsewhere", ANY, numbered(number, number))
        other.append_to_stream("order-1", ANY, numbered(number, number))

    batches = subscriber.acknowledged_batches(10)
    assert flat(batches) == list(range(1, 11))
    assert subscriber.is_told_nothing()


def test_a_batch_has_a_size_of_its_own(store: EventStore, subscriber: Subscriber) -> None:
    """G18: several batches may be in flight."""
    store.append_to_stream("order-1", ANY, numbered(1, 10))
    store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=5, max_batch_size=2)
    subscriber.subscribed()

    batches = [subscriber.batch(), subscriber.batch(), subscriber.batch()]
    assert [numbers(batch) for batch in batches] == [[1, 2], [3, 4], [5]]
    assert subscriber.is_told_nothing()


def test_bytes_in_flight_are_bounded_too(store: EventStore, subscriber: Subscriber) -> None:
    """G18, G22: whichever limit comes first."""
    store.append_to_stream(
        "order-1", ANY, [EventData("Big", {"event": n, "x": "x" * KIB}) for n in range(1, 8)]
    )
    store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_bytes=3 * KIB + 200)
    subscriber.subscribed()

    assert numbers(subscriber.batch()) == [1, 2, 3]
    assert subscriber.is_told_nothing()


def test_an_event_larger_than_the_buffer_goes_alone(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G18: rather than never."""
    sizes = [1, 1, 50, 1, 1]
    store.append_to_stream(
        "order-1",
        ANY,
        [
            EventData("Event", {"event": number, "x": "x" * size * KIB})
            for number, size in enumerate(sizes, start=1)
        ],
    )
    store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_bytes=10 * KIB)
    subscriber.subscribed()

    assert subscriber.acknowledged_batches(5) == [[1, 2], [3], [4, 5]]


def test_a_slow_subscriber_slows_nobody_else(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """G22, BPR-02: neither a subscriber that does not acknowledge nor a handler that hangs."""
    hanging, ended = threading.Event(), threading.Event()

    def hang(events: Events) -> None:
        hanging.set()
        ended.wait(AGES)

    silent, quick = new_subscriber(), Handler()
    store.subscribe_to_all_streams("silent", silent.ref, buffer_size=1)
    store.subscribe_to_all_streams("hanging", hang)
    subscription = store.subscribe_to_all_streams("quick", quick)
    try:
        store.append_to_stream("order-1", ANY, numbered(1, 100))
        assert hanging.wait(PATIENCE)
        placed = store.append_to_stream("order-1", ANY, numbered(101, 200))
        subscription.wait_for(placed, timeout=PATIENCE)
    finally:
        ended.set()
