"""What everybody sees of a subscription: what it has parked, beside its lag, and its options."""

from __future__ import annotations

from typing import Any

import pytest

from eventstore import EventStore, Retry, SubscriptionOptionsError
from tests.conformance.conftest import Connect
from tests.conformance.subscriptions.test_parking import PARK, Target, append
from tests.support.waiting import wait_until

FILTER: dict[str, Any] = {"event_types": ["Numbered"], "metadata": {"user": "someone"}}


def test_what_is_parked_stands_beside_the_lag(store: EventStore) -> None:
    """G32, G38: it is not counted in it, and what was skipped is neither."""
    append(store, *range(1, 7))
    running = store.subscribe_to_all_streams("shipping", Target(1), on_error=PARK)
    wait_until(lambda: running.checkpoint == 6)
    wait_until(lambda: store.subscription_info("$all", "shipping").checkpoint == 6)
    info = store.subscription_info("$all", "shipping")
    assert (info.lag_events, info.lag_seconds, info.parked) == (0, 0, 3)
    assert info.parked_oldest_seconds > 0
    running.pause()
    append(store, 2)
    store.skip_parked("$all", "shipping", reason="of no use", limit=1)
    [info] = store.subscriptions()
    assert (info.lag_events, info.parked) == (1, 2)
    store.skip_parked("$all", "shipping", reason="of no use")
    [info] = store.subscriptions()
    assert (info.parked, info.parked_oldest_seconds) == (0, 0)


def test_its_age_is_that_of_the_event_that_was_parked_first(store: EventStore) -> None:
    """G38: wherever it is; it stays the same when the event fails again."""
    append(store, 1, 2)
    target = Target(1)
    running = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: running.checkpoint == 2)
    [event] = store.parked("$all", "shipping")
    store.retry_parked("$all", "shipping")
    wait_until(lambda: store.parked("$all", "shipping")[0].failed_at != event.failed_at)
    before = store.subscription_info("$all", "shipping").parked_oldest_seconds
    target.refused.add(4)
    append(store, 4)
    wait_until(lambda: running.checkpoint == 3)
    info = store.subscription_info("$all", "shipping")
    assert info.parked == 2
    assert info.parked_oldest_seconds >= before


def test_its_options_are_shown(store: EventStore) -> None:
    """G40: those in which another subscriber must not differ; after a reset, none."""
    store.subscribe_to_all_streams("s", Target(), keep_order=False, **FILTER).unsubscribe()
    store.subscribe_to_all_streams("plain", Target()).unsubscribe()
    plain, filtered = store.subscriptions()
    assert filtered.options == {"keep_order": False, **FILTER, "metadata": {"user": ["someone"]}}
    assert plain.options == {"keep_order": True}
    store.reset_subscription("$all", "s", 0)
    assert store.subscription_info("$all", "s").options is None


def test_another_keep_order_is_refused_until_a_reset(connect: Connect) -> None:
    """G38: with events parked, the later ones of their streams would pass them."""
    store = connect()
    append(store, 1, 2, 3)
    running = store.subscribe_to_all_streams("shipping", Target(1), on_error=PARK)
    wait_until(lambda: running.checkpoint == 3)
    running.unsubscribe()
    elsewhere = connect()
    with pytest.raises(SubscriptionOptionsError, match="has the options") as refused:
        elsewhere.subscribe_to_all_streams("shipping", Target(), keep_order=False)
    assert refused.value.stored_options == {"keep_order": True}
    assert refused.value.given_options == {"keep_order": False}
    assert store.subscription_info("$all", "shipping").parked == 2
    store.reset_subscription("$all", "shipping", 0)
    target = Target()
    after = elsewhere.subscribe_to_all_streams(
        "shipping", target, keep_order=False, on_error=Retry()
    )
    wait_until(lambda: after.checkpoint == 3)
    assert sorted(target.posted) == [1, 2, 3]
    assert store.subscription_info("$all", "shipping").options == {"keep_order": False}
