"""Handlers that use their own store: nothing blocks, nothing is done twice."""

from __future__ import annotations

from typing import Any

import pykka

from eventstore import (
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Subscribed,
    Subscription,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import wait_for_checkpoint
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

NAME = "sub"


def append(store: EventStore, stream: str, count: int) -> None:
    events = [EventData("X", number) for number in range(count)]
    store.append_to_stream(stream, ExpectedVersion.ANY, events)


def test_a_handler_may_append_read_and_subscribe(store: EventStore) -> None:
    """G13, G14: an append in a handler reaches the same handler later, not in between."""
    seen = Seen()

    def handle(events: Events) -> None:
        seen.handle(events)
        for event in events:
            if event.stream_id == "in":
                append(store, "out", 1)
        assert store.read_stream_forward("in")
        if events[0].global_position == 1:
            store.subscribe_to_stream("out", "inner", Seen().handle)

    store.subscribe_to_all_streams(NAME, handle)
    append(store, "in", 20)
    assert seen.wait(40) == list(range(1, 41))
    wait_for_checkpoint(store, 40)
    assert store.stream_info("out").stream_version == 20
    wait_until(lambda: store.subscription_info("out", "inner").checkpoint == 20)


def test_a_handler_may_pause_its_own_subscription(store: EventStore) -> None:
    """G20: what it returned from counts, and nothing follows."""
    seen, witness, handles = Seen(), Seen(), list[Subscription]()

    def handle(events: Events) -> None:
        seen.handle(events)
        events.subscription.pause()

    handles.append(store.subscribe_to_all_streams(NAME, handle, max_batch_size=1))
    store.subscribe_to_all_streams("witness", witness.handle)
    for position in (1, 2, 3):
        append(store, "s", 1)
        witness.wait(position)
        seen.wait(position)
        wait_for_checkpoint(store, position)
        assert store.subscription_info("$all", NAME).paused
        handles[0].resume()


def test_a_handler_may_unsubscribe_itself(store: EventStore) -> None:
    """G26: it ends, and the batch at work was not acknowledged, or was: never in between."""
    seen = Seen()

    def handle(events: Events) -> None:
        seen.handle(events)
        events.subscription.unsubscribe()

    subscription = store.subscribe_to_all_streams(NAME, handle, max_batch_size=1)
    append(store, "s", 3)
    wait_until(lambda: subscription.state is SubscriptionState.STOPPED)
    info = store.subscription_info("$all", NAME)
    assert info.owner is None
    assert info.checkpoint in {0, 1}
    assert seen.positions == [1]


class Service(pykka.ThreadingActor):
    """Subscribes itself when it starts, and appends when it is told of events."""

    def __init__(self, store: EventStore, seen: Seen) -> None:
        super().__init__()
        self._store = store
        self._seen = seen

    def on_start(self) -> None:
        self._store.subscribe_to_stream("in", NAME, self.actor_ref)

    def on_receive(self, message: Any) -> None:
        self._seen.messages.append(message)
        match message:
            case Events(subscription, events):
                for event in events:
                    append(self._store, "out", event.data)
                subscription.ack(message)


def test_an_actor_may_subscribe_in_on_start_and_append_in_its_messages(store: EventStore) -> None:
    """G13, G14."""
    seen = Seen()
    service = Service.start(store, seen)
    try:
        for number in range(1, 6):
            store.append_to_stream("in", number - 1, [EventData("X", number)])
        assert seen.wait(5) == [1, 2, 3, 4, 5]
        assert isinstance(seen.messages[0], Subscribed)
        wait_until(lambda: store.subscription_info("in", NAME).checkpoint == 5)
        assert store.stream_info("out").stream_version == 15
    finally:
        service.stop()
