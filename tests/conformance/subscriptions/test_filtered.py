"""Subscriptions with a filter: the database leaves out the other events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventstore import (
    DeliveryTimeoutError,
    EventData,
    Events,
    EventStore,
    RecordedEvent,
    SubscriptionKeywords,
    SubscriptionOptionsError,
)
from tests.conformance.conftest import Connect
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Subscriber
from tests.conformance.subscriptions.test_storing_checkpoints import let_the_keeper_store
from tests.conformance.test_filtering import ANY, CHOSEN, Turned, append
from tests.support.waiting import AGES, PATIENCE, wait_until

__all__ = ["let_the_keeper_store"]


def stored(store: EventStore, name: str = "s") -> int:
    return store.subscription_info("$all", name).checkpoint


def number(event: RecordedEvent) -> Any:
    return event.data


def append_all(store: EventStore) -> None:
    """Append the events of `CHOSEN`."""
    append(store, "order-1", ("Placed", {"tenant": "a"}), ("Shipped", {"tenant": "a"}))
    append(store, "order-2", ("Placed", {"tenant": "b", "n": 1}), ("Cancelled", None))
    append(store, "invoice-1", ("Placed", {"tenant": "b", "n": True}), ("Paid", {"n": 2.0}))


class Remembering:
    """A handler that remembers the data of each event."""

    def __init__(self) -> None:
        self.data: list[Any] = []

    def __call__(self, events: Events) -> None:
        self.data += [event.data for event in events]


@pytest.mark.parametrize("is_live", [False, True], ids=["stored", "live"])
@pytest.mark.parametrize(("only", "chosen"), CHOSEN)
def test_only_what_matches_is_delivered(
    store: EventStore, only: SubscriptionKeywords, chosen: list[int], is_live: bool
) -> None:
    """G40, G15: the others count as acknowledged."""
    handler = Remembering()
    if is_live:
        subscription = store.subscribe_to_all_streams("s", handler, **only)
        append_all(store)
    else:
        append_all(store)
        subscription = store.subscribe_to_all_streams("s", handler, **only)
    wait_until(lambda: subscription.checkpoint == 6)
    assert handler.data == chosen


@pytest.mark.parametrize("is_live", [False, True], ids=["stored", "live"])
def test_one_stream_may_be_filtered_too(store: EventStore, is_live: bool) -> None:
    """G40, G35: a linked event by the stream that it was appended to."""
    handler = Remembering()

    def subscribe() -> None:
        store.subscribe_to_stream("ada", "s", handler, stream_prefix="order-")

    if is_live:
        subscribe()
    append(store, "order-1", ("Placed", None))
    append(store, "invoice-1", ("Placed", None))
    append(store, "ada", ("Registered", None))
    store.link_to_stream("ada", ANY, store.read_all_streams_forward(event_types="Placed"))
    if not is_live:
        subscribe()
    wait_until(lambda: store.subscription_info("ada", "s").checkpoint == 3)
    assert handler.data == [1]


def test_a_subscription_that_nothing_matches_is_at_the_head(store: EventStore) -> None:
    """G40, G32: its lag is none, whatever comes, and stays so after a restart."""
    append_all(store)
    first = store.subscribe_to_all_streams("s", Remembering(), event_types="Nothing")
    wait_until(lambda: stored(store) == 6)
    append(store, "order-1", ("Placed", None))
    wait_until(lambda: store.subscription_info("$all", "s").lag_events == 0)
    assert stored(store) == 7
    first.unsubscribe()
    again = store.subscribe_to_all_streams("s", Remembering(), event_types="Nothing")
    assert again.checkpoint == 7
    assert store.subscription_info("$all", "s").lag_seconds == 0


def test_what_only_moved_over_others_is_stored_within_the_poll_interval(
    connect: Connect, let_the_keeper_store: Callable[[], None]
) -> None:
    """G40: the handle knows it at once; the row when something is acknowledged, or at the end."""
    store, handler = connect(poll_interval=AGES), Remembering()
    subscription = store.subscribe_to_all_streams("s", handler, event_types="Paid")
    append(store, "order-1", ("Placed", None), ("Placed", None))
    wait_until(lambda: subscription.checkpoint == 2)
    let_the_keeper_store()
    assert stored(store) == 0
    append(store, "order-1", ("Paid", None))
    wait_until(lambda: stored(store) >= 3)
    head = store.append_to_stream("order-1", ANY, [EventData("Placed", None)]).last_global_position
    wait_until(lambda: subscription.checkpoint == head)
    subscription.unsubscribe()
    assert stored(store) == head


def test_a_position_can_be_waited_for_though_nothing_matches(store: EventStore) -> None:
    """G40: by the handle, and in the row; what was not appended yet is waited for in vain."""
    append_all(store)
    subscription = store.subscribe_to_all_streams("s", Remembering(), event_types="Nothing")
    subscription.wait_for(6, PATIENCE)
    store.wait_for("$all", "s", 6, PATIENCE)
    with pytest.raises(DeliveryTimeoutError, match="7"):
        subscription.wait_for(7, 0.1)


def test_a_selector_and_a_mapper_see_what_matches(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G40: first the filter, then the selector, then the mapper."""
    selected: list[int] = []

    def second(event: RecordedEvent) -> bool:
        selected.append(event.data)
        return len(selected) == 2

    append_all(store)
    subscription = store.subscribe_to_all_streams(
        "s", subscriber.ref, event_types="Placed", selector=second, mapper=number
    )
    subscriber.subscribed()
    batch = subscriber.batch()
    assert list[Any](batch) == [3]
    subscription.ack(batch)
    wait_until(lambda: subscription.checkpoint == 6)
    assert selected == [1, 3, 5]


def test_metadata_that_only_a_serializer_can_read_is_read_by_it(connect: Connect) -> None:
    """G40, G10: also where the events come from memory."""
    store, handler = connect(serializer=Turned()), Remembering()
    append(store, "order-1", *(("Placed", {"tenant": tenant}) for tenant in "abc"))
    subscription = store.subscribe_to_all_streams("s", handler, metadata={"tenant": "b"})
    wait_until(lambda: subscription.checkpoint == 3)
    append(store, "order-1", *(("Placed", {"tenant": tenant}) for tenant in "cba"))
    wait_until(lambda: subscription.checkpoint == 6)
    assert handler.data == [2, 5]


def test_metadata_that_nobody_can_read_makes_it_retry(connect: Connect) -> None:
    """G40, G30: nobody can tell, so it is not left out."""
    append(connect(serializer=Turned()), "order-1", ("Placed", {"tenant": "a"}))
    store = connect()
    subscription = store.subscribe_to_all_streams("s", Remembering(), metadata={"tenant": "b"})
    wait_until(lambda: "turned" in str(subscription.last_error))
    assert subscription.checkpoint == 0


def test_what_failed_comes_again_and_nothing_between_is_lost(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """G40, G13, G15: a successor begins right after what was acknowledged."""
    append_all(store)
    first = new_subscriber()
    subscription = store.subscribe_to_all_streams(
        "s", first.ref, event_types="Placed", batch_by="any", max_batch_size=1
    )
    first.subscribed()
    assert [event.data for _ in range(3) for event in first.batch()] == [1, 3, 5]
    subscription.ack(1)
    wait_until(lambda: subscription.checkpoint >= 1)
    assert subscription.checkpoint < 3
    subscription.unsubscribe()
    handler = Remembering()
    again = store.subscribe_to_all_streams("s", handler, event_types="Placed")
    wait_until(lambda: again.checkpoint == 6)
    assert handler.data == [3, 5]


def test_a_filter_that_cannot_be_is_refused_before_anything_is_stored(store: EventStore) -> None:
    """G30: the message names the option."""
    with pytest.raises(ValueError, match="event_types must not have an empty list"):
        store.subscribe_to_all_streams("s", Remembering(), event_types=[])
    with pytest.raises(TypeError, match=r"metadata\['n'\] must be"):
        store.subscribe_to_stream("order-1", "s", Remembering(), metadata={"n": [b"1"]})  # type: ignore[list-item]
    assert store.subscriptions() == []


def test_another_filter_is_refused_until_a_reset(connect: Connect) -> None:
    """G40: what was left out under one filter would be missing under another."""
    store, elsewhere = connect(), connect()
    only: SubscriptionKeywords = {"event_types": ["Paid", "Placed"], "metadata": {"n": [1]}}
    first = store.subscribe_to_all_streams("s", Remembering(), **only)
    others: list[SubscriptionKeywords] = [
        {},
        {"event_types": ["Paid"], "metadata": {"n": 1}},
        {"event_types": ["Paid", "Placed"], "metadata": {"n": True}},
    ]
    for other in others:
        with pytest.raises(SubscriptionOptionsError, match="has the options") as refused:
            elsewhere.subscribe_to_all_streams("s", Remembering(), **other)
        assert refused.value.stored_options == {
            "keep_order": True,
            "event_types": ["Paid", "Placed"],
            "metadata": {"n": [1]},
        }
    first.unsubscribe()
    same: SubscriptionKeywords = {"event_types": ("Placed", "Paid"), "metadata": {"n": 1.0}}
    elsewhere.subscribe_to_all_streams("s", Remembering(), **same).unsubscribe()
    store.reset_subscription("$all", "s", 0)
    store.subscribe_to_all_streams("s", Remembering(), stream_prefix="order-").unsubscribe()
    with pytest.raises(SubscriptionOptionsError):
        elsewhere.subscribe_to_all_streams("s", Remembering(), **only)
