"""What is in flight costs the same per event, however much it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from tests.actors.seated import Seated, append, start_keeper
from tests.support.rooms import Ear, Rooms, rooms_over
from tests.support.waiting import wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:")) as rooms:
        start_keeper(rooms)
        append(rooms, 20_000)
        yield rooms


def work_per_event(rooms: Rooms, in_flight: int) -> float:
    """Receive *in_flight* events of one batch each, then acknowledge each of them.

    Returns:
        Processor time of this process for each event: what else the machine does is not in it.
    """
    subscriber = Ear()
    began = time.process_time()
    seated = Seated(
        rooms,
        subscriber.ref,
        name=f"{in_flight} in flight",
        max_batch_size=1,
        buffer_size=in_flight,
    )
    positions = [subscriber.next(Events).last_position for _ in range(in_flight)]
    for position in positions:
        seated.handle.ack(position)
    wait_until(lambda: seated.handle.checkpoint >= in_flight)
    took = time.process_time() - began
    subscriber.ref.stop()
    return took / in_flight


def test_twenty_thousand_events_in_flight_cost_each_no_more_than_a_thousand(rooms: Rooms) -> None:
    """G22: the original is quadratic, and stops to answer at twenty thousand."""
    few = min(work_per_event(rooms, 1_000 + n) for n in range(3))
    many = work_per_event(rooms, 20_000)

    assert many < 5 * few
