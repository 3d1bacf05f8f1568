"""Actors that acknowledge several events at once: they never stand still for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pykka
import pytest

from eventstore import Events, EventStore, Subscribed
from tests.conformance.conftest import Connect
from tests.conformance.subscriptions.test_parking import PARK, append, parked
from tests.support.waiting import wait_until

LEASE = 1.0


class Gathering(pykka.ThreadingActor):
    """Acknowledges five events at once, and parks a one."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.pending = 0
        self.got: list[int] = []

    def on_receive(self, message: object) -> None:
        match message:
            case Subscribed():
                self.pending = 0
            case Events():
                self.take(message)

    def take(self, events: Events) -> None:
        for event in events:
            if event.data["event"] == 1 and not events.replay:
                events.subscription.nack(event, "park", reason="no such product")
                return
            self.got.append(event.data["event"])
            self.pending += 1
            if self.pending == 5:
                self.pending = 0
                events.ack(event)


@pytest.fixture
def gathering() -> Iterator[pykka.ActorRef[Gathering]]:
    ref = Gathering.start()
    yield ref
    ref.stop()


def got(ref: pykka.ActorRef[Gathering]) -> list[int]:
    numbers: list[int] = ref.proxy().got.get()
    return list(numbers)


def evens(store: EventStore, first: int, last: int) -> None:
    append(store, *range(first, last + 1, 2))


def test_what_follows_a_parked_event_does_not_hold_up_the_rest(
    connect: Connect, gathering: pykka.ActorRef[Gathering]
) -> None:
    """G32, G38: after a lease it is parked, though nothing before it is acknowledged."""
    store = connect(lease=LEASE)
    append(store, 1)
    running = store.subscribe_to_all_streams("shipping", gathering)
    wait_until(lambda: running.checkpoint == 1)

    append(store, 2, 4, 3)
    wait_until(lambda: parked(store) == [1, 4])
    assert store.subscription_info("$all", "shipping").checkpoint == 1
    append(store, 6, 8, 10)

    wait_until(lambda: running.checkpoint == 7)
    assert got(gathering) == [2, 4, 6, 8, 10]


def test_a_replay_that_is_not_acknowledged_stays_parked(
    connect: Connect, gathering: pykka.ActorRef[Gathering]
) -> None:
    """G32, G38: after a lease, as new events wait for it."""
    store = connect(lease=LEASE)
    append(store, 1)
    running = store.subscribe_to_all_streams("shipping", gathering)
    wait_until(lambda: running.checkpoint == 1)
    store.retry_parked("$all", "shipping")
    wait_until(lambda: got(gathering) == [1])

    evens(store, 2, 10)

    wait_until(lambda: running.checkpoint == 6)
    assert got(gathering) == [1, 2, 4, 6, 8, 10]
    (left,) = store.parked("$all", "shipping")
    assert (left.position, left.is_marked) == (1, False)
    assert left.reason == "it was delivered again, and not acknowledged within a lease"


def test_an_actor_that_may_park_gets_more_of_a_stream_after_a_lease(
    connect: Connect, gathering: pykka.ActorRef[Gathering]
) -> None:
    """G32, G38: it acknowledges several batches at once."""
    store = connect(lease=LEASE)
    running = store.subscribe_to_all_streams("shipping", gathering, max_batch_size=2, on_error=PARK)

    evens(store, 2, 20)

    wait_until(lambda: running.checkpoint == 10)
    assert got(gathering) == list(range(2, 21, 2))
