"""A database that went back in time under a subscription that lost its ownership, or its reads."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import HistoryRewoundError
from eventstore.model.subscriber_messages import Events, Subscribed
from eventstore_actors.kernel.messages import HeadMoved, HistoryRewound
from tests.actors.seated import Seated, append, numbers, start_keeper
from tests.support.rooms import LONG, Ear, Rooms, rooms_over, soon
from tests.support.unprotected import unprotected
from tests.support.waiting import wait_until


@pytest.fixture
def rooms(dsn: str, schema: str) -> Iterator[Rooms]:
    with rooms_over(Config(dsn, schema=schema, poll_interval=0.1, lease=0.9)) as rooms:
        start_keeper(rooms)
        yield rooms


def lose_events_after(rooms: Rooms, position: int) -> None:
    """Leave the database as a restore to an earlier moment does."""
    events = psycopg.sql.Identifier(rooms.config.schema, "events")
    with psycopg.connect(rooms.storage.dsn) as admin, unprotected(admin, rooms.config.schema):
        delete = psycopg.sql.SQL("DELETE FROM {} WHERE global_position > %s").format(events)
        assert admin.execute(delete, [position]).rowcount > 0


def test_a_takeover_after_lost_events_stops_everything(rooms: Rooms) -> None:
    """G31: events of another past were delivered; what comes next would be skipped."""
    append(rooms, 3)
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    assert numbers(subscriber.next(Events)) == [1, 2, 3]
    lose_events_after(rooms, 1)
    append(rooms, 2, "order-2")  # the positions are taken again, by other events

    rooms.storage.reset_subscription("$all", "shipping", 1, soon())

    with pytest.raises(HistoryRewoundError):
        seated.handle.join(LONG)
    assert isinstance(rooms.supervisor.next(HistoryRewound).error, HistoryRewoundError)


def test_a_takeover_without_lost_events_goes_on(rooms: Rooms) -> None:
    """G31: the same look, and nothing is wrong."""
    append(rooms, 3)
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    subscriber.next(Events)
    rooms.storage.reset_subscription("$all", "shipping", 1, soon())
    subscriber.next(Subscribed)
    assert numbers(subscriber.next(Events)) == [2, 3]
    seated.handle.ack(3)
    wait_until(lambda: seated.handle.checkpoint == 3)


def test_a_listener_that_is_new_makes_it_look_whether_history_is_what_it_was(rooms: Rooms) -> None:
    """G31: it read from the storage what the listener never heard of, and what is gone."""
    append(rooms, 3)
    subscriber = Ear()
    seated = Seated(rooms, subscriber.ref)
    assert numbers(subscriber.next(Events)) == [1, 2, 3]
    lose_events_after(rooms, 1)
    append(rooms, 2, "order-2")

    seated.ref.tell(HeadMoved(None))

    with pytest.raises(HistoryRewoundError):
        seated.handle.join(LONG)
