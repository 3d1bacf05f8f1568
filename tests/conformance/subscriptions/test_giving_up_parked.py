"""Parked events that are given up in a replay, and those that no replay would deliver."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore import Config, Events, EventStore, Skip, SubscriptionError
from tests.conformance.subscriptions.recording import flat
from tests.conformance.subscriptions.test_parking import PARK, Target, append, parked
from tests.support.waiting import wait_until


@pytest.mark.parametrize("named", [True, False])
def test_a_skip_of_a_parked_event_is_recorded(
    store: EventStore, dsn: str, schema: str, *, named: bool
) -> None:
    """G38: as is that of somebody outside; the events before and after it are delivered."""
    append(store, 1, 3, 5)
    target = Target(1)

    def handle(events: Events) -> None:
        target(events)
        if events.replay and events[0].position == 1 and not named and len(events) > 1:
            raise Skip("of no use")
        for event in events:
            if events.replay and event.position == 2:
                raise Skip("of no use", event if named else None)

    running = store.subscribe_to_all_streams("shipping", handle, on_error=PARK)
    wait_until(lambda: running.checkpoint == 3)
    target.refused.clear()
    store.retry_parked("$all", "shipping")

    wait_until(lambda: parked(store) == [])
    assert {1, 3, 5} <= set(flat(target.replays))
    assert store.health().subscriptions[0].skipped == 1
    if not store.dsn.startswith("memory:"):
        with psycopg.connect(dsn) as connection:
            table = sql.Identifier(schema, "parked")
            statement = sql.SQL("SELECT position, skip_reason FROM {}").format(table)
            assert connection.execute(statement).fetchall() == [(2, "of no use")]
    append(store, 7)
    wait_until(lambda: running.checkpoint == 4)
    assert target.posted[-1] == 7


@pytest.mark.parametrize("transactional", [True, "caller"])
def test_what_is_parked_must_not_be_forgotten_by_a_transactional_subscriber(
    store: EventStore, config: Config, transactional: Any
) -> None:
    """G38: it would never be delivered again, so the subscriber is refused before that."""
    if config.dsn.startswith("memory:"):
        pytest.skip("nothing is transactional in memory")
    append(store, 1, 3, 2)
    running = store.subscribe_to_all_streams("shipping", Target(1), on_error=PARK)
    wait_until(lambda: running.checkpoint == 3)
    running.unsubscribe()

    def handle(events: Events, _connection: Any = None) -> None:
        raise AssertionError(f"nothing is new: {events}")

    options: Any = {"transactional": transactional}
    with pytest.raises(SubscriptionError, match=r"has 2 parked events, .* transactional"):
        store.subscribe_to_all_streams("shipping", handle, **options)
    assert parked(store) == [1, 2]
    wait_until(lambda: store.subscription_info("$all", "shipping").owner is None)
    store.skip_parked("$all", "shipping", reason="of no use")
    store.subscribe_to_all_streams("shipping", handle, **options).unsubscribe()
