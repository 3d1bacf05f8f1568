"""A subscription at the end of its lease, and when it is fenced: the test is its keeper."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import SubscriptionLostError
from eventstore.model.subscriber_messages import Events, Subscribed, SubscriptionLost
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Kept
from eventstore_actors.kernel.messages import Acknowledge, Child, Keep, Renewed
from tests.actors.seated import Seated, numbers
from tests.support.rooms import LONG, Ear, Rooms, rooms_over, soon
from tests.support.waiting import wait_until

LEASE = 1.5
"""Seconds in which a first batch is delivered, on a machine that has much else to do, too."""


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", lease=LEASE, poll_interval=0.1)) as rooms:
        yield rooms


@pytest.fixture
def keeper(rooms: Rooms) -> Ear:
    """Hears what has to be stored, and renews nothing by itself."""
    return rooms.listen_as(Child.KEEPER)


def state(seated: Seated) -> SubscriptionState:
    return seated.handle.state


def wait_for_the_end_of_the_lease(seated: Seated) -> None:
    wait_until(lambda: state(seated) is SubscriptionState.WAITING)


class Blocked:
    """A handler that says when it was called, and returns when the test lets it."""

    def __init__(self) -> None:
        self.called: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.released = threading.Semaphore(0)

    def __call__(self, events: Events) -> None:
        self.called.put(numbers(events))
        assert self.released.acquire(timeout=LONG)

    def next(self) -> list[int]:
        return self.called.get(timeout=LONG)


def test_an_actor_is_told_nothing_after_the_lease_ran_out(rooms: Rooms, keeper: Ear) -> None:
    """G16: it goes on after the last sent when the renewal comes after all."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    seated.append(1)
    assert numbers(subscriber.next(Events)) == [1]
    wait_for_the_end_of_the_lease(seated)

    seated.append(1)
    seated.renew(-1)
    seated.settle()
    assert not [m for m in subscriber.so_far() if isinstance(m, Events)]

    seated.renew(LONG)
    assert numbers(subscriber.next((Events, Subscribed))) == [2]


def test_a_function_begins_no_batch_after_the_lease_ran_out(rooms: Rooms, keeper: Ear) -> None:
    """G16: not even one that was sent to it before."""
    handler = Blocked()
    seated = Seated(rooms, handler, max_batch_size=1)
    seated.append(3)
    assert handler.next() == [1]
    wait_for_the_end_of_the_lease(seated)

    handler.released.release(3)
    wait_until(lambda: seated.handle.checkpoint == 1)
    assert handler.called.empty()

    seated.renew(LONG)
    assert handler.next() == [2]
    assert handler.next() == [3]
    wait_until(lambda: seated.handle.checkpoint == 3)


def test_a_renewal_that_is_late_lets_what_was_sent_be_begun(rooms: Rooms, keeper: Ear) -> None:
    handler = Blocked()
    seated = Seated(rooms, handler, max_batch_size=1)
    seated.renew(LONG)
    seated.append(2)
    assert handler.next() == [1]

    handler.released.release(2)

    assert handler.next() == [2]


def test_a_fenced_subscription_starts_a_new_run_after_the_stored_checkpoint(
    rooms: Rooms, keeper: Ear
) -> None:
    """G14, G16, SLK-03: what the old run sent counts for nothing."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    seated.renew(LONG)
    seated.append(3)
    old = subscriber.next(Events)
    seated.handle.ack(2)
    wait_until(lambda: seated.handle.checkpoint == 2)
    fence = seated.fence()
    rooms.storage.reset_subscription("$all", "shipping", 1, soon())

    void = Kept(fence, owned=False, stored=True, checkpoint=1, paused=False)
    seated.ref.tell(Renewed(void, time.monotonic(), time.monotonic()))

    assert isinstance(subscriber.next(SubscriptionLost).reason, SubscriptionLostError)
    subscriber.next(Subscribed)
    assert numbers(old) == [1, 2, 3]
    assert numbers(subscriber.next(Events)) == [2, 3]
    seated.ref.tell(Acknowledge(1, 3))
    seated.settle()
    assert seated.handle.checkpoint == 1, "an acknowledgement of the first run came late"


def test_what_the_keeper_asked_before_a_pause_does_not_end_it(rooms: Rooms, keeper: Ear) -> None:
    """G20."""
    seated = Seated(rooms, Ear().ref)
    asked_at = time.monotonic()
    seated.handle.pause()

    seated.renew(LONG, asked_at=asked_at, paused=False)
    seated.settle()
    assert state(seated) is SubscriptionState.PAUSED

    seated.renew(LONG, paused=False)
    wait_until(lambda: state(seated) is not SubscriptionState.PAUSED)


def test_progress_is_told_to_the_keeper_at_intervals(rooms: Rooms, keeper: Ear) -> None:
    """ACK-02: one acknowledgement after another, and not a message for each."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, max_batch_size=1, buffer_size=1_000)
    seated.renew(LONG)
    seated.append(500)
    for position in range(1, 501):
        assert numbers(subscriber.next(Events)) == [position]
        seated.handle.ack(position)

    last = keeper.next(Keep)
    told = 1
    while last.progress.checkpoint < 500:
        last = keeper.next(Keep)
        told += 1
    assert told < 250
