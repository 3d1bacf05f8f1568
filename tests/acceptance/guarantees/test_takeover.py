"""A standby in another process takes over from an owner that stops, is killed, or is frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from eventstore import (
    EventData,
    EventStore,
    ExpectedVersion,
    SubscriptionInfo,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Settings, Start, wait_for_checkpoint
from tests.acceptance.guarantees.deaf import DeafProxy
from tests.acceptance.guarantees.test_live_delivery import listening
from tests.support.processes import Report, Service
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"
LONG = 60.0
"""A lease whose end no test waits for."""


def append(store: EventStore, count: int) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def shown(store: EventStore) -> SubscriptionInfo:
    return store.subscription_info("$all", NAME)


def seconds(before: Report, after: Report) -> float:
    return float(after["at"] - before["at"])


def owned(owner: Service, observer: EventStore) -> None:
    """Let *owner* be delivered ten events and acknowledge the first six."""
    append(observer, 10)
    owner.do("subscribe", name=NAME, ack_every=0)
    owner.wait_delivered(NAME, 10)
    owner.do("ack", name=NAME, position=6).wait("acked")


@pytest.fixture
def deaf(settings: Settings) -> Iterator[str]:
    """The connection string by way of a network on which LISTEN hears nothing."""
    with DeafProxy(settings["dsn"], deaf=True) as proxy:
        yield proxy.dsn


def test_a_second_process_waits_as_a_standby_and_can_be_seen_to(
    start: Start, observer: EventStore
) -> None:
    """G16, G17, G27: it is told nothing, and everybody can see who owns the subscription."""
    owner, standby = start(2)
    owned(owner, observer)
    standby.do("subscribe", name=NAME)
    assert standby.wait("connected")["state"] == SubscriptionState.WAITING
    append(observer, 5)
    owner.wait_delivered(NAME, 15)
    standby.do("look", name=NAME)
    assert standby.wait("seen")["state"] == SubscriptionState.WAITING
    wait_until(lambda: shown(observer).state is SubscriptionState.LIVE)
    assert (shown(observer).owner or "").endswith(f":{owner.wait('ready')['pid']}")
    assert not standby.reports("subscribed")
    assert not standby.reports("delivered")


@pytest.mark.parametrize("network", ["dsn", "deaf"])
def test_a_standby_takes_over_soon_after_a_clean_stop(
    request: pytest.FixtureRequest,
    start: Start,
    observer: EventStore,
    network: str,
) -> None:
    """G17, G27: also without LISTEN, long before a lease or poll interval is over."""
    dsn = request.getfixturevalue(network)
    owner, standby = start(2, lease=LONG, poll_interval=LONG, dsn=dsn)
    owned(owner, observer)
    standby.do("subscribe", name=NAME).wait("connected")
    wait_until(lambda: listening(standby) is (network == "dsn"))
    closed = owner.do("close").wait("closed")
    standby.wait_delivered(NAME, 4)
    assert standby.positions(NAME) == [7, 8, 9, 10]
    assert seconds(closed, standby.wait("delivered")) < PATIENCE


def test_a_standby_takes_over_within_lease_and_poll_interval_of_kill_9(
    start: Start, observer: EventStore
) -> None:
    """LCK-04, G13, G16, G17, G27: right behind what was acknowledged."""
    lease, poll_interval = 3.0, 1.5
    owner, standby = start(2, lease=lease, poll_interval=poll_interval)
    owned(owner, observer)
    wait_for_checkpoint(observer, 6)
    standby.do("subscribe", name=NAME).wait("connected")
    killed = time.monotonic()
    owner.kill9()
    standby.wait_delivered(NAME, 4)
    assert standby.positions(NAME) == [7, 8, 9, 10]
    assert standby.wait("delivered")["at"] - killed < lease + poll_interval + PATIENCE


def test_what_was_acknowledged_and_held_back_at_a_kill_9_comes_again(
    start: Start, observer: EventStore
) -> None:
    """G13, G15, G27: all of it and nothing before it, from the stored checkpoint on."""
    owner, standby = start(2, lease=3.0)
    append(observer, 10)
    owner.do("subscribe", name=NAME, ack_every=0, checkpoint_threshold=4)
    owner.wait_delivered(NAME, 10)
    owner.do("ack", name=NAME, position=4).wait("acked", position=4)
    wait_for_checkpoint(observer, 4)
    owner.do("ack", name=NAME, position=7).wait("acked", position=7)
    standby.do("subscribe", name=NAME).wait("connected")
    owner.kill9()
    standby.wait_delivered(NAME, 6)
    assert standby.positions(NAME) == [5, 6, 7, 8, 9, 10]


def test_a_frozen_owner_is_fenced_and_told_and_its_acks_do_not_count(
    start: Start, observer: EventStore
) -> None:
    """G16, G27: stopped beyond its lease and woken, it is refused, and waits as a standby."""
    lease, poll_interval = 3.0, 1.5
    frozen, successor = start(2, lease=lease, poll_interval=poll_interval)
    owned(frozen, observer)
    wait_for_checkpoint(observer, 6)
    successor.do("subscribe", name=NAME, ack_every=0).wait("connected")
    moment = time.monotonic()
    frozen.signal(signal.SIGSTOP)
    try:
        assert successor.wait("subscribed")["at"] - moment < lease + poll_interval + PATIENCE
        successor.wait_delivered(NAME, 4)
        successor.do("ack", name=NAME, position=7).wait("acked")
        wait_for_checkpoint(observer, 7)
        epoch = shown(observer).epoch
        # The first thing that it finds when it wakes up: an ack beyond its successor's.
        frozen.do("ack", name=NAME, position=10)
    finally:
        frozen.signal(signal.SIGCONT)
    wait_until(lambda: frozen.reports("acked", position=10) or frozen.reports("error"))
    wait_until(lambda: frozen.reports("lost", reason="SubscriptionLostError"))
    # Now it knows, and says so to whoever acknowledges.
    frozen.do("ack", name=NAME, position=10)
    wait_until(lambda: frozen.reports("error", do="ack", error="SubscriptionLostError"))

    # A witness of time: the successor's next ack is stored, and nothing in between went further.
    assert shown(observer).checkpoint == 7
    successor.do("ack", name=NAME, position=8).wait("acked", position=8)
    wait_for_checkpoint(observer, 8)
    assert shown(observer).epoch == epoch
    append(observer, 1)
    successor.wait_delivered(NAME, 5)
    assert frozen.positions(NAME) == list(range(1, 11))

    # It waits: when the successor ends, it goes on behind the successor's checkpoint.
    successor.do("close").wait("closed")
    wait_until(lambda: len(frozen.positions(NAME)) == 13)
    assert frozen.positions(NAME)[10:] == [9, 10, 11]
