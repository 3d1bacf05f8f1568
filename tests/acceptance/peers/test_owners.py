"""Owners: one at a time, whose acknowledgements count, whatever is cut, locked or killed."""

from __future__ import annotations

from collections.abc import Callable

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Settings, Start, sessions, wait_for_checkpoint
from tests.support.plain_sql import Sql
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

STREAMS = ("x", "y", "z")


def append(store: EventStore, rounds: int) -> None:
    """Append one event to each stream in turn."""
    for number in range(rounds):
        for stream in STREAMS:
            store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", number)])


def test_an_ack_of_an_owner_whose_connections_were_cut_moves_nothing_after_a_takeover(
    observer: EventStore, start: Start, settings: Settings
) -> None:
    """LCK-05, G16, G15: it believes in its ownership until it is let in again, and is told then."""
    append(observer, 3)
    with Proxy(settings["dsn"]) as network:
        (first,) = start(dsn=network.dsn, lease=3.0)
        first.do("subscribe", name="sub", ack_every=0, max_batch_size=1)
        first.wait_delivered("sub", 9)
        first.do("ack", name="sub", position=1)
        wait_for_checkpoint(observer, 1)
        (second,) = start(lease=3.0)
        second.do("subscribe", name="sub")
        network.swallow()
        network.cut()
        assert second.wait_delivered("sub", 8) == list(range(2, 10))
        wait_for_checkpoint(observer, 9)
        taken = observer.subscription_info("$all", "sub")

        first.do("ack", name="sub", position=5)
        network.pass_on()
        first.wait("lost", name="sub")
        append(observer, 1)
        second.wait_delivered("sub", 11)
        wait_for_checkpoint(observer, 12)
    after = observer.subscription_info("$all", "sub")
    assert (after.owner, after.epoch) == (taken.owner, taken.epoch)
    assert first.positions("sub") == list(range(1, 10))


def test_two_consumers_of_one_subscription_keep_the_order_of_every_key_in_flight(
    observer: EventStore, start: Start
) -> None:
    """G14, G16, G17: with several streams in flight, one consumer is killed, the other goes on."""
    append(observer, 4)
    first, second = start(2, lease=3.0)
    options = {"buffer_size": 6, "max_batch_size": 1, "batch_by": "any"}
    first.do("subscribe", name="sub", ack_every=0, **options)
    assert first.wait_delivered("sub", 6) == list(range(1, 7))
    second.do("subscribe", name="sub", **options)
    assert second.wait("connected")["state"] == "waiting"
    first.do("ack", name="sub", position=2)
    first.wait_delivered("sub", 8)
    wait_for_checkpoint(observer, 2)
    assert second.delivered("sub") == []
    first.kill9()
    second.wait_delivered("sub", 10)
    for stream in STREAMS:
        versions = [version for _, of, version, _ in second.delivered("sub") if of == stream]
        assert versions == list(range(versions[0], 5))
    assert second.positions("sub") == list(range(3, 13))


def test_an_ack_while_the_row_of_the_subscription_is_locked_harms_nobody(
    observer: EventStore, start: Start, foreign: Callable[[], Sql], dsn: str, schema: str
) -> None:
    """G15, G22, G24: it returns at once, deliveries go on, and it is stored afterwards."""
    (service,) = start(lease=20.0)
    for name in ("sub", "other"):
        service.do("subscribe", name=name, ack_every=0)
    append(observer, 1)
    service.wait_delivered("sub", 3)
    locker = foreign()
    with locker.transaction():
        locker(
            "SELECT FROM {}.positions JOIN {}.subscriptions USING (subscription_id)"
            " WHERE subscription_name = 'sub' FOR UPDATE"
        )
        for position in (1, 2, 3):
            service.do("ack", name="sub", position=position)
            service.wait("acked", position=position)
        append(observer, 1)
        assert service.wait_delivered("sub", 6) == list(range(1, 7))
        service.wait_delivered("other", 6)
        service.do("ack", name="other", position=6)
        wait_for_checkpoint(observer, 6, name="other")
        assert observer.subscription_info("$all", "sub").checkpoint == 0
    wait_for_checkpoint(observer, 3)
    assert not service.reports("lost")
    wait_until(lambda: len(sessions(dsn, schema)) >= 3)
