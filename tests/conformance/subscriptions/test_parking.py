"""Events that are put aside: in order by stream, delivered again on demand, or skipped."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from eventstore import (
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Park,
    RecordedEvent,
    Retry,
    SubscriptionLostError,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Subscriber, flat, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
PARK = Retry(first=0, longest=0, attempts=2, then="park")


class Target:
    """What a handler posts to; it refuses some numbers."""

    def __init__(self, *refused: int) -> None:
        self.refused = set(refused)
        self.batches: list[list[int]] = []
        self.replays: list[list[int]] = []

    def __call__(self, events: Events) -> None:
        (self.replays if events.replay else self.batches).append(numbers(events))
        for event in events:
            if event.data["event"] in self.refused:
                raise ValueError(f"refused {event.data['event']}")

    @property
    def posted(self) -> list[int]:
        return flat(self.batches)


def append(store: EventStore, *numbers: int) -> None:
    """Append to the stream ``odd`` or ``even``."""
    for number in numbers:
        event = EventData("Numbered", {"event": number})
        store.append_to_stream("odd" if number % 2 else "even", ANY, [event])


def parked(store: EventStore) -> list[int]:
    return [event.position for event in store.parked("$all", "shipping")]


def test_later_events_of_its_stream_wait_behind_a_parked_one(store: EventStore) -> None:
    """G38: other streams go on, and nothing of this one is handled before it."""
    append(store, *range(1, 9))
    target = Target(3)

    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)

    wait_until(lambda: subscription.checkpoint == 8)
    assert [n for n in target.posted if n != 3] == [1, 2, 4, 6, 8]
    assert parked(store) == [3, 5, 7]
    first, second, _ = store.parked("$all", "shipping")
    assert (first.key, first.attempts) == ("odd", 2)
    assert "refused 3" in first.reason
    assert "Traceback" in str(first.error)
    assert (second.key, second.error, second.attempts) == ("odd", None, 0)
    assert store.health().subscriptions[0].parked == 1
    append(store, 9, 10)
    wait_until(lambda: subscription.checkpoint == 10)
    assert parked(store) == [3, 5, 7, 9]
    assert 9 not in target.posted


def test_without_keep_order_the_later_events_go_on(store: EventStore) -> None:
    """G38."""
    append(store, *range(1, 6))
    target = Target(1)

    subscription = store.subscribe_to_all_streams(
        "shipping", target, on_error=PARK, keep_order=False
    )

    wait_until(lambda: subscription.checkpoint == 5)
    assert sorted(n for n in target.posted if n != 1) == [2, 3, 4, 5]
    assert parked(store) == [1]


def test_parked_events_are_delivered_again_in_the_order_of_their_stream(
    store: EventStore,
) -> None:
    """G38: before new events of the stream, and after that it is live again."""
    append(store, *range(1, 9))
    target = Target(3, 4)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 8)
    assert parked(store) == [3, 4, 5, 6, 7, 8]
    target.refused.clear()

    assert store.retry_parked("$all", "shipping", dry_run=True) == 6
    assert store.retry_parked("$all", "shipping") == 6

    wait_until(lambda: parked(store) == [])
    assert target.replays == [[3, 5, 7], [4, 6, 8]]
    assert subscription.checkpoint == 8
    append(store, 9, 10)
    wait_until(lambda: subscription.checkpoint == 10)
    assert target.posted[-2:] == [9, 10]


def test_one_stream_alone_is_delivered_again(store: EventStore) -> None:
    """G38: and of it no more than asked for."""
    append(store, *range(1, 9))
    target = Target(1, 2)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 8)
    target.refused.clear()

    assert store.retry_parked("$all", "shipping", "even", limit=2) == 2

    wait_until(lambda: parked(store) == [1, 3, 5, 6, 7, 8])
    append(store, 10)
    wait_until(lambda: subscription.checkpoint == 9)
    assert target.replays == [[2, 4]]
    assert parked(store) == [1, 3, 5, 6, 7, 8, 9]


def test_who_leaves_leaves_nothing_parked_that_it_has_delivered_again(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G38: what is not removed for each batch is removed at the end."""
    monkeypatch.setattr("eventstore_actors.delivering.replaying.COALESCING", 2 * PATIENCE)
    target, is_leaving = Target(*range(1, 9)), Event()
    append(store, *range(1, 9))

    def handle(events: Events) -> None:
        target(events)
        if events.replay and numbers(events) == [5]:
            is_leaving.wait(PATIENCE)

    subscription = store.subscribe_to_all_streams(
        "shipping", handle, on_error=PARK, max_batch_size=1
    )
    wait_until(lambda: subscription.checkpoint == 8)
    target.refused.clear()

    store.retry_parked("$all", "shipping")
    wait_until(lambda: target.replays == [[1], [3], [5]])
    leaving = Thread(target=subscription.unsubscribe)
    leaving.start()
    wait_until(lambda: 3 not in parked(store))
    is_leaving.set()
    leaving.join()

    assert parked(store) == sorted({*range(1, 9)} - {*flat(target.replays)})


def test_what_fails_again_stays_parked_with_all_after_it(store: EventStore) -> None:
    """G38: those before it are delivered."""
    append(store, *range(1, 10))
    target = Target(1)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 9)
    target.refused = {5}

    store.retry_parked("$all", "shipping")

    wait_until(lambda: parked(store) == [5, 7, 9])
    wait_until(lambda: not any(e.is_marked for e in store.parked("$all", "shipping")))
    assert store.parked("$all", "shipping")[0].attempts == 2
    assert target.replays == [[1, 3, 5, 7, 9], [1, 3], [5, 7], [5], [5]]
    append(store, 10)
    wait_until(lambda: subscription.checkpoint == 10)
    assert subscription.last_error is None


def test_skipped_events_never_come(store: EventStore) -> None:
    """G38: the events after them are delivered on demand."""
    append(store, *range(1, 8))
    target = Target(1)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 7)

    skip: Any = store.skip_parked
    assert skip("$all", "shipping", "odd", reason="of no use", limit=1, dry_run=True) == 1
    assert skip("$all", "shipping", "odd", reason="of no use", limit=1) == 1
    store.retry_parked("$all", "shipping")

    wait_until(lambda: parked(store) == [])
    assert target.replays == [[3, 5, 7]]


def test_a_stream_whose_parked_events_are_all_skipped_is_live_again(store: EventStore) -> None:
    """G38."""
    append(store, 1, 3)
    target = Target(1)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 2)

    assert store.skip_parked("$all", "shipping", reason="of no use") == 2
    append(store, 5, 7)

    wait_until(lambda: subscription.checkpoint == 4)
    assert target.posted[-2:] == [5, 7]


def test_the_next_owner_knows_what_is_parked(connect: Connect) -> None:
    """G38: with other options, too."""
    first = connect()
    append(first, *range(1, 5))
    subscription = first.subscribe_to_all_streams("shipping", Target(1), on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 4)
    subscription.unsubscribe()
    assert first.retry_parked("$all", "shipping", "odd", limit=1) == 1
    append(first, 5, 6)

    target = Target()
    successor = connect().subscribe_to_all_streams("shipping", target)

    wait_until(lambda: successor.checkpoint == 6)
    assert target.replays == [[1]]
    assert target.posted == [6]
    assert parked(first) == [3, 5]


def test_a_handler_parks_an_event_of_its_batch(store: EventStore) -> None:
    """G38: those before it are acknowledged, other streams go on at once."""
    append(store, *range(1, 7))
    handled: list[int] = []

    def handle(events: Events) -> None:
        for event in events:
            if event.data["event"] == 3:
                raise Park("no such product", event)
            handled.append(event.data["event"])

    never = Retry(first=1_000, longest=1_000)
    subscription = store.subscribe_to_all_streams(
        "shipping", handle, batch_by="any", on_error=never
    )

    wait_until(lambda: subscription.checkpoint == 6)
    assert handled == [1, 2, 4, 6]
    assert parked(store) == [3, 5]
    assert store.parked("$all", "shipping")[0].reason == "no such product"


def test_an_actor_parks_an_event_and_gets_it_again(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G38: in runs of their own."""
    append(store, 1, 3, 2)
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    odd = subscriber.batch()
    assert (numbers(odd), numbers(subscriber.batch())) == ([1, 3], [2])

    subscription.nack(odd[0], "park", reason="no such product")

    subscriber.subscribed()
    even = subscriber.batch()
    assert numbers(even) == [2]
    subscription.ack(even)
    wait_until(lambda: subscription.checkpoint == 3)
    store.retry_parked("$all", "shipping")
    subscriber.subscribed()
    again = subscriber.batch()
    assert (numbers(again), again.replay) == ([1, 3], True)
    assert parked(store) == [1, 2]
    subscription.ack(again[0])
    wait_until(lambda: parked(store) == [2])
    subscription.ack(again)
    wait_until(lambda: parked(store) == [])
    subscriber.subscribed()
    append(store, 5)
    fresh = subscriber.batch()
    assert (numbers(fresh), fresh.replay) == ([5], False)
    subscription.ack(fresh)
    wait_until(lambda: subscription.checkpoint == 4)


def test_a_retry_does_not_wait_for_an_actor_that_waits_for_more(
    connect: Connect, subscriber: Subscriber
) -> None:
    """G38: after a lease without an acknowledgement, what it has comes again after the replay."""
    store = connect(lease=1.0)
    append(store, 1, 2)
    subscription = store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    odd, even = subscriber.batch(), subscriber.batch()
    subscription.nack(odd[0], "park", reason="no such product")
    subscriber.subscribed()
    even = subscriber.batch()
    store.retry_parked("$all", "shipping")

    subscriber.subscribed()
    again = subscriber.batch()

    assert (numbers(again), again.replay) == ([1], True)
    with pytest.raises(SubscriptionLostError):
        subscription.ack(even)
    subscription.ack(again)
    subscriber.subscribed()
    assert numbers(subscriber.acknowledged_batch()) == [2]
    wait_until(lambda: parked(store) == [])


def test_an_actor_that_may_park_has_one_batch_of_a_stream(
    store: EventStore, subscriber: Subscriber
) -> None:
    """G38: what is in its inbox cannot be taken back; it comes after what is parked before it."""
    append(store, 1, 2, 3)
    subscription = store.subscribe_to_all_streams(
        "shipping", subscriber.ref, max_batch_size=1, on_error=PARK
    )
    subscriber.subscribed()
    odd, even = subscriber.batch(), subscriber.batch()
    assert (numbers(odd), numbers(even)) == ([1], [2])
    assert subscriber.is_told_nothing()

    subscription.nack(odd[0], "park", reason="no such product")

    subscriber.subscribed()
    even = subscriber.batch()
    assert numbers(even) == [2]
    subscription.ack(even)
    wait_until(lambda: parked(store) == [1, 3])


@pytest.mark.parametrize("part", ["selector", "mapper"])
def test_an_event_that_cannot_be_prepared_is_parked(store: EventStore, part: str) -> None:
    """G38: and delivered again when it can be."""
    append(store, *range(1, 7))
    broken = {3}
    target = Target()

    def prepare(event: RecordedEvent) -> Any:
        if event.data["event"] in broken:
            raise ValueError("no rule")
        return True if part == "selector" else event

    options: Any = {part: prepare}
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK, **options)
    wait_until(lambda: subscription.checkpoint == 6)
    assert target.posted == [1, 2, 4, 6]
    assert parked(store) == [3, 5]

    store.retry_parked("$all", "shipping")
    wait_until(lambda: not any(e.is_marked for e in store.parked("$all", "shipping")))
    assert parked(store) == [3, 5]
    broken.clear()
    store.retry_parked("$all", "shipping")
    wait_until(lambda: parked(store) == [])
    assert target.replays == [[3, 5]]


def test_events_that_cannot_be_prepared_are_parked_however_many_there_are(
    store: EventStore,
) -> None:
    """G38: that is no outage, nothing was asked that could be away."""
    for number in range(4):
        store.append_to_stream(f"order-{number}", ANY, numbered(number, number))

    def select(event: RecordedEvent) -> bool:
        if event.position < 4:
            raise ValueError("no such product")
        return True

    target = Target()
    subscription = store.subscribe_to_all_streams(
        "shipping", target, selector=select, on_error=PARK
    )
    wait_until(lambda: subscription.checkpoint == 4)
    assert (parked(store), target.posted) == ([1, 2, 3], [3])


@pytest.mark.parametrize("bound", ["max_parked", "max_parked_per_key"])
def test_beyond_its_bounds_it_stops(store: EventStore, bound: str) -> None:
    """G38: loudly, and nothing is lost."""
    append(store, *range(1, 9))
    target = Target(1)
    options: Any = {bound: 2}

    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK, **options)

    with pytest.raises(SubscriptionLostError, match=f"may not park more events, {bound}=2"):
        subscription.join(PATIENCE)
    assert subscription.state is SubscriptionState.STOPPED
    assert parked(store) == [1, 3]
    assert store.subscription_info("$all", "shipping").checkpoint == 4


def test_a_pause_holds_up_what_is_delivered_again(store: EventStore) -> None:
    """G20, G38."""
    append(store, 1, 2)
    target = Target(1)
    subscription = store.subscribe_to_all_streams("shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 2)
    target.refused.clear()
    subscription.pause()

    store.retry_parked("$all", "shipping")
    append(store, 4)
    assert target.replays == []
    subscription.resume()

    wait_until(lambda: parked(store) == [])
    wait_until(lambda: subscription.checkpoint == 3)
    assert target.replays == [[1]]


def test_a_subscription_to_a_stream_keeps_its_own_positions(store: EventStore) -> None:
    """G38."""
    store.append_to_stream("other", ANY, numbered(1, 3))
    store.append_to_stream("order-1", ANY, numbered(1, 4))
    target = Target(2)
    subscription = store.subscribe_to_stream("order-1", "shipping", target, on_error=PARK)
    wait_until(lambda: subscription.checkpoint == 4)
    found = [(e.position, e.global_position) for e in store.parked("order-1", "shipping")]
    assert found == [(2, 5), (3, 6), (4, 7)]
    target.refused.clear()

    store.retry_parked("order-1", "shipping")

    wait_until(lambda: store.parked("order-1", "shipping") == [])
    assert flat(target.replays) == [2, 3, 4]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.parked("$all", "x", -1), ValueError, "after"),
        (lambda s: s.parked("$all", "x", 0, 0), ValueError, "count"),
        (lambda s: s.retry_parked("$all", "x", limit=0), ValueError, "limit must be"),
        (lambda s: s.retry_parked("$all", "x", ""), ValueError, "stream_id must not be empty"),
        (lambda s: s.retry_parked("$all", "x", dry_run=1), TypeError, "dry_run must be a bool"),
        (lambda s: s.skip_parked("$all", "x", reason=""), ValueError, "reason must not be empty"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    store: EventStore, call: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    """G38."""
    with pytest.raises(error, match=message):
        call(store)
