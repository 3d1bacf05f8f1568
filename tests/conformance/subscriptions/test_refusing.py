"""An actor refuses an event: it comes again, is skipped, or stops the subscription."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    Nacked,
    Retry,
    SubscriptionLostError,
    SubscriptionState,
    UnexpectedAckError,
)
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
AT_ONCE = Retry(first=0, longest=0)


def test_a_refused_event_comes_again_with_all_after_it(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G13, G14, G19: in a new run; those before it are acknowledged."""
    store.append_to_stream("order-1", ANY, numbered(1, 6))
    subscription = store.subscribe_to_all_streams(
        "shipping", subscriber.ref, max_batch_size=2, on_error=AT_ONCE
    )
    subscriber.subscribed()
    first, second, third = (subscriber.batch() for _ in range(3))

    second.subscription.nack(second[0], "retry", reason="no answer")

    subscriber.subscribed()
    again = subscriber.batch()
    assert numbers(again) == [3, 4]
    assert subscription.checkpoint == 2
    assert isinstance(subscription.last_error, Nacked)
    assert subscription.attempts == 1
    for stale in (first, second, third[1]):
        with pytest.raises(SubscriptionLostError):
            subscription.ack(stale)
    with pytest.raises(SubscriptionLostError):
        subscription.nack(third[0], "skip", reason="too late")
    subscription.ack(again)
    subscription.ack(subscriber.batch())
    wait_until(lambda: subscription.checkpoint == 6)
    assert subscription.last_error is None


def test_a_refused_event_is_skipped(store: EventStore, subscriber: Subscriber) -> None:
    """G15: it alone."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    subscription.nack(subscriber.batch()[1], "skip", reason="no such product")

    subscriber.subscribed()
    rest = subscriber.batch()
    assert numbers(rest) == [3, 4]
    subscription.ack(rest)
    wait_until(lambda: subscription.checkpoint == 4)
    assert store.health().subscriptions[0].skipped == 1


def test_a_refused_event_stops_the_subscription(
    store: EventStore, subscriber: Subscriber, new_subscriber: NewSubscriber
) -> None:
    """G13, G30: with the reason; it is delivered to the next subscriber."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    subscription.nack(subscriber.batch()[1], "stop", reason="the licence has expired")

    with pytest.raises(SubscriptionLostError, match="by its subscriber: the licence has expired"):
        subscription.join(PATIENCE)
    successor = new_subscriber()
    store.subscribe_to_all_streams("shipping", successor.ref)
    successor.subscribed()
    assert numbers(successor.batch()) == [2, 3]


def test_refusals_are_attempts(store: EventStore, subscriber: Subscriber) -> None:
    """G30."""
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    retry = Retry(first=0, longest=0, attempts=2, then="skip")
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, on_error=retry)
    for _ in range(2):
        subscriber.subscribed()
        subscription.nack(subscriber.batch()[0], "retry", reason="no answer")

    subscriber.subscribed()
    assert numbers(subscriber.batch()) == [2]


def test_a_function_may_refuse_too(store: EventStore) -> None:
    """G13, G19: what it returns afterwards acknowledges nothing."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    batches: list[list[int]] = []

    def handle(events: Events) -> None:
        batches.append(numbers(events))
        if len(batches) == 1:
            events.subscription.nack(events[1], "retry", reason="no answer")

    subscription = store.subscribe_to_all_streams("shipping", handle, on_error=AT_ONCE)

    wait_until(lambda: subscription.checkpoint == 3)
    assert batches == [[1, 2, 3], [2, 3]]


def test_what_is_no_delivered_event_cannot_be_refused(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G19: nothing changed."""
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription: Any = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    batch = subscriber.batch()
    subscription.ack(batch[0])
    wait_until(lambda: subscription.checkpoint == 1)

    [read] = store.read_all_streams_forward(2, 1)
    refused: list[tuple[Any, Any, Any, type[Exception], str]] = [
        (read, "skip", "why", UnexpectedAckError, "never delivered"),
        (batch[0], "skip", "why", UnexpectedAckError, "acknowledged already"),
        (2, "skip", "why", TypeError, "event must be a delivered event: 2"),
        (batch, "skip", "why", TypeError, "event must be a delivered event"),
        (batch[1], "forget", "why", ValueError, "action must be one of 'retry', 'skip', 'park'"),
        (batch[1], "skip", "", ValueError, "reason must not be empty"),
    ]
    for event, action, reason, error, message in refused:
        with pytest.raises(error, match=message):
            subscription.nack(event, action, reason=reason)
    subscription.ack(batch[1])
    wait_until(lambda: subscription.checkpoint == 2)
    assert subscription.state is not SubscriptionState.RETRYING


def test_attempts_of_an_event_do_not_count_for_the_next_one(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G19: also where a refusal acknowledges the one that was refused before."""
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    retry = Retry(first=0, longest=0, attempts=3, then="skip")
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref, on_error=retry)
    for _ in range(2):
        subscription.nack(refused(subscriber)[0], "retry", reason="first")

    subscription.nack(refused(subscriber)[1], "retry", reason="second, for the first time")

    assert numbers(refused(subscriber)) == [2]
    assert subscription.attempts == 1


def refused(subscriber: Subscriber) -> Events:
    """Return the first batch of a new run."""
    subscriber.subscribed()
    return subscriber.batch()
