"""Who may checkpoint: claims, leases and fences, on the port itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_start import Origin, Start
from eventstore.ports.effects import Batch, HandledBeforeError
from eventstore.ports.ownership import Claimed, Fence, Held, Progress, Tried
from eventstore.ports.waits import BLOCKING, run_blocking
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ("stream_id", "start", "checkpoint"),
    [
        ("$all", Origin.ORIGIN, 0),
        ("$all", Origin.CURRENT, 5),
        ("$all", 2, 2),
        ("a", Origin.ORIGIN, 0),
        ("a", Origin.CURRENT, 3),
        ("a", 1, 1),
        ("missing", Origin.ORIGIN, 0),
        ("missing", Origin.CURRENT, 0),
    ],
)
def test_a_new_subscription_starts_where_it_is_asked_to(
    user: User, stream_id: str, start: Start, checkpoint: int
) -> None:
    """LCK-01, FSM-01, FSM-02, SUR-01: in positions of what is subscribed to."""
    user.store("a", 3)
    user.store("b", 2)

    claimed = user.own(stream_id=stream_id, start=start)

    assert claimed.created
    assert claimed.checkpoint == checkpoint
    assert claimed.head == {"$all": 5, "a": 3, "missing": 0}[stream_id]
    assert not claimed.paused
    assert claimed.subscription_id > 0


@pytest.mark.parametrize(("stream_id", "head"), [("$all", 5), ("a", 3), ("missing", 0)])
def test_a_claim_that_starts_beyond_the_head_creates_nothing(
    user: User, stream_id: str, head: int
) -> None:
    """F13, G15: as a reset beyond the head changes nothing."""
    user.store("a", 3)
    user.store("b", 2)

    with pytest.raises(ValueError, match=rf"start_from .*{head}: {head + 1}$"):
        user.claim(stream_id=stream_id, start=head + 1)

    assert user.storage.subscriptions(soon()) == []
    assert user.own(stream_id=stream_id, start=head).checkpoint == head


def test_an_existing_subscription_goes_on_at_its_checkpoint(user: User) -> None:
    """F13, SUR-02, SUB-24, FSM-11: wherever it is asked to start now."""
    user.store("a", 5)
    first = user.own(start=2)
    user.release(first.fence, checkpoint=4)

    again = user.own(start=Origin.CURRENT)
    user.release(again.fence)
    beyond = user.own(start=99)

    assert not again.created
    assert again.checkpoint == beyond.checkpoint == 4
    assert again.subscription_id == first.subscription_id
    assert again.fence.epoch > first.fence.epoch


def test_who_holds_a_subscription_is_named(user: User, other: User) -> None:
    """LCK-03, LCK-08, FSM-17, SLK-05, G16: the second gets no fence."""
    user.own()

    held = other.claim()

    assert isinstance(held, Held)
    assert held.owner_name == "host:1"
    assert held.since == user.info().since


def test_who_takes_over_from_a_dead_owner_hears_of_it(user: User, other: User) -> None:
    """G38: and of the event that it had alone; also if the answer is lost, and it claims again."""
    user.store("a", 3)
    first = user.own(lease=0.0)
    assert (first.owner_died, first.tried) == (False, None)
    assert user.storage.note_tries(first.fence, 1, 0, Tried(2, 1), soon())

    second = other.own(lease=0.0)
    assert (second.owner_died, second.tried, second.checkpoint) == (True, Tried(2, 1), 1)
    assert other.own(owner=second.fence.owner) == second


def test_a_release_forgets_what_was_tried(user: User) -> None:
    """G38: the event did no harm to who stops in time."""
    user.store("a", 3)
    for end in (
        user.release,
        lambda fence: user.storage.reset_subscription("$all", "shipping", 0, soon()),
    ):
        first = user.own()
        assert user.storage.note_tries(first.fence, 1, 0, Tried(2, 1), soon())
        end(first.fence)
        second = user.own()
        assert (second.owner_died, second.tried) == (False, None)
        user.release(second.fence)


def test_who_was_fenced_notes_nothing(user: User) -> None:
    """G16, G38: nor does who has read what the database lost."""
    user.store("a", 3)
    first = user.own(lease=0.0)
    second = user.own()

    assert not user.storage.note_tries(first.fence, 1, 0, Tried(2, 1), soon())
    assert not user.storage.note_tries(second.fence, 4, 0, Tried(5, 1), soon())
    assert user.storage.note_tries(second.fence, 2, 0, Tried(3, 1), soon())
    assert user.storage.note_tries(second.fence, 1, 0, None, soon())
    assert user.info().checkpoint == 2


def test_who_knows_of_a_lost_transaction_notes_nothing(user: User) -> None:
    """G38, G39: the database has lost an effect together with its checkpoint."""
    user.store("a", 3)
    owned = user.own()
    user.keep(owned.fence, 1)

    assert not user.storage.note_tries(owned.fence, 2, 2, Tried(3, 1), soon())
    assert user.info().checkpoint == 1
    assert user.storage.note_tries(owned.fence, 2, 1, Tried(3, 1), soon())


def test_the_same_name_of_another_stream_is_another_subscription(user: User) -> None:
    """G16: the key is stream and name."""
    first = user.own(stream_id="a")
    second = user.own(stream_id="b")
    third = user.own(stream_id="$all")

    ids = {claimed.subscription_id for claimed in (first, second, third)}
    assert len(ids) == 3


def test_one_of_many_concurrent_claims_is_granted(user: User, other: User) -> None:
    """G16: also when all of them create the row."""

    def claim(turn: int) -> Claimed | Held:
        return (user if turn % 2 else other).claim()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(claim, range(8)))

    assert sum(isinstance(answer, Claimed) for answer in answers) == 1


def test_an_owner_that_claims_again_keeps_its_fence(user: User) -> None:
    """LCK-02, LCK-08, G16: a claim whose answer was lost can be repeated."""
    owner = uuid4()
    first = user.own(owner=owner)

    again = user.own(owner=owner)

    assert again.fence == first.fence
    assert not again.created
    assert user.keep(first.fence).owned


def test_answers_of_one_renewal_describe_the_row_after_all_of_it(user: User) -> None:
    """G16: also that for an earlier fence of the same owner, which has not heard of its end."""
    owner = uuid4()
    earlier = user.own(owner=owner)
    user.store("order-1", 3)
    user.storage.reset_subscription("$all", "shipping", 0, soon())
    newest = user.own(owner=owner)
    progress = [
        Progress(fence, checkpoint, SubscriptionState.LIVE, None, 0)
        for fence, checkpoint in [(earlier.fence, 1), (newest.fence, 2)]
    ]

    kept = user.keeper.keep(progress, 10.0, soon())

    assert [(each.owned, each.checkpoint) for each in kept] == [(False, 2), (True, 2)]


def test_a_lease_that_runs_out_frees_the_subscription(user: User, other: User) -> None:
    """LCK-04, FSM-18, SLK-04, G16: by the storage's clock."""
    user.own(lease=0.05)

    wait_until(lambda: isinstance(other.claim(), Claimed))


def test_a_lease_that_is_renewed_stays(user: User, other: User) -> None:
    """G16: renewals say how long, not the claim."""
    owned = user.own(lease=0.05)
    user.keep(owned.fence, lease=60)
    other.own("as short", lease=0.05)

    wait_until(lambda: isinstance(other.claim("as short"), Claimed))

    assert isinstance(other.claim(), Held)


def test_a_lease_that_nobody_renewed_is_taken_over_by_its_mark(user: User, other: User) -> None:
    """G16: the standby's own clock counts, so a mark that moved on is refused."""
    owned = user.own(lease=60)
    held = other.claim()
    assert isinstance(held, Held)
    user.keep(owned.fence, lease=60)

    refused = other.claim(watched=held.mark)
    assert isinstance(refused, Held)
    assert refused.mark != held.mark
    granted = other.claim(watched=refused.mark)

    assert isinstance(granted, Claimed)
    assert not user.keep(owned.fence).owned


def test_a_release_frees_the_subscription_at_once(user: User, other: User) -> None:
    """LCK-08, SLK-06, ACK-04, G16: with the last checkpoint stored."""
    user.store("a", 3)
    owned = user.own(lease=60)

    user.release(owned.fence, checkpoint=3)
    claimed = other.claim()

    assert isinstance(claimed, Claimed)
    assert claimed.checkpoint == 3


def test_a_checkpoint_moves_forward_only_and_never_beyond_the_head(user: User) -> None:
    """SUR-06, SUR-07, ACK-01, G15, G16: what does not fit changes nothing, and is no error."""
    user.store("a", 3)
    user.store("b", 2)
    whole = user.own(stream_id="$all").fence
    single = user.own(stream_id="a").fence

    assert [user.keep(whole, to).checkpoint for to in (1, 4, 2, 5, 6)] == [1, 4, 4, 5, 5]
    assert [user.keep(single, to).checkpoint for to in (1, 3, 4, 2)] == [1, 3, 3, 3]
    assert user.keep(whole, 6).owned


@pytest.mark.parametrize(
    "stale",
    [
        lambda fence: replace(fence, position_id=fence.position_id + 1),
        lambda fence: replace(fence, owner=uuid4()),
        lambda fence: replace(fence, epoch=fence.epoch - 1),
        lambda fence: replace(fence, epoch=fence.epoch + 1),
    ],
    ids=["position_id", "owner", "epoch before", "epoch after"],
)
def test_a_fence_must_match_in_all_three(user: User, stale: Callable[[Fence], Fence]) -> None:
    """G16: else nothing is stored, renewed or released."""
    user.store("a", 3)
    other_fence = stale(user.own(lease=60).fence)

    kept = user.keep(other_fence, checkpoint=3)
    user.release(other_fence, checkpoint=3)

    assert not kept.owned
    assert kept.fence == other_fence
    assert user.info().checkpoint == 0
    assert isinstance(user.claim(), Held)


def test_after_a_takeover_the_old_owner_changes_nothing(user: User, other: User) -> None:
    """SLK-02, SLK-03, G16: it neither advances nor rewinds, however late it comes."""
    user.store("a", 5)
    old = user.own(lease=0.05).fence
    wait_until(lambda: isinstance(other.claim(lease=60), Claimed))

    kept = user.keep(old, checkpoint=5)
    user.release(old, checkpoint=5)

    assert not kept.owned
    assert other.info().checkpoint == 0
    assert isinstance(user.claim(), Held)


@pytest.mark.parametrize("stream_id", ["$all", "a"])
def test_a_checkpoint_that_comes_late_takes_back_nothing(user: User, stream_id: str) -> None:
    """G16: of one owner, whether it goes on or ends."""
    user.store("a", 5)
    fence = user.own(stream_id=stream_id).fence
    assert user.keep(fence, checkpoint=4).checkpoint == 4

    assert user.keep(fence, checkpoint=2).checkpoint == 4
    user.release(fence, checkpoint=3)

    assert user.info(stream_id=stream_id).checkpoint == 4


@pytest.mark.parametrize(("least", "stored"), [(3, 5), (4, 3)])
def test_a_checkpoint_below_what_a_handler_stored_stays(
    user: User, least: int, stored: int
) -> None:
    """G39: it was set back together with the effects, which have to come again."""
    user.store("a", 5)
    fence = user.own().fence
    user.keep(fence, checkpoint=3)

    kept = user.keep(fence, checkpoint=5, least=least)

    assert (kept.owned, kept.checkpoint) == (least <= 3, stored)
    user.keeper.release([Progress(fence, 5, SubscriptionState.LIVE, None, 0, least)], soon())
    assert user.info().checkpoint == stored


def test_a_reset_fences_the_owner_and_sets_the_checkpoint(user: User, other: User) -> None:
    """G16: also backwards, which nobody else can."""
    user.store("a", 5)
    old = user.own(lease=60).fence
    user.keep(old, checkpoint=4)

    other.storage.reset_subscription("$all", "shipping", 2, soon())

    assert not user.keep(old, checkpoint=5).owned
    assert user.info().checkpoint == 2
    assert user.info().owner is None
    assert user.own().checkpoint == 2


@pytest.mark.parametrize(("position", "head"), [(6, 5), (1_000, 5)])
def test_a_reset_beyond_the_head_is_refused(user: User, position: int, head: int) -> None:
    """G15: what does not exist yet cannot have been seen."""
    user.store("a", head)
    fence = user.own().fence

    with pytest.raises(ValueError, match=rf"{head}\D.*{position}|{position}\D.*{head}"):
        user.storage.reset_subscription("$all", "shipping", position, soon())

    assert user.keep(fence).owned


def test_deleted_and_created_again_it_is_another_subscription(user: User, other: User) -> None:
    """SUB-28, SUR-04, G16: the old owner's fence matches nothing any more."""
    user.store("a", 5)
    owner = uuid4()
    old = user.own(owner=owner, lease=60).fence
    user.keep(old, checkpoint=3)

    other.storage.delete_subscription("$all", "shipping", soon())
    gone = user.keep(old, checkpoint=4)
    new = user.own(owner=owner)

    assert (gone.owned, gone.checkpoint, gone.paused) == (False, 0, False)
    assert new.created
    assert new.checkpoint == 0
    assert new.fence.position_id != old.position_id
    assert not user.keep(old, checkpoint=4).owned
    assert user.info().checkpoint == 0


def test_many_leases_are_renewed_in_one_call_in_order(user: User) -> None:
    """G16: each answer belongs to its fence, and a stale one spoils no other."""
    user.store("a", 5)
    fences = [user.own(f"s-{n}").fence for n in range(5)]
    stale = Fence(fences[2].position_id, uuid4(), fences[2].epoch)
    asked = [fences[4], stale, fences[0], fences[3]]
    progress = [
        Progress(fence, place, SubscriptionState.LIVE, None, 0) for place, fence in enumerate(asked)
    ]

    kept = user.keeper.keep(progress, 60, soon())

    assert [each.fence for each in kept] == asked
    assert [each.owned for each in kept] == [True, False, True, True]
    assert [each.checkpoint for each in kept] == [0, 0, 2, 3]


@pytest.mark.parametrize("stream_id", ["$all", "a"])
@pytest.mark.parametrize("appended", [0, 1])
def test_events_beyond_the_head_are_not_processed(
    user: User, stream_id: str, appended: int
) -> None:
    """G39, G15: the database has lost them; what is appended must not have their positions."""
    user.store("a", 2)
    fence = user.own("shipping", stream_id).fence

    def process(last: int) -> None:
        batch = Batch(fence, 0, 0, last)
        change = (part("a", events(1)),) if appended else None
        run_blocking(user.storage.process(batch, change, soon(), BLOCKING))

    with pytest.raises(HandledBeforeError) as caught:
        process(3)
    assert caught.value.checkpoint is None
    info = user.info("shipping", stream_id)
    assert (info.checkpoint, info.head) == (0, 2)
    process(2)
    assert user.info("shipping", stream_id).checkpoint == 2
