"""Who subscribes after a delete, a reset or an unsubscribe is seated at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pykka
import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    Subscription,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.recorder import Stuck
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
ROUNDS = 20


def subscribe(store: EventStore, subscriber: Any, **options: Any) -> Subscription:
    return store.subscribe_to_all_streams("shipping", subscriber, **options)


def delete(store: EventStore) -> None:
    store.delete_subscription("$all", "shipping")


def test_a_function_subscribes_again_right_after_a_delete(store: EventStore) -> None:
    """F12, G16, G17: every time, to a new subscription that starts over."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    handles = []
    for _ in range(ROUNDS):
        handler = Handler()
        handles.append(subscribe(store, handler))
        assert handler.call() == [1, 2, 3]
        delete(store)

    assert len(set(map(id, handles))) == ROUNDS
    wait_until(lambda: all(each.state is SubscriptionState.STOPPED for each in handles))


def test_an_actor_subscribes_again_right_after_a_delete(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """F12, G16, G17: the predecessor is told of the loss, the successor of its run."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    for _ in range(ROUNDS):
        subscriber = new_subscriber()
        subscribe(store, subscriber.ref)
        subscriber.subscribed()
        assert numbers(subscriber.batch()) == [1, 2, 3]
        delete(store)
        subscribe(store, Handler())
        assert isinstance(subscriber.lost().reason, SubscriptionLostError)
        delete(store)


def test_another_thread_subscribes_right_after_a_delete(store: EventStore) -> None:
    """F12, G17."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    with ThreadPoolExecutor(1) as other:
        for _ in range(ROUNDS):
            handler = Handler()
            subscribe(store, handler)
            assert handler.call() == [1, 2, 3]
            other.submit(delete, store).result(PATIENCE)


def test_what_was_deleted_elsewhere_is_subscribed_to_here_at_once(connect: Connect) -> None:
    """F12, G16, G17: nobody here has heard of the delete yet."""
    store, elsewhere = connect(poll_interval=30.0), connect()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    for _ in range(ROUNDS):
        handler = Handler()
        subscribe(store, handler)
        assert handler.call() == [1, 2, 3]
        delete(elsewhere)


def test_what_was_deleted_while_its_handler_hangs_is_subscribed_to_at_once(
    store: EventStore,
) -> None:
    """F12, G17: the old handler is not waited for."""
    stuck, handler = Stuck(), Handler()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscribe(store, stuck)
    assert stuck.entered.wait(PATIENCE)
    try:
        delete(store)
        subscribe(store, handler)
        assert handler.call() == [1, 2, 3]
    finally:
        stuck.released.set()


def test_a_handler_deletes_its_own_subscription_and_subscribes_again(store: EventStore) -> None:
    """F12, G17, G25: from within; nothing waits for itself."""
    successor = Handler()
    done = threading.Event()

    def handle(events: Events) -> None:
        delete(store)
        subscribe(store, successor)
        done.set()

    store.append_to_stream("order-1", ANY, numbered(1, 3))
    old = subscribe(store, handle)

    assert done.wait(PATIENCE)
    assert successor.call() == [1, 2, 3]
    assert old.state is SubscriptionState.STOPPED


def test_what_was_deleted_while_paused_starts_over_unpaused(store: EventStore) -> None:
    """F12, G20."""
    subscribe(store, Handler()).pause()
    handler = Handler()
    delete(store)
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    subscribe(store, handler)

    assert handler.call() == [1, 2, 3]


def test_an_unsubscribed_one_is_subscribed_to_at_once(store: EventStore) -> None:
    """F12, G17: by the store and by the handle."""
    for round_ in range(ROUNDS):
        handle = subscribe(store, Handler())
        if round_ % 2:
            handle.unsubscribe()
        else:
            store.unsubscribe_from_all_streams("shipping")


def test_one_that_ends_because_of_a_reset_is_subscribed_to_at_once(store: EventStore) -> None:
    """F12, G16, G17: with when_owned="error" a reset ends it."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    for _ in range(ROUNDS):
        handler = Handler()
        subscribe(store, handler, when_owned="error")
        assert handler.call() == [1, 2, 3]
        store.reset_subscription("$all", "shipping", 0)


def test_one_that_goes_on_after_a_reset_keeps_its_seat(store: EventStore) -> None:
    """F12, G17: it is told again what was reset, and the second subscriber is refused."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    first, second = Handler(), Handler()
    subscribe(store, first)
    assert first.call() == [1, 2, 3]
    store.reset_subscription("$all", "shipping", 0)

    with pytest.raises(SubscriptionInUseError, match="this store"):
        subscribe(store, second)

    assert first.call() == [1, 2, 3]
    assert second.is_not_called()


def test_a_standby_of_what_was_deleted_makes_room(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """F12, G17: also a seat that waits for its owner."""
    owner, store = connect(), connect(poll_interval=30.0)
    first = new_subscriber()
    subscribe(owner, first.ref)
    first.subscribed()
    waiting = subscribe(store, Handler(), when_owned="wait")
    handler = Handler()
    delete(owner)
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    subscribe(store, handler)

    assert handler.call() == [1, 2, 3]
    wait_until(lambda: waiting.state is SubscriptionState.STOPPED)


def test_of_many_who_subscribe_at_once_after_a_delete_one_is_seated(store: EventStore) -> None:
    """F12, G17: the others are told that it is in use."""
    subscribe(store, Handler())
    delete(store)

    def attempt(_: int) -> Subscription | SubscriptionInUseError:
        try:
            return subscribe(store, Handler())
        except SubscriptionInUseError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(8)))

    assert sum(not isinstance(answer, SubscriptionInUseError) for answer in answers) == 1


def test_a_living_subscriber_is_not_disturbed_by_those_who_ask_for_its_seat(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F12, G17: its run goes on, with everything in flight."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = subscribe(store, subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()

    for _ in range(3):
        with pytest.raises(SubscriptionInUseError):
            subscribe(store, Handler())

    assert subscriber.is_told_nothing()
    subscription.ack(batch)
    wait_until(lambda: subscription.checkpoint == 3)


def test_a_seat_whose_actor_crashed_when_it_was_asked_makes_room(store: EventStore) -> None:
    """F12, G24: its next actor is asked again, and the row is gone."""
    subscribe(store, Handler())
    delete(store)
    for actor in pykka.ActorRegistry.get_by_class_name("SubscriptionActor"):
        actor.tell("what makes it crash")

    subscribe(store, Handler())
