"""Parked events as both storages keep them: under the fence, with the checkpoint, by key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.ports.changes import Deletion
from eventstore.ports.ownership import Claimed
from eventstore.ports.parking import (
    Choice,
    Most,
    ParkedKey,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)
from eventstore.ports.storage import Storage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import ANY, User

WHY = Why("no such product", "ValueError('x')\nTraceback", 5)
CHOICE = Choice(
    stream_id="$all",
    subscription_name="shipping",
    key=None,
    limit=None,
    skip_reason=None,
    dry_run=False,
)


def place(key: str, position: int) -> ParkedPlace:
    return ParkedPlace(key, position, position)


def parking(owned: Claimed, *events: ParkedPlace, follows: bool = False) -> Parking:
    return Parking(
        fence=owned.fence,
        checkpoint=events[-1].position,
        events=events,
        why=Why("follows") if follows else WHY,
        follows=follows,
        most=Most(events=4, of_key=3),
    )


@pytest.fixture
def owned(user: User) -> Claimed:
    """Own a subscription to all of eight events: a, b, a, b, and so on."""
    for _ in range(4):
        user.store("a")
        user.store("b")
    return user.own()


@pytest.fixture
def park(storage: Storage, owned: Claimed) -> Callable[..., ParkingOutcome]:
    def park(*events: ParkedPlace, follows: bool = False) -> ParkingOutcome:
        return storage.park(parking(owned, *events, follows=follows), soon())

    return park


Park = Callable[..., ParkingOutcome]


def positions(storage: Storage) -> list[int]:
    return [event.position for event in storage.parked("$all", "shipping", 0, 100, soon())]


def read(
    storage: Storage,
    owned: Claimed,
    key: str,
    after: int = 0,
    count: int = 10,
    max_bytes: int = 1_000,
) -> list[int]:
    page = ([key], after, count, max_bytes)
    found = storage.read_parked(owned.subscription_id, *page, soon())
    return [event.position for event in found]


def test_an_event_is_parked_with_the_checkpoint(user: User, park: Park) -> None:
    """G38."""
    assert park(place("a", 1)) is ParkingOutcome.DONE

    [event] = user.storage.parked("$all", "shipping", 0, 100, soon())
    assert (event.key, event.position, event.global_position) == ("a", 1, 1)
    assert (event.reason, event.error, event.attempts) == (WHY.reason, WHY.error, 5)
    assert event.parked_at == event.failed_at
    assert not event.is_marked
    assert user.info().checkpoint == 1


def test_who_does_not_own_it_parks_nothing(storage: Storage, user: User, owned: Claimed) -> None:
    """G38: nor removes, nor keeps."""
    storage.park(parking(owned, place("a", 1)), soon())
    storage.choose_parked(CHOICE, soon())
    stale = replace(owned.fence, epoch=owned.fence.epoch + 1)
    foreign = replace(owned.fence, owner=uuid4())
    for fence in (stale, foreign):
        late = replace(parking(owned, place("b", 2)), fence=fence)
        assert storage.park(late, soon()) is ParkingOutcome.FENCED
        assert storage.unpark(fence, {"a": 1}, (), soon()) is None
        assert not storage.keep_parked(fence, place("a", 1), WHY, soon())
    assert positions(storage) == [1]
    assert storage.parked("$all", "shipping", 0, 1, soon())[0].is_marked
    assert user.info().checkpoint == 1


@pytest.mark.parametrize("stream_id", ["$all", "a"])
def test_an_event_beyond_the_head_is_not_parked(
    storage: Storage, user: User, stream_id: str
) -> None:
    """G38, G15: one that the database has lost; other events will have its position."""
    user.store("a", 2)
    owned = user.own("shipping", stream_id)
    assert storage.park(parking(owned, place("a", 3)), soon()) is ParkingOutcome.FENCED
    assert storage.parked(stream_id, "shipping", 0, 100, soon()) == []
    assert user.info("shipping", stream_id).checkpoint == 0
    assert storage.park(parking(owned, place("a", 2)), soon()) is ParkingOutcome.DONE


def test_what_follows_is_parked_while_its_key_is(storage: Storage, user: User, park: Park) -> None:
    """G38: all or none, and the checkpoint with them."""
    park(place("a", 1))
    assert park(place("a", 3), follows=True) is ParkingOutcome.DONE
    assert park(place("b", 4), place("a", 5), follows=True) is ParkingOutcome.NOT_PARKED
    assert positions(storage) == [1, 3]
    assert user.info().checkpoint == 3
    first, second = storage.parked("$all", "shipping", 0, 100, soon())
    assert (second.error, second.attempts, second.failed_at) == (None, 0, None)
    assert first.failed_at is not None


def test_there_are_bounds(storage: Storage, user: User, park: Park) -> None:
    """G38: beyond them nothing is parked."""
    user.store("a")
    park(place("a", 1), place("a", 3), place("a", 5))
    assert park(place("a", 7), follows=True) is ParkingOutcome.TOO_MANY_OF_KEY
    assert park(place("b", 2)) is ParkingOutcome.DONE
    assert park(place("b", 4), follows=True) is ParkingOutcome.TOO_MANY
    assert positions(storage) == [1, 2, 3, 5]


def test_what_is_parked_already_is_left_as_it_is(storage: Storage, user: User, park: Park) -> None:
    """G25, G38: its answer was lost, and it comes again as one that follows; it counts once."""
    park(place("a", 1), place("a", 3), place("a", 5))

    assert park(place("a", 1), place("a", 3), follows=True) is ParkingOutcome.DONE
    assert park(place("a", 5)) is ParkingOutcome.DONE

    assert positions(storage) == [1, 3, 5]
    assert [e.attempts for e in storage.parked("$all", "shipping", 0, 9, soon())] == [5, 5, 5]
    assert user.info().checkpoint == 5


def test_marked_events_are_read_by_key_and_removed_once_delivered(
    storage: Storage, owned: Claimed, park: Park
) -> None:
    """G38: in the order of the key."""
    park(place("a", 1), place("b", 2))
    park(place("a", 3), place("a", 5), follows=True)
    assert read(storage, owned, "a") == []

    assert storage.choose_parked(replace(CHOICE, key="a"), soon()) == 3

    keys = storage.parked_keys(owned.subscription_id, soon())
    assert keys == [ParkedKey("a", 5, 3), ParkedKey("b", None, 1)]
    assert read(storage, owned, "a", count=2) == [1, 3]
    assert read(storage, owned, "a", after=3) == [5]
    one = len(b'{"event": 1}')
    assert read(storage, owned, "a", max_bytes=2 * one) == [1, 3]
    assert read(storage, owned, "a", max_bytes=2 * one - 1) == [1]
    assert read(storage, owned, "a", after=1, max_bytes=1) == [3]
    assert read(storage, owned, "b") == []
    assert storage.unpark(owned.fence, {"a": 3}, (), soon()) == {"a"}
    assert read(storage, owned, "a") == [5]
    assert positions(storage) == [2, 5]
    assert storage.unpark(owned.fence, {"a": 5}, (), soon()) == set()


def test_marked_events_of_several_keys_are_read_and_removed_at_once(
    storage: Storage, owned: Claimed, park: Park
) -> None:
    """G38: each in its order, and none of a key that is not named."""
    park(place("a", 1), place("b", 2))
    park(place("a", 3), place("b", 4), follows=True)
    storage.choose_parked(CHOICE, soon())

    def read_both(after: int, count: int) -> list[int]:
        page = (["b", "a"], after, count, 1_000)
        found = storage.read_parked(owned.subscription_id, *page, soon())
        return [event.position for event in found]

    assert read_both(0, 10) == [2, 4, 1, 3]
    assert read_both(0, 3) == [2, 4, 1]
    assert read_both(2, 10) == [4, 1, 3]
    assert storage.unpark(owned.fence, {"b": 4, "a": 1}, (), soon()) == {"a"}
    assert positions(storage) == [3]


def test_the_first_of_a_key_fails_again(storage: Storage, owned: Claimed, park: Park) -> None:
    """G25, G38: the events of its key stay, unmarked; its attempts are counted once."""
    park(place("a", 1), place("b", 2))
    park(place("a", 3), follows=True)
    storage.choose_parked(CHOICE, soon())

    for _ in ("the answer is lost", "again"):
        assert storage.keep_parked(owned.fence, place("a", 1), Why("still", "again", 2), soon())

    first, other, second = storage.parked("$all", "shipping", 0, 100, soon())
    assert (first.reason, first.error, first.attempts) == ("still", "again", 7)
    assert (first.is_marked, other.is_marked, second.is_marked) == (False, True, False)
    assert second.failed_at is None


def test_an_event_that_is_delivered_again_is_given_up(
    storage: Storage, owned: Claimed, park: Park
) -> None:
    """G38: it is recorded as skipped, so it is not parked again; under the fence, and once."""
    park(place("a", 1), place("a", 3))
    storage.choose_parked(CHOICE, soon())
    assert not storage.skip_replayed(replace(owned.fence, epoch=9), 1, "of no use", soon())
    assert positions(storage) == [1, 3]
    for _ in ("the answer is lost", "again"):
        assert storage.skip_replayed(owned.fence, 1, "of no use", soon())
    assert positions(storage) == [3]
    assert storage.unpark(owned.fence, {"a": 3}, (), soon()) == set()
    park(place("a", 1), place("b", 4))
    assert positions(storage) == [4]


def test_what_was_not_delivered_stays_parked_at_the_end(
    storage: Storage, owned: Claimed, park: Park
) -> None:
    """G38: whoever found no more of a key may be wrong; what exists is not lost."""
    park(place("a", 1), place("a", 3))
    storage.choose_parked(CHOICE, soon())
    assert storage.unpark(owned.fence, {"a": 1}, ["a"], soon()) == {"a"}
    assert positions(storage) == [3]


def test_the_oldest_are_chosen_first(storage: Storage, park: Park) -> None:
    """G38: a dry run changes nothing."""
    park(place("a", 1), place("b", 2), place("a", 3))
    two = replace(CHOICE, limit=2)
    assert storage.choose_parked(replace(two, dry_run=True), soon()) == 2
    assert storage.choose_parked(replace(two, dry_run=True, skip_reason="no"), soon()) == 2
    assert not any(e.is_marked for e in storage.parked("$all", "shipping", 0, 9, soon()))

    assert storage.choose_parked(two, soon()) == 2

    marked = [e.is_marked for e in storage.parked("$all", "shipping", 0, 9, soon())]
    assert marked == [True, True, False]


def test_a_skipped_event_is_not_parked_again(storage: Storage, owned: Claimed, park: Park) -> None:
    """G38: and nothing follows it."""
    park(place("a", 1), place("b", 2))
    skip = replace(CHOICE, key="a", skip_reason="of no use")
    assert storage.choose_parked(skip, soon()) == 1

    assert positions(storage) == [2]
    assert park(place("a", 3), follows=True) is ParkingOutcome.NOT_PARKED
    park(place("a", 1))
    assert positions(storage) == [2]
    assert storage.parked_keys(owned.subscription_id, soon()) == [ParkedKey("b", None, 1)]


def test_a_page_of_parked_events_goes_on_after_the_last(storage: Storage, park: Park) -> None:
    """G38."""
    park(place("a", 1), place("b", 2), place("a", 3))
    page = storage.parked("$all", "shipping", 1, 1, soon())
    assert [event.position for event in page] == [2]


def test_a_reset_forgets_what_comes_again(storage: Storage, park: Park) -> None:
    """G38."""
    park(place("a", 1), place("b", 2), place("a", 3))
    storage.reset_subscription("$all", "shipping", 2, soon())
    assert positions(storage) == [1, 2]


def test_a_hard_delete_forgets_the_events_of_its_stream(storage: Storage, park: Park) -> None:
    """G38."""
    park(place("a", 1), place("b", 2), place("a", 3))
    storage.delete_stream(Deletion("a", ANY, hard=True), soon())
    assert positions(storage) == [2]


def test_an_event_that_was_deleted_meanwhile_is_not_parked(
    storage: Storage, user: User, park: Park
) -> None:
    """G38: the checkpoint moves beyond it, and its stream holds nothing up."""
    storage.delete_stream(Deletion("a", ANY, hard=True), soon())
    assert park(place("a", 1)) is ParkingOutcome.DONE
    assert park(place("b", 2)) is ParkingOutcome.DONE
    assert park(place("a", 3), place("b", 4), follows=True) is ParkingOutcome.DONE
    assert positions(storage) == [2, 4]
    assert user.info().checkpoint == 4


def test_a_missing_subscription_has_no_parked_events(storage: Storage, owned: Claimed) -> None:
    """G38."""
    missing = replace(CHOICE, subscription_name="missing")
    with pytest.raises(SubscriptionNotFoundError):
        storage.parked("$all", "missing", 0, 1, soon())
    with pytest.raises(SubscriptionNotFoundError):
        storage.choose_parked(missing, soon())
    assert storage.parked("$all", "shipping", 0, 1, soon()) == []
    assert owned.checkpoint == 0
