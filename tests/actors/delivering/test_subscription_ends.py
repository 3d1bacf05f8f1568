"""How subscriptions end: stopped, overdue, without a subscriber; and what they leave behind."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import DeliveryTimeoutError, SubscriptionLostError
from eventstore.model.subscriber_messages import Events, SubscriptionLost
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.ownership import Claimed
from eventstore_actors.delivering.outlets import SLOW_LIVENESS
from eventstore_actors.kernel.messages import Stop
from tests.actors.seated import Seated, append, let_pass, numbers, start_keeper
from tests.support.rooms import LONG, Ear, Rooms, claim, rooms_over, soon, stop
from tests.support.waiting import wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", poll_interval=0.1)) as rooms:
        start_keeper(rooms)
        yield rooms


@pytest.fixture
def subscriber() -> Ear:
    return Ear()


def row(rooms: Rooms) -> SubscriptionInfo:
    return rooms.storage.subscription_info("$all", "shipping", soon())


def begin_to_stop(seated: Seated, seconds: float) -> pykka.ThreadingFuture[None]:
    reply = pykka.ThreadingFuture[None]()
    seated.ref.tell(Stop(time.monotonic() + seconds, reply))
    return reply


def test_a_stop_waits_for_what_is_in_flight_and_sends_nothing_more(
    rooms: Rooms, subscriber: Ear
) -> None:
    """G26."""
    append(rooms, 4)
    seated = Seated(rooms, subscriber.ref, max_batch_size=1, buffer_size=2)
    for _ in range(2):
        subscriber.next(Events)

    stopped = begin_to_stop(seated, LONG)
    seated.handle.ack(1)
    seated.settle()
    assert seated.ref.is_alive()
    seated.handle.ack(2)
    stopped.get(timeout=LONG)

    assert [type(message) for message in subscriber.so_far()] == [SubscriptionLost]
    assert (row(rooms).checkpoint, row(rooms).owner) == (2, None)
    assert seated.handle.state is SubscriptionState.STOPPED


def test_a_stop_does_not_wait_beyond_its_deadline(rooms: Rooms, subscriber: Ear) -> None:
    """G26: what was not acknowledged comes again."""
    append(rooms, 2)
    seated = Seated(rooms, subscriber.ref)
    subscriber.next(Events)

    begin_to_stop(seated, 0.1).get(timeout=LONG)

    assert (row(rooms).checkpoint, row(rooms).owner) == (0, None)
    again = Ear()
    Seated(rooms, again.ref)
    assert numbers(again.next(Events)) == [1, 2]


def test_a_stop_lets_the_handler_finish_its_batch_and_begins_no_other(rooms: Rooms) -> None:
    """G26."""
    calls: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    released = threading.Event()

    def handler(events: Events) -> None:
        calls.put(numbers(events))
        assert released.wait(LONG)

    append(rooms, 3)
    seated = Seated(rooms, handler, max_batch_size=1)
    assert calls.get(timeout=LONG) == [1]

    stopped = begin_to_stop(seated, LONG)
    seated.settle()
    released.set()
    stopped.get(timeout=LONG)

    assert calls.empty()
    assert row(rooms).checkpoint == 1


def test_a_subscriber_that_dies_frees_the_subscription_at_once(
    rooms: Rooms, subscriber: Ear
) -> None:
    """G17, G21, MSU-01, MSU-05: though nothing is sent to it that could not be delivered."""
    append(rooms, 1)
    seated = Seated(rooms, subscriber.ref)
    subscriber.next(Events)
    subscriber.ref.stop(timeout=LONG)

    with pytest.raises(SubscriptionLostError, match="its subscriber died"):
        seated.handle.join(SLOW_LIVENESS / 2)

    assert row(rooms).owner is None
    successor = Ear()
    Seated(rooms, successor.ref)
    assert numbers(successor.next(Events)) == [1]


def test_an_actor_that_acknowledges_nothing_in_time_loses_the_subscription(
    rooms: Rooms, subscriber: Ear
) -> None:
    """G21: to its successor; and it is told so."""
    append(rooms, 1)
    since = time.monotonic()
    seated = Seated(rooms, subscriber.ref, ack_timeout=0.2)
    subscriber.next(Events)

    with pytest.raises(DeliveryTimeoutError, match=r"nothing was acknowledged for 0\.2 s"):
        seated.handle.join(LONG)

    assert time.monotonic() - since >= 0.2
    assert isinstance(subscriber.next(SubscriptionLost).reason, DeliveryTimeoutError)
    assert row(rooms).owner is None
    with pytest.raises(SubscriptionLostError):
        seated.handle.ack(1)


def test_who_acknowledges_now_and_then_is_not_overdue(rooms: Rooms, subscriber: Ear) -> None:
    """The time without any acknowledgement counts, not that of one event."""
    append(rooms, 5)
    seated = Seated(rooms, subscriber.ref, max_batch_size=1, ack_timeout=2.0)

    for position in range(1, 6):
        subscriber.next(Events)
        let_pass(0.5)
        seated.handle.ack(position)
        seated.settle()

    assert seated.handle.checkpoint == 5
    assert seated.ref.is_alive()


def test_nothing_in_flight_is_never_overdue(rooms: Rooms, subscriber: Ear) -> None:
    seated = Seated(rooms, subscriber.ref, ack_timeout=0.05)
    let_pass(0.2)
    seated.settle()

    assert seated.handle.state is SubscriptionState.LIVE


def test_a_handler_that_hangs_is_never_run_twice_at_once(
    rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    """G21: the subscription is free for others; here its function waits for the hung one."""
    running: list[int] = []
    most: list[int] = []
    released = threading.Event()

    def handler(events: Events) -> None:
        running.append(1)
        most.append(len(running))
        released.wait(LONG)
        running.pop()

    append(rooms, 1)
    with caplog.at_level(logging.WARNING, "eventstore"):
        seated = Seated(rooms, handler, ack_timeout=0.2)
        with pytest.raises(DeliveryTimeoutError):
            seated.handle.join(LONG)
        wait_until(lambda: not seated.ref.is_alive())
        wait_until(lambda: "handler still running" in caplog.text)
    assert row(rooms).owner is None

    seated.sit(pykka.ThreadingFuture())
    seated.settle()
    assert most == [1]
    released.set()
    wait_until(lambda: row(rooms).checkpoint == 1)
    assert most == [1, 1]


def test_an_end_without_a_run_releases_nothing(rooms: Rooms, subscriber: Ear) -> None:
    """The owner elsewhere keeps what is its own when a standby stops."""
    other = claim(rooms.storage, lease=LONG)
    assert isinstance(other, Claimed)
    seated = Seated(rooms, subscriber.ref)

    stop(seated.ref)

    assert row(rooms).owner == "elsewhere"
