"""A batch that fails comes again in smaller ones, and its error names the event."""

from __future__ import annotations

import random
from typing import Any

import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    Retry,
    StorageError,
    SubscriptionHealth,
    SubscriptionInfo,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
AT_ONCE = Retry(first=0, longest=0)


class Relay:
    """Posts each event to a target that refuses some of them."""

    def __init__(self, refuses: Any) -> None:
        self.posts: list[int] = []
        self.batches: list[list[int]] = []
        self._refuses = refuses

    def __call__(self, events: Events) -> None:
        self.batches.append(numbers(events))
        for number in self.batches[-1]:
            self.posts.append(number)
            if self._refuses(number):
                raise ValueError(f"no answer about {number}")


def summary(failing: SubscriptionInfo | SubscriptionHealth) -> str | None:
    """Return the first line of its last error: what is below is the traceback."""
    return None if failing.last_error is None else failing.last_error.partition("\n")[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_relay_gets_on_whose_target_fails_often(store: EventStore, seed: int) -> None:
    """F22, G13, G14: 30 % of the posts; with all options at their defaults but the pause."""
    events, chance = 100, random.Random(seed)
    most = iter(range(50 * events))
    relay = Relay(lambda _: next(most, None) is not None and chance.random() < 0.3)
    store.append_to_stream("order-1", ANY, numbered(1, events))

    subscription = store.subscribe_to_all_streams("shipping", relay, on_error=AT_ONCE)

    wait_until(lambda: subscription.checkpoint == events)
    assert len(relay.posts) < 3 * events
    assert [batch[0] for batch in relay.batches] == sorted(batch[0] for batch in relay.batches)


def test_an_event_that_always_fails_is_alone_in_the_end(store: EventStore) -> None:
    """F22, G15: everything before it is delivered; the error names it, and it alone."""
    store.append_to_stream("other", ANY, numbered(1_000, 1_003))
    store.append_to_stream("order-1", ANY, numbered(1, 100))
    poison = store.read_stream_forward("order-1", 57, 1)[0]
    relay = Relay(lambda number: number == 57)

    subscription = store.subscribe_to_stream(
        "order-1", "shipping", relay, on_error=Retry(first=0.01, longest=0.01)
    )

    wait_until(lambda: subscription.checkpoint == 56)
    wait_until(lambda: relay.batches[-1] == [57])
    named = (
        "ValueError('no answer about 57') (batch of 1 event from position 57,"
        f" stream 'order-1', type 'Numbered', id {poison.event_id})"
    )
    wait_until(lambda: summary(store.subscription_info("order-1", "shipping")) == named)
    [health] = store.health().subscriptions
    assert summary(health) == named
    assert isinstance(subscription.last_error, ValueError)
    assert len(relay.batches) < 100


def test_the_error_names_the_first_event_of_the_batch_in_what_is_subscribed_to(
    store: EventStore,
) -> None:
    """F22, G30: before the batch has shrunk; positions of $all are global."""
    store.append_to_stream("other", ANY, numbered(1_000, 1_003))
    store.append_to_stream("order-1", ANY, numbered(1, 10))
    first = store.read_stream_forward("order-1", 1, 1)[0]
    relay = Relay(lambda number: number == 7)

    subscription = store.subscribe_to_all_streams("shipping", relay, on_error=Retry(first=30.0))

    wait_until(lambda: subscription.last_error is not None)
    assert summary(store.health().subscriptions[0]) == (
        "ValueError('no answer about 7') (batch of 10 events from position 5,"
        f" stream 'order-1', type 'Numbered', id {first.event_id})"
    )


def test_what_the_handler_acknowledged_itself_is_not_named(store: EventStore) -> None:
    """F22, G19."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    def handle(events: Events) -> None:
        events.subscription.ack(events[0])
        raise ValueError("after the first")

    subscription = store.subscribe_to_all_streams("shipping", handle, on_error=Retry(first=30.0))

    wait_until(lambda: subscription.last_error is not None)
    assert "(batch of 3 events from position 2," in str(store.health().subscriptions[0].last_error)


def test_a_mapped_batch_is_named_by_its_place(store: EventStore) -> None:
    """F22, G30."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    def handle(events: Events) -> None:
        raise ValueError(list(events))

    subscription = store.subscribe_to_all_streams(
        "shipping", handle, mapper=lambda event: event.position, on_error=Retry(first=30.0)
    )

    wait_until(lambda: subscription.last_error is not None)
    assert summary(store.health().subscriptions[0]) == (
        "ValueError([1, 2, 3]) (batch of 3 events from position 1, stream 'order-1')"
    )


def test_an_event_that_cannot_be_selected_is_named(store: EventStore) -> None:
    """F22, G30: those before it are delivered, in batches of any size."""
    store.append_to_stream("order-1", ANY, numbered(1, 10))
    third = store.read_all_streams_forward(3, 1)[0]
    relay = Relay(lambda _: False)

    def selector(event: RecordedEvent) -> bool:
        if event.position == 3:
            raise LookupError("no rule")
        return True

    subscription = store.subscribe_to_all_streams(
        "shipping", relay, selector=selector, on_error=Retry(first=0.01, longest=0.01)
    )

    wait_until(lambda: subscription.checkpoint == 2 and subscription.attempts > 1)
    assert summary(store.health().subscriptions[0]) == (
        "LookupError('no rule') (position 3, stream 'order-1', type 'Numbered',"
        f" id {third.event_id})"
    )
    assert relay.batches == [[1, 2]]


def test_batches_grow_again_when_nothing_fails(store: EventStore) -> None:
    """F22: to the size that was asked for, and no further."""
    failures = iter(range(3))
    relay = Relay(lambda _: next(failures, None) is not None)
    store.append_to_stream("order-1", ANY, numbered(1, 200))

    subscription = store.subscribe_to_all_streams(
        "shipping", relay, max_batch_size=8, on_error=AT_ONCE
    )

    wait_until(lambda: subscription.checkpoint == 200)
    sizes = [len(batch) for batch in relay.batches]
    assert sizes[:4] == [8, 4, 2, 1]
    assert sizes[3:-1] == sorted(sizes[3:-1])
    assert set(sizes[3:-1]) == {1, 2, 4, 8}


def test_attempts_are_of_an_event_that_is_alone(store: EventStore) -> None:
    """F22, G30: to find it costs none of them, and a pause of `first` each time."""
    store.append_to_stream("order-1", ANY, numbered(1, 8))
    relay = Relay(lambda number: number == 5)

    subscription = store.subscribe_to_all_streams(
        "shipping", relay, on_error=Retry(first=0, longest=0, attempts=3)
    )

    with pytest.raises(SubscriptionLostError, match=r"3 attempts: .* 1 event from position 5,"):
        subscription.join(PATIENCE)
    assert subscription.checkpoint == 4
    assert relay.batches == [
        [*range(1, 9)],
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [5, 6],
        *[[5]] * 3,
    ]
    assert subscription.attempts == 3


def test_what_looks_like_an_outage_uses_up_no_attempt(store: EventStore) -> None:
    """G30: connections, timeouts, the storage, and what `outage` names."""

    class TargetAwayError(Exception):
        pass

    away = [ConnectionResetError(), TimeoutError(), StorageError("away"), TargetAwayError()] * 2
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    retry = Retry(first=0, longest=0, attempts=2, outage=(TargetAwayError,))

    def handle(events: Events) -> None:
        if away:
            raise away.pop()

    subscription = store.subscribe_to_all_streams("shipping", handle, on_error=retry)

    wait_until(lambda: subscription.checkpoint == 1)
    assert subscription.state is not SubscriptionState.STOPPED


def test_the_last_error_keeps_the_traceback_of_the_newest_attempt(store: EventStore) -> None:
    """F22, G30: below the summary, bounded, for every process."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    calls: list[int] = []

    def handle(events: Events) -> None:
        calls.append(1)
        raise ValueError("x" * 100_000 + str(len(calls)))

    subscription = store.subscribe_to_all_streams(
        "shipping", handle, on_error=Retry(first=0, longest=0, attempts=2)
    )

    with pytest.raises(SubscriptionLostError):
        subscription.join(PATIENCE)
    wait_until(lambda: store.subscription_info("$all", "shipping").owner is None)
    stored, [health] = store.subscription_info("$all", "shipping"), store.health().subscriptions
    for shown in (stored.last_error, health.last_error):
        assert shown is not None
        assert "Traceback (most recent call last)" in shown.splitlines()[1]
        assert ", in handle" in shown
        assert len(shown) < 15_000


def test_once_recovered_nothing_is_named(store: EventStore) -> None:
    """F22, G30."""
    failures = iter(range(2))
    relay = Relay(lambda _: next(failures, None) is not None)
    store.append_to_stream("order-1", ANY, numbered(1, 8))

    subscription = store.subscribe_to_all_streams("shipping", relay, on_error=AT_ONCE)

    wait_until(lambda: subscription.checkpoint == 8)
    wait_until(lambda: store.subscription_info("$all", "shipping").last_error is None)
    assert store.health().subscriptions[0].last_error is None
    assert subscription.last_error is None
