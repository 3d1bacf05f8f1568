"""A selector, mapper or serializer that never returns holds up its own subscription alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventstore import (
    Config,
    DeliveryTimeoutError,
    EventData,
    EventStore,
    ExpectedVersion,
    JsonSerializer,
    RecordedEvent,
    Subscription,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Settings
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

STEPS = ["selector", "mapper", "serializer"]


class Hung:
    """User code that does not return before the end of the test."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def __call__(self, value: Any) -> Any:
        self.entered.set()
        self.released.wait(60)
        return True


@pytest.fixture
def hung() -> Iterator[Hung]:
    step = Hung()
    yield step
    step.released.set()


class Picky(JsonSerializer):
    """Hangs for one payload."""

    def __init__(self, hung: Hung) -> None:
        super().__init__()
        self._hung = hung

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        value = super().deserialize(payload, payload_type)
        return self._hung(value) if value == "hang" else value


def append(store: EventStore, stream: str, *data: Any) -> None:
    events = [EventData("X", each) for each in data]
    store.append_to_stream(stream, ExpectedVersion.ANY, events)


def connect(settings: Settings, step: str, hung: Hung) -> EventStore:
    serializer = Picky(hung) if step == "serializer" else JsonSerializer()
    return EventStore.connect(Config(**settings, serializer=serializer))


def subscribe(store: EventStore, step: str, hung: Hung, **options: Any) -> Subscription:
    if step != "serializer":
        options[step] = hung
    return store.subscribe_to_stream("s", "hung", Seen().handle, **options)


@pytest.mark.parametrize("step", STEPS)
def test_it_can_be_seen_and_harms_nobody_else(
    settings: Settings, observer: EventStore, hung: Hung, step: str
) -> None:
    """F20, G22, G30, G32: it is not live, its time without progress grows; others go on."""
    seen = Seen()
    with connect(settings, step, hung) as store:
        subscription = subscribe(store, step, hung)
        store.subscribe_to_stream("t", "fine", seen.handle)
        wait_until(lambda: subscription.state is SubscriptionState.LIVE)
        append(store, "s", "hang")
        assert hung.entered.wait(PATIENCE)
        for number in range(50):
            append(store, "s", number)
        append(store, "t", 1, 2)
        assert seen.wait(2) == [1, 2]

        def of(name: str) -> Any:
            (found,) = [s for s in store.health().subscriptions if s.subscription_name == name]
            return found

        wait_until(lambda: of("hung").seconds_without_progress > 0.5)
        assert of("hung").state is SubscriptionState.CATCHING_UP
        wait_until(lambda: of("fine").seconds_without_progress == 0)
        wait_until(
            lambda: observer.subscription_info("s", "hung").state is SubscriptionState.CATCHING_UP
        )
        assert observer.subscription_info("s", "hung").lag_events == 51
        assert store.health().running
        hung.released.set()
        wait_until(lambda: subscription.checkpoint == 51)


@pytest.mark.parametrize("step", STEPS)
def test_with_an_ack_timeout_it_stops_and_its_successor_gets_the_event(
    settings: Settings, observer: EventStore, hung: Hung, step: str
) -> None:
    """F20, G21, G17: as a handler that hangs."""
    with connect(settings, step, hung) as store:
        subscription = subscribe(store, step, hung, ack_timeout=0.3)
        append(store, "s", "hang")
        with pytest.raises(DeliveryTimeoutError, match=f"its {step} has not returned for 0.3 s"):
            subscription.join(PATIENCE)
        assert subscription.state is SubscriptionState.STOPPED
        wait_until(lambda: observer.subscription_info("s", "hung").owner is None)
        with EventStore.connect(Config(**settings)) as other:
            seen = Seen()
            other.subscribe_to_stream("s", "hung", seen.handle)
            assert seen.wait(1) == [1]
        hung.released.set()


def unsubscribe(store: EventStore) -> None:
    store.unsubscribe_from_stream("s", "hung")


def close(store: EventStore) -> None:
    store.close(timeout=0.5)


@pytest.mark.parametrize("end", [unsubscribe, close])
def test_an_end_does_not_wait_for_it_and_says_so(
    settings: Settings,
    observer: EventStore,
    hung: Hung,
    caplog: pytest.LogCaptureFixture,
    end: Callable[[EventStore], None],
) -> None:
    """F20, G26: its thread alone stays, and the log names it; the subscription is free."""
    with EventStore.connect(Config(**settings)) as store:
        subscription = subscribe(store, "selector", hung)
        append(store, "s", "hang")
        assert hung.entered.wait(PATIENCE)
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "eventstore"):
            end(store)
        assert time.monotonic() - began < PATIENCE
        assert subscription.state is SubscriptionState.STOPPED
        assert observer.subscription_info("s", "hung").owner is None
        wait_until(lambda: "selector still running" in caplog.text)
        hung.released.set()


def test_a_selector_may_append_read_and_close_its_own_store(
    settings: Settings, observer: EventStore
) -> None:
    """F20, G26: it does not wait for itself."""
    took: list[float] = []
    with EventStore.connect(Config(**settings)) as store:

        def select(event: RecordedEvent) -> bool:
            append(store, "out", event.data)
            assert store.read_stream_forward("out")
            if event.position == 2:
                began = time.monotonic()
                store.close()
                took.append(time.monotonic() - began)
            return True

        store.subscribe_to_stream("s", "hung", Seen().handle, selector=select, max_batch_size=1)
        append(store, "s", 1, 2)
        wait_until(lambda: took)
        assert took[0] < settings["stop_timeout"] + PATIENCE
        wait_until(lambda: observer.subscription_info("s", "hung").owner is None)
        assert observer.stream_info("out").stream_version == 2


class Proxy:
    """A handler that is asked for its class in vain, as an unbound proxy of a web framework."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.took: list[float] = []

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a context")

    def __call__(self, events: Any) -> None:
        began = time.monotonic()
        self._store.close()
        self.took.append(time.monotonic() - began)


def test_a_handler_without_a_class_may_close_its_store(settings: Settings) -> None:
    """F18, G26: nothing of the user's is asked who calls."""
    with EventStore.connect(Config(**settings)) as store:
        proxy = Proxy(store)
        store.subscribe_to_all_streams("sub", proxy.__call__)
        append(store, "s", 1)
        wait_until(lambda: proxy.took)
