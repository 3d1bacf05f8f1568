"""What is stored of a subscription, and what others see of it, on the port itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Progress, StoredProgress
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import EncodedEvent
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, part
from tests.support.waiting import wait_until


def test_what_its_owner_stored_can_be_seen_by_everybody(user: User, other: User) -> None:
    """SUR-01, SUR-06, G30, G32: state, error, attempts, checkpoint and lag."""
    user.store("a", 5)
    claimed = user.own(lease=60)
    fence = claimed.fence
    progress = Progress(fence, 2, SubscriptionState.RETRYING, "ValueError: no", 3)

    user.keeper.keep([progress], 60, soon())
    info = other.info()

    assert (info.stream_id, info.subscription_name) == ("$all", "shipping")
    assert info.subscription_id == claimed.subscription_id
    assert (info.owner, info.epoch) == ("host:1", fence.epoch)
    assert (info.state, info.last_error, info.attempts) == ("retrying", "ValueError: no", 3)
    assert isinstance(info.state, SubscriptionState)
    assert (info.checkpoint, info.head, info.lag_events) == (2, 5, 3)
    assert not info.paused
    now = datetime.now(UTC)
    assert info.since is not None
    assert now - timedelta(minutes=1) < info.created_at <= info.since
    assert info.since < now + timedelta(seconds=1)
    whose = info.subscription_id, info.epoch
    assert other.progress() == StoredProgress(*whose, 2, False, info.state, "ValueError: no")


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (SubscriptionState.LIVE, SubscriptionState.WAITING),
        (SubscriptionState.FULL, SubscriptionState.WAITING),
        (SubscriptionState.STOPPED, SubscriptionState.STOPPED),
    ],
)
def test_without_an_owner_it_is_waiting_or_stopped(
    user: User, last: SubscriptionState, shown: SubscriptionState
) -> None:
    """G32: nobody reads "live" of a subscription that nobody runs."""
    fence = user.own().fence
    user.keep(fence, state=SubscriptionState.LIVE)

    user.release(fence, state=last)

    info = user.info()
    assert (info.owner, info.since, info.state) == (None, None, shown)
    assert user.progress().state is shown


def test_an_owner_whose_lease_ran_out_is_no_owner(user: User) -> None:
    """G32: after a crash the row does not pretend that somebody works."""
    user.own(lease=0.05)

    wait_until(lambda: user.info().owner is None)

    assert user.info().state is SubscriptionState.WAITING


def test_the_lag_is_the_age_of_the_oldest_event_to_come(user: User) -> None:
    """G32: since it was stored, whatever it says itself; 0 when everything is acknowledged."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    old = EncodedEvent(event().event_id, "Old", b"{}", created_at=hour_ago)
    user.append(part("a", (event(), old, event())))
    fence = user.own(stream_id="a").fence
    user.own(stream_id="b")

    user.keep(fence, 1)
    wait_until(lambda: user.info(stream_id="a").lag_seconds > 0.05)
    behind = user.info(stream_id="a")
    user.keep(fence, 3)
    done = user.info(stream_id="a")
    elsewhere = user.info(stream_id="b")

    assert behind.lag_seconds < 3_000
    assert (behind.lag_events, done.lag_events, elsewhere.lag_events) == (2, 0, 0)
    assert (done.lag_seconds, elsewhere.lag_seconds) == (0, 0)
    assert (done.head, elsewhere.head) == (3, 0)


def test_all_subscriptions_are_listed_by_stream_and_name(user: User) -> None:
    """SUR-03: in one list, the same as each alone."""
    for stream_id, name in [("b", "x"), ("$all", "y"), ("a", "z"), ("a", "Ü"), ("a", "B")]:
        user.own(name, stream_id)

    listed = user.storage.subscriptions(soon())

    assert [(each.stream_id, each.subscription_name) for each in listed] == [
        ("$all", "y"),
        ("a", "B"),
        ("a", "z"),
        ("a", "Ü"),
        ("b", "x"),
    ]
    assert listed[0].subscription_id == user.info("y").subscription_id


def test_a_pause_is_stored_and_outlives_its_owner(user: User, other: User) -> None:
    """G20: from any process, with or without an owner."""
    first = user.own()
    other.storage.set_paused("$all", "shipping", paused=True, deadline=soon())

    assert user.keep(first.fence).paused
    seen = user.keeper.look([first.fence.position_id, 10_000], soon())
    assert {position: standing.paused for position, standing in seen.items()} == {
        first.fence.position_id: True
    }
    assert user.info().paused
    user.release(first.fence)
    again = user.own()
    assert again.paused
    other.storage.set_paused("$all", "shipping", paused=False, deadline=soon())
    assert not user.keep(again.fence).paused
    assert not user.info().paused


@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.subscription_info("a", "shipping", soon()),
        lambda storage: storage.stored_progress("a", "shipping", soon()),
        lambda storage: storage.set_paused("a", "shipping", paused=True, deadline=soon()),
        lambda storage: storage.set_paused("a", "shipping", paused=False, deadline=soon()),
        lambda storage: storage.reset_subscription("a", "shipping", 0, soon()),
        lambda storage: storage.delete_subscription("a", "shipping", soon()),
    ],
    ids=["info", "progress", "pause", "resume", "reset", "delete"],
)
def test_a_missing_subscription_is_an_error_that_names_it(
    user: User, use: Callable[[Storage], object]
) -> None:
    """SUR-05: the original ignores it; ours says so, whatever was asked."""
    user.own("shipping", "$all")

    with pytest.raises(SubscriptionNotFoundError, match="'shipping' to 'a'") as raised:
        use(user.storage)

    assert (raised.value.stream_id, raised.value.subscription_name) == ("a", "shipping")


def test_nothing_to_keep_is_nothing_to_do(user: User) -> None:
    """G16: no subscription, no statement, no error."""
    assert user.keeper.keep([], 60, soon()) == []
    assert user.keeper.look([], soon()) == {}
    user.keeper.release([], soon())
