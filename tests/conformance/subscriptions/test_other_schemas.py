"""Subscriptions of stores beside one another: each has its own, and hears of its own alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from eventstore import (
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    SubscriptionState,
)
from tests.conformance.conftest import Connect, has_ended, numbered
from tests.conformance.subscriptions.recording import Handler
from tests.support.waiting import AGES, PATIENCE, wait_until

ANY = ExpectedVersion.ANY


class WaitingFor:
    """Handles a batch only when something is so."""

    def __init__(self, is_so: Callable[[], bool]) -> None:
        self._is_so = is_so
        self.entered = threading.Event()
        self.found: list[bool] = []

    def __call__(self, _: Events) -> None:
        self.entered.set()
        try:
            wait_until(self._is_so)
        except TimeoutError:
            self.found.append(False)
            raise
        self.found.append(True)


def test_each_delivers_its_own_events(store: EventStore, other: str, third: str) -> None:
    """G13, G34: to subscriptions of the same name."""
    stores = [store, store.for_schema(other, init=True), store.for_schema(third, init=True)]
    handlers = [Handler() for _ in stores]
    for each, handler in zip(stores, handlers, strict=True):
        each.subscribe_to_all_streams("shipping", handler)
    for number in (0, 10):
        for index, each in enumerate(stores):
            each.append_to_stream("order-1", ANY, numbered(number + index, number + index))
        assert [handler.call() for handler in handlers] == [[number], [number + 1], [number + 2]]
    assert all(handler.is_not_called() for handler in handlers)


def test_an_event_of_another_process_is_told_before_the_next_poll(
    connect: Connect, other: str
) -> None:
    """G23: it does not wait for a poll, nor for another event."""
    beside, handler = connect(poll_interval=60).for_schema(other, init=True), Handler()
    beside.subscribe_to_all_streams("shipping", handler)
    wait_until(lambda: beside.health().listening)
    process = connect(schema=other, poll_interval=60)
    for number in (1, 2):
        process.append_to_stream("order-1", ANY, numbered(number, number))
        assert handler.call() == [number]


def test_another_process_is_told_before_the_next_poll(connect: Connect, other: str) -> None:
    """G23: of what was appended beside the first store."""
    beside, handler = connect().for_schema(other, init=True), Handler()
    process = connect(schema=other, poll_interval=60)
    process.subscribe_to_all_streams("shipping", handler)
    wait_until(lambda: process.health().listening)
    for number in (1, 2):
        beside.append_to_stream("order-1", ANY, numbered(number, number))
        assert handler.call() == [number]


def test_a_standby_takes_over_when_the_schema_is_closed(connect: Connect, other: str) -> None:
    """G27: the first store stays open, and so do its connections."""
    store = connect(lease=60)
    beside, first, second = store.for_schema(other, init=True), Handler(), Handler()
    beside.subscribe_to_all_streams("shipping", first)
    standby = connect(schema=other, lease=60)
    standby.subscribe_to_all_streams("shipping", second, when_owned="wait")
    beside.append_to_stream("order-1", ANY, numbered(1, 1))
    assert first.call() == [1]
    beside.close()
    standby.append_to_stream("order-1", ANY, numbered(2, 2))
    assert second.call() == [2]
    assert store.health().running


def test_health_is_of_each(store: EventStore, other: str) -> None:
    """G32: of its own subscriptions, whatever becomes of those beside it."""
    beside = store.for_schema(other, init=True)
    store.subscribe_to_all_streams("shipping", Handler())
    once = Retry(attempts=1)
    beside.subscribe_to_all_streams("billing", Handler(ValueError("no")), on_error=once)
    beside.append_to_stream("order-1", ANY, numbered(1, 1))

    def states(of: EventStore) -> dict[str, SubscriptionState]:
        return {each.subscription_name: each.state for each in of.health().subscriptions}

    wait_until(lambda: states(beside) == {"billing": SubscriptionState.STOPPED})
    wait_until(lambda: states(store) == {"shipping": SubscriptionState.LIVE})
    assert (store.health().head, beside.health().head) == (0, 1)


def test_all_stop_at_the_same_time(connect: Connect, other: str, third: str) -> None:
    """G26: a store whose handler takes long holds up the end of no other one."""
    store = connect(stop_timeout=AGES)
    one, another = store.for_schema(other, init=True), store.for_schema(third, init=True)
    in_first = WaitingFor(lambda: has_ended(another))
    beside = WaitingFor(lambda: has_ended(another))
    for each, waiting in ((store, in_first), (one, beside)):
        each.subscribe_to_all_streams("shipping", waiting)
        each.append_to_stream("order-1", ANY, numbered(1, 1))
        assert waiting.entered.wait(PATIENCE)
    store.close()
    assert in_first.found == beside.found == [True]


def test_a_handler_may_close_the_first_store(connect: Connect, other: str) -> None:
    """G26: its own acknowledgement is not waited for."""
    store = connect(stop_timeout=PATIENCE)
    beside, closed = store.for_schema(other, init=True), threading.Event()
    onlooker = connect(schema=other)

    def close(_: Any) -> None:
        store.close()
        closed.set()

    beside.subscribe_to_all_streams("shipping", close)
    beside.append_to_stream("order-1", ANY, numbered(1, 1))
    assert closed.wait(PATIENCE / 2)
    wait_until(lambda: has_ended(beside))
    wait_until(lambda: onlooker.subscription_info("$all", "shipping").checkpoint == 1)
