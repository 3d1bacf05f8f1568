"""What acknowledges and what does not."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pykka
import pytest

from eventstore import (
    EventData,
    Events,
    EventStore,
    RecordedEvent,
    Retry,
    Subscription,
    SubscriptionLostError,
    SubscriptionState,
    UnexpectedAckError,
)
from tests.acceptance.guarantees.conftest import Record, wait_for_checkpoint
from tests.support.recorder import Recorder, Seen
from tests.support.waiting import wait_until

NAME = "sub"


def append(store: EventStore, count: int) -> list[RecordedEvent]:
    store.append_to_stream("s", 0, [EventData("X", number) for number in range(count)])
    return store.read_all_streams_forward()


def stored_checkpoint(store: EventStore) -> int:
    return store.subscription_info("$all", NAME).checkpoint


def test_acknowledging_is_cumulative_by_position_event_list_and_batch(
    store: EventStore, record: Record
) -> None:
    """G19: also through the store; lower ones change nothing."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams(
        NAME, record(seen, acks=False), max_batch_size=2, buffer_size=100
    )
    append(store, 20)
    seen.wait(20)
    events = seen.events
    steps: list[tuple[Any, int]] = [
        (2, 2),
        (events[4], 5),
        (events[5:9], 9),
        (3, 9),
        (events[0], 9),
        (seen.batches[5], 12),
        (0, 12),
    ]
    for what, expected in steps:
        subscription.ack(what)
        wait_for_checkpoint(store, expected)
        assert subscription.checkpoint == expected
    store.ack(subscription, events[-1])
    wait_for_checkpoint(store, 20)


def test_acknowledging_what_was_not_delivered_is_refused_and_changes_nothing(
    store: EventStore, record: Record
) -> None:
    """G19."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams(NAME, record(seen, acks=False), buffer_size=5)
    events = append(store, 10)
    seen.wait(5)
    subscription.ack(2)
    for wrong, position in ((6, 6), (10**12, 10**12), (events[8], 9), (events[3:7], 4)):
        with pytest.raises(UnexpectedAckError) as refused:
            subscription.ack(wrong)
        assert refused.value.position == position
        assert refused.value.subscription_name == NAME
    subscription.ack(3)
    wait_for_checkpoint(store, 3)
    wait_until(lambda: seen.positions == list(range(1, 9)))
    assert subscription.checkpoint == 3


def test_an_ack_of_a_subscription_that_ended_is_refused(store: EventStore, record: Record) -> None:
    """G19, G16."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams(NAME, record(seen, acks=False))
    append(store, 3)
    seen.wait(3)
    subscription.ack(1)
    subscription.unsubscribe()
    with pytest.raises(SubscriptionLostError):
        subscription.ack(3)
    assert subscription.state is SubscriptionState.STOPPED
    assert stored_checkpoint(store) == 1


class Awaitable:
    def __await__(self) -> Iterator[None]:
        yield


async def work() -> None:
    await asyncio.sleep(0)


def generate() -> Iterator[None]:
    yield


def exits() -> None:
    raise SystemExit(0)


def interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "result",
    [
        lambda: False,
        lambda: True,
        lambda: 0,
        lambda: "",
        list,
        lambda: NotImplemented,
        Awaitable,
        work,
        generate,
        Future,
        pykka.ThreadingFuture,
        exits,
        interrupts,
    ],
)
def test_a_function_that_returns_anything_but_none_does_not_acknowledge(
    store: EventStore, result: Callable[[], object]
) -> None:
    """G19, G30: it is delivered again; nobody else is harmed."""
    calls: list[list[int]] = []

    def handle(events: Events) -> Any:
        calls.append([event.position for event in events])
        return result()

    seen = Seen()
    subscription = store.subscribe_to_all_streams(
        NAME, handle, on_error=Retry(first=0.01, longest=0.01)
    )
    store.subscribe_to_all_streams("witness", seen.handle)
    append(store, 3)
    wait_until(lambda: len(calls) >= 3)
    # How many come at once is open at first; each delivery starts at the first one.
    assert all(positions[0] == 1 for positions in calls)
    wait_until(lambda: subscription.attempts >= 2)
    assert subscription.state is SubscriptionState.RETRYING
    assert subscription.checkpoint == 0
    assert subscription.last_error is not None
    assert stored_checkpoint(store) == 0
    wait_until(lambda: seen.positions == [1, 2, 3])


async def coroutine_function(events: Events) -> None:
    await asyncio.sleep(0)


async def asynchronous_generator(events: Events) -> Any:
    yield events


def generator_function(events: Events) -> Iterator[Events]:
    yield events


class AsyncCallable:
    async def __call__(self, events: Events) -> None:
        await asyncio.sleep(0)


class GeneratorMethod:
    def handle(self, events: Events) -> Iterator[Events]:
        yield events


class NotYetMade:
    def __call__(self, events: Events) -> None:
        return None


@pytest.mark.parametrize(
    "subscriber",
    [
        coroutine_function,
        asynchronous_generator,
        generator_function,
        AsyncCallable(),
        GeneratorMethod().handle,
        functools.partial(coroutine_function),
        functools.partial(functools.partial(generator_function)),
        NotYetMade,
        Recorder,
        None,
        "handler",
        [print],
    ],
)
def test_what_cannot_do_its_work_is_refused_as_subscriber(
    store: EventStore, subscriber: Any
) -> None:
    """G19: at the call, and nothing is created."""
    with pytest.raises(TypeError):
        store.subscribe_to_all_streams(NAME, subscriber)
    assert store.subscriptions() == []


def test_an_actor_proxy_is_refused_as_subscriber(store: EventStore, record: Record) -> None:
    """G19: the message names what to pass instead."""
    proxy = record(Seen()).proxy()
    with pytest.raises(TypeError, match=r"actor_ref|ActorRef|reference"):
        store.subscribe_to_all_streams(NAME, proxy)
    assert store.subscriptions() == []


def test_an_actor_that_returns_from_its_batch_has_not_acknowledged(
    store: EventStore, record: Record
) -> None:
    """G19, G15: only `ack` counts, from whatever thread."""
    seen = Seen()
    subscription: Subscription = store.subscribe_to_all_streams(NAME, record(seen, acks=False))
    append(store, 3)
    seen.wait(3)
    assert subscription.checkpoint == 0
    subscription.ack(seen.batches[-1])
    wait_for_checkpoint(store, 3)


def test_events_filtered_out_count_as_acknowledged_but_never_over_one_in_flight(
    store: EventStore, record: Record
) -> None:
    """G15, G19: the checkpoint passes them when everything before them is acknowledged."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams(
        NAME, record(seen, acks=False), selector=lambda event: event.data in {5, 9}
    )
    store.subscribe_to_all_streams("nothing", Seen().handle, selector=lambda event: False)
    append(store, 20)
    wait_for_checkpoint(store, 20, name="nothing")
    seen.wait(2)
    # Four filtered ones lead the way; then one is in flight.
    wait_for_checkpoint(store, 5)
    subscription.ack(6)
    wait_for_checkpoint(store, 9)
    subscription.ack(seen.events[-1])
    wait_for_checkpoint(store, 20)
    assert seen.positions == [6, 10]
