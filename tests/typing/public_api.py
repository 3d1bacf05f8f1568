"""Checked by mypy, never run: what the public API takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    Retry,
    Runtime,
    Serializer,
    Snapshot,
    SnapshotData,
    StreamInfo,
    Subscribed,
    Subscription,
    SubscriptionInfo,
    SubscriptionKeywords,
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
        assert_type(store.for_schema("other", init=True, types=[int]), EventStore)
    EventStore.connect(Config("memory:", lease=3), runtime=CallerRuntime, init=True)
    EventStore.connect(3)  # type: ignore[arg-type]
    Config("memory:", "schema")  # type: ignore[call-arg]


def appending(store: EventStore) -> None:
    event = EventData("Placed", {"sku": "A"}, None)
    assert_type(store.append_to_stream("s", 0, [event]), AppendResult)
    assert_type(store.append_to_stream("s", ExpectedVersion.ANY, iter([event])), AppendResult)
    assert_type(store.append_to_streams([("s", 0, [event]), ("t", 3, [])]), list[AppendResult])
    assert_type(store.append_to_stream("s", 0, [event], connection=object()), AppendResult)
    store.append_to_stream("s", "any", [event])  # type: ignore[arg-type]
    store.append_to_stream("s", 0, event)  # type: ignore[arg-type]
    event.data = 1  # type: ignore[misc]


def reading(store: EventStore) -> None:
    assert_type(store.read_stream_forward("s"), list[RecordedEvent])
    assert_type(store.stream_all_forward(batch_size=10), Iterator[RecordedEvent])
    assert_type(store.stream_info("$all"), StreamInfo)


def taking_snapshots(store: EventStore) -> None:
    assert_type(store.record_snapshot("s", 3, SnapshotData("Sum", 7)), bool)
    assert_type(store.read_snapshot("s", "Sum"), Snapshot | None)
    both = store.read_stream_from_snapshot("s", "Sum")
    assert_type(both, tuple[Snapshot | None, list[RecordedEvent]])
    assert_type(store.delete_snapshot("s", "Sum"), bool)
    store.record_snapshot("s", 3, {"sum": 7})  # type: ignore[arg-type]


def looking(store: EventStore) -> None:
    assert_type(store.health(), Health)
    assert_type(store.health().as_dict(), dict[str, Any])


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
    store.subscribe_to_stream("s", "one", Mailer.start())
    store.subscribe_to_all_streams("all", print)
    store.subscribe_to_all_streams("all", lambda events: events.subscription.ack(events))
    subscribe_all = store.subscribe_to_all_streams
    subscribe_all("all", "handler")  # type: ignore[arg-type]
    subscribe_all("all", None)  # type: ignore[arg-type]
    subscribe_all("all", Mailer)  # type: ignore[arg-type]
    subscribe_all("all", wants_an_event)  # type: ignore[arg-type]
    subscribe_all("all", never_awaited)  # type: ignore[arg-type]
    subscribe_all("all", answers)  # type: ignore[arg-type]
    store.subscribe_to_stream("s", "one", handler, lease=3)  # type: ignore[call-arg]
    store.subscribe_to_all_streams("all", handler, lease=3)  # type: ignore[call-arg]


def wants_an_event(event: RecordedEvent) -> None: ...


async def never_awaited(events: Events) -> None: ...


def answers(events: Events) -> bool:
    return True


def options(store: EventStore, handler: Callable[[Events], None]) -> None:
    every: SubscriptionKeywords = {
        "start_from": "current",
        "batch_by": "any",
        "max_batch_size": 10,
        "buffer_size": 20,
        "buffer_bytes": 1_000,
        "ack_timeout": 2.5,
        "checkpoint_after": 1.5,
        "checkpoint_threshold": 10,
        "on_error": Retry(attempts=3),
        "when_owned": "error",
        "event_types": ["Placed"],
        "stream_prefix": "order-",
        "metadata": {"tenant": ["a", 1, None]},
        "selector": lambda event: assert_type(event, RecordedEvent).stream_version > 1,
        "mapper": lambda event: assert_type(event, RecordedEvent).data,
    }
    assert_type(store.subscribe_to_stream("s", "one", handler, **every), Subscription)
    store.subscribe_to_all_streams("all", handler, **every)
    subscribe = store.subscribe_to_all_streams
    subscribe("all", handler, start_from=None)  # type: ignore[arg-type]
    subscribe("all", handler, batch_by="both")  # type: ignore[arg-type]
    subscribe("all", handler, max_batch_size="10")  # type: ignore[arg-type]
    subscribe("all", handler, buffer_size=None)  # type: ignore[arg-type]
    subscribe("all", handler, buffer_bytes=1.5)  # type: ignore[arg-type]
    subscribe("all", handler, ack_timeout="2")  # type: ignore[arg-type]
    subscribe("all", handler, checkpoint_after="2")  # type: ignore[arg-type]
    subscribe("all", handler, checkpoint_threshold=1.5)  # type: ignore[arg-type]
    subscribe("all", handler, on_error=3)  # type: ignore[arg-type]
    subscribe("all", handler, when_owned="later")  # type: ignore[arg-type]
    subscribe("all", handler, selector=lambda: True)  # type: ignore[arg-type, misc]
    subscribe("all", handler, mapper="x")  # type: ignore[arg-type]
    subscribe("all", handler, object())  # type: ignore[call-arg, arg-type]


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
