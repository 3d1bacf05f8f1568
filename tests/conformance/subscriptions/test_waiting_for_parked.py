"""Who waits for an event that is parked is told so; who waits for the head is not held up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    DeliveryTimeoutError,
    EventData,
    EventParkedError,
    Events,
    EventStore,
    Park,
    Subscription,
    SubscriptionNotFoundError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.test_parking import ANY, PARK, Target, append
from tests.support.waiting import PATIENCE, wait_until

Wait = Callable[[Any, float], None]


@pytest.fixture(params=["handle", "name", "elsewhere"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the caller waits: at the handle, by name beside it, or in another store."""
    return str(request.param)


def waiting(place: str, connect: Connect, store: EventStore, running: Subscription) -> Wait:
    if place == "handle":
        return running.wait_for
    waiter = store if place == "name" else connect()
    return lambda what, timeout: waiter.wait_for("$all", "shipping", what, timeout)


def catching_up(
    place: str, connect: Connect, store: EventStore, running: Subscription
) -> Callable[[float], None]:
    if place == "handle":
        return running.caught_up
    waiter = store if place == "name" else connect()
    return lambda timeout: waiter.caught_up("$all", "shipping", timeout)


def test_who_waits_for_a_parked_event_is_told(connect: Connect, place: str) -> None:
    """G38: of an append, of an event, or of a position; until it is retried or skipped."""
    store = connect()
    append(store, 1, 2, 3)
    several = store.append_to_stream("even", ANY, numbered(4, 5))
    target = Target(1)
    running = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: running.checkpoint == 5)
    wait = waiting(place, connect, store, running)
    events = store.read_all_streams_forward()
    with pytest.raises(EventParkedError, match=r"position 1, retry or .*refused 1") as told:
        wait(events[0], PATIENCE)
    assert (told.value.position, told.value.subscription_name) == (1, "shipping")
    with pytest.raises(EventParkedError, match="position 3"):
        wait(3, PATIENCE)
    wait([events[1], several], PATIENCE)
    with pytest.raises(EventParkedError, match="position 3"):
        wait([several, events[2], events[1]], PATIENCE)
    store.skip_parked("$all", "shipping", reason="of no use", limit=1)
    wait(events[0], PATIENCE)
    target.refused.clear()
    store.retry_parked("$all", "shipping")
    wait_until(lambda: not store.parked("$all", "shipping"))
    wait(events[2], PATIENCE)


def test_any_event_of_an_append_counts(connect: Connect, place: str) -> None:
    """G38: also one in the middle."""
    store = connect()
    result = store.append_to_stream("order-1", ANY, numbered(1, 3))
    running = store.subscribe_to_all_streams("shipping", Target(2), on_error=PARK, keep_order=False)
    wait_until(lambda: running.checkpoint == 3)
    with pytest.raises(EventParkedError, match="position 2"):
        waiting(place, connect, store, running)(result, PATIENCE)


def test_who_waits_already_is_told_when_it_is_parked(connect: Connect, place: str) -> None:
    """G38: before the others that are waited for are acknowledged."""
    store = connect()
    append(store, 1, 2)
    in_last, may_end = threading.Event(), threading.Event()

    def handle(events: Events) -> None:
        if events[0].data["event"] == 1:
            raise Park("no such product")
        in_last.set()
        assert may_end.wait(PATIENCE)

    running = store.subscribe_to_all_streams("shipping", handle, max_batch_size=1)
    assert in_last.wait(PATIENCE)
    try:
        with pytest.raises(EventParkedError, match="position 1"):
            waiting(place, connect, store, running)([*store.read_all_streams_forward()], PATIENCE)
    finally:
        may_end.set()


def test_caught_up_waits_for_what_is_stored_now(connect: Connect, place: str) -> None:
    """G25, G38: parked events and those that are left out do not hold it up; a pause does."""
    store = connect()
    append(store, 1, 2, 3, 4)
    for number in range(3):
        store.append_to_stream("other", ANY, [EventData("Other", number)])
    running = store.subscribe_to_all_streams(
        "shipping", Target(1), on_error=PARK, event_types="Numbered"
    )
    catch_up = catching_up(place, connect, store, running)
    catch_up(PATIENCE)
    assert store.subscription_info("$all", "shipping").parked == 2
    assert running.checkpoint == 7
    running.pause()
    append(store, 6)
    with pytest.raises(DeliveryTimeoutError, match="position 8 was not acknowledged"):
        catch_up(0.1)
    running.resume()
    catch_up(PATIENCE)
    assert running.checkpoint == 8


def test_a_stream_without_events_is_caught_up_with(store: EventStore) -> None:
    running = store.subscribe_to_stream("missing", "shipping", Target())
    running.caught_up(PATIENCE)
    store.caught_up("missing", "shipping", PATIENCE)
    running.unsubscribe()
    store.caught_up("missing", "shipping", PATIENCE)
    with pytest.raises(SubscriptionNotFoundError):
        store.caught_up("missing", "other", PATIENCE)


def test_deleted_events_do_not_hold_it_up(connect: Connect, place: str) -> None:
    """G25: also those at the end."""
    store = connect(enable_hard_deletes=True)
    append(store, 1, 2)
    store.delete_stream("even", ANY, hard=True)
    running = store.subscribe_to_all_streams("shipping", Target())
    catching_up(place, connect, store, running)(PATIENCE)
    assert running.checkpoint == 2


def test_a_reset_counts_at_once_for_who_waits(connect: Connect, place: str) -> None:
    """G25: also before its owner has heard of it."""
    store = connect()
    append(store, 1, 2, 3)
    may_handle, handled = threading.Event(), list[int]()

    def handle(events: Events) -> None:
        assert may_handle.wait(PATIENCE)
        handled.extend(event.position for event in events)

    running = store.subscribe_to_all_streams("shipping", handle)
    catch_up = catching_up(place, connect, store, running)
    wait = waiting(place, connect, store, running)
    may_handle.set()
    catch_up(PATIENCE)
    may_handle.clear()
    store.reset_subscription("$all", "shipping", 0)
    try:
        with pytest.raises(DeliveryTimeoutError):
            catch_up(0.05)
        with pytest.raises(DeliveryTimeoutError):
            wait(3, 0.05)
    finally:
        may_handle.set()
    wait(3, PATIENCE)
    catch_up(PATIENCE)
    assert handled == [1, 2, 3, 1, 2, 3]


def test_who_waits_at_a_former_owner_hears_of_what_its_successor_does(connect: Connect) -> None:
    """G25, G38: what was parked, and what a reset gave it again."""
    store, another = connect(), connect()
    may_handle = threading.Event()
    may_handle.set()

    def handle(events: Events) -> None:
        assert may_handle.wait(PATIENCE)
        target(events)

    target = Target(9)
    former = store.subscribe_to_all_streams("shipping", handle, on_error=PARK, when_owned="wait")
    append(store, 1, 2)
    former.caught_up(PATIENCE)
    present = another.subscribe_to_all_streams("shipping", handle, on_error=PARK, when_owned="wait")

    def is_handed_over() -> bool:
        if present.state is SubscriptionState.WAITING is not former.state:
            store.reset_subscription("$all", "shipping", 2)
        return former.state is SubscriptionState.WAITING is not present.state

    wait_until(is_handed_over)
    append(store, 9)
    wait_until(lambda: store.subscription_info("$all", "shipping").parked == 1)
    with pytest.raises(EventParkedError, match="position 3"):
        former.wait_for(3, PATIENCE)
    former.caught_up(PATIENCE)
    may_handle.clear()
    try:
        store.reset_subscription("$all", "shipping", 0)
        with pytest.raises(DeliveryTimeoutError):
            former.caught_up(0.05)
    finally:
        may_handle.set()


@pytest.mark.parametrize("timeout", [0, 1e-6])
def test_who_waits_no_time_is_told_how_it_stands(
    connect: Connect, place: str, timeout: float
) -> None:
    """G25: whatever the storage takes to answer."""
    store = connect()
    append(store, 1)
    running = store.subscribe_to_all_streams("shipping", Target())
    catch_up = catching_up(place, connect, store, running)
    wait = waiting(place, connect, store, running)
    catch_up(PATIENCE)
    wait_until(lambda: store.subscription_info("$all", "shipping").checkpoint == 1)
    catch_up(timeout)
    wait(1, timeout)
    running.pause()
    append(store, 2)
    with pytest.raises(DeliveryTimeoutError, match="position 2 was not acknowledged"):
        catch_up(timeout)
    with pytest.raises(DeliveryTimeoutError, match="position 2 was not acknowledged"):
        wait(2, timeout)


@pytest.mark.parametrize("timeout", ["1", None, -1, float("nan"), True])
def test_a_timeout_that_is_none_is_refused(connect: Connect, place: str, timeout: float) -> None:
    store = connect()
    running = store.subscribe_to_all_streams("shipping", Target())
    for wait in (
        catching_up(place, connect, store, running),
        lambda most: waiting(place, connect, store, running)(0, most),
    ):
        with pytest.raises((TypeError, ValueError), match="timeout must be"):
            wait(timeout)
