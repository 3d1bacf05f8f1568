"""When a subscription tells the keeper a checkpoint; the test is the keeper."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.retry import Retry
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore_actors.delivering.delivery_loop import DeliveryLoop
from eventstore_actors.delivering.progress import COALESCING
from eventstore_actors.kernel.messages import Child, Keep, Release, Stop
from tests.actors.seated import Seated, let_pass
from tests.support.rooms import LONG, Ear, Rooms, rooms_over, soon
from tests.support.waiting import AGES, PATIENCE, wait_until


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", lease=LONG)) as rooms:
        yield rooms


@pytest.fixture
def keeper(rooms: Rooms) -> Ear:
    return rooms.listen_as(Child.KEEPER)


def acknowledge(seated: Seated, position: int) -> None:
    seated.handle.ack(position)
    wait_until(lambda: seated.handle.checkpoint == position)


def told(keeper: Ear) -> list[int]:
    """Return the checkpoints told so far, once what was shown before is told, too."""
    let_pass(2 * COALESCING)
    return [m.progress.checkpoint for m in keeper.so_far() if isinstance(m, Keep)]


def wait_until_told(keeper: Ear, checkpoint: int) -> None:
    while keeper.next(Keep, timeout=PATIENCE).progress.checkpoint != checkpoint:
        pass


def test_below_the_threshold_no_checkpoint_is_told(rooms: Rooms, keeper: Ear) -> None:
    """ACK-02."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, checkpoint_threshold=10)
    seated.append(30)
    subscriber.next(Events)

    for position in range(1, 10):
        acknowledge(seated, position)
    assert not any(told(keeper))

    acknowledge(seated, 12)
    wait_until_told(keeper, 12)
    acknowledge(seated, 21)
    assert set(told(keeper)) <= {12}
    acknowledge(seated, 22)
    wait_until_told(keeper, 22)


def test_a_failure_is_told_without_the_checkpoint_that_is_held_back(
    rooms: Rooms, keeper: Ear
) -> None:
    """G32, ACK-02: the second event fails, the first one is acknowledged."""

    def handle(events: Events) -> None:
        if events.last_position == 2:
            raise ValueError("no")

    seated = Seated(
        rooms, handle, checkpoint_threshold=10, max_batch_size=1, on_error=Retry(first=30)
    )
    seated.append(2)

    while (progress := keeper.next(Keep).progress).state is not SubscriptionState.RETRYING:
        pass

    assert (progress.checkpoint, progress.attempts) == (0, 1)
    assert seated.handle.checkpoint == 1


def test_what_is_held_back_is_told_when_its_time_has_come(
    rooms: Rooms, keeper: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before, and without a message or a regular check that makes it look."""
    monkeypatch.setattr(DeliveryLoop, "check_interval", lambda _: AGES)
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, checkpoint_after=0.3)
    seated.append(1)
    subscriber.next(Events)
    before = time.monotonic()
    seated.handle.ack(1)

    wait_until_told(keeper, 1)
    assert time.monotonic() >= before + 0.3


def test_acknowledgements_that_follow_do_not_postpone_it(rooms: Rooms, keeper: Ear) -> None:
    """In the original a steady trickle does, for as long as it lasts."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, checkpoint_after=0.3)
    seated.append(200)
    subscriber.next(Events)

    trickled = 0
    while not any(told(keeper)):
        trickled += 1
        assert trickled < 200
        seated.handle.ack(trickled)


def test_a_pause_tells_everything_and_what_is_in_flight_follows(rooms: Rooms, keeper: Ear) -> None:
    """G20: it may last, and a restart goes on after the checkpoint."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, checkpoint_threshold=1_000)
    seated.append(5)
    subscriber.next(Events)
    acknowledge(seated, 2)

    seated.handle.pause()
    wait_until_told(keeper, 2)

    acknowledge(seated, 5)
    wait_until_told(keeper, 5)


def test_the_release_tells_everything(rooms: Rooms, keeper: Ear) -> None:
    """ACK-04, G26."""
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref, checkpoint_after=LONG, checkpoint_threshold=1_000)
    seated.append(2)
    subscriber.next(Events)
    acknowledge(seated, 2)

    stopped = pykka.ThreadingFuture[None]()
    seated.ref.tell(Stop(soon(), stopped))
    release = keeper.next(Release)
    release.done.set(True)
    stopped.get(timeout=LONG)

    assert release.progress.checkpoint == 2
