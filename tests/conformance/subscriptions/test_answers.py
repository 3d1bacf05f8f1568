"""What a handler may answer instead of acknowledging: skip an event, wait, stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    Retry,
    RetryAfter,
    Skip,
    Stop,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import flat, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
AT_ONCE = Retry(first=0, longest=0)
NEVER = Retry(first=1_000, longest=1_000)
"""For answers that are followed by no pause."""


class Answering:
    """A handler that remembers its batches, and answers as it is told."""

    def __init__(self, answer: Callable[[Events], None]) -> None:
        self.batches: list[list[int]] = []
        self._answer = answer

    def __call__(self, events: Events) -> None:
        self.batches.append(numbers(events))
        self._answer(events)


def test_one_event_of_a_batch_is_skipped(store: EventStore) -> None:
    """G15, G30: those before it are acknowledged, the rest comes again, without a pause."""
    store.append_to_stream("order-1", ANY, numbered(1, 5))

    def answer(events: Events) -> None:
        for event in events:
            if event.data["event"] == 3:
                raise Skip("no such product", event)

    handler = Answering(answer)
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=NEVER)

    wait_until(lambda: subscription.checkpoint == 5)
    assert handler.batches == [[1, 2, 3, 4, 5], [4, 5]]
    [health] = store.health().subscriptions
    assert (health.skipped, health.last_error, health.attempts) == (1, None, 0)


def test_an_event_is_found_by_smaller_batches_and_skipped(store: EventStore) -> None:
    """G15: a skip that names none waits until the event is alone."""
    store.append_to_stream("order-1", ANY, numbered(1, 8))

    def answer(events: Events) -> None:
        if any(event.data["event"] == 6 for event in events):
            raise Skip("no such product")

    handler = Answering(answer)
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=NEVER)

    wait_until(lambda: subscription.checkpoint == 8)
    assert handler.batches[:6] == [[*range(1, 9)], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6]]
    assert flat(handler.batches[6:]) == [7, 8]
    assert store.health().subscriptions[0].skipped == 1


def test_a_skip_is_stored(store: EventStore) -> None:
    """G13: who subscribes again goes on after it."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))

    def answer(events: Events) -> None:
        raise Skip("no such product")

    subscription = store.subscribe_to_all_streams("shipping", Answering(answer))
    wait_until(lambda: subscription.checkpoint == 1)
    subscription.unsubscribe()

    assert store.subscription_info("$all", "shipping").checkpoint == 1


def test_an_answer_about_an_acknowledged_event_is_a_failure(store: EventStore) -> None:
    """G15: it is not counted as skipped, and it is said."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    def answer(events: Events) -> None:
        if len(events) == 3:
            events.ack(events[1])
            raise Skip("too late", events[0])

    handler = Answering(answer)
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=AT_ONCE)

    wait_until(lambda: subscription.checkpoint == 3)
    assert handler.batches == [[1, 2, 3], [3]]
    assert store.health().subscriptions[0].skipped == 0


@pytest.mark.parametrize("foreign", ["read", "of an earlier batch"])
def test_an_answer_about_a_foreign_event_is_a_failure(store: EventStore, foreign: str) -> None:
    """G15: nothing is skipped."""
    store.append_to_stream("order-1", ANY, numbered(1, 2))
    other = [*store.read_all_streams_forward(1, 1)] if foreign == "read" else []

    def answer(events: Events) -> None:
        if other:
            raise Skip("not this one", other.pop())
        if events[0].data["event"] == 1 and len(handler.batches) == 1:
            other.append(events[0])

    handler = Answering(answer)
    subscription = store.subscribe_to_all_streams(
        "shipping", handler, max_batch_size=1, on_error=AT_ONCE
    )

    wait_until(lambda: subscription.checkpoint == 2)
    assert store.health().subscriptions[0].skipped == 0
    refused = [1, 1, 2] if foreign == "read" else [1, 2, 2]
    assert flat(handler.batches) == refused


def test_a_batch_comes_again_as_it_was_after_the_pause_it_asked_for(store: EventStore) -> None:
    """G13, G30: it is no attempt."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    pauses = [0.01] * 10

    def answer(events: Events) -> None:
        if pauses:
            raise RetryAfter(pauses.pop())

    handler = Answering(answer)
    retry = Retry(first=1_000, longest=1_000, attempts=1)
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=retry)

    wait_until(lambda: subscription.checkpoint == 4)
    assert handler.batches == [[1, 2, 3, 4]] * 11
    assert subscription.attempts == 0


def test_while_it_waits_it_says_so(store: EventStore) -> None:
    """G30."""
    store.append_to_stream("order-1", ANY, numbered(1, 1))

    def answer(events: Events) -> None:
        raise RetryAfter(1_000)

    subscription = store.subscribe_to_all_streams("shipping", Answering(answer))

    wait_until(lambda: subscription.state is SubscriptionState.RETRYING)
    assert isinstance(subscription.last_error, RetryAfter)
    assert subscription.attempts == 0


def test_a_handler_may_stop_its_subscription(store: EventStore) -> None:
    """G13, G30: with its reason; the batch comes again to the next subscriber."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    def answer(events: Events) -> None:
        events.ack(events[0])
        raise Stop("the licence has expired")

    subscription = store.subscribe_to_all_streams("shipping", Answering(answer))
    with pytest.raises(SubscriptionLostError, match="by its subscriber: the licence has expired"):
        subscription.join(PATIENCE)
    assert subscription.state is SubscriptionState.STOPPED
    assert "the licence has expired" in str(store.health().subscriptions[0].last_error)

    successor = Answering(lambda events: None)
    following = store.subscribe_to_all_streams("shipping", successor)
    wait_until(lambda: following.checkpoint == 3)
    assert successor.batches == [[2, 3]]


def test_an_event_whose_attempts_are_used_up_is_skipped_if_that_is_wanted(
    store: EventStore,
) -> None:
    """G15, G30: it alone, after five attempts unless they are given."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))

    def answer(events: Events) -> None:
        if any(event.data["event"] == 2 for event in events):
            raise ValueError("no such product")

    handler = Answering(answer)
    retry = Retry(first=0, longest=0, then="skip")
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=retry)

    wait_until(lambda: subscription.checkpoint == 4)
    assert handler.batches[:8] == [[1, 2, 3, 4], [1, 2], [1], *[[2]] * 5]
    assert store.health().subscriptions[0].skipped == 1
    assert subscription.last_error is None


@pytest.mark.parametrize("part", ["selector", "mapper"])
def test_an_event_that_cannot_be_prepared_is_skipped_if_that_is_wanted(
    store: EventStore, part: str
) -> None:
    """G15, G30."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    calls: list[int] = []

    def prepare(event: RecordedEvent) -> Any:
        if event.position == 2:
            calls.append(event.position)
            raise ValueError("no such product")
        return True if part == "selector" else event

    handler = Answering(lambda events: None)
    retry = Retry(first=0, longest=0, attempts=3, then="skip")
    options: Any = {part: prepare}
    subscription = store.subscribe_to_all_streams("shipping", handler, on_error=retry, **options)

    wait_until(lambda: subscription.checkpoint == 4)
    assert flat(handler.batches) == [1, 3, 4]
    assert len(calls) == 3
    assert store.health().subscriptions[0].skipped == 1


def test_attempts_of_an_event_that_cannot_be_prepared_do_not_count_for_those_before_it(
    store: EventStore,
) -> None:
    """G15, G19: it fails again and again while the handler still has an earlier one."""
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    tried, calls = threading.Semaphore(0), list[int]()

    def select(event: RecordedEvent) -> bool:
        if event.position == 4:
            tried.release()
            raise ValueError("no such product")
        return True

    def handle(events: Events) -> None:
        calls.append(events[0].position)
        if calls == [1, 2]:
            for _ in range(2):
                assert tried.acquire(timeout=PATIENCE)
            raise ValueError("once only")

    retry = Retry(first=0.01, longest=0.01, attempts=3, then="skip")
    subscription = store.subscribe_to_all_streams(
        "shipping", handle, selector=select, on_error=retry, max_batch_size=1
    )

    wait_until(lambda: subscription.checkpoint == 4)
    assert calls == [1, 2, 2, 3]
    assert store.health().subscriptions[0].skipped == 1
