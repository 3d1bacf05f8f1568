"""The clock of the database jumps: leases of its rows end an hour late, or ended an hour ago.

The clocks of the other processes cannot jump here without the machine's; they measure with one
that never does.
"""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    Config,
    EventData,
    EventStore,
    SubscriptionInUseError,
    SubscriptionState,
)
from tests.acceptance.guarantees.conftest import Settings, Start, sessions, wait_for_checkpoint
from tests.support.processes import Service
from tests.support.recorder import Seen
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


MOVABLE = """
CREATE TABLE {schema}.clock AS SELECT interval '0' AS ahead;
CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
   SET search_path = {schema} AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM clock';
"""
"""A clock for the functions and views of the store that a test can set."""

READS_THE_CLOCK = """
SELECT p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace = %s::regnamespace AND p.prosrc LIKE '%%clock_timestamp()%%'
   AND p.proname <> 'clock_timestamp'
"""


class Killer:
    """Kills owners, and waits until the server has done what they had sent before.

    A renewal that is still on its way would be dated by the clock that the test sets next.
    """

    def __init__(self, settings: Settings, observer: EventStore) -> None:
        self._store = settings["dsn"], settings["schema"]
        observer.subscriptions()  # all that the observer needs is connected by now
        self._others = set(sessions(*self._store))

    def kill(self, owner: Service) -> None:
        own = set(sessions(*self._store)) - self._others
        owner.kill9()
        wait_until(lambda: not own & set(sessions(*self._store)))


class Clock:
    """The clock of the database, as everything in the schema of the store reads it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        schema = settings["schema"]
        own = sql.SQL("{}.clock_timestamp()").format(sql.Identifier(schema)).as_string(None)
        bend(settings, MOVABLE)
        with psycopg.connect(settings["dsn"], autocommit=True) as admin:
            functions = admin.execute(READS_THE_CLOCK, [schema]).fetchall()
            assert functions
            for (function,) in functions:
                path = f"{schema}, pg_catalog, pg_temp"
                admin.execute(f"ALTER FUNCTION {function} SET search_path = {path}".encode())
            view = f"{schema}.subscription_status"
            [(text,)] = admin.execute("SELECT pg_get_viewdef(%s::regclass)", [view])
            assert "clock_timestamp()" in text
            text = text.replace("clock_timestamp()", own)
            admin.execute(f"CREATE OR REPLACE VIEW {view} AS {text}".encode())

    def set(self, hours: float) -> None:
        """Set it to so many hours before or after the time of the machine."""
        bend(self._settings, f"UPDATE {{schema}}.clock SET ahead = interval '{hours} hours'")


@pytest.fixture
def clock(settings: Settings) -> Clock:
    return Clock(settings)


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
    lease, poll_interval = 3.0, 1.5
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


def test_an_owner_that_died_before_the_clock_went_back_is_not_shown_as_living(
    settings: Settings, start: Start, observer: EventStore, clock: Clock
) -> None:
    """F14, G16, G17: its lease ends in an hour by then, and nobody will renew it."""
    append(observer)
    killer = Killer(settings, observer)
    (owner,) = start(1, lease=30.0)
    owner.do("subscribe", name=NAME).wait_delivered(NAME, 10)
    wait_for_checkpoint(observer, 10)
    assert observer.subscription_info("$all", NAME).owner is not None
    killer.kill(owner)

    clock.set(hours=-1)

    for info in (observer.subscription_info("$all", NAME), observer.subscriptions()[0]):
        assert (info.owner, info.since) == (None, None)
        assert info.state is SubscriptionState.WAITING
        assert info.checkpoint == 10


def test_whoever_will_not_wait_takes_over_from_an_owner_that_died_before_the_clock_went_back(
    settings: Settings, start: Start, observer: EventStore, clock: Clock
) -> None:
    """F14, G16, G17: after a lease without a renewal, by its own clock."""
    append(observer)
    killer = Killer(settings, observer)
    (owner,) = start(1)
    owner.do("subscribe", name=NAME, ack_every=0).wait_delivered(NAME, 10)
    killer.kill(owner)
    clock.set(hours=-1)
    seen = Seen()

    with EventStore.connect(Config(**settings)) as store:
        store.subscribe_to_all_streams(NAME, seen.handle, when_owned="error")

        assert seen.wait(10) == list(range(1, 11))


@pytest.mark.parametrize("hours", [-1, -0.0001])
def test_whoever_will_not_wait_hears_that_the_owner_lives_though_the_clock_went_back(
    settings: Settings, start: Start, observer: EventStore, clock: Clock, hours: float
) -> None:
    """F14, G16, G17: as soon as the owner has renewed its lease; which it does, undisturbed."""
    append(observer)
    (owner,) = start(1)
    owner.do("subscribe", name=NAME, ack_every=0).wait_delivered(NAME, 10)
    epoch = observer.subscription_info("$all", NAME).epoch

    with EventStore.connect(Config(**settings)) as store:
        clock.set(hours)
        with pytest.raises(SubscriptionInUseError):
            store.subscribe_to_all_streams(NAME, Seen().handle, when_owned="error")

    wait_until(lambda: observer.subscription_info("$all", NAME).owner is not None)
    assert observer.subscription_info("$all", NAME).epoch == epoch
    owner.do("ack", name=NAME, position=10)
    wait_for_checkpoint(observer, 10)
    assert not owner.reports("lost")


def test_an_owner_that_lives_is_shown_again_after_the_clock_jumped(
    settings: Settings, start: Start, observer: EventStore, clock: Clock
) -> None:
    """F14, G16: forwards, backwards, and back again."""
    append(observer)
    (owner,) = start(1)
    owner.do("subscribe", name=NAME).wait_delivered(NAME, 10)
    epoch = observer.subscription_info("$all", NAME).epoch

    for hours in (1, -1, 0):
        clock.set(hours)
        wait_until(lambda: observer.subscription_info("$all", NAME).owner is not None)

    assert observer.subscription_info("$all", NAME).epoch == epoch
    assert not owner.reports("lost")


def test_a_standby_follows_an_owner_that_died_before_the_clock_went_back(
    settings: Settings, start: Start, observer: EventStore, clock: Clock
) -> None:
    """F14, G16, G27: it saw no renewal for a lease by its own clock."""
    append(observer)
    owner, standby = start(2)
    owner.do("subscribe", name=NAME).wait_delivered(NAME, 10)
    standby.do("subscribe", name=NAME).wait("connected")
    wait_for_checkpoint(observer, 10)
    owner.kill9()
    clock.set(hours=-1)

    standby.wait("subscribed")

    wait_until(lambda: observer.subscription_info("$all", NAME).owner is not None)
