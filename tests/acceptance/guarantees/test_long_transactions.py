"""A transaction of two leases costs neither its own subscription its lease, nor any other."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore import Config, EventData, Events, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

COUNT = 500


@pytest.mark.parametrize("way", [True, "caller"])
def test_five_hundred_subscriptions_keep_their_leases(settings: Settings, way: Any) -> None:
    """G39, G16: while one of them is in a transaction, whether it has stored its checkpoint."""
    seconds = [2 * settings["lease"]]
    handled: list[int] = []

    def within(events: Events, connection: Any) -> None:
        connection.execute("SELECT pg_sleep(%s)", seconds)

    def own(events: Events) -> None:
        with psycopg.connect(settings["dsn"]) as connection:
            events.checkpoint(connection)
            connection.execute("SELECT pg_sleep(%s)", seconds)

    with EventStore.connect(Config(**settings)) as store:
        for number in range(COUNT - 1):
            store.subscribe_to_all_streams(
                f"s-{number}", lambda events: handled.append(len(events))
            )
        subscriber: Any = own if way == "caller" else within
        long = store.subscribe_to_all_streams("long", subscriber, transactional=way)
        before = owners(settings)
        store.append_to_stream("a", ExpectedVersion.ANY, [EventData("X", 1)])
        wait_until(lambda: long.checkpoint == 1)
        wait_until(lambda: len(handled) == COUNT - 1)
        wait_until(lambda: all(each.state == "live" for each in store.subscriptions()))
        assert long.last_error is None
        assert owners(settings) == before
        assert len(handled) == COUNT - 1


def owners(settings: Settings) -> list[Any]:
    statement = "SELECT position_id, owner, epoch FROM {} ORDER BY 1"
    with psycopg.connect(settings["dsn"]) as connection:
        table = sql.Identifier(settings["schema"], "positions")
        return connection.execute(sql.SQL(statement).format(table)).fetchall()
