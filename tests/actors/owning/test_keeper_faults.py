"""The keeper over a connection that fails as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from typing import Any

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.model.subscriber_messages import Subscribed
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Claim, Claimed, Fence, Held, Kept, Progress, Standing
from eventstore.ports.storage import KeeperSession, Storage
from eventstore_actors.kernel.messages import Keep, Release, Renewed, Seen, StandBy, Tick, Touched
from eventstore_actors.owning.keeper import Keeper
from tests.actors.seated import Seated, start_keeper
from tests.support.rooms import LONG, Ear, Rooms, claim, rooms_over, soon, stop
from tests.support.waiting import wait_until

HOUR = 3_600.0


class FailingSession:
    """A session whose looks and releases fail while the test wants it."""

    def __init__(self, real: KeeperSession) -> None:
        self._real = real
        self.away = threading.Event()
        self.looks = 0

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        return self._real.keep(progress, lease, deadline)

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        self._check()
        return self._real.release(progress, deadline)

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        self.looks += 1
        self._check()
        return self._real.look(position_ids, deadline)

    def erase(self, deadline: float) -> bool:
        return self._real.erase(deadline)

    def close(self) -> None:
        self._real.close()

    def _check(self) -> None:
        if self.away.is_set():
            raise StorageUnavailableError("away")


class Faults:
    """A storage whose keeper's connection is a `FailingSession`."""

    def __init__(self) -> None:
        self.session: FailingSession

    def wrap(self, storage: Storage) -> Storage:
        make = storage.keeper_session

        def failing() -> KeeperSession:
            self.session = FailingSession(make())
            return self.session

        storage.keeper_session = failing  # type: ignore[method-assign]
        return storage


def progress(fence: Fence) -> Progress:
    return Progress(fence, 0, SubscriptionState.LIVE, None, 0)


def owned(rooms: Rooms, name: str = "shipping") -> Claimed:
    claimed = claim(rooms.storage, name, lease=HOUR)
    assert isinstance(claimed, Claimed)
    return claimed


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments at which the keeper was woken."""
    moments: list[float] = []
    receive = Keeper.receive

    def noted(self: Keeper, message: object) -> None:
        if isinstance(message, Tick):
            moments.append(time.monotonic())
        receive(self, message)

    monkeypatch.setattr(Keeper, "receive", noted)
    return moments


def test_looks_that_fail_with_nothing_to_store_do_not_keep_it_busy(ticks: list[float]) -> None:
    """G25: each is tried again after a pause; nothing spins meanwhile."""
    faults = Faults()
    with rooms_over(Config("memory:", lease=HOUR, poll_interval=0.2), faults.wrap) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        mine = owned(rooms)
        keeper.tell(Keep(mine.subscription_id, progress(mine.fence), subscription.ref))
        subscription.next(Renewed)
        faults.session.away.set()
        ticks.clear()
        before = faults.session.looks

        wait_until(lambda: faults.session.looks >= before + 4)

        assert len(ticks) <= 3 * (faults.session.looks - before)


def test_a_release_that_failed_is_answered_and_the_next_one_is_made() -> None:
    """G25, G26."""
    faults = Faults()
    with rooms_over(Config("memory:", lease=HOUR, poll_interval=HOUR), faults.wrap) as rooms:
        keeper, claimed = start_keeper(rooms), owned(rooms)
        for away in (True, False):
            if away:
                faults.session.away.set()
            else:
                faults.session.away.clear()
            done = pykka.ThreadingFuture[bool]()
            keeper.tell(Release(claimed.subscription_id, progress(claimed.fence), done))
            assert done.get(timeout=LONG) is not away
        assert rooms.storage.subscription_info("$all", "shipping", soon()).owner is None


def test_a_change_that_could_not_be_looked_at_is_looked_at_soon() -> None:
    """G20, G25: within seconds of the return, however long the poll interval is."""
    faults = Faults()
    with rooms_over(Config("memory:", lease=HOUR, poll_interval=HOUR), faults.wrap) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        mine = owned(rooms)
        keeper.tell(Keep(mine.subscription_id, progress(mine.fence), subscription.ref))
        subscription.next(Renewed)
        faults.session.away.set()
        rooms.storage.set_paused("$all", "shipping", paused=True, deadline=soon())
        keeper.tell(Touched(frozenset({mine.subscription_id})))
        wait_until(lambda: faults.session.looks)

        faults.session.away.clear()

        assert subscription.next(Renewed).kept.paused


def test_a_standby_is_told_again_after_looks_that_failed() -> None:
    """G17, G25."""
    faults = Faults()
    with rooms_over(Config("memory:", lease=HOUR, poll_interval=0.1), faults.wrap) as rooms:
        keeper, standby = start_keeper(rooms), Ear()
        claimed = owned(rooms)
        faults.session.away.set()
        position_id = claimed.fence.position_id
        keeper.tell(StandBy(claimed.subscription_id, position_id, standby.ref))
        wait_until(lambda: faults.session.looks >= 3)
        assert standby.so_far() == []

        faults.session.away.clear()

        assert standby.next(Seen).standing is not None


def test_who_did_not_hear_that_its_claim_was_granted_is_not_kept_waiting_by_its_own_lease() -> None:
    """G24, G25: the answer was lost, and the lease in the row is good for an hour."""
    lost = threading.Event()

    def lose_the_next_grant(storage: Storage) -> Storage:
        real = storage.claim

        def losing(claim: Claim, deadline: float) -> Claimed | Held:
            answer = real(claim, deadline)
            ours = isinstance(answer, Claimed) and claim.owner_name != "elsewhere"
            if ours and not lost.is_set():
                lost.set()
                raise StorageUnavailableError("the answer was lost")
            return answer

        storage.claim = losing  # type: ignore[method-assign]
        return storage

    config = Config("memory:", lease=HOUR, poll_interval=0.1)
    with rooms_over(config, lose_the_next_grant) as rooms:
        start_keeper(rooms)
        elsewhere, subscriber = owned(rooms), Ear()
        Seated(rooms, subscriber.ref)
        session = rooms.storage.keeper_session()
        session.release([progress(elsewhere.fence)], soon())
        session.close()

        subscriber.next(Subscribed)

        assert lost.is_set()


class SlowSession:
    """A session whose looks wait until the test lets them go."""

    def __init__(self, real: KeeperSession, gate: threading.Event) -> None:
        self._real = real
        self._gate = gate
        self.looks: list[int] = []

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        self.looks.append(len(position_ids))
        assert self._gate.wait(LONG)
        return self._real.look(position_ids, deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_flood_of_changes_costs_one_look_after_the_other() -> None:
    """F1, G16, G22: whoever says that something changed delays no renewal by it."""
    gate = threading.Event()
    sessions: list[SlowSession] = []

    def slow(storage: Storage) -> Storage:
        real = storage.keeper_session

        def session() -> KeeperSession:
            sessions.append(SlowSession(real(), gate))
            return sessions[-1]

        storage.keeper_session = session  # type: ignore[method-assign]
        return storage

    with rooms_over(Config("memory:", lease=HOUR, poll_interval=HOUR), slow) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        mine = owned(rooms)
        keeper.tell(Keep(mine.subscription_id, progress(mine.fence), subscription.ref))
        subscription.next(Renewed)
        for _ in range(200):
            keeper.tell(Touched(frozenset({mine.subscription_id, 999})))
            wait_until(lambda: sessions[0].looks)
        keeper.tell(Keep(mine.subscription_id, progress(mine.fence), subscription.ref, urgent=True))
        gate.set()
        subscription.next(Renewed)
        wait_until(lambda: len(sessions[0].looks) > 1)
        stop(keeper)
        assert sessions[0].looks == [1, 1]
