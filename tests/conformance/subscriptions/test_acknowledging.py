"""What acknowledges what, and when it is stored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    SubscriptionLostError,
    SubscriptionState,
    UnexpectedAckError,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY


def stored_checkpoint(store: EventStore, stream_id: str = "$all") -> int:
    return store.subscription_info(stream_id, "shipping").checkpoint


@pytest.mark.parametrize(
    "up_to_second",
    [
        lambda batch: batch[1],
        lambda batch: [batch[0], batch[1]],
        lambda batch: batch[:2],
        lambda batch: batch[1].position,
    ],
    ids=["event", "list", "slice", "position"],
)
def test_an_acknowledgement_counts_up_to_what_it_names(
    store: EventStore, subscriber: Subscriber, up_to_second: Callable[[Events], Any]
) -> None:
    """CON-09, SUB-12, SUB-19, FSM-08, G19: an event, several, a position; all before it too."""
    store.append_to_stream("other", ANY, numbered(8, 9))
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()

    subscription.ack(up_to_second(subscriber.batch()))

    wait_until(lambda: subscription.checkpoint == 2)
    wait_until(lambda: stored_checkpoint(store, "order-1") == 2)


def test_a_batch_acknowledges_all_of_it(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-11, G19: by the handle, or by the store."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    store.ack(subscription, subscriber.batch())

    wait_until(lambda: subscription.checkpoint == 3)


def test_events_come_one_at_a_time_if_only_one_may_be_in_flight(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-22, SUB-11, FSM-13, G18: each acknowledgement releases one more."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=1)
    subscriber.subscribed()

    for number in (1, 2, 3):
        batch = subscriber.batch()
        assert numbers(batch) == [number]
        assert subscriber.is_told_nothing()
        batch.subscription.ack(batch)


def test_an_acknowledgement_of_a_part_makes_room_for_as_much(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-18, SUB-18, G18: what is in flight never exceeds the buffer."""
    store.append_to_stream("order-1", ANY, numbered(1, 6))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=3)
    subscriber.subscribed()
    first = subscriber.batch()
    assert numbers(first) == [1, 2, 3]
    assert subscriber.is_told_nothing()

    subscription.ack(first[0])
    second = subscriber.batch()
    assert numbers(second) == [4]
    assert subscriber.is_told_nothing()

    subscription.ack(second)
    assert numbers(subscriber.acknowledged_batch()) == [5, 6]


def test_each_acknowledgement_is_stored(store: EventStore, subscriber: Subscriber) -> None:
    """ACK-01, SUR-06, SUR-07, G15: one after the other, in the row that everybody can see."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    for event in subscriber.batch():
        assert stored_checkpoint(store) == event.position - 1
        subscription.ack(event)
        wait_until(lambda event=event: stored_checkpoint(store) == event.position)  # type: ignore[misc]


def test_acknowledgements_are_stored_behind_the_deliveries(store: EventStore) -> None:
    """ACK-02, G15: several in one write, in the end all of them."""
    store.append_to_stream("order-1", ANY, numbered(1, 300))
    subscription = store.subscribe_to_all_streams("shipping", Handler(), max_batch_size=1)

    wait_until(lambda: subscription.checkpoint == 300)
    wait_until(lambda: stored_checkpoint(store) == 300)


def test_acknowledgements_are_stored_before_it_stops(connect: Connect) -> None:
    """ACK-04, G26: whether it is unsubscribed or the store is closed."""
    store, watching = connect(), connect()
    handler = Handler()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", handler)
    handler.call()
    wait_until(lambda: subscription.checkpoint == 3)

    subscription.unsubscribe()
    assert stored_checkpoint(watching) == 3

    store.append_to_stream("order-1", ANY, numbered(4, 6))
    store.subscribe_to_all_streams("shipping", handler)
    handler.call()
    store.close()
    assert stored_checkpoint(watching) == 6
    assert watching.subscription_info("$all", "shipping").owner is None


@pytest.mark.parametrize("position", [4, 1_000_000])
def test_what_was_not_delivered_cannot_be_acknowledged(
    store: EventStore, subscriber: Subscriber, position: int
) -> None:
    """BPR-04, G19: the error names both positions, and nothing changes."""
    store.append_to_stream("order-1", ANY, numbered(1, 6))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, buffer_size=3)
    subscriber.subscribed()
    batch = subscriber.batch()

    with pytest.raises(
        UnexpectedAckError, match=rf"position {position} .*highest delivered is 3"
    ) as raised:
        subscription.ack(position)

    assert raised.value.position == position
    assert subscription.checkpoint == 0
    subscription.ack(batch)
    assert numbers(subscriber.acknowledged_batch()) == [4, 5, 6]


def test_what_is_acknowledged_already_changes_nothing(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G19: late, repeated and lower acknowledgements are no errors."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()
    subscription.ack(batch)
    wait_until(lambda: subscription.checkpoint == 3)

    for what in (batch, batch[0], 1, 0):
        subscription.ack(what)

    assert subscription.checkpoint == 3


@pytest.mark.parametrize(
    ("what", "error"),
    [(None, TypeError), ("3", TypeError), (True, TypeError), (1.0, TypeError), ([], ValueError)],
)
def test_what_has_no_position_cannot_be_acknowledged(
    store: EventStore, subscriber: Subscriber, what: Any, error: type[Exception]
) -> None:
    """G19, G28."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    subscriber.batch()

    with pytest.raises(error, match="acknowledge"):
        subscription.ack(what)

    assert subscription.checkpoint == 0


def test_any_thread_may_acknowledge(store: EventStore, subscriber: Subscriber) -> None:
    """G19: in any order, the highest counts."""
    store.append_to_stream("order-1", ANY, numbered(1, 100))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(subscription.ack, reversed(batch)))

    wait_until(lambda: subscription.checkpoint == 100)


def test_after_its_end_it_cannot_be_acknowledged(store: EventStore, subscriber: Subscriber) -> None:
    """G16, G26: whoever holds an old handle is told."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()
    subscription.unsubscribe()

    with pytest.raises(SubscriptionLostError, match="'shipping'"):
        subscription.ack(batch)

    assert subscription.state is SubscriptionState.STOPPED
    assert stored_checkpoint(store) == 0


def test_an_append_can_be_waited_for(connect: Connect, new_subscriber: NewSubscriber) -> None:
    """G13, G15: until it is acknowledged, by the handle or from another process."""
    store, other = connect(), connect()
    subscriber = new_subscriber(acknowledges=True)
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)

    placed = store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription.wait_for(placed, timeout=PATIENCE)
    assert subscription.checkpoint >= 3
    further = other.append_to_streams([("order-1", 3, numbered(4, 4)), ("b", 0, numbered(5, 5))])
    other.wait_for("$all", "shipping", further, timeout=PATIENCE)

    assert stored_checkpoint(other) == 5
