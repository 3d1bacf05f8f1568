"""The fence of a subscription where only the database can be wrong: incarnations, clocks, order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import pytest

from eventstore.model.errors import SubscriptionNotFoundError, SubscriptionOptionsError
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_start import Origin
from eventstore.ports.changes import Deletion
from eventstore.ports.ownership import Claimed, Fence, Held, Progress
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import ANY, User
from tests.eventstore.postgres.conftest import Psql
from tests.eventstore.postgres.test_parking_locks import until_it_waits
from tests.support.waiting import PATIENCE

TABLES = ("subscriptions", "positions", "leases")


def progress(fence: Fence, checkpoint: int, name: str = "") -> Progress:
    return Progress(fence, checkpoint, SubscriptionState.LIVE, name or None, 0)


def delete_for_good(user: User, stream_id: str) -> None:
    user.storage.delete_stream(Deletion(stream_id, ANY, hard=True), soon())


def test_a_stream_created_again_is_another_one_to_its_owner(user: User) -> None:
    """G16: its subscription starts over, and who counted in the old one is fenced."""
    user.store("order-1", 5)
    owned = user.own("shipping", "order-1")
    assert user.keep(owned.fence, 5).checkpoint == 5
    delete_for_good(user, "order-1")
    kept = user.keep(owned.fence, 5)
    assert (kept.owned, kept.checkpoint) == (False, 0)
    user.store("order-1", 3)
    again = user.own("shipping", "order-1")
    assert (again.checkpoint, again.head, again.fence.epoch) == (0, 3, owned.fence.epoch + 2)


def test_a_stream_created_again_is_another_one_to_a_standby(user: User) -> None:
    """G16: also when nobody owned it meanwhile; what is shown counts in the new stream."""
    user.store("order-1", 5)
    owned = user.own("shipping", "order-1")
    user.release(owned.fence, 5)
    delete_for_good(user, "order-1")
    user.store("order-1", 3)
    shown = user.info("shipping", "order-1")
    assert (shown.checkpoint, shown.head, shown.lag_events) == (0, 3, 3)
    assert user.own("shipping", "order-1").checkpoint == 0


def test_a_checkpoint_stays_within_the_stream(user: User) -> None:
    """F13, G15, G16: never beyond the head; a start beyond it is refused."""
    with pytest.raises(ValueError, match="start_from"):
        user.claim("shipping", "order-1", start=5)
    owned = user.own("shipping", "order-1")
    user.store("order-1", 2)
    assert user.keep(owned.fence, 9).checkpoint == 0
    assert user.keep(owned.fence, 2).checkpoint == 2
    user.release(owned.fence, 9)
    assert user.own("shipping", "order-1").checkpoint == 2


def test_a_start_in_a_stream_that_was_created_again_is_one_of_its_versions(user: User) -> None:
    """F13, G16: what the name stood for before does not count."""
    user.store("order-1", 5)
    delete_for_good(user, "order-1")
    user.store("order-1", 3)
    with pytest.raises(ValueError, match=r"start_from .* 3: 4$"):
        user.claim("shipping", "order-1", start=4)
    assert user.own("shipping", "order-1", start=3).checkpoint == 3


@pytest.mark.parametrize("minutes", [-60, 60])
def test_a_clock_that_jumps_makes_no_second_owner(user: User, psql: Psql, minutes: int) -> None:
    """G16: it may cost the lease; the fence alone decides whose checkpoints count."""
    user.store("order-1", 5)
    first = user.own()
    psql(
        "UPDATE {}.leases SET expires_at = expires_at + make_interval(mins => %s),"
        " renewed_at = renewed_at + make_interval(mins => %s)",
        minutes,
        minutes,
    )
    second = user.claim()
    assert isinstance(second, Claimed if minutes < 0 else Held)
    assert user.keep(first.fence, 5).owned is (minutes > 0)
    watched = user.claim()
    assert isinstance(watched, Held)
    assert watched.mark is not None
    third = user.own(watched=watched.mark)
    assert third.fence.epoch == watched.mark.epoch + 1
    assert not user.keep(first.fence, 5).owned


def test_the_same_numbers_with_another_owner_are_another_fence(user: User, psql: Psql) -> None:
    """G16: a failover that lost a takeover may give out id and epoch again, but no owner."""
    user.store("order-1", 5)
    lost = user.own()
    psql(
        "UPDATE {}.positions SET (owner, owner_name, owned_since) = (NULL, NULL, NULL),"
        " epoch = epoch - 1"
    )
    found = user.own()
    assert replace(found.fence, owner=lost.fence.owner) == lost.fence
    assert not user.keep(lost.fence, 5).owned
    assert user.keep(found.fence, 3).checkpoint == 3


def taken_over(user: User, other: User, fence: Fence) -> None:
    held = other.claim()
    assert isinstance(held, Held)
    other.release(other.own(watched=held.mark).fence)


def reset(user: User, other: User, fence: Fence) -> None:
    other.storage.reset_subscription("$all", "shipping", 0, soon())


@pytest.mark.parametrize("meanwhile", [taken_over, reset])
def test_an_owner_that_comes_back_has_a_new_fence(
    user: User, other: User, meanwhile: Callable[[User, User, Fence], None]
) -> None:
    """G16: what its first ownership still has under way must not count in its second."""
    user.store("order-1", 5)
    first = user.own()

    meanwhile(user, other, first.fence)
    second = user.own(owner=first.fence.owner)

    assert second.fence.epoch > first.fence.epoch
    assert not user.keep(first.fence, 5).owned
    assert user.keep(second.fence, 3).checkpoint == 3


CLAIM = """
    SELECT granted FROM {}.claim_subscription(
      1000, '$all', 'shipping', true, NULL, 0, gen_random_uuid(), 'psql', 60, NULL, NULL, NULL,
      jsonb_build_object())
"""


def test_a_claim_passes_over_a_row_that_another_one_has_locked(
    user: User, other: User, psql: Psql
) -> None:
    """G16, G27: it gets nothing, waits for nobody, and may come again."""
    user.release(user.own().fence)
    with psql.connection.transaction():
        assert psql(CLAIM) == [(True,)]
        assert isinstance(other.claim(deadline=time.monotonic() + PATIENCE / 3), Held)
    held = other.claim()
    assert isinstance(held, Held)
    assert held.owner_name == "psql"


def test_a_claim_by_id_means_that_subscription_and_creates_none(user: User, other: User) -> None:
    """F7, G16: deleted is deleted, whoever has the name now."""
    first = user.own()
    user.storage.delete_subscription("$all", "shipping", soon())
    with pytest.raises(SubscriptionNotFoundError):
        other.claim(known=first.subscription_id)
    second = user.own()
    assert second.created
    user.release(second.fence)
    with pytest.raises(SubscriptionNotFoundError):
        other.claim(known=first.subscription_id)
    assert user.info().subscription_id == second.subscription_id


@pytest.mark.parametrize(
    "stale",
    [
        lambda fence: replace(fence, owner=uuid4()),
        lambda fence: replace(fence, epoch=fence.epoch - 1),
    ],
    ids=["owner", "epoch"],
)
def test_a_stale_fence_renews_nothing(
    user: User, psql: Psql, stale: Callable[[Fence], Fence]
) -> None:
    """G16, G27: else a dead owner would keep the lease as long as an earlier one lives."""
    fence = user.own().fence
    leases = "SELECT owner, renewed_at, expires_at, state FROM {}.leases"
    before = psql(leases)
    assert not user.keep(stale(fence)).owned
    assert psql(leases) == before


@contextmanager
def locked(psql: Psql, fence: Fence) -> Iterator[None]:
    """Somebody's transaction has locked a position meanwhile."""
    with psql.connection.transaction():
        psql("SELECT FROM {}.positions WHERE position_id = %s FOR UPDATE", fence.position_id)
        yield


def test_what_is_locked_keeps_no_other_from_its_release(user: User, psql: Psql) -> None:
    """G26: the answer says which fence it is, so that it can be tried again."""
    names = ("first", "second", "third")
    fences = [user.own(name).fence for name in names]
    with locked(psql, fences[0]):
        assert list(user.keeper.release([progress(f, 0) for f in fences], soon())) == [fences[0]]
    assert [user.info(name).owner is not None for name in names] == [True, False, False]
    assert list(user.keeper.release([progress(fences[0], 0)], soon())) == []
    assert user.info("first").owner is None


def test_two_runtimes_that_keep_the_same_rows_cannot_deadlock(user: User, other: User) -> None:
    """G16, G22: whatever order they name them in."""
    user.store("order-1", 100)
    fences = [user.own(f"s{number:02}", start=Origin.ORIGIN).fence for number in range(30)]
    start = threading.Barrier(2)

    def keep(who: User, mine: list[Fence]) -> None:
        start.wait()
        for checkpoint in range(1, 51):
            kept = who.keeper.keep([progress(f, checkpoint) for f in mine], 10.0, soon())
            assert all(each.owned for each in kept)

    with ThreadPoolExecutor(2) as threads:
        orders = [(user, fences), (other, fences[::-1])]
        for future in [threads.submit(keep, who, mine) for who, mine in orders]:
            future.result(30)
    assert {user.info(f"s{number:02}").checkpoint for number in range(30)} == {50}


def test_an_error_with_characters_that_no_text_takes_is_stored_escaped(user: User) -> None:
    """G30, G32: the reason of a failure must never be the reason of the next."""
    owned = user.own()
    told = replace(progress(owned.fence, 0), last_error="NUL \x00, surrogate \ud800, ünïcode")
    user.keeper.keep([told], 10.0, soon())
    assert user.info().last_error == "NUL \\x00, surrogate \\ud800, ünïcode"


def test_a_paused_subscription_is_read_without_writing(user: User, psql: Psql) -> None:
    """G20, G22: five hundred rows updated every second would be the bloat."""
    owned = user.own()
    user.storage.set_paused("$all", "shipping", paused=True, deadline=soon())
    before = [psql(f"SELECT ctid FROM {{}}.{table}") for table in TABLES]
    position = owned.fence.position_id
    seen = user.keeper.look([position, 999], soon())
    assert {key: standing.paused for key, standing in seen.items()} == {position: True}
    assert [psql(f"SELECT ctid FROM {{}}.{table}") for table in TABLES] == before


def test_options_that_change_during_a_claim_are_seen(user: User, psql: Psql) -> None:
    """G38, G40: after a reset, who claims first says; nobody else goes on with other ones."""
    user.release(user.own().fence)

    with ThreadPoolExecutor(1) as thread:
        with psql.connection.transaction():
            psql("LOCK TABLE {}.positions IN EXCLUSIVE MODE")
            claiming = thread.submit(user.claim)
            until_it_waits(psql, "claim_subscription", claiming)
            psql("""UPDATE {}.subscriptions SET options = '{"keep_order": false}'""")
        assert isinstance(claiming.result(), Held)

    with pytest.raises(SubscriptionOptionsError):
        user.claim()
