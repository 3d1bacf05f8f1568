"""Pausing a function: batches that were sent to it and not begun are taken back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.delivering.subscription_actor import SubscriptionActor
from tests.actors.seated import Seated, append, numbers, start_keeper
from tests.support.rooms import LONG, Rooms, rooms_over, soon
from tests.support.waiting import wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", poll_interval=0.1)) as rooms:
        start_keeper(rooms)
        yield rooms


class Steps:
    """A handler that goes from one batch to the next when the test says so."""

    def __init__(self) -> None:
        self.begun: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.go_on = threading.Semaphore(0)

    def __call__(self, events: Events) -> None:
        self.begun.put(numbers(events))
        assert self.go_on.acquire(timeout=LONG)


def in_mailbox(seated: Seated) -> int:
    actor = seated.ref._actor_weakref()
    assert isinstance(actor, SubscriptionActor)
    return actor._loop.run.delivery.in_flight if actor._loop.run else 0


@pytest.mark.parametrize("from_elsewhere", [False, True])
def test_after_a_pause_no_batch_is_begun(rooms: Rooms, *, from_elsewhere: bool) -> None:
    """G20: though several were sent; the one that was begun finishes, and its ack counts."""
    handler = Steps()
    append(rooms, 5)
    seated = Seated(rooms, handler, max_batch_size=1)
    assert handler.begun.get(timeout=LONG) == [1]
    wait_until(lambda: in_mailbox(seated) == 5)

    if from_elsewhere:
        rooms.storage.set_paused("$all", "shipping", paused=True, deadline=soon())
        wait_until(lambda: seated.handle.state is SubscriptionState.PAUSED)
    else:
        seated.handle.pause()
    handler.go_on.release(5)
    wait_until(lambda: seated.handle.checkpoint == 1)
    seated.settle()
    assert handler.begun.empty()

    seated.handle.resume()
    wait_until(lambda: seated.handle.checkpoint == 5)
    assert [handler.begun.get() for _ in range(4)] == [[2], [3], [4], [5]]
    assert handler.begun.empty()


def test_a_handler_may_pause_its_own_subscription(rooms: Rooms) -> None:
    """G20."""
    begun: list[list[int]] = []

    def handler(events: Events) -> None:
        begun.append(numbers(events))
        if events.last_position == 2:
            events.subscription.pause()

    append(rooms, 4)
    seated = Seated(rooms, handler, max_batch_size=1)
    wait_until(lambda: seated.handle.checkpoint == 2)
    seated.settle()
    assert begun == [[1], [2]]
    assert seated.handle.state is SubscriptionState.PAUSED

    seated.handle.resume()

    wait_until(lambda: seated.handle.checkpoint == 4)
    assert begun == [[1], [2], [3], [4]]


def test_pausing_again_and_again_repeats_and_skips_nothing(rooms: Rooms) -> None:
    """G13, G14, G20."""
    handled: list[int] = []
    append(rooms, 300)
    seated = Seated(rooms, lambda events: handled.extend(numbers(events)), max_batch_size=3)

    while seated.handle.checkpoint < 300:
        seated.handle.pause()
        so_far = seated.handle.checkpoint
        seated.handle.resume()
        wait_until(lambda so_far=so_far: seated.handle.checkpoint > so_far or so_far == 300)  # type: ignore[misc]

    assert handled == list(range(1, 301))
