"""Checked by mypy, never run: what the public API takes and returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import pykka

from eventstore import (
    AppendResult,
    CallerRuntime,
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    Health,
    RecordedEvent,
    Runtime,
    Serializer,
    StreamInfo,
    Subscribed,
    Subscription,
    SubscriptionInfo,
    SubscriptionLost,
    SubscriptionState,
)


class Upper:
    """A serializer is whatever has these two methods."""

    def serialize(self, value: Any) -> bytes:
        return repr(value).encode()

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        return payload.decode()


_serializer: Serializer = Upper()
_runtime: type[Runtime] = CallerRuntime


def connecting() -> None:
    with EventStore.connect("memory:") as store:
        assert_type(store, EventStore)
    EventStore.connect(Config("memory:", lease=3), runtime=CallerRuntime, init=True)
    EventStore.connect(3)  # type: ignore[arg-type]
    Config("memory:", "schema")  # type: ignore[call-arg]


def appending(store: EventStore) -> None:
    event = EventData("Placed", {"sku": "A"}, None)
    assert_type(store.append_to_stream("s", 0, [event]), AppendResult)
    assert_type(store.append_to_stream("s", ExpectedVersion.ANY, iter([event])), AppendResult)
    assert_type(store.append_to_streams([("s", 0, [event]), ("t", 3, [])]), list[AppendResult])
    store.append_to_stream("s", "any", [event])  # type: ignore[arg-type]
    store.append_to_stream("s", 0, event)  # type: ignore[arg-type]
    event.data = 1  # type: ignore[misc]


def reading(store: EventStore) -> None:
    assert_type(store.read_stream_forward("s"), list[RecordedEvent])
    assert_type(store.stream_all_forward(batch_size=10), Iterator[RecordedEvent])
    assert_type(store.stream_info("$all"), StreamInfo)
    assert_type(store.health(), Health)


def subscribing(store: EventStore, result: AppendResult) -> None:
    def handler(events: Events) -> None:
        for event in events:
            assert_type(event, RecordedEvent)

    subscription = store.subscribe_to_all_streams("all", handler, start_from="current")
    assert_type(subscription, Subscription)
    assert_type(subscription.state, SubscriptionState)
    assert_type(store.subscriptions(), list[SubscriptionInfo])
    subscription.wait_for(result, timeout=1)
    store.subscribe_to_stream("s", "one", handler, batch_by="any", start_from=3)
    store.subscribe_to_stream("s", "one", handler, batch_by="both")  # type: ignore[arg-type]
    store.subscribe_to_stream("s", "one", handler, start_from="end")  # type: ignore[arg-type]
    store.subscribe_to_stream("s", "one", handler, lease=3)  # type: ignore[call-arg]


class Mailer(pykka.ThreadingActor):
    """A subscriber that is an actor, as the README shows it."""

    def on_receive(self, message: Any) -> None:
        match message:
            case Subscribed(subscription):
                assert_type(subscription, Subscription)
            case Events(subscription, events):
                subscription.ack(events)
                subscription.ack(events[0])
                subscription.ack(message)
                subscription.ack(3)
            case SubscriptionLost(subscription, reason):
                assert_type(reason.retryable, bool)
