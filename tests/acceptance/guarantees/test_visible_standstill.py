"""A subscription that makes no progress can be seen, from inside and from outside."""

from __future__ import annotations

from eventstore import EventData, EventStore, ExpectedVersion, SubscriptionHealth, SubscriptionState
from tests.acceptance.guarantees.conftest import Record, Start, wait_for_checkpoint
from tests.support.recorder import Seen, Stuck
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"


def health_of(store: EventStore, name: str) -> SubscriptionHealth:
    (found,) = [s for s in store.health().subscriptions if s.subscription_name == name]
    return found


def append(store: EventStore, count: int) -> None:
    events = [EventData("X", number) for number in range(count)]
    store.append_to_stream("s", ExpectedVersion.ANY, events)


def test_a_handler_that_hangs_shows_in_lag_and_health_and_no_lag_shows_when_it_is_done(
    observer: EventStore, store: EventStore
) -> None:
    """G32."""
    stuck, quick = Stuck(), Seen()
    subscription = store.subscribe_to_all_streams(NAME, stuck)
    store.subscribe_to_all_streams("quick", quick.handle)
    append(store, 5)
    assert stuck.entered.wait(PATIENCE)
    wait_until(lambda: observer.subscription_info("$all", NAME).lag_seconds > 0.3)
    info = observer.subscription_info("$all", NAME)
    assert (info.checkpoint, info.head, info.lag_events) == (0, 5, 5)
    wait_until(lambda: health_of(store, NAME).seconds_without_progress > 0.3)
    assert health_of(store, NAME).in_flight > 0
    wait_until(lambda: observer.subscription_info("$all", "quick").lag_seconds == 0)
    wait_until(lambda: health_of(store, "quick").seconds_without_progress == 0)
    stuck.released.set()
    wait_until(lambda: subscription.checkpoint == 5)
    wait_until(lambda: observer.subscription_info("$all", NAME).lag_seconds == 0)
    assert observer.subscription_info("$all", NAME).lag_events == 0
    wait_until(lambda: health_of(store, NAME).seconds_without_progress == 0)


def test_an_actor_that_does_not_acknowledge_shows_as_full(
    observer: EventStore, store: EventStore, record: Record
) -> None:
    """G32: the state is stored, so that another process sees it."""
    seen = Seen()
    store.subscribe_to_all_streams(NAME, record(seen, acks=False), buffer_size=3)
    append(store, 5)
    wait_until(lambda: observer.subscription_info("$all", NAME).state is SubscriptionState.FULL)
    assert health_of(store, NAME).state is SubscriptionState.FULL
    wait_until(lambda: observer.subscription_info("$all", NAME).lag_seconds > 0.2)
    assert observer.subscription_info("$all", NAME).lag_events == 5


def test_a_subscription_whose_owner_was_killed_shows_no_living_owner_and_its_lag_grows(
    start: Start, observer: EventStore
) -> None:
    """G32, G17: nobody is left to say that nobody is left."""
    (service,) = start()
    service.do("subscribe", name=NAME).wait("subscribed")
    append(observer, 2)
    wait_for_checkpoint(observer, 2)
    assert observer.subscription_info("$all", NAME).owner is not None
    service.kill9()
    append(observer, 3)
    wait_until(lambda: observer.subscription_info("$all", NAME).owner is None)
    info = observer.subscription_info("$all", NAME)
    assert info.state in {SubscriptionState.WAITING, SubscriptionState.STOPPED}
    assert info.lag_events == 3
    wait_until(lambda: observer.subscription_info("$all", NAME).lag_seconds > 0.2)


def test_a_standby_shows_that_it_waits(store: EventStore, start: Start, record: Record) -> None:
    """G32, G17."""
    (owner,) = start()
    owner.do("subscribe", name=NAME).wait("subscribed")
    standby = store.subscribe_to_all_streams(NAME, record(Seen()))
    assert standby.state is SubscriptionState.WAITING
    assert health_of(store, NAME).state is SubscriptionState.WAITING
    held = store.subscription_info("$all", NAME)
    assert held.owner is not None
    wait_until(lambda: store.subscription_info("$all", NAME).state is SubscriptionState.LIVE)


def test_why_it_gave_up_can_be_read_after_its_process_was_killed(
    start: Start, observer: EventStore
) -> None:
    """F15, G32: the row says so from then on, also when every lease is over."""
    (service,) = start()
    service.do("subscribe_stuck", name=NAME, ack_timeout=0.2)
    append(observer, 2)
    service.wait("stuck")
    wait_until(lambda: observer.subscriptions()[0].state is SubscriptionState.STOPPED)
    service.kill9()
    wait_until(lambda: observer.subscriptions()[0].owner is None)
    (info,) = observer.subscriptions()
    assert (info.state, info.checkpoint) == (SubscriptionState.STOPPED, 0)
    assert "nothing was acknowledged for 0.2 s" in str(info.last_error)
