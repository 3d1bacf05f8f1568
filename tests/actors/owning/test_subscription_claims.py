"""Claims: standbys, takeovers, restarts, deleted rows. The test is the other runtime."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import (
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
)
from eventstore.model.subscriber_messages import Events, Subscribed
from eventstore.model.subscription import SubscriptionOptions, SubscriptionState, WhenOwned
from eventstore.ports.ownership import Claim, Claimed, Fence, Held, LeaseMark, Progress
from eventstore_actors.kernel.messages import Child, ChildRestarted, Touched
from eventstore_actors.owning.claim import Claimant
from eventstore_actors.state.seat import Seat
from tests.actors.seated import Seated, append, numbers, start_keeper
from tests.support.clocks import Watch
from tests.support.rooms import LONG, Ear, Rooms, rooms_over, soon, stop
from tests.support.rooms import claim as claim_elsewhere
from tests.support.waiting import AGES, PATIENCE, wait_until

LEASE = 0.6
POLL = 0.1


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    with rooms_over(Config("memory:", lease=LEASE, poll_interval=POLL)) as rooms:
        start_keeper(rooms)
        yield rooms


def claim(rooms: Rooms, *, lease: float, owner: UUID | None = None) -> Fence:
    """Own the subscription, as another runtime does whose database grants it *lease*."""
    claimed = claim_elsewhere(rooms.storage, lease=lease, owner=owner)
    assert isinstance(claimed, Claimed)
    return claimed.fence


def release(rooms: Rooms, fence: Fence, checkpoint: int = 0) -> None:
    session = rooms.storage.keeper_session()
    progress = Progress(fence, checkpoint, SubscriptionState.STOPPED, None, 0)
    session.release([progress], soon())
    session.close()


def state(seated: Seated) -> SubscriptionState:
    return seated.handle.state


def test_a_standby_is_told_nothing_until_it_takes_over(rooms: Rooms) -> None:
    """G17, SLK-05, SLK-06: it starts after the checkpoint of the owner before."""
    append(rooms, 3)
    fence = claim(rooms, lease=LONG)
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    seated.settle()
    assert state(seated) is SubscriptionState.WAITING
    assert subscriber.so_far() == []

    release(rooms, fence, checkpoint=2)

    subscriber.next(Subscribed)
    assert numbers(subscriber.next(Events)) == [3]


def test_a_standby_that_is_woken_claims_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """G27, SLK-04: a clean stop elsewhere is announced; nobody waits for the next poll."""
    monkeypatch.setattr("eventstore_actors.owning.keeper.LONGEST_LOOK", AGES)
    with rooms_over(Config("memory:", lease=AGES, poll_interval=AGES)) as rooms:
        keeper = start_keeper(rooms)
        fence = claim(rooms, lease=LONG)
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref)
        seated.settle()
        release(rooms, fence)

        keeper.tell(Touched(frozenset({fence.position_id})))

        subscriber.next(Subscribed, timeout=PATIENCE)


def test_an_owner_that_does_not_renew_is_followed_whatever_the_databases_clock_says(
    rooms: Rooms,
) -> None:
    """G16, G27: the lease is good for an hour by that clock, and its owner is frozen."""
    claim(rooms, lease=3_600)
    since = time.monotonic()
    subscriber = Ear()

    Seated(rooms, subscriber.ref)

    subscriber.next(Subscribed)
    assert time.monotonic() - since >= LEASE


def test_an_owner_whose_lease_ran_out_is_followed_at_the_next_look() -> None:
    """G27: by the database's clock, however long its own lease is to be."""
    with rooms_over(Config("memory:", lease=AGES, poll_interval=POLL)) as rooms:
        start_keeper(rooms)
        claim(rooms, lease=0.5)
        subscriber = Ear()

        Seated(rooms, subscriber.ref)

        subscriber.next(Subscribed, timeout=PATIENCE)


def test_every_claim_after_the_first_is_by_id(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7, G16: a deleted subscription is never created again by who waited for it."""
    claim(rooms, lease=3_600)
    claims: list[int | None] = []
    really_claim = rooms.storage.claim

    def noted(claim: Claim, deadline: float) -> Claimed | Held:
        claims.append(claim.subscription_id)
        return really_claim(claim, deadline)

    monkeypatch.setattr(rooms.storage, "claim", noted)
    subscriber = Ear()
    Seated(rooms, subscriber.ref)
    subscriber.next(Subscribed)

    first, *others = claims
    assert first is None
    assert others
    assert None not in others


def test_it_is_followed_as_soon_as_its_lease_was_watched_for_its_length() -> None:
    """G27: within lease and poll interval of its last renewal, not at the look after that."""
    lease, poll_interval = 3.5, 2.5
    with rooms_over(Config("memory:", lease=lease, poll_interval=poll_interval)) as rooms:
        start_keeper(rooms)
        fence = claim(rooms, lease=3_600)
        subscriber = Ear()
        Seated(rooms, subscriber.ref)
        # Right behind the standby's first look: the second one finds a new mark.
        session = rooms.storage.keeper_session()
        session.keep([Progress(fence, 0, SubscriptionState.LIVE, None, 0)], 3_600, soon())
        session.close()
        since = time.monotonic()

        subscriber.next(Subscribed)

        assert time.monotonic() - since < 3 * poll_interval


def test_a_standby_is_looked_after_by_a_restarted_keeper() -> None:
    """G24, G27: what the crashed one knew is lost; no notification comes, and no lease ends."""
    with rooms_over(Config("memory:", lease=LONG, poll_interval=POLL)) as rooms:
        first = start_keeper(rooms)
        fence = claim(rooms, lease=LONG)
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref)
        rooms.shared.directory.remove(Child.KEEPER)
        stop(first)
        start_keeper(rooms)
        seated.ref.tell(ChildRestarted(Child.KEEPER))
        seated.settle()
        release(rooms, fence)

        subscriber.next(Subscribed, timeout=PATIENCE)


def test_a_standby_that_starts_while_there_is_no_keeper_is_looked_after_by_the_next_one() -> None:
    """G24, G27."""
    with rooms_over(Config("memory:", lease=LONG, poll_interval=POLL)) as rooms:
        fence = claim(rooms, lease=LONG)
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref)
        start_keeper(rooms)
        seated.ref.tell(ChildRestarted(Child.KEEPER))
        release(rooms, fence)

        subscriber.next(Subscribed, timeout=PATIENCE)


def test_an_owner_that_renews_is_not_followed() -> None:
    """G16, G17."""
    lease = 2.0
    with rooms_over(Config("memory:", lease=lease, poll_interval=POLL)) as rooms:
        start_keeper(rooms)
        fence = claim(rooms, lease=lease)
        session = rooms.storage.keeper_session()
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref)

        until = time.monotonic() + 1.5 * lease
        while time.monotonic() < until:
            progress = Progress(fence, 0, SubscriptionState.LIVE, None, 0)
            assert session.keep([progress], lease, soon())[0].owned
            seated.settle()
        session.close()

        assert state(seated) is SubscriptionState.WAITING


def test_who_will_not_wait_is_refused(rooms: Rooms) -> None:
    """G17."""
    claim(rooms, lease=LONG)

    with pytest.raises(SubscriptionInUseError) as refused:
        Seated(rooms, Ear().ref, when_owned=WhenOwned.ERROR)

    assert refused.value.owner == "elsewhere"
    assert refused.value.since is not None


def test_a_subscription_deleted_while_it_waits_is_not_created_again(rooms: Rooms) -> None:
    """F7, G16."""
    claim(rooms, lease=LONG)
    seated = Seated(rooms, Ear().ref)
    rooms.storage.delete_subscription("$all", "shipping", soon())

    with pytest.raises(SubscriptionLostError, match="was deleted"):
        seated.handle.join(LONG)

    assert state(seated) is SubscriptionState.STOPPED
    with pytest.raises(SubscriptionNotFoundError):
        rooms.storage.subscription_info("$all", "shipping", soon())


def test_a_deleted_subscription_stops_its_owner(rooms: Rooms) -> None:
    """G16."""
    seated = Seated(rooms, Ear().ref)

    rooms.storage.delete_subscription("$all", "shipping", soon())

    with pytest.raises(SubscriptionLostError, match="was deleted"):
        seated.handle.join(LONG)


def test_a_subscription_that_was_created_anew_elsewhere_is_another_one(rooms: Rooms) -> None:
    """G16: deleted is deleted, whoever has the name now."""
    seated = Seated(rooms, Ear().ref)

    rooms.storage.delete_subscription("$all", "shipping", soon())
    claim(rooms, lease=LONG)

    with pytest.raises(SubscriptionLostError, match="was deleted"):
        seated.handle.join(LONG)
    assert rooms.storage.subscription_info("$all", "shipping", soon()).owner == "elsewhere"


def test_a_restarted_actor_owns_it_at_once() -> None:
    """G24: it goes on after the checkpoint, in a new run, though the old lease is still good."""
    with rooms_over(Config("memory:", lease=AGES, poll_interval=POLL)) as rooms:
        start_keeper(rooms)
        append(rooms, 3)
        subscriber = Ear()
        seated = Seated(rooms, subscriber.ref, max_batch_size=1)
        subscriber.next(Events)
        seated.handle.ack(1)
        wait_until(
            lambda: rooms.storage.subscription_info("$all", "shipping", soon()).checkpoint == 1
        )
        seated.ref.tell("what nobody understands")
        wait_until(lambda: not seated.ref.is_alive())
        with pytest.raises(SubscriptionLostError, match="crashed"):
            seated.handle.ack(2)

        seated.sit(pykka.ThreadingFuture())

        subscriber.next(Subscribed, timeout=PATIENCE)
        assert numbers(subscriber.next(Events)) == [2]


# ── after the clock went back ────────────────────────────────────────────────────────────────────


class SilentOwner:
    """Stands for the storage: another owner holds the lease, by a clock that was set back."""

    def __init__(self) -> None:
        self.mark = LeaseMark(uuid4(), 1, datetime.now(UTC))
        self.claims: list[Claim] = []

    def claim(self, claim: Claim, _: float) -> Held:
        self.claims.append(claim)
        return Held(1, 1, "elsewhere", datetime.now(UTC), self.mark, clock_set_back=True)


def test_who_was_slow_after_the_claim_has_not_watched_the_owner(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14, G17: a lease that passed after the claim was no part of it, so the next one decides."""
    watch = Watch(monkeypatch, ["owning.claim"])
    owner = SilentOwner()
    handle: Any = SimpleNamespace(stream_id="$all", subscription_name="sub")
    seat = Seat(handle, Ear().ref, SubscriptionOptions())
    context: Any = SimpleNamespace(storage=owner, config=rooms.config)
    claimant = Claimant(context, seat)
    held = claimant.claim()
    assert isinstance(held, Held)
    watch.worn.now += 2 * LEASE
    assert claimant.must_watch(held)

    again = claimant.claim()

    assert isinstance(again, Held)
    assert [each.watched for each in owner.claims] == [None, owner.mark]
    assert not claimant.must_watch(again)
