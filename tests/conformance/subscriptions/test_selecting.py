"""Events that are filtered out and events that are changed on their way."""

from __future__ import annotations

from typing import Any

from eventstore import EventStore, ExpectedVersion, RecordedEvent, Retry, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, flat, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


def even(event: RecordedEvent) -> bool:
    return bool(event.data["event"] % 2 == 0)


def odd(event: RecordedEvent) -> bool:
    return not even(event)


def number(event: RecordedEvent) -> Any:
    return event.data["event"]


def test_only_selected_events_are_told(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-07, API-27, FSM-04: the others count as acknowledged."""
    subscription = store.subscribe_to_stream("order-1", "s", subscriber.ref, selector=even)
    subscriber.subscribed()

    store.append_to_stream("order-1", ANY, numbered(1, 5))

    assert numbers(subscriber.acknowledged_batch()) == [2, 4]
    wait_until(lambda: subscription.checkpoint == 5)


def test_selection_goes_on_with_what_comes_later(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-08: also when nothing of it is selected."""
    subscription = store.subscribe_to_stream("order-1", "s", subscriber.ref, selector=even)
    subscriber.subscribed()

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    assert numbers(subscriber.acknowledged_batch()) == [2]
    store.append_to_stream("order-1", ANY, numbered(3, 3))
    store.append_to_stream("order-1", ANY, numbered(4, 6))

    assert flat(subscriber.acknowledged_batches(2)) == [4, 6]
    wait_until(lambda: subscription.checkpoint == 6)


def test_old_events_are_selected_like_new_ones(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-09: during the catch-up and after it."""
    store.append_to_stream("order-1", ANY, numbered(1, 5))
    store.subscribe_to_stream("order-1", "s", subscriber.ref, selector=even)
    subscriber.subscribed()

    assert numbers(subscriber.acknowledged_batch()) == [2, 4]
    store.append_to_stream("order-1", ANY, numbered(6, 7))
    assert numbers(subscriber.acknowledged_batch()) == [6]


def test_events_can_be_changed_on_their_way(store: EventStore, subscriber: Subscriber) -> None:
    """API-26, FSM-03: the batch holds what the mapper returned; it is acknowledged as a whole."""
    subscription = store.subscribe_to_all_streams("s", subscriber.ref, mapper=number)
    subscriber.subscribed()

    store.append_to_stream("order-1", ANY, numbered(1, 3))

    batch = subscriber.batch()
    assert list[Any](batch) == [1, 2, 3]
    assert batch.last_position == 3
    subscription.ack(batch)
    wait_until(lambda: subscription.checkpoint == 3)


def test_events_are_selected_first_and_changed_then(
    store: EventStore, subscriber: Subscriber
) -> None:
    """API-28, SUB-10, FSM-05: the mapper sees what the selector let through."""
    mapped: list[int] = []

    def remember(event: RecordedEvent) -> Any:
        mapped.append(number(event))
        return number(event)

    store.append_to_stream("order-1", ANY, numbered(1, 5))
    subscription = store.subscribe_to_all_streams(
        "s", subscriber.ref, selector=even, mapper=remember
    )
    subscriber.subscribed()

    batch = subscriber.acknowledged_batch()
    assert list[Any](batch) == mapped == [2, 4]
    wait_until(lambda: subscription.checkpoint == 5)


def test_when_nothing_is_selected_the_checkpoint_moves_on(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-15, SUB-08, G15, G32: and is stored, so that a restart does not look at them again."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("s", subscriber.ref, selector=lambda _: False)
    subscriber.subscribed()

    wait_until(lambda: subscription.checkpoint == 3)
    wait_until(lambda: store.subscription_info("$all", "s").checkpoint == 3)
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    assert subscriber.is_told_nothing()


def test_filtered_events_are_not_acknowledged_before_those_in_front_of_them(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-14, G15: the checkpoint waits for the delivered ones."""
    store.append_to_stream("order-1", ANY, numbered(1, 6))
    subscription = store.subscribe_to_all_streams("s", subscriber.ref, selector=even)
    subscriber.subscribed()
    batch = subscriber.batch()
    assert numbers(batch) == [2, 4, 6]

    subscription.ack(batch[0])

    wait_until(lambda: subscription.checkpoint == 3)
    wait_until(lambda: store.subscription_info("$all", "s").checkpoint == 3)


def test_a_hundred_events_half_of_them_selected(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """SEL-01, SEL-02, G13: and another hundred after it was stopped and started again."""
    first, second = new_subscriber(acknowledges=True), new_subscriber(acknowledges=True)
    store = connect()
    store.append_to_stream("order-1", ANY, numbered(1, 100))
    subscription = store.subscribe_to_stream("order-1", "s", first.ref, selector=odd)
    first.subscribed()
    assert first.numbers(50) == list(range(1, 101, 2))
    wait_until(lambda: subscription.checkpoint == 100)
    store.close()

    store = connect()
    store.append_to_stream("order-1", ANY, numbered(101, 200))
    store.subscribe_to_stream("order-1", "s", second.ref, selector=odd)
    second.subscribed()

    assert second.numbers(50) == list(range(101, 201, 2))


def test_selected_events_fill_the_buffer(store: EventStore, subscriber: Subscriber) -> None:
    """SEL-01, G18: those that are filtered out take no place."""
    store.append_to_stream("order-1", ANY, numbered(1, 20))
    store.subscribe_to_all_streams("s", subscriber.ref, selector=even, buffer_size=2)
    subscriber.subscribed()

    batches = subscriber.acknowledged_batches(10)

    assert flat(batches) == list(range(2, 21, 2))
    assert max(len(batch) for batch in batches) <= 2


def test_a_selector_that_raises_is_tried_again(store: EventStore) -> None:
    """G30: what it raised can be seen, and nothing is skipped."""
    failures = [ValueError("not yet"), ValueError("not yet")]

    def select(event: RecordedEvent) -> bool:
        if failures and event.data["event"] == 2:
            raise failures.pop()
        return even(event)

    handler = Handler()
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    subscription = store.subscribe_to_all_streams(
        "s", handler, selector=select, on_error=Retry(first=0.01, longest=0.05)
    )

    wait_until(lambda: subscription.checkpoint == 4)
    assert handler.call() == [2, 4]
    assert failures == []
