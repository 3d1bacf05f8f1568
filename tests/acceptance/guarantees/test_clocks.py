"""The clock of the database jumps: leases of its rows end an hour late, or ended an hour ago.

The clocks of the other processes cannot jump here without the machine's; they measure with one
that never does.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from eventstore import EventData, EventStore
from tests.acceptance.guarantees.conftest import Settings, Start, wait_for_checkpoint
from tests.support.waiting import PATIENCE, wait_until

NAME = "sub"

LATE = """
CREATE FUNCTION {schema}.late() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.expires_at := NEW.expires_at + interval '1 hour'; RETURN NEW; END $$;
CREATE TRIGGER late BEFORE UPDATE ON {schema}.leases
   FOR EACH ROW EXECUTE FUNCTION {schema}.late();
"""
"""What a clock that was set back after each renewal makes of a lease."""

OVER = """
UPDATE {schema}.leases SET expires_at = expires_at - interval '1 hour' WHERE epoch = 1
"""
"""What a clock that is set forward makes of the lease of the first owner."""


def bend(settings: Settings, statements: str) -> None:
    with psycopg.connect(settings["dsn"], autocommit=True) as admin:
        schema = sql.Identifier(settings["schema"])
        admin.execute(sql.SQL(statements).format(schema=schema))


def append(store: EventStore) -> None:
    store.append_to_stream("s", 0, [EventData("X", number) for number in range(10)])


def test_a_killed_owner_is_followed_in_time_though_its_lease_ends_in_an_hour(
    settings: Settings, start: Start, observer: EventStore
) -> None:
    """G16, G27: within lease and poll interval; the standby saw no renewal by its own clock."""
    lease, poll_interval = 1.2, 1.5
    bend(settings, LATE)
    append(observer)
    owner, standby = start(2, lease=lease, poll_interval=poll_interval)
    owner.do("subscribe", name=NAME).wait_delivered(NAME, 10)
    standby.do("subscribe", name=NAME).wait("connected")
    wait_for_checkpoint(observer, 10)
    killed = time.monotonic()
    owner.kill9()
    assert standby.wait("subscribed")["at"] - killed < lease + poll_interval + PATIENCE


def test_a_living_owner_whose_lease_seems_to_be_over_is_fenced_not_doubled(
    settings: Settings, start: Start, observer: EventStore
) -> None:
    """G14, G16: only its successor counts; it hears of it, and holds nothing any more."""
    append(observer)
    owner, successor = start(2, lease=3.0)
    owner.do("subscribe", name=NAME, ack_every=0).wait_delivered(NAME, 10)
    successor.do("subscribe", name=NAME, ack_every=0).wait("connected")

    def taken_over() -> bool:
        # A renewal that comes before the standby looks ends what the clock did: once more.
        bend(settings, OVER)
        return bool(successor.reports("subscribed"))

    wait_until(taken_over)
    successor.wait_delivered(NAME, 10)
    successor.do("ack", name=NAME, position=2).wait("acked")
    owner.wait("lost", reason="SubscriptionLostError")
    wait_for_checkpoint(observer, 2)
    assert not successor.reports("lost")
    assert len(owner.positions(NAME)) == 10
