"""What a subscription hands out after an owner that died."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from eventstore.model.config import Config
from eventstore.model.retry import Retry
from eventstore.model.subscriber_messages import Events
from eventstore.ports.ownership import Claimed, Fence, Tried
from eventstore.ports.parking import Choice
from eventstore.ports.storage import Storage
from eventstore_actors.kernel.messages import Changed
from tests.actors.seated import Seated, append, numbers, start_keeper
from tests.support.rooms import LONG, Ear, Rooms, claim, rooms_over, soon
from tests.support.waiting import wait_until

PARK = Retry(first=0.01, longest=0.01, attempts=3, then="park")


class Notes:
    """What is noted of attempts, through the storage."""

    def __init__(self) -> None:
        self.tried: list[Tried | None] = []

    def of(self, storage: Storage) -> Storage:
        real = storage.note_tries

        def noting(
            fence: Fence, checkpoint: int, least: int, tried: Tried | None, deadline: float
        ) -> bool:
            self.tried.append(tried)
            return real(fence, checkpoint, least, tried, deadline)

        storage.note_tries = noting  # type: ignore[method-assign]
        return storage


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def rooms(notes: Notes) -> Iterator[Rooms]:
    with rooms_over(Config("memory:", poll_interval=0.1, lease=LONG), notes.of) as rooms:
        start_keeper(rooms)
        yield rooms


def die(rooms: Rooms, name: str = "shipping", tried: Tried | None = None) -> None:
    """Own a subscription, have an event alone, and do not renew the lease."""
    claimed = claim(rooms.storage, name, lease=0.0)
    assert isinstance(claimed, Claimed)
    assert rooms.storage.note_tries(claimed.fence, 0, 0, tried, soon())


def retry_parked(rooms: Rooms) -> None:
    choice = Choice(
        stream_id="$all",
        subscription_name="shipping",
        key=None,
        limit=None,
        skip_reason=None,
        dry_run=False,
    )
    assert rooms.storage.choose_parked(choice, soon()) == 1


def test_a_retry_of_an_event_that_killed_is_delivered(rooms: Rooms) -> None:
    """G38: its deaths parked it once."""
    replayed: list[int] = []
    has_second, go_on = threading.Event(), threading.Event()

    def handle(events: Events) -> None:
        if events.replay:
            replayed.extend(numbers(events))
        elif numbers(events) == [2]:
            has_second.set()
            go_on.wait(LONG)

    for stream_id in ("a", "b", "c"):
        append(rooms, 1, stream_id)
    die(rooms, tried=Tried(1, 3))
    seated = Seated(rooms, handle, on_error=PARK)
    assert has_second.wait(LONG)
    retry_parked(rooms)
    # Before it is past what the dead owner may have had.
    seated.ref.tell(Changed())
    seated.settle()

    go_on.set()

    wait_until(lambda: seated.handle.checkpoint == 3)
    wait_until(lambda: rooms.storage.parked("$all", "shipping", 0, 9, soon()) == [])
    assert replayed == [1]


def test_one_event_of_a_process_is_alone_at_a_time(rooms: Rooms) -> None:
    """G38: a death does not count against the event of another subscription."""
    busy = threading.Lock()
    overlaps: list[bool] = []
    begun = {name: threading.Event() for name in ("shipping", "billing")}

    def handle(events: Events) -> None:
        name = events.subscription.subscription_name
        other = "billing" if name == "shipping" else "shipping"
        begun[name].set()
        is_free = busy.acquire(blocking=False)
        if len(overlaps) == 0:
            # Time for the other one to begin.
            begun[other].wait(0.3)
        overlaps.append(not is_free)
        if is_free:
            busy.release()

    append(rooms, 5)
    for name in begun:
        die(rooms, name)
    both = [Seated(rooms, handle, name=name, on_error=PARK) for name in begun]

    wait_until(lambda: all(seated.handle.checkpoint == 5 for seated in both))
    assert overlaps == [False] * 10


def test_the_attempt_of_an_event_is_kept_while_an_actor_has_it(notes: Notes) -> None:
    """G38: also after a lease, when it gets more; it may yet die of the first."""
    with rooms_over(Config("memory:", poll_interval=0.1, lease=0.5), notes.of) as rooms:
        start_keeper(rooms)
        append(rooms, 1, "a")
        append(rooms, 1, "b")
        die(rooms)
        notes.tried.clear()
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref, on_error=PARK)
        assert numbers(subscriber.next(Events)) == [1]
        assert numbers(subscriber.next(Events)) == [2]
        assert notes.tried == [Tried(1, 1)]

        seated.handle.ack(1)

        wait_until(lambda: notes.tried[1:] == [None])


def test_after_the_first_events_an_attempt_is_noted_for_many(rooms: Rooms, notes: Notes) -> None:
    """G38: yet what is handed out is among the first events of the next owner."""
    beyond: list[int] = []

    def handle(events: Events) -> None:
        info = rooms.storage.subscription_info("$all", "shipping", soon())
        beyond.append(events[-1].position - info.checkpoint)

    append(rooms, 100)
    die(rooms)
    notes.tried.clear()
    seated = Seated(rooms, handle, buffer_size=20, max_batch_size=1, on_error=PARK)

    wait_until(lambda: seated.handle.checkpoint == 100)
    assert max(beyond) <= 20
    assert [tried for tried in notes.tried if tried] == [Tried(n, 1) for n in range(1, 21)]
    assert notes.tried.count(None) <= 1 + 80 / 10
