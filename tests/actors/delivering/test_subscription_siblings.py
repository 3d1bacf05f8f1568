"""What a subscription and its siblings tell each other; the test is publisher and keeper."""

from __future__ import annotations

from collections.abc import Iterator

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.kernel.messages import (
    Child,
    ChildRestarted,
    HeadMoved,
    Keep,
    Release,
    Stop,
    Unwatch,
    Watch,
)
from tests.actors.seated import Seated, append, numbers
from tests.support.rooms import LONG, Ear, Rooms, rooms_over, soon, stop


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", poll_interval=0.1)) as rooms:
        yield rooms


@pytest.fixture
def publisher(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.PUBLISHER)


@pytest.fixture
def keeper(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.KEEPER)


@pytest.fixture
def subscriber() -> Ear:
    return Ear()


def test_it_watches_its_stream_from_its_start_to_its_end(
    rooms: Rooms, publisher: Ear, subscriber: Ear
) -> None:
    """G23."""
    seated = Seated(rooms, subscriber.ref, stream_id="order-1")
    assert publisher.next() == Watch("order-1", seated.ref)

    stop(seated.ref)

    assert publisher.next() == Unwatch("order-1", seated.ref)


def test_a_new_publisher_is_asked_again_and_nothing_is_missed(
    rooms: Rooms, publisher: Ear, subscriber: Ear
) -> None:
    """G23, G24: what was appended while there was none is looked for."""
    seated = Seated(rooms, subscriber.ref)
    publisher.next(Watch)
    append(rooms, 1)

    seated.ref.tell(ChildRestarted(Child.PUBLISHER))

    publisher.next(Watch)
    assert numbers(subscriber.next(Events)) == [1]


def test_a_new_keeper_is_told_what_to_keep(rooms: Rooms, keeper: Ear, subscriber: Ear) -> None:
    """G24."""
    seated = Seated(rooms, subscriber.ref)
    first = keeper.next(Keep)
    seated.settle()
    keeper.so_far()

    seated.ref.tell(ChildRestarted(Child.KEEPER))

    again = keeper.next(Keep)
    assert (again.progress.fence, again.urgent) == (first.progress.fence, True)


def test_the_last_progress_goes_with_the_release(
    rooms: Rooms, keeper: Ear, subscriber: Ear
) -> None:
    """ACK-04."""
    seated = Seated(rooms, subscriber.ref)
    seated.append(2)
    seated.handle.ack(subscriber.next(Events))

    stopped = pykka.ThreadingFuture[None]()
    seated.ref.tell(Stop(soon(), stopped))
    release = keeper.next(Release)
    release.done.set(True)
    stopped.get(timeout=LONG)

    progress = release.progress
    assert (progress.checkpoint, progress.state) == (2, SubscriptionState.STOPPED)


def test_an_announcement_that_does_not_say_how_far_is_looked_after(
    rooms: Rooms, subscriber: Ear
) -> None:
    """G23."""
    seated = Seated(rooms, subscriber.ref)
    append(rooms, 1)

    seated.ref.tell(HeadMoved(None))

    assert numbers(subscriber.next(Events)) == [1]


def test_what_was_announced_and_not_found_is_looked_for_again(
    rooms: Rooms, subscriber: Ear
) -> None:
    """BPR-03, G32: it does not say LIVE meanwhile."""
    seated = Seated(rooms, subscriber.ref)
    seated.ref.tell(HeadMoved(1_000))
    seated.settle()
    assert seated.handle.state is SubscriptionState.CATCHING_UP

    append(rooms, 1)

    assert numbers(subscriber.next(Events)) == [1]
    seated.settle()
    assert subscriber.so_far() == []
