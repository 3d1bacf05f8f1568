"""An acknowledgement proves itself: only what this run of this subscription delivered counts."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    Retry,
    Subscription,
    SubscriptionLostError,
    SubscriptionState,
    UnexpectedAckError,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.conftest import NewSubscriber
from tests.conformance.subscriptions.recording import Subscriber, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY

Choose = Callable[[Events], Any]

EACH_WAY = pytest.mark.parametrize(
    "chosen",
    [
        lambda batch: batch,
        lambda batch: batch[-1],
        lambda batch: batch[0],
        lambda batch: batch[:2],
        tuple,
    ],
    ids=["batch", "last", "first", "slice", "tuple"],
)


def started(
    store: EventStore, subscriber: Subscriber, stream_id: str = "order-1", **options: Any
) -> tuple[Subscription, Events]:
    """Subscribe to a stream that has events; return the handle and the first batch."""
    subscription = store.subscribe_to_stream(stream_id, "shipping", subscriber.ref, **options)
    subscriber.subscribed()
    return subscription, subscriber.batch()


def nothing_changed(store: EventStore, subscription: Subscription, batch: Events) -> None:
    """Check that nothing is acknowledged, and that the subscription works."""
    assert subscription.checkpoint == 0
    subscription.ack(batch[0])
    wait_until(lambda: store.subscription_info("order-1", "shipping").checkpoint == 1)


@pytest.mark.parametrize(
    "way",
    [
        lambda event: event,
        lambda event: [event],
        lambda event: (event,),
    ],
    ids=["event", "list", "tuple"],
)
def test_an_event_of_another_stream_acknowledges_nothing(
    store: EventStore, subscriber: Subscriber, way: Callable[[RecordedEvent], Any]
) -> None:
    """F8, G19: though its position was sent; the error shows it."""
    store.append_to_stream("other", ANY, numbered(8, 10))
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)
    stray = store.read_stream_forward("other")[-1]

    with pytest.raises(UnexpectedAckError, match=r"position 3 .*never delivered") as refused:
        subscription.ack(way(stray))

    assert refused.value.position == 3
    nothing_changed(store, subscription, batch)


@EACH_WAY
def test_what_another_subscription_delivered_acknowledges_nothing(
    store: EventStore, new_subscriber: NewSubscriber, chosen: Choose
) -> None:
    """F8, G19: neither one to another stream nor one of another name; the error names it."""
    store.append_to_stream("other", ANY, numbered(8, 10))
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    first, second, third = new_subscriber(), new_subscriber(), new_subscriber()
    subscription, batch = started(store, first)
    _, of_other_stream = started(store, second, "other")
    store.subscribe_to_stream("order-1", "billing", third.ref)
    third.subscribed()
    of_other_name = third.batch()

    with pytest.raises(UnexpectedAckError, match="'shipping' to 'other' delivered"):
        subscription.ack(chosen(of_other_stream))
    with pytest.raises(UnexpectedAckError, match="'billing' to 'order-1' delivered"):
        store.ack(subscription, chosen(of_other_name))

    nothing_changed(store, subscription, batch)


def test_what_a_subscription_of_the_same_name_in_another_store_delivered_is_refused(
    connect: Connect, new_subscriber: NewSubscriber
) -> None:
    """F8, G19."""
    store, other = connect(), connect(dsn=f"memory:{uuid4().hex}")
    first, second = new_subscriber(), new_subscriber()
    for each in (store, other):
        each.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, first)
    _, stray = started(other, second)

    with pytest.raises(UnexpectedAckError, match="'shipping' to 'order-1'"):
        subscription.ack(stray)

    nothing_changed(store, subscription, batch)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_stray_event_in_a_list_refuses_all_of_it(
    store: EventStore, subscriber: Subscriber, place: int
) -> None:
    """F8, G19."""
    store.append_to_stream("other", ANY, numbered(8, 8))
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)
    mixed = [*batch]
    mixed[place] = store.read_stream_forward("other")[0]

    with pytest.raises(UnexpectedAckError):
        subscription.ack(mixed)

    nothing_changed(store, subscription, batch)


@pytest.mark.parametrize("stray", [1, None, "event"])
def test_a_list_that_holds_anything_else_is_refused(
    store: EventStore, subscriber: Subscriber, stray: Any
) -> None:
    """F8, G19: also before an event that would count."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)

    with pytest.raises(TypeError, match="acknowledge an event, a list of events"):
        subscription.ack([stray, batch[0]])

    nothing_changed(store, subscription, batch)


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        msgspec.structs.replace,
        lambda event: pickle.loads(pickle.dumps(event)),
        lambda event: type(event)(*msgspec.structs.astuple(event)),
    ],
    ids=["copy", "deepcopy", "replace", "pickle", "by hand"],
)
def test_a_copy_of_a_delivered_event_acknowledges_nothing(
    store: EventStore, subscriber: Subscriber, copied: Callable[[RecordedEvent], RecordedEvent]
) -> None:
    """F8, G19: it looks like the event and proves nothing; the error says what to do instead."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)
    again = copied(batch[1])
    assert again == batch[1]

    with pytest.raises(UnexpectedAckError, match=r"no copy of it, its batch, or its position"):
        subscription.ack(again)

    nothing_changed(store, subscription, batch)


def test_a_batch_made_by_hand_acknowledges_nothing(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F8, G19; a part of a delivered batch is of its run."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)

    with pytest.raises(UnexpectedAckError):
        subscription.ack(Events(subscription, batch.events, batch.last_position))
    assert subscription.checkpoint == 0

    subscription.ack(replace(batch, events=batch[:2], last_position=2))
    wait_until(lambda: subscription.checkpoint == 2)


def pickled(events: list[RecordedEvent]) -> bytes:
    """Return the bytes of *events*, whichever of their strings are the same objects."""
    found = io.BytesIO()
    pickler = pickle.Pickler(found)
    pickler.fast = True
    pickler.dump(events)
    return found.getvalue()


def test_delivery_leaves_no_trace_in_the_value_of_an_event(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F8, G10: it equals the event that is read, in every form."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    _, batch = started(store, subscriber)
    read = store.read_stream_forward("order-1")

    assert [*batch] == read
    assert repr([*batch]) == repr(read)
    assert [hash(event.event_id) for event in batch] == [hash(event.event_id) for event in read]
    assert msgspec.json.encode([*batch]) == msgspec.json.encode(read)
    assert pickled([*batch]) == pickled(read)
    assert [msgspec.structs.asdict(event) for event in batch] == [
        msgspec.structs.asdict(event) for event in read
    ]


@EACH_WAY
def test_a_batch_from_before_a_reset_does_not_count_for_the_replay(
    store: EventStore, subscriber: Subscriber, chosen: Choose
) -> None:
    """F9, G15, G16, G19: though the replay has sent the same positions."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, old = started(store, subscriber)

    store.reset_subscription("order-1", "shipping", 0)
    subscriber.lost()
    subscriber.subscribed()
    new = subscriber.batch()
    assert numbers(new) == [1, 2, 3]

    with pytest.raises(SubscriptionLostError, match="of an earlier run"):
        subscription.ack(chosen(old))

    nothing_changed(store, subscription, new)


@EACH_WAY
def test_a_batch_from_before_a_delete_does_not_count_for_the_new_subscription(
    store: EventStore, new_subscriber: NewSubscriber, chosen: Choose
) -> None:
    """F9, G16, G19: neither by the old handle nor by the new one."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    old_handle, old = started(store, first)
    store.delete_subscription("order-1", "shipping")
    wait_until(lambda: old_handle.state is SubscriptionState.STOPPED)
    subscription, new = started(store, second)

    for handle in (old_handle, subscription):
        with pytest.raises(SubscriptionLostError):
            handle.ack(chosen(old))

    nothing_changed(store, subscription, new)


@EACH_WAY
def test_a_batch_from_before_an_unsubscribe_does_not_count_for_the_next_subscriber(
    store: EventStore, new_subscriber: NewSubscriber, chosen: Choose
) -> None:
    """F9, G16, G19."""
    first, second = new_subscriber(), new_subscriber()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    old_handle, old = started(store, first)
    old_handle.unsubscribe()
    subscription, new = started(store, second)

    with pytest.raises(SubscriptionLostError, match="of an earlier run"):
        subscription.ack(chosen(old))

    nothing_changed(store, subscription, new)


@EACH_WAY
def test_a_batch_that_failed_does_not_count_when_it_is_delivered_again(
    store: EventStore, chosen: Choose
) -> None:
    """F9, G13, G19: a function keeps what it was given, raises, and acknowledges it later."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    kept: list[Events] = []
    refused: list[BaseException] = []

    def handle(events: Events) -> None:
        kept.append(events)
        if len(kept) == 1:
            raise ValueError("once")
        try:
            events.subscription.ack(chosen(kept[0]))
        except SubscriptionLostError as error:
            refused.append(error)

    subscription = store.subscribe_to_stream(
        "order-1", "shipping", handle, on_error=Retry(first=0.01)
    )

    wait_until(lambda: subscription.checkpoint == 3)
    assert refused


def test_a_late_acknowledgement_of_an_earlier_run_is_refused_even_below_the_checkpoint(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F9, G19: whoever acknowledges it has not heard that the run ended."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, old = started(store, subscriber)
    store.reset_subscription("order-1", "shipping", 2)
    subscriber.lost()
    subscriber.subscribed()
    subscriber.batch()

    with pytest.raises(SubscriptionLostError, match="of an earlier run"):
        subscription.ack(old[0])

    assert subscription.checkpoint == 2


def upcast(event: RecordedEvent) -> RecordedEvent:
    return msgspec.structs.replace(event, data={"event": -event.data["event"]})


def test_an_event_that_a_mapper_made_of_it_acknowledges_the_event(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F8, G19."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber, mapper=upcast)
    assert numbers(batch) == [-1, -2, -3]

    subscription.ack(batch[1])
    wait_until(lambda: subscription.checkpoint == 2)
    subscription.ack([batch[2]])
    wait_until(lambda: subscription.checkpoint == 3)


def test_what_a_mapper_got_from_elsewhere_acknowledges_the_event_it_stands_for(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F8, G15, G19: not the position that it has where it comes from; and each for itself."""
    store.append_to_stream("other", ANY, numbered(8, 10))
    stand_in = store.read_stream_forward("other")[-1]
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber, mapper=lambda event: stand_in)
    assert numbers(batch) == [10, 10, 10]

    for number, event in enumerate(batch, start=1):
        subscription.ack(event)
        wait_until(lambda number=number: subscription.checkpoint == number)  # type: ignore[misc]
    with pytest.raises(UnexpectedAckError):
        subscription.ack(store.read_stream_forward("other")[0])


def test_a_mapper_may_return_what_another_subscription_delivers(
    store: EventStore, new_subscriber: NewSubscriber
) -> None:
    """F8, G19: each delivers an object of its own."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    known = {event.position: event for event in store.read_stream_forward("order-1")}

    def cached(event: RecordedEvent) -> RecordedEvent:
        return known[event.position]

    first, second = new_subscriber(), new_subscriber()
    one, of_one = started(store, first, mapper=cached)
    other = store.subscribe_to_stream("order-1", "billing", second.ref, mapper=cached)
    second.subscribed()
    of_other = second.batch()

    with pytest.raises(UnexpectedAckError):
        one.ack(of_other[2])
    one.ack(of_one[2])
    other.ack(of_other[1])

    wait_until(lambda: (one.checkpoint, other.checkpoint) == (3, 2))


def test_mapped_values_are_acknowledged_by_their_batch(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F8, G19: or by a position; they prove nothing themselves."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber, mapper=lambda event: event.data["event"] * 10)
    items: Sequence[Any] = batch.events
    assert list(items) == [10, 20, 30]

    with pytest.raises(TypeError):
        subscription.ack(list(items))
    assert subscription.checkpoint == 0
    subscription.ack(1)
    wait_until(lambda: subscription.checkpoint == 1)
    subscription.ack(batch)
    wait_until(lambda: subscription.checkpoint == 3)


def test_the_events_of_a_batch_that_a_pause_took_back_count_when_they_come(
    store: EventStore,
) -> None:
    """F8, G19, G20: they are of the same run."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    seen: list[int] = []

    def handle(events: Events) -> None:
        for event in events:
            events.subscription.ack(event)
            seen.append(event.position)
        if len(seen) == 1:
            events.subscription.pause()

    subscription = store.subscribe_to_stream("order-1", "shipping", handle, max_batch_size=1)
    wait_until(lambda: subscription.state is SubscriptionState.PAUSED)
    wait_until(lambda: subscription.checkpoint == 1)
    subscription.resume()

    wait_until(lambda: subscription.checkpoint == 3)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("position", [-1, -(10**30)])
def test_a_position_below_0_is_refused(
    store: EventStore, subscriber: Subscriber, position: int
) -> None:
    """F8, G19: as a read refuses version 0."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, batch = started(store, subscriber)

    with pytest.raises(ValueError, match=f"position must be at least 0: {position}"):
        subscription.ack(position)

    nothing_changed(store, subscription, batch)


def test_a_position_of_an_earlier_run_is_refused_until_the_present_one_sent_it(
    store: EventStore, subscriber: Subscriber
) -> None:
    """F9, G19: a position proves no run, so it is checked against what this one sent."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription, _ = started(store, subscriber, buffer_size=1)
    subscription.ack(1)
    subscriber.batch()
    subscription.ack(2)
    subscriber.batch()
    store.reset_subscription("order-1", "shipping", 0)
    subscriber.lost()
    subscriber.subscribed()
    new = subscriber.batch()

    with pytest.raises(SubscriptionLostError, match="position 3 will be redelivered"):
        subscription.ack(3)

    nothing_changed(store, subscription, new)
