"""One owner at a time: in one runtime, over runtimes, and after its end."""

from __future__ import annotations

import pytest

from eventstore import (
    EventStore,
    ExpectedVersion,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY


def test_a_second_subscriber_in_the_same_store_is_refused(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """CON-04, SUB-04, G17: the error says who has it, since when; the first notices nothing."""
    first, second = new_subscriber(), new_subscriber()
    store.subscribe_to_stream("order-1", "shipping", first.ref)
    first.subscribed()

    with pytest.raises(SubscriptionInUseError, match="'shipping' to 'order-1'") as refused:
        store.subscribe_to_stream("order-1", "shipping", second.ref)

    error = refused.value
    assert (error.stream_id, error.subscription_name) == ("order-1", "shipping")
    assert error.owner
    assert error.since is not None
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert numbers(first.acknowledged_batch()) == [1]
    assert second.is_told_nothing()


def test_the_same_subscriber_is_refused_a_second_time(
    store: EventStore, subscriber: Subscriber
) -> None:
    """CON-06, SUB-04, G17: it is connected already."""
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    with pytest.raises(SubscriptionInUseError):
        store.subscribe_to_all_streams("shipping", subscriber.ref)


def test_a_dead_subscriber_does_not_count_as_connected(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """CON-10, G17, G21, FSM-18: its successor is connected at once and told what was in flight."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()
    first.batch()
    first.die()

    store.subscribe_to_all_streams("shipping", second.ref)
    second.subscribed()

    assert numbers(second.batch()) == [1, 2, 3]


def test_in_another_store_it_waits_as_a_standby(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """FSM-17, SLK-05, G17: it is told nothing while somebody else owns the subscription."""
    first, second = new_subscriber(acknowledges=True), new_subscriber()
    owner, standby = connect(), connect()
    owning = owner.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()

    waiting = standby.subscribe_to_all_streams("shipping", second.ref, when_owned="wait")

    assert waiting.state is SubscriptionState.WAITING
    owner.append_to_stream("order-1", ANY, numbered(1, 3))
    assert first.numbers(3) == [1, 2, 3]
    assert second.is_told_nothing()
    assert waiting.state is SubscriptionState.WAITING
    assert owning.state is not SubscriptionState.WAITING


def test_in_another_store_it_is_refused_if_it_asks_for_that(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G17, SLK-05: the error says who owns it."""
    first, second = new_subscriber(), new_subscriber()
    connect().subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()

    with pytest.raises(SubscriptionInUseError, match=r"'shipping' to '\$all' is held by") as error:
        connect().subscribe_to_all_streams("shipping", second.ref, when_owned="error")

    assert error.value.owner
    assert error.value.since is not None
    assert second.is_told_nothing()


def test_a_standby_takes_over_when_the_owner_unsubscribes(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """SLK-04, SLK-06, FSM-18, G27, G13: from the checkpoint on, long before the lease ends."""
    owner, standby = connect(lease=60), connect(lease=60)
    first, second = new_subscriber(), new_subscriber()
    owner.append_to_stream("order-1", ANY, numbered(1, 3))
    owning = owner.subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()
    standby.subscribe_to_all_streams("shipping", second.ref, when_owned="wait")
    owning.ack(first.batch()[1])

    owning.unsubscribe()

    second.subscribed()
    assert numbers(second.acknowledged_batch()) == [3]
    standby.append_to_stream("order-1", ANY, numbered(4, 4))
    assert numbers(second.acknowledged_batch()) == [4]


def test_a_standby_takes_over_when_the_owner_is_closed(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """SLK-03, SLK-06, G27: what the owner acknowledged is not told again."""
    owner, standby = connect(lease=60), connect(lease=60)
    first, second = Handler(), new_subscriber()
    owner.append_to_stream("order-1", ANY, numbered(1, 3))
    owning = owner.subscribe_to_all_streams("shipping", first)
    wait_until(lambda: owning.checkpoint == 3)
    standby.subscribe_to_all_streams("shipping", second.ref, when_owned="wait")

    owner.close()
    standby.append_to_stream("order-1", ANY, numbered(4, 4))

    second.subscribed()
    assert numbers(second.acknowledged_batch()) == [4]


def test_an_owner_that_was_reset_starts_again_from_there(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G16, SLK-02: it is told that the run it had is over, then another one starts."""
    store, other = connect(), connect()
    subscriber = new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 5))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    old = subscriber.batch()
    subscription.ack(old[3])
    wait_until(lambda: other.subscription_info("$all", "shipping").checkpoint == 4)

    other.reset_subscription("$all", "shipping", 2)

    assert isinstance(subscriber.lost().reason, SubscriptionLostError)
    subscriber.subscribed()
    assert numbers(subscriber.acknowledged_batch()) == [3, 4, 5]


def test_an_owner_that_was_reset_and_will_not_wait_stops(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G16, G17: with when_owned="error"."""
    store, other = connect(), connect()
    subscriber = new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, when_owned="error")
    subscriber.subscribed()
    subscriber.batch()

    other.reset_subscription("$all", "shipping", 0)

    subscriber.lost()
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    with pytest.raises(SubscriptionLostError):
        subscription.join(timeout=PATIENCE)


def test_acknowledgements_of_a_lost_run_do_not_count(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """SLK-02, SLK-03, G15, G16: the events come again."""
    store, other = connect(), connect()
    subscriber = new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    old = subscriber.batch()

    other.delete_subscription("$all", "shipping")
    subscriber.lost()

    with pytest.raises(SubscriptionLostError):
        subscription.ack(old)
    assert other.subscriptions() == []


def test_many_standbys_hand_on_without_losing_or_repeating(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """SLK-06, G13, G14, G16: one after the other, each from where the one before stopped."""
    stores = [connect(lease=60) for _ in range(4)]
    subscribers = [new_subscriber() for _ in stores]
    subscriptions = [
        store.subscribe_to_all_streams("shipping", subscriber.ref, when_owned="wait")
        for store, subscriber in zip(stores, subscribers, strict=True)
    ]
    seen: list[int] = []

    for number in range(1, 5):
        wait_until(lambda: sum(s.state is SubscriptionState.LIVE for s in subscriptions) == 1)
        (owner,) = (
            index for index, s in enumerate(subscriptions) if s.state is SubscriptionState.LIVE
        )
        stores[owner].append_to_stream("order-1", ANY, numbered(number, number))
        subscribers[owner].subscribed()
        seen += numbers(subscribers[owner].acknowledged_batch())
        subscriptions[owner].unsubscribe()

    assert seen == [1, 2, 3, 4]
    assert all(s.state is SubscriptionState.STOPPED for s in subscriptions)


def test_another_store_of_the_same_process_is_refused_unless_it_asks_to_wait(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """G17: a cell of a notebook that runs twice must not wait silently behind its first run."""
    first, second = new_subscriber(), new_subscriber()
    owning = connect().subscribe_to_all_streams("shipping", first.ref)
    first.subscribed()

    with pytest.raises(SubscriptionInUseError):
        connect().subscribe_to_all_streams("shipping", second.ref)
    owning.unsubscribe()

    connect().subscribe_to_all_streams("shipping", second.ref)
    second.subscribed()
