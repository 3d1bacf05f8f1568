"""Old events, new events, and the passage between them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from eventstore import EventStore, ExpectedVersion, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Handler, Subscriber, flat, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


def test_old_events_come_in_batches_of_the_buffers_size(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-16, SUB-13, FSM-07, G18: ten old in threes, then five new."""
    store.append_to_stream("order-1", ANY, numbered(1, 10))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=3)
    subscriber.subscribed()

    assert subscriber.acknowledged_batches(10) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    wait_until(lambda: subscription.checkpoint == 10)

    store.append_to_stream("order-1", ANY, numbered(11, 15))
    assert subscriber.acknowledged_batches(5) == [[11, 12, 13], [14, 15]]


def test_it_is_caught_up_when_everything_is_acknowledged(
    store: EventStore, subscriber: Subscriber
) -> None:
    """FSM-08, FSM-06: until then the checkpoint stays."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()
    assert subscription.checkpoint == 0

    subscription.ack(batch)

    wait_until(lambda: subscription.checkpoint == 3)
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)


def test_events_appended_while_it_catches_up_come_after_the_old_ones(
    store: EventStore, subscriber: Subscriber
) -> None:
    """FSM-09, CUP-01, G14: each once, none before its turn."""
    store.append_to_stream("order-1", ANY, numbered(1, 10))
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=4)
    subscriber.subscribed()
    first = subscriber.batch()

    store.append_to_stream("order-1", ANY, numbered(11, 20))
    first.subscription.ack(first)

    rest = subscriber.acknowledged_batches(16)
    assert numbers(first) + flat(rest) == list(range(1, 21))
    assert subscriber.is_told_nothing()


def test_forty_old_and_thirty_new_events_in_tens(store: EventStore, subscriber: Subscriber) -> None:
    """CUP-01, G13, G18: while somebody appends."""
    store.append_to_stream("order-1", ANY, numbered(1, 40))
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref, buffer_size=10)
    subscriber.subscribed()

    batches = subscriber.acknowledged_batches(10)
    for tens in range(3):
        store.append_to_stream("order-1", ANY, numbered(41 + 10 * tens, 50 + 10 * tens))
    batches += subscriber.acknowledged_batches(60)

    assert flat(batches) == list(range(1, 71))
    assert max(len(batch) for batch in batches) <= 10


def test_nothing_is_missed_between_old_and_new(store: EventStore) -> None:
    """G4, G13, G14, CUP-01: with several threads appending all the time."""
    seen: list[int] = []

    def append(stream: str) -> None:
        for _ in range(50):
            store.append_to_stream(stream, ANY, numbered(1, 3))

    with ThreadPoolExecutor(3) as pool:
        appends = [pool.submit(append, stream) for stream in ("a", "b", "c")]
        subscription = store.subscribe_to_all_streams(
            "shipping",
            lambda events: seen.extend(event.position for event in events),
            buffer_size=20,
            max_batch_size=7,
        )
        for future in appends:
            future.result()

    wait_until(lambda: subscription.checkpoint == 450, timeout=30)
    assert seen == list(range(1, 451))


def test_a_stream_may_be_subscribed_before_it_exists(store: EventStore) -> None:
    """SUB-02, G13: its first event is told."""
    handler = Handler()
    store.subscribe_to_stream("future", "shipping", handler)

    store.append_to_stream("future", ExpectedVersion.NO_STREAM, numbered(1, 2))

    assert handler.call() == [1, 2]


def test_events_of_another_user_of_the_store_are_told(connect: Connect) -> None:
    """G23, G13: whoever appended them."""
    handler = Handler()
    connect().subscribe_to_all_streams("shipping", handler)

    connect().append_to_stream("order-1", ANY, numbered(1, 2))

    assert handler.call() == [1, 2]
