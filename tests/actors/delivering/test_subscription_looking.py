"""What a subscription hears by itself, and what it still looks for when nobody tells it."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.delivering.function_subscriber import FunctionSubscriber
from eventstore_actors.delivering.outlets import LIVENESS, SLOW_LIVENESS
from eventstore_actors.kernel.messages import HeadMoved, Stop
from tests.actors.seated import Seated, append, let_pass, start_keeper
from tests.support.rooms import Rooms, rooms_over
from tests.support.waiting import wait_until

SOON = 5 * LIVENESS
"""Room for a busy machine, and far less than a rest."""


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:")) as rooms:
        start_keeper(rooms)
        yield rooms


@pytest.fixture
def received() -> queue.SimpleQueue[int]:
    return queue.SimpleQueue()


@pytest.fixture
def resting(rooms: Rooms, received: queue.SimpleQueue[int]) -> Seated:
    """A function's subscription that has nothing to do, and looks around again after a rest."""

    def handle(events: Events) -> None:
        received.put(events.last_position)

    seated = Seated(rooms, handle)
    seated.append(1)
    assert received.get(timeout=SOON) == 1
    wait_until(lambda: seated.handle.checkpoint == 1)
    # What was set before it came to rest has rung by then.
    let_pass(1.2 * LIVENESS)
    seated.settle()
    assert SOON < SLOW_LIVENESS
    return seated


def test_the_end_of_a_functions_actor_is_told(resting: Seated) -> None:
    """G24, G32: not found out by looking."""
    (subscriber,) = pykka.ActorRegistry.get_by_class(FunctionSubscriber)

    subscriber.tell(Stop(0.0, pykka.ThreadingFuture()))

    wait_until(lambda: resting.handle.state is SubscriptionState.STOPPED, timeout=SOON)


def test_what_was_announced_and_not_found_is_looked_for_again(
    rooms: Rooms, resting: Seated, received: queue.SimpleQueue[int]
) -> None:
    """G23: though its subscriber tells everything by itself."""
    resting.ref.tell(HeadMoved(2))
    resting.settle()

    append(rooms, 1)

    assert received.get(timeout=SOON) == 2
