"""A subscription that gave up stays visible, and who joins its store hears of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from eventstore import (
    DeliveryTimeoutError,
    Events,
    EventStore,
    EventStoreError,
    ExpectedVersion,
    Retry,
    Subscription,
    SubscriptionHealth,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Handler, Subscriber
from tests.support.recorder import Stuck
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
THRICE = Retry(first=0.01, longest=0.02, attempts=3)


def failing() -> Handler:
    return Handler(*[ValueError("always")] * 10)


def health_of(store: EventStore, name: str) -> SubscriptionHealth:
    (found,) = [s for s in store.health().subscriptions if s.subscription_name == name]
    return found


def given_up(store: EventStore, name: str = "shipping") -> Subscription:
    """Return a subscription that has used up its attempts."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(name, failing(), on_error=THRICE)
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    return subscription


def joined(store: EventStore, *, at_the_first: bool = False) -> SimpleQueue[BaseException | None]:
    """Join *store* in a thread; return where the outcome will be."""
    outcome: SimpleQueue[BaseException | None] = SimpleQueue()

    def join() -> None:
        try:
            store.join(any=at_the_first)
        except BaseException as error:  # noqa: BLE001 - the outcome
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=join, daemon=True).start()
    return outcome


# ── it stays visible ─────────────────────────────────────────────────────────────────────────


def test_it_is_shown_as_stopped_with_its_error(store: EventStore) -> None:
    """F15, G32: in health, in its row, and in its handle."""
    subscription = given_up(store)

    wait_until(lambda: store.health().subscriptions)
    shown = health_of(store, "shipping")
    assert (shown.state, shown.checkpoint, shown.in_flight) == (SubscriptionState.STOPPED, 0, 0)
    assert "always" in str(shown.last_error)
    assert shown.attempts == 3
    (info,) = store.subscriptions()
    assert (info.state, info.owner, info.attempts) == (SubscriptionState.STOPPED, None, 3)
    assert "always" in str(info.last_error)
    assert isinstance(subscription.last_error, ValueError)
    assert store.health().running


def test_it_is_shown_until_it_is_unsubscribed(store: EventStore) -> None:
    """F15: by its name, and only once."""
    given_up(store)
    wait_until(lambda: store.health().subscriptions)
    store.unsubscribe_from_all_streams("shipping")
    assert store.health().subscriptions == ()
    with pytest.raises(SubscriptionNotFoundError):
        store.unsubscribe_from_all_streams("shipping")


def test_it_is_shown_until_its_handle_is_unsubscribed(store: EventStore) -> None:
    """F15."""
    subscription = given_up(store)
    subscription.unsubscribe()
    assert store.health().subscriptions == ()
    subscription.unsubscribe()


def test_it_can_be_subscribed_to_again_at_once(store: EventStore) -> None:
    """F15: and its old handle does not end the new one."""
    before = given_up(store)
    handler = Handler()

    after = store.subscribe_to_all_streams("shipping", handler)

    assert handler.call() == [1]
    before.unsubscribe()
    assert [each.state for each in store.health().subscriptions] != [SubscriptionState.STOPPED]
    store.append_to_stream("order-1", ANY, numbered(2, 2))
    assert handler.call() == [2]
    assert after.state is not SubscriptionState.STOPPED
    wait_until(lambda: store.subscription_info("$all", "shipping").last_error is None)


def test_a_handler_that_hung_is_shown_with_what_it_did(store: EventStore) -> None:
    """F15, G21: also in the row, though the handler did not raise."""
    stuck = Stuck()
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams("shipping", stuck, ack_timeout=0.2)
    try:
        with pytest.raises(DeliveryTimeoutError):
            subscription.join(timeout=PATIENCE)
    finally:
        stuck.released.set()
    wait_until(lambda: health_of(store, "shipping").state is SubscriptionState.STOPPED)
    assert "nothing was acknowledged" in str(health_of(store, "shipping").last_error)
    info = store.subscription_info("$all", "shipping")
    assert info.state is SubscriptionState.STOPPED
    assert "nothing was acknowledged" in str(info.last_error)


@pytest.mark.usefixtures("for_threads")
def test_a_handler_that_hung_after_it_raised_is_shown_as_one_that_hung(store: EventStore) -> None:
    """F15: what is shown is why it stopped, not what went wrong before."""
    released, calls = threading.Event(), []

    def raise_and_hang(events: Events) -> None:
        calls.append(events)
        if len(calls) == 1:
            raise ValueError("at first")
        released.wait(60)

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(
        "shipping", raise_and_hang, ack_timeout=0.3, on_error=Retry(first=0.01)
    )
    try:
        with pytest.raises(DeliveryTimeoutError):
            subscription.join(timeout=PATIENCE)
    finally:
        released.set()
    assert isinstance(subscription.last_error, DeliveryTimeoutError)
    wait_until(lambda: store.subscription_info("$all", "shipping").last_error)
    assert "acknowledged" in str(store.subscription_info("$all", "shipping").last_error)


def test_one_without_a_living_subscriber_is_shown(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F15, G21."""
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    subscriber.die()
    with pytest.raises(SubscriptionLostError, match="its subscriber died"):
        subscription.join(timeout=PATIENCE)
    wait_until(lambda: store.health().subscriptions)
    wait_until(lambda: health_of(store, "shipping").state is SubscriptionState.STOPPED)
    assert "its subscriber died" in str(health_of(store, "shipping").last_error)
    info = store.subscription_info("$all", "shipping")
    assert (info.state, info.owner) == (SubscriptionState.STOPPED, None)
    assert "its subscriber died" in str(info.last_error)


def test_one_that_was_deleted_is_shown(store: EventStore, connect: Connect) -> None:
    """F15, G16."""
    subscription = store.subscribe_to_all_streams("shipping", Handler())
    connect().delete_subscription("$all", "shipping")
    with pytest.raises(SubscriptionLostError, match="was deleted"):
        subscription.join(timeout=PATIENCE)
    wait_until(lambda: health_of(store, "shipping").state is SubscriptionState.STOPPED)
    assert "was deleted" in str(health_of(store, "shipping").last_error)
    assert store.subscriptions() == []


def test_one_that_was_never_connected_is_not_shown(store: EventStore, connect: Connect) -> None:
    """F15: the call that was refused has said why."""
    store.subscribe_to_all_streams("shipping", Handler())
    other = connect()
    with pytest.raises(SubscriptionInUseError):
        other.subscribe_to_all_streams("shipping", Handler())
    wait_until(lambda: other.health().subscriptions == ())
    with pytest.raises(TimeoutError):
        other.join(timeout=0.1)


def test_one_that_gave_up_can_be_paused_and_waited_for_where_it_runs_now(
    store: EventStore, connect: Connect
) -> None:
    """F15: what is shown here no longer runs here."""
    given_up(store)
    other = connect()
    elsewhere = other.subscribe_to_all_streams("shipping", Handler())
    result = store.append_to_stream("order-1", ANY, numbered(2, 2))
    store.wait_for("$all", "shipping", result, timeout=PATIENCE)
    store.pause_subscription("$all", "shipping")
    wait_until(lambda: elsewhere.state is SubscriptionState.PAUSED)


def test_health_can_be_sent_as_json(store: EventStore) -> None:
    """F15, F44: whatever is in it."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    store.subscribe_to_all_streams("billing", Handler())
    given_up(store)
    wait_until(lambda: len(store.health().subscriptions) == 2)

    sent = json.loads(json.dumps(store.health().as_dict()))

    assert sent["running"] is True
    assert sent["stuck"] == []
    states = {each["subscription_name"]: each["state"] for each in sent["subscriptions"]}
    assert states["shipping"] == "stopped"
    assert type(store.health().as_dict()["subscriptions"][0]["state"]) is str


# ── who joins its store hears of it ──────────────────────────────────────────────────────────


def test_join_raises_why_the_only_subscription_gave_up(store: EventStore) -> None:
    """F15: also if it gave up before."""
    given_up(store)
    for _ in range(2):
        with pytest.raises(SubscriptionLostError, match="after 3 attempts") as stopped:
            store.join(timeout=PATIENCE)
        assert isinstance(stopped.value.__cause__, ValueError)


def test_join_raises_as_soon_as_no_subscription_runs_any_more(store: EventStore) -> None:
    """F15: one that was unsubscribed does not run, either."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    running = store.subscribe_to_all_streams("billing", Handler())
    given_up(store)
    outcome = joined(store)
    with pytest.raises(TimeoutError):
        store.join(timeout=0.1)
    assert outcome.empty()
    running.unsubscribe()
    assert isinstance(outcome.get(timeout=PATIENCE), SubscriptionLostError)


def test_join_any_raises_at_the_first(store: EventStore) -> None:
    """F15."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    store.subscribe_to_all_streams("billing", Handler())
    outcome = joined(store, at_the_first=True)
    given_up(store)
    error = outcome.get(timeout=PATIENCE)
    assert isinstance(error, SubscriptionLostError)
    assert "shipping" in str(error)


def test_join_goes_on_while_another_one_runs_and_after_it_was_subscribed_to_again(
    store: EventStore,
) -> None:
    """F15."""
    given_up(store)
    store.subscribe_to_all_streams("shipping", Handler())
    with pytest.raises(TimeoutError):
        store.join(timeout=0.1)
    with pytest.raises(TimeoutError):
        store.join(timeout=0.1, any=True)


def unsubscribe(subscription: Subscription, store: EventStore) -> None:
    subscription.unsubscribe()


def forget(subscription: Subscription, store: EventStore) -> None:
    given_up(store, "other")
    store.unsubscribe_from_all_streams("other")
    subscription.unsubscribe()


@pytest.mark.parametrize("end", [unsubscribe, forget])
def test_join_does_not_end_when_nobody_is_subscribed(
    store: EventStore, end: Callable[[Subscription, EventStore], None]
) -> None:
    """F15: a store that only appends can be joined."""
    end(store.subscribe_to_all_streams("billing", Handler()), store)
    with pytest.raises(TimeoutError):
        store.join(timeout=0.1)


def test_join_of_a_store_that_is_closed_is_no_error_though_one_gave_up_before(
    store: EventStore,
) -> None:
    """F15, G26: the rest was asked to stop."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    store.subscribe_to_all_streams("billing", Handler())
    given_up(store)
    outcome = joined(store)
    store.close()
    assert outcome.get(timeout=PATIENCE) is None


def test_join_raises_in_every_thread(store: EventStore, new_subscriber: NewSubscriber) -> None:
    """F15."""
    subscriber = new_subscriber()
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    outcomes = [joined(store) for _ in range(3)]
    subscriber.die()
    for outcome in outcomes:
        assert isinstance(outcome.get(timeout=PATIENCE), EventStoreError)
