"""What a subscriber is told, from where on, and in which positions."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import (
    EventStore,
    ExpectedVersion,
    SubscriptionNotFoundError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY


def test_a_subscriber_is_told_that_its_run_starts(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-02, SUB-01, API-29, FSM-01, FSM-06: before any event; without one it is live at once."""
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)

    assert subscription == subscriber.subscribed()
    assert (subscription.stream_id, subscription.subscription_name) == ("order-1", "shipping")
    assert subscription.checkpoint == 0
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    assert subscriber.is_told_nothing()


def test_new_events_are_told_as_they_come(store: EventStore, subscriber: Subscriber) -> None:
    """API-29, FSM-10, G13: each once, with everything that was stored."""
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()

    store.append_to_stream("order-1", 0, numbered(1, 3))
    batch = subscriber.acknowledged_batch()

    assert list(batch) == store.read_stream_forward("order-1")
    assert subscriber.is_told_nothing()


def test_from_the_origin_everything_is_told(store: EventStore, subscriber: Subscriber) -> None:
    """DBS-07, SST-24, SUB-02, FSM-07, G13: old events of one append in a batch, by version."""
    store.append_to_stream("other", ANY, numbered(10, 12))
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    store.subscribe_to_stream("order-1", "shipping", subscriber.ref, start_from="origin")
    subscriber.subscribed()

    batch = subscriber.batch()
    assert numbers(batch) == [1, 2, 3]
    assert [event.position for event in batch] == [1, 2, 3]
    assert [event.global_position for event in batch] == [4, 5, 6]


def test_old_events_then_new_ones(store: EventStore, subscriber: Subscriber) -> None:
    """API-31, ALL-11, G13, G14: as one batch each, with every field."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    old = subscriber.acknowledged_batch()

    store.append_to_stream("order-1", ANY, numbered(4, 6))
    new = subscriber.acknowledged_batch()

    assert [*old, *new] == store.read_all_streams_forward()
    assert (len(old), len(new)) == (3, 3)


@pytest.mark.parametrize("everything", [True, False])
def test_from_the_current_position_only_new_events_are_told(
    store: EventStore, subscriber: Subscriber, everything: bool
) -> None:
    """API-30, SST-25, G13: those appended after subscribe returned, all of them."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    if everything:
        store.subscribe_to_all_streams("shipping", subscriber.ref, start_from="current")
    else:
        store.subscribe_to_stream("order-1", "shipping", subscriber.ref, start_from="current")
    store.append_to_stream("order-1", ANY, numbered(4, 5))

    subscriber.subscribed()
    assert numbers(subscriber.acknowledged_batch()) == [4, 5]
    assert subscriber.is_told_nothing()


def test_from_a_version_only_later_events_are_told(
    store: EventStore, subscriber: Subscriber
) -> None:
    """DBS-08, SST-26, SUB-03, FSM-02: the given one counts as seen."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref, start_from=2)
    assert subscription.checkpoint >= 2
    subscriber.subscribed()

    assert numbers(subscriber.acknowledged_batch()) == [3]
    store.append_to_stream("order-1", ANY, numbered(4, 4))
    assert numbers(subscriber.acknowledged_batch()) == [4]


def test_from_a_position_only_later_events_of_all_streams_are_told(
    store: EventStore, subscriber: Subscriber
) -> None:
    """ALL-13, SUB-16: after 2, four events in batches of one stream each."""
    store.append_to_stream("a", ANY, numbered(1, 4))
    store.append_to_stream("b", ANY, numbered(5, 6))

    store.subscribe_to_all_streams("shipping", subscriber.ref, start_from=2)
    subscriber.subscribed()

    assert numbers(subscriber.acknowledged_batch()) == [3, 4]
    assert numbers(subscriber.acknowledged_batch()) == [5, 6]


def test_another_stream_is_not_told(store: EventStore, subscriber: Subscriber) -> None:
    """SUB-05: neither old nor new events of it."""
    store.append_to_stream("other", ANY, numbered(10, 11))
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()

    store.append_to_stream("other", ANY, numbered(12, 12))
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    store.append_to_stream("other", ANY, numbered(13, 13))

    assert numbers(subscriber.acknowledged_batch()) == [1]
    assert subscriber.is_told_nothing()


def test_all_streams_are_told_in_global_positions(
    store: EventStore, subscriber: Subscriber
) -> None:
    """SUB-15, G14: with the version that each event has in its own stream."""
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    store.append_to_stream("a", ANY, numbered(1, 2))
    store.append_to_stream("b", ANY, numbered(3, 4))

    events = [*subscriber.acknowledged_batch(), *subscriber.acknowledged_batch()]

    assert [event.position for event in events] == [1, 2, 3, 4]
    assert [event.stream_version for event in events] == [1, 2, 1, 2]
    assert [event.stream_id for event in events] == ["a", "a", "b", "b"]


def test_one_stream_and_all_streams_count_each_in_their_own_positions(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """SUB-20: the same events, two numberings, two checkpoints."""
    store.append_to_stream("other", ANY, numbered(10, 12))
    one, everything = new_subscriber(), new_subscriber()
    single = store.subscribe_to_stream("order-1", "shipping", one.ref)
    whole = store.subscribe_to_all_streams("shipping", everything.ref, start_from="current")
    one.subscribed()
    everything.subscribed()

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    own, globally = one.acknowledged_batch(), everything.acknowledged_batch()

    assert [event.position for event in own] == [1, 2]
    assert [event.position for event in globally] == [4, 5]
    assert [e.event_id for e in own] == [e.event_id for e in globally]
    wait_until(lambda: (single.checkpoint, whole.checkpoint) == (2, 5))


def test_many_subscriptions_are_told_everything_each(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """SUB-21, G22: whatever the others do."""
    subscribers = [new_subscriber(acknowledges=True) for _ in range(4)]
    for number, subscriber in enumerate(subscribers):
        store.subscribe_to_all_streams(f"subscription-{number}", subscriber.ref)
        subscriber.subscribed()

    store.append_to_stream("a", ANY, numbered(1, 3))
    store.append_to_stream("b", ANY, numbered(4, 6))

    assert [each.numbers(6) for each in subscribers] == [[1, 2, 3, 4, 5, 6]] * 4


def test_a_batch_holds_events_of_one_stream(store: EventStore, subscriber: Subscriber) -> None:
    """G18: unless asked otherwise, even if they were stored one after the other."""
    for number, stream in enumerate("aabba", start=1):
        store.append_to_stream(stream, ANY, numbered(number, number))

    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    assert subscriber.acknowledged_batches(5) == [[1, 2], [3, 4], [5]]


def test_a_batch_may_hold_events_of_any_stream(store: EventStore, subscriber: Subscriber) -> None:
    """G18: if asked for, up to its size."""
    for number, stream in enumerate("aabba", start=1):
        store.append_to_stream(stream, ANY, numbered(number, number))

    store.subscribe_to_all_streams("shipping", subscriber.ref, batch_by="any", max_batch_size=4)
    subscriber.subscribed()

    assert subscriber.acknowledged_batches(5) == [[1, 2, 3, 4], [5]]


def test_a_subscriber_may_subscribe_and_append_itself(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """G24: the library only tells, so nobody waits for the other."""
    second = new_subscriber(acknowledges=True)

    def forward(events: Any) -> None:
        if events.events[0].stream_id == "order-1":
            store.append_to_stream("copy", ANY, numbered(7, 7))
            store.subscribe_to_stream("copy", "second", second.ref)

    first = store.subscribe_to_all_streams("first", forward)
    placed = store.append_to_stream("order-1", ANY, numbered(1, 1))

    first.wait_for(placed, timeout=PATIENCE)
    second.subscribed()
    assert second.numbers(1) == [7]


@pytest.mark.parametrize("start_from", ["origin", "current", 1])
def test_a_subscription_that_exists_goes_on_where_it_is(
    store: EventStore, new_subscriber: NewSubscriber, start_from: Any
) -> None:
    """SUB-22, SUB-24, FSM-11, G15: whatever start is asked for now."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    first, second = new_subscriber(), new_subscriber()
    subscription = store.subscribe_to_stream("order-1", "shipping", first.ref)
    first.subscribed()
    subscription.ack(first.batch()[1])
    subscription.unsubscribe()

    store.subscribe_to_stream("order-1", "shipping", second.ref, start_from=start_from)
    second.subscribed()

    assert numbers(second.batch()) == [3]


def test_what_was_acknowledged_is_not_told_again(connect: Connect) -> None:
    """SUB-17, SUB-22, FSM-11, G15: by a store that was closed and opened."""
    handler = Handler()
    first = connect()
    first.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = first.subscribe_to_all_streams("shipping", handler)
    assert handler.call() == [1, 2, 3]
    wait_until(lambda: subscription.checkpoint == 3)
    first.close()

    again = Handler()
    second = connect()
    second.subscribe_to_all_streams("shipping", again)
    second.append_to_stream("order-1", ANY, numbered(4, 4))

    assert again.call() == [4]
    assert again.is_not_called()


def test_what_was_not_acknowledged_is_told_again(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """CON-13, FSM-12, SUB-22, G13, G14: from right after the checkpoint on."""
    store = connect()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    first, second = new_subscriber(), new_subscriber()
    subscription = store.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()
    subscription.ack(first.batch()[0])
    wait_until(lambda: store.subscription_info("$all", "shipping").checkpoint == 1)
    store.close(timeout=0.1)

    connect().subscribe_to_all_streams("shipping", second.ref)
    second.subscribed()

    assert numbers(second.batch()) == [2, 3]


def test_unsubscribed_it_can_be_subscribed_again(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """SUB-27, MSU-03: at once; what was not acknowledged comes again."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_stream("order-1", "shipping", first.ref)
    first.subscribed()
    first.batch()

    store.unsubscribe_from_stream("order-1", "shipping")
    assert subscription.state is SubscriptionState.STOPPED
    store.append_to_stream("order-1", ANY, numbered(2, 2))
    store.subscribe_to_stream("order-1", "shipping", second.ref)

    second.subscribed()
    assert second.numbers(2) == [1, 2]
    first.lost()
    assert first.is_told_nothing()


def test_what_is_not_subscribed_cannot_be_unsubscribed(store: EventStore) -> None:
    """SUB-27: the error names it."""
    with pytest.raises(SubscriptionNotFoundError, match="'shipping' to 'order-1'"):
        store.unsubscribe_from_stream("order-1", "shipping")
    with pytest.raises(SubscriptionNotFoundError, match=r"'shipping' to '\$all'"):
        store.unsubscribe_from_all_streams("shipping")


def test_a_deleted_subscription_starts_over(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """DYN-05, SUB-28, SUR-04, G16: its subscriber is told, its row is gone."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = store.subscribe_to_stream("order-1", "shipping", first.ref)
    first.subscribed()
    first.acknowledged_batch()
    wait_until(lambda: subscription.checkpoint == 2)

    store.delete_subscription("order-1", "shipping")

    assert subscription == first.lost().subscription
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    assert store.subscriptions() == []
    store.subscribe_to_stream("order-1", "shipping", second.ref)
    second.subscribed()
    assert numbers(second.batch()) == [1, 2]


def test_subscriptions_can_be_seen_from_everywhere(
    connect: Connect, subscriber: Subscriber
) -> None:
    """SUR-01, SUR-03, G32: state, checkpoint and lag, as of one moment."""
    here, there = connect(), connect()
    here.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = here.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    subscription.ack(subscriber.batch()[0])

    wait_until(lambda: there.subscription_info("order-1", "shipping").checkpoint == 1)
    (info,) = there.subscriptions()

    assert (info.stream_id, info.subscription_name) == ("order-1", "shipping")
    assert (info.head, info.lag_events) == (3, 2)
    assert info.owner is not None
    assert info.lag_seconds > 0
    assert not info.paused
