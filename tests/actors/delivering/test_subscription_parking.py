"""Events that are parked while the database is in trouble."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import count

import pytest

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.retry import Retry
from eventstore.model.subscriber_messages import Events
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Fence
from eventstore.ports.parking import Choice, ParkedKey, Parking, ParkingOutcome
from eventstore.ports.storage import Storage
from eventstore_actors.delivering import delivery_runs
from eventstore_actors.delivering.outlets import FunctionOutlet
from tests.actors.seated import Seated, append, let_pass, numbers, start_keeper
from tests.support.rooms import Rooms, rooms_over, soon
from tests.support.waiting import wait_until

PARK = Retry(first=0.01, longest=0.01, attempts=1, then="park")


def lose_the_first_answer(storage: Storage) -> Storage:
    """Have *storage* park, and lose its answer once."""
    real, parked = storage.park, list[Parking]()

    def losing(parking: Parking, deadline: float) -> ParkingOutcome:
        outcome = real(parking, deadline)
        parked.append(parking)
        if len(parked) == 1:
            raise StorageUnavailableError("the answer was lost")
        return outcome

    storage.park = losing  # type: ignore[method-assign]
    return storage


def parked(rooms: Rooms) -> list[int]:
    return [event.position for event in rooms.storage.parked("$all", "shipping", 0, 9, soon())]


def test_an_event_that_is_parked_unheard_holds_up_what_follows_it() -> None:
    """G25, G38: it does not come again, and no later event of its stream overtakes it."""
    handled: list[int] = []

    def refuse_once(events: Events) -> None:
        handled.extend(numbers(events))
        if handled == [1]:
            raise ValueError("no stock")

    with rooms_over(Config("memory:", poll_interval=0.1), lose_the_first_answer) as rooms:
        start_keeper(rooms)
        append(rooms, 1)
        seated = Seated(rooms, refuse_once, on_error=PARK)
        wait_until(lambda: seated.handle.checkpoint == 1)

        seated.append(2)
        seated.append(1, "other")

        wait_until(lambda: seated.handle.checkpoint == 4)
        assert handled == [1, 4]
        assert parked(rooms) == [1, 2, 3]


class Target:
    """Refuses the first delivery."""

    def __init__(self) -> None:
        self.replays = 0
        self._calls = count()

    def __call__(self, events: Events) -> None:
        self.replays += events.replay
        if next(self._calls) == 0:
            raise ValueError("no stock")


def retry_in_silence(rooms: Rooms) -> None:
    """Have the parked events delivered again, without a notification."""
    choice = Choice(
        stream_id="$all",
        subscription_name="shipping",
        key=None,
        limit=None,
        skip_reason=None,
        dry_run=False,
    )
    assert rooms.storage.choose_parked(choice, soon()) == 1


def test_a_retry_that_nobody_announces_is_found_by_polling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G38: also for a function, of which nobody else has to look whether it lives."""
    monkeypatch.setattr(FunctionOutlet, "check_interval", 1_000.0)
    monkeypatch.setattr(delivery_runs, "LIVENESS", 1_000.0)
    target = Target()
    with rooms_over(Config("memory:", poll_interval=0.1, lease=1_000.0)) as rooms:
        start_keeper(rooms)
        append(rooms, 1)
        seated = Seated(rooms, target, on_error=PARK)
        wait_until(lambda: seated.handle.checkpoint == 1)
        wait_until(lambda: seated.handle.state is SubscriptionState.LIVE)
        retry_in_silence(rooms)
        wait_until(lambda: parked(rooms) == [])
        assert target.replays == 1


def test_a_look_at_many_parked_keys_is_seldom_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """G22: looks take a small share of the time, though nothing happens."""
    monkeypatch.setattr(FunctionOutlet, "check_interval", 0.01)
    looks: list[float] = []

    def slow(storage: Storage) -> Storage:
        real = storage.parked_keys

        def look(subscription_id: int, deadline: float) -> list[ParkedKey]:
            let_pass(0.1)
            looks.append(deadline)
            return real(subscription_id, deadline)

        storage.parked_keys = look  # type: ignore[method-assign]
        return storage

    with rooms_over(Config("memory:", poll_interval=0.01), slow) as rooms:
        start_keeper(rooms)
        append(rooms, 1)
        seated = Seated(rooms, Target(), on_error=PARK)
        wait_until(lambda: seated.handle.checkpoint == 1)
        wait_until(lambda: seated.handle.state is SubscriptionState.LIVE)
        before = len(looks)
        let_pass(1.0)
        assert len(looks) - before <= 2


def lose_one_removal(storage: Storage) -> Storage:
    """Have *storage* be away when parked events are to be removed, once."""
    real, calls = storage.unpark, count()

    def losing(
        fence: Fence, delivered: Mapping[str, int], ended: Collection[str], deadline: float
    ) -> set[str] | None:
        if next(calls) == 0:
            raise StorageUnavailableError("away for a moment")
        return real(fence, delivered, ended, deadline)

    storage.unpark = losing  # type: ignore[method-assign]
    return storage


def test_after_a_moment_without_the_database_it_is_live_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G32, G38: though there is nothing to read."""
    monkeypatch.setattr(FunctionOutlet, "check_interval", 1_000.0)
    with rooms_over(Config("memory:", poll_interval=0.1), lose_one_removal) as rooms:
        start_keeper(rooms)
        append(rooms, 1)
        seated = Seated(rooms, Target(), on_error=PARK)
        wait_until(lambda: seated.handle.checkpoint == 1)
        retry_in_silence(rooms)
        wait_until(lambda: parked(rooms) == [])
        wait_until(lambda: seated.handle.state is SubscriptionState.LIVE)
