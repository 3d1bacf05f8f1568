"""One owner at a time: standbys, fences, second subscribers."""

from __future__ import annotations

import pytest

from eventstore import (
    Config,
    EventData,
    EventStore,
    SubscriptionInUseError,
    SubscriptionLostError,
    SubscriptionNotFoundError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import (
    Record,
    Settings,
    wait_for_checkpoint,
)
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

NAME = "sub"


def append(store: EventStore, count: int) -> None:
    info = store.read_stream_backward("s", count=1, missing_ok=True)
    version = info[0].stream_version if info else 0
    store.append_to_stream("s", version, [EventData("X", n) for n in range(count)])


def test_a_second_subscriber_in_the_same_runtime_is_refused(
    store: EventStore, record: Record
) -> None:
    """G17: it is told by whom and since when; other streams and names are free."""
    first, second = Seen(), Seen()
    store.subscribe_to_all_streams(NAME, record(first))
    for subscriber in (record(second), second.handle):
        with pytest.raises(SubscriptionInUseError) as refused:
            store.subscribe_to_all_streams(NAME, subscriber, when_owned="wait")
        assert (refused.value.stream_id, refused.value.subscription_name) == ("$all", NAME)
        assert refused.value.owner
        assert refused.value.since is not None
    store.subscribe_to_stream("s", NAME, record(second))
    store.subscribe_to_all_streams("other", second.handle)
    append(store, 1)
    first.wait(1)
    second.wait(2)


def test_a_dead_subscriber_does_not_count_as_connected(store: EventStore, record: Record) -> None:
    """G17, G21."""
    seen, successor_seen = Seen(), Seen()
    dying = record(seen, acks=False)
    store.subscribe_to_all_streams(NAME, dying)
    append(store, 3)
    seen.wait(3)
    dying.stop()
    store.subscribe_to_all_streams(NAME, record(successor_seen))
    wait_until(lambda: successor_seen.positions == [1, 2, 3])


def test_who_asks_for_an_error_is_not_made_a_standby(
    settings: Settings, store: EventStore, record: Record
) -> None:
    """G17: another runtime owns it."""
    seen, second = Seen(), Seen()
    subscription = store.subscribe_to_all_streams(NAME, record(seen))
    with EventStore.connect(Config(**settings)) as other:
        with pytest.raises(SubscriptionInUseError) as refused:
            other.subscribe_to_all_streams(NAME, record(second), when_owned="error")
        assert refused.value.owner == store.subscription_info("$all", NAME).owner
        assert refused.value.since is not None
        # The refusal left nothing behind: free again, it is had at once.
        subscription.unsubscribe()
        other.subscribe_to_all_streams(NAME, record(second), when_owned="error")
        append(other, 1)
        wait_until(lambda: second.positions == [1])
    assert seen.positions == []


def test_a_deleted_subscription_tells_its_subscriber_and_counts_none_of_its_acks(
    observer: EventStore, store: EventStore, record: Record
) -> None:
    """G16: also when another one of the same name exists by then."""
    seen, successor = Seen(), Seen()
    old = store.subscribe_to_all_streams(NAME, record(seen, acks=False))
    append(store, 5)
    seen.wait(5)
    observer.delete_subscription("$all", NAME)
    with pytest.raises(SubscriptionNotFoundError):
        observer.subscription_info("$all", NAME)
    wait_until(lambda: seen.lost)
    wait_until(lambda: old.state is SubscriptionState.STOPPED)
    new = store.subscribe_to_all_streams(NAME, record(successor, acks=False), start_from=2)
    wait_until(lambda: successor.positions == [3, 4, 5])
    with pytest.raises(SubscriptionLostError):
        old.ack(5)
    new.ack(3)
    wait_for_checkpoint(observer, 3)


def test_a_reset_fences_the_owner_who_starts_again_from_there(
    observer: EventStore, store: EventStore, record: Record
) -> None:
    """G16, G14: backwards and forwards; an epoch goes by."""
    seen = Seen()
    subscription = store.subscribe_to_all_streams(NAME, record(seen))
    append(store, 5)
    wait_for_checkpoint(observer, 5)
    before = observer.subscription_info("$all", NAME).epoch
    observer.reset_subscription("$all", NAME, 2)
    seen.wait(8)
    assert seen.positions == [1, 2, 3, 4, 5, 3, 4, 5]
    assert seen.runs == 2
    wait_for_checkpoint(observer, 5)
    wait_until(lambda: subscription.checkpoint == 5)
    assert observer.subscription_info("$all", NAME).epoch > before
