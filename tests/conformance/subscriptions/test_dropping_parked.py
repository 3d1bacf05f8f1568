"""Parked events that go with a reset or with their subscription: only if told to, and recorded."""

from __future__ import annotations

import pytest

from eventstore import EventStore, Subscription, SubscriptionError, SubscriptionNotFoundError
from tests.conformance.subscriptions.test_parking import PARK, Target, append, parked
from tests.support.waiting import wait_until


@pytest.fixture
def running(store: EventStore) -> Subscription:
    """A subscription that has parked the events at 3, 5 and 7."""
    append(store, *range(1, 9))
    running = store.subscribe_to_all_streams("shipping", Target(3), on_error=PARK)
    wait_until(lambda: running.checkpoint == 8)
    return running


def test_a_subscription_with_parked_events_is_deleted_only_if_told_to(
    store: EventStore, running: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    """G38: the number is told, and recorded."""
    caplog.set_level("INFO", "eventstore")
    with pytest.raises(SubscriptionError, match=r"has 3 parked events, .* \(drop_parked\)"):
        store.delete_subscription("$all", "shipping")
    with pytest.raises(TypeError, match="drop_parked must be a bool"):
        store.delete_subscription("$all", "shipping", drop_parked=1)  # type: ignore[arg-type]
    assert parked(store) == [3, 5, 7]
    append(store, 10)
    wait_until(lambda: running.checkpoint == 9)
    assert "dropped" not in caplog.text
    assert store.delete_subscription("$all", "shipping", drop_parked=True) == 3
    with pytest.raises(SubscriptionNotFoundError):
        store.parked("$all", "shipping")
    assert "by='delete' events=3 first_position=3 last_position=7" in caplog.text


def test_what_was_skipped_keeps_no_subscription(store: EventStore, running: Subscription) -> None:
    """G38."""
    store.skip_parked("$all", "shipping", reason="of no use")
    assert store.delete_subscription("$all", "shipping") == 0


def test_a_reset_drops_what_is_parked_after_it(
    store: EventStore, running: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    """G38: and tells the number; what is parked before it stays, what it dropped comes anew."""
    caplog.set_level("INFO", "eventstore")
    running.unsubscribe()
    assert store.reset_subscription("$all", "shipping", 4) == 2
    assert parked(store) == [3]
    assert "by='reset' events=2 first_position=5 last_position=7" in caplog.text
    store.skip_parked("$all", "shipping", reason="of no use")
    assert store.reset_subscription("$all", "shipping", 2) == 0
    target = Target()
    again = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: again.checkpoint == 8)
    assert sorted(target.posted) == [3, 4, 5, 6, 7, 8]
