"""A subscriber dies or hangs while its process lives: a standby in another one gets its events."""

from __future__ import annotations

import time

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.waiting import wait_until

NAME = "sub"
LONG = 60.0
"""A lease whose end no test waits for: the ownership is given up."""


def append(store: EventStore, count: int) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def test_what_an_actor_that_dies_had_in_flight_goes_to_a_standby_in_another_process(
    start: Start, observer: EventStore
) -> None:
    """G21, G17: what it acknowledged does not come again."""
    dying, standby = start(2, lease=LONG)
    append(observer, 10)
    dying.do("subscribe", name=NAME, ack_every=0).wait_delivered(NAME, 10)
    standby.do("subscribe", name=NAME).wait("connected")
    dying.do("ack", name=NAME, position=4).wait("acked")
    dying.do("bury", name=NAME).wait("buried")
    standby.wait_delivered(NAME, 6)
    assert standby.positions(NAME) == [5, 6, 7, 8, 9, 10]
    wait_for_checkpoint(observer, 10)
    append(observer, 1)
    standby.wait_delivered(NAME, 7)
    assert len(dying.positions(NAME)) == 10


def test_what_a_hung_subscriber_had_in_flight_goes_to_a_standby_in_another_process(
    start: Start, observer: EventStore
) -> None:
    """G21, G16: after its ack_timeout; its late acknowledgements are refused."""
    hung, standby = start(2, lease=LONG)
    append(observer, 3)
    ack_timeout = 0.8
    began = time.monotonic()
    hung.do("subscribe", name=NAME, ack_every=0, ack_timeout=ack_timeout).wait("delivered")
    standby.do("subscribe", name=NAME, ack_every=0).wait("connected")
    assert standby.wait_delivered(NAME, 3) == [1, 2, 3]
    assert standby.wait("delivered")["at"] - began > ack_timeout
    append(observer, 1)
    standby.wait_delivered(NAME, 4)
    assert hung.positions(NAME) == [1, 2, 3]
    standby.do("ack", name=NAME, position=2).wait("acked")
    wait_for_checkpoint(observer, 2)
    hung.do("ack", name=NAME, position=3)
    wait_until(lambda: hung.reports("error", do="ack", error="SubscriptionLostError"))
    standby.do("ack", name=NAME, position=4).wait("acked", position=4)
    wait_for_checkpoint(observer, 4)
