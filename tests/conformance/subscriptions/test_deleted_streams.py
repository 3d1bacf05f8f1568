"""Subscriptions and streams that were deleted."""

from __future__ import annotations

import pytest

from eventstore import EventStore, ExpectedVersion, SubscriptionState
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Subscriber, flat
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY


@pytest.fixture
def hard(connect: Connect) -> EventStore:
    """A store in which streams may be deleted for good."""
    return connect(enable_hard_deletes=True)


def test_a_subscription_to_a_deleted_stream_still_receives_what_was_committed(
    store: EventStore, subscriber: Subscriber
) -> None:
    """SDL-10, G13: by decision; who is behind when a stream is deleted must not lose its end."""
    store.append_to_stream("order-1", 0, numbered(1, 3))
    store.delete_stream("order-1", ANY)
    subscription = store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    assert subscriber.acknowledged_batches(3) == [[1, 2, 3]]
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)


def test_a_subscription_to_all_streams_receives_the_events_of_deleted_ones(
    store: EventStore, subscriber: Subscriber
) -> None:
    """SDL-11, CUP-02, G13: what was committed is delivered."""
    store.append_to_stream("order-1", 0, numbered(1, 3))
    store.delete_stream("order-1", ANY)
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    assert subscriber.numbers(3) == [1, 2, 3]


def test_a_subscription_to_a_stream_that_is_gone_starts_over_with_the_next(
    hard: EventStore, subscriber: Subscriber
) -> None:
    """HDL-12, G36: with the first event of the stream that gets its name."""
    hard.append_to_stream("order-1", 0, numbered(1, 3))
    hard.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    assert subscriber.acknowledged_batches(3) == [[1, 2, 3]]

    hard.delete_stream("order-1", ANY, hard=True)
    subscriber.lost()
    subscriber.subscribed()
    assert subscriber.is_told_nothing()
    hard.append_to_stream("order-1", 0, numbered(4, 8))

    assert flat(subscriber.acknowledged_batches(5)) == [4, 5, 6, 7, 8]


def test_a_subscription_to_all_streams_passes_what_is_gone(
    hard: EventStore, subscriber: Subscriber
) -> None:
    """HDL-13, HDL-14, G36: at the begin, and then at the end, where nothing follows."""
    hard.append_to_stream("doomed-1", 0, numbered(1, 3))
    hard.append_to_stream("kept", 0, numbered(4, 4))
    hard.delete_stream("doomed-1", ANY, hard=True)
    subscription = hard.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    [event] = subscriber.acknowledged_batch()
    assert event.position == 4
    wait_until(lambda: subscription.state is SubscriptionState.LIVE)

    subscription.pause()
    hard.append_to_stream("doomed-2", 0, numbered(5, 7))
    hard.delete_stream("doomed-2", ANY, hard=True)
    subscription.resume()

    wait_until(lambda: subscription.state is SubscriptionState.LIVE)
    wait_until(lambda: hard.subscription_info("$all", "shipping").lag_events == 0)
    hard.append_to_stream("kept", 1, numbered(8, 8))
    assert subscriber.acknowledged_batches(1) == [[8]]


def test_a_subscription_that_goes_on_passes_what_went_meanwhile(
    hard: EventStore, new_subscriber: NewSubscriber
) -> None:
    """HDL-15: what was in flight, and was deleted before it came again."""
    first, second = new_subscriber(), new_subscriber()
    hard.append_to_stream("kept", 0, numbered(1, 1))
    hard.append_to_stream("doomed", 0, numbered(2, 3))
    hard.append_to_stream("kept", 1, numbered(4, 4))
    subscription = hard.subscribe_to_all_streams("shipping", first.ref, batch_by="any")
    first.subscribed()
    batch = first.batch()
    subscription.ack(batch[0])
    wait_until(lambda: subscription.checkpoint == 1)
    subscription.unsubscribe()
    hard.delete_stream("doomed", ANY, hard=True)

    hard.subscribe_to_all_streams("shipping", second.ref)
    second.subscribed()

    assert second.acknowledged_batches(1) == [[4]]
