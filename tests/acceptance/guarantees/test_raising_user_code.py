"""User code that raises harms its own subscription, and everybody can see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    Config,
    EventData,
    Events,
    EventStore,
    EventStoreError,
    JsonSerializer,
    RecordedEvent,
    Retry,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Record, Settings
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

QUICKLY = Retry(first=0.01, longest=0.02)


def append(store: EventStore, count: int = 6) -> None:
    events = [EventData("Bad" if n == 3 else "Good", n) for n in range(1, count + 1)]
    store.append_to_stream("s", 0, events)


class Broken(Exception):  # noqa: N818 -- not an error of the store
    """What the user's code raises."""


def broken(message: str) -> Any:
    raise Broken(message)


def handler(store: EventStore, seen: Seen, name: str) -> Any:
    def handle(events: Events) -> None:
        if any(event.data == 3 for event in events):
            broken("in the handler")
        seen.handle(events)

    return store.subscribe_to_all_streams(name, handle, max_batch_size=1, on_error=QUICKLY)


def selector(store: EventStore, seen: Seen, name: str) -> Any:
    def select(event: RecordedEvent) -> bool:
        return event.data != 3 or bool(broken("in the selector"))

    return store.subscribe_to_all_streams(name, seen.handle, selector=select, on_error=QUICKLY)


def mapper(store: EventStore, seen: Seen, name: str) -> Any:
    def map_(event: RecordedEvent) -> RecordedEvent:
        return event if event.data != 3 else broken("in the mapper")

    return store.subscribe_to_all_streams(name, seen.handle, mapper=map_, on_error=QUICKLY)


@pytest.mark.parametrize("subscribe", [handler, selector, mapper])
def test_user_code_that_raises_harms_its_own_subscription_visibly(
    observer: EventStore,
    store: EventStore,
    record: Record,
    subscribe: Callable[[EventStore, Seen, str], Any],
) -> None:
    """G30, G15: retried for ever by default, never skipped; others go on."""
    seen, actor, function = Seen(), Seen(), Seen()
    store.subscribe_to_all_streams("actor", record(actor))
    store.subscribe_to_all_streams("function", function.handle)
    subscription = subscribe(store, seen, "broken")
    append(store)
    wait_until(lambda: subscription.attempts >= 3)
    assert subscription.state is SubscriptionState.RETRYING
    assert subscription.last_error is not None
    assert "in the" in f"{subscription.last_error} {subscription.last_error.__cause__}"
    assert set(seen.positions) <= {1, 2}
    wait_until(lambda: actor.positions == function.positions == [1, 2, 3, 4, 5, 6])
    health = {part.subscription_name: part for part in store.health().subscriptions}
    assert health["broken"].state is SubscriptionState.RETRYING
    assert health["broken"].last_error is not None
    assert health["function"].last_error is None
    assert store.health().running

    # From another process, too.
    def told() -> bool:
        info = observer.subscription_info("$all", "broken")
        told = info.last_error is not None and "in the" in info.last_error and info.attempts > 0
        return told and info.state is SubscriptionState.RETRYING

    wait_until(told)
    assert observer.subscription_info("$all", "broken").checkpoint <= 2


class Picky(JsonSerializer):
    """Cannot read threes."""

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return super().deserialize(payload, payload_type) if payload != b"3" else broken("no three")


def test_a_serializer_that_raises_harms_the_subscriptions_that_need_it(
    settings: Settings, observer: EventStore, record: Record
) -> None:
    """G30, G15: a subscription to another stream and the appends go on."""
    seen, other = Seen(), Seen()
    with EventStore.connect(Config(**settings, serializer=Picky())) as store:
        broken = store.subscribe_to_stream("s", "broken", record(seen), on_error=QUICKLY)
        store.subscribe_to_stream("t", "fine", record(other))
        append(store)
        wait_until(lambda: broken.attempts >= 3)
        assert broken.state is SubscriptionState.RETRYING
        assert "no three" in f"{broken.last_error} {getattr(broken.last_error, '__cause__', '')}"
        assert set(seen.positions) <= {1, 2}
        store.append_to_stream("t", 0, [EventData("Good", 4)])
        wait_until(lambda: other.positions == [1])
        wait_until(lambda: observer.subscription_info("s", "broken").last_error is not None)
    # The next version of the service can read it: it goes on where it stood.
    with EventStore.connect(Config(**settings)) as store:
        repaired = Seen()
        start = store.subscription_info("s", "broken").checkpoint + 1
        store.subscribe_to_stream("s", "broken", record(repaired))
        wait_until(lambda: repaired.positions == list(range(start, 7)))


def test_a_handler_may_have_a_limited_number_of_attempts(
    observer: EventStore, store: EventStore
) -> None:
    """G30, G32: then it stops, loudly, and its checkpoint stays."""
    calls: list[int] = []

    def handle(events: Events) -> None:
        calls.append(events[0].position)
        broken("again")

    retry = Retry(first=0.01, longest=0.01, attempts=3)
    subscription = store.subscribe_to_all_streams("sub", handle, on_error=retry)
    append(store)
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    assert calls[-3:] == [1, 1, 1]
    assert calls == [1] * len(calls)
    with pytest.raises((EventStoreError, Broken)) as stopped:
        subscription.join(timeout=PATIENCE)
    assert "again" in f"{stopped.value} {stopped.value.__cause__}"
    wait_until(lambda: observer.subscription_info("$all", "sub").last_error is not None)
    info = observer.subscription_info("$all", "sub")
    assert (info.state, info.checkpoint, info.owner) == (SubscriptionState.STOPPED, 0, None)
    assert store.health().running


def test_a_handler_that_recovers_loses_nothing(store: EventStore) -> None:
    """G30, G13, G14: the batch comes again, and its error is forgotten."""
    seen, failures = Seen(), [1, 1, 1]

    def handle(events: Events) -> None:
        if failures and 3 in [event.position for event in events]:
            failures.pop()
            broken("for now")
        seen.handle(events)

    subscription = store.subscribe_to_all_streams("sub", handle, on_error=QUICKLY)
    append(store)
    wait_until(lambda: subscription.checkpoint == 6)
    assert seen.positions == [1, 2, 3, 4, 5, 6]
    wait_until(lambda: subscription.attempts == 0)
    assert subscription.state in {SubscriptionState.LIVE, SubscriptionState.CATCHING_UP}
