"""What a subscription tells the keeper of its state: what lasts, not what is over in a moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.delivering.progress import COALESCING
from eventstore_actors.kernel.messages import Child, Keep
from tests.actors.seated import Seated, let_pass
from tests.support.rooms import LONG, Ear, Rooms, rooms_over
from tests.support.waiting import wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", lease=LONG)) as rooms:
        yield rooms


@pytest.fixture
def keeper(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.KEEPER)


def reports(keeper: Ear) -> list[tuple[SubscriptionState, int]]:
    told = [m for m in keeper.so_far() if isinstance(m, Keep)]
    return [(m.progress.state, m.progress.checkpoint) for m in told]


def wait_until_live_at(seated: Seated, position: int) -> None:
    handle = seated.handle
    wait_until(
        lambda: handle.state is SubscriptionState.LIVE and handle.checkpoint == position,
    )
    seated.settle()


def test_live_events_cost_no_report_but_that_of_their_acknowledgement(
    rooms: Rooms, keeper: Ear
) -> None:
    """G32: each of them makes it catch up, for a moment."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)

    for position in (1, 2, 3, 4):
        let_pass(2 * COALESCING)
        seated.append(1)
        seated.handle.ack(subscriber.next(Events))
        wait_until_live_at(seated, position)
    told = reports(keeper)

    assert told[-3:] == [(SubscriptionState.LIVE, position) for position in (2, 3, 4)]


def test_a_state_that_lasts_is_told_though_nothing_is_acknowledged(
    rooms: Rooms, keeper: Ear
) -> None:
    """G32: the row says within moments what every process may see."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, buffer_size=1)
    seated.append(2)
    subscriber.next(Events)

    told = keeper.next(Keep)
    while told.progress.state is not SubscriptionState.FULL:
        told = keeper.next(Keep, timeout=20 * COALESCING + 2)

    assert told.progress.checkpoint == 0
