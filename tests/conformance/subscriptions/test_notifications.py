"""New events are told soon, whatever becomes of the connections that announce them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from eventstore import CallerRuntime, Config, EventStore, ExpectedVersion
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Handler, Subscriber, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY

postgres_alone = pytest.mark.parametrize("config", ["postgres"], indirect=True)
"""Memory has no connection to lose and no schema to share."""


def cut(config: Config, application_name: str = "eventstore") -> int:
    """Terminate the connections of that name; return how many there were."""
    with psycopg.connect(config.dsn, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE starts_with(application_name, %s)",
            [application_name],
        ).fetchall()
    return len(cut)


def test_an_event_is_told_before_the_next_poll(connect: Connect, subscriber: Subscriber) -> None:
    """G23: it does not wait for a poll, nor for another event."""
    store, other = connect(poll_interval=60), connect(poll_interval=60)
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    wait_until(lambda: store.health().listening)

    for number in (1, 2):
        other.append_to_stream("order-1", ANY, numbered(number, number))
        assert numbers(subscriber.acknowledged_batch()) == [number]


def test_a_store_that_was_idle_wakes_up(store: EventStore, subscriber: Subscriber) -> None:
    """NOT-03, SUB-14, G23: after several polls without an event, again and again."""
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()

    for number in (1, 2):
        assert subscriber.is_told_nothing()
        store.append_to_stream("order-1", ANY, numbered(number, number))
        assert numbers(subscriber.acknowledged_batch()) == [number]


@postgres_alone
def test_events_are_told_after_the_listening_connection_was_lost(
    config: Config, connect: Connect, subscriber: Subscriber
) -> None:
    """NOT-01, G23: each once, and the ones appended meanwhile too."""
    store, other = connect(listen_dsn=f"{config.dsn} application_name=ears"), connect()
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    other.append_to_stream("order-1", ANY, numbered(1, 1))
    assert numbers(subscriber.acknowledged_batch()) == [1]

    assert cut(config, "ears") == 1
    other.append_to_stream("order-1", ANY, numbered(2, 2))
    assert numbers(subscriber.acknowledged_batch()) == [2]

    wait_until(lambda: store.health().listening)
    other.append_to_stream("order-1", ANY, numbered(3, 3))
    assert numbers(subscriber.acknowledged_batch()) == [3]
    assert subscriber.is_told_nothing()


@postgres_alone
def test_events_appended_while_every_connection_was_lost_are_told_promptly(
    config: Config, store: EventStore, subscriber: Subscriber
) -> None:
    """REC-01, G23, G25: without waiting for the next append."""
    store.subscribe_to_all_streams("shipping", subscriber.ref)
    subscriber.subscribed()
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert numbers(subscriber.acknowledged_batch()) == [1]

    for number in range(2, 5):
        assert cut(config) >= 1
        store.append_to_stream("order-1", ANY, numbered(number, number))

    assert [numbers(subscriber.acknowledged_batch()) for _ in range(3)] == [[2], [3], [4]]
    assert subscriber.is_told_nothing()


@postgres_alone
def test_events_of_another_schema_are_not_told(
    config: Config, connect: Connect, subscriber: Subscriber
) -> None:
    """NOT-05, G34: though stream, subscription and database have the same names."""
    other_schema = replace(config, schema=f"{config.schema}_2")
    handler = Handler()
    store = connect()
    store.subscribe_to_stream("order-1", "shipping", subscriber.ref)
    subscriber.subscribed()
    try:
        EventStore.connect(other_schema, runtime=CallerRuntime, init=True).close()
        with connect(schema=other_schema.schema) as other:
            other.subscribe_to_stream("order-1", "shipping", handler)
            other.append_to_stream("order-1", ANY, numbered(7, 7))
            assert handler.call() == [7]
            assert subscriber.is_told_nothing()

            store.append_to_stream("order-1", ANY, numbered(1, 1))
            assert numbers(subscriber.acknowledged_batch()) == [1]
            assert handler.is_not_called()
    finally:
        drop(other_schema)


def test_of_three_stores_those_of_one_schema_are_told(
    connect: Connect, store: EventStore, neighbour: EventStore
) -> None:
    """DYN-04, G34: what the third one is told first is its own."""
    first, second, third = Handler(), Handler(), Handler()
    store.subscribe_to_stream("order-1", "first", first)
    connect().subscribe_to_stream("order-1", "second", second)
    neighbour.subscribe_to_stream("order-1", "first", third)

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert first.call() == second.call() == [1]
    neighbour.append_to_stream("order-1", ANY, numbered(7, 7))

    assert third.call() == [7]
    store.append_to_stream("order-1", ANY, numbered(2, 2))
    assert first.call() == second.call() == [2]


def drop(config: Config) -> None:
    with psycopg.connect(config.dsn, autocommit=True) as connection:
        name = psycopg.sql.Identifier(config.schema)
        connection.execute(psycopg.sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


def test_many_subscriptions_hear_of_one_append(store: EventStore) -> None:
    """SUB-21, G22, G23: one announcement reaches all of them."""
    handlers = [Handler() for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: store.subscribe_to_all_streams(f"s-{n}", handlers[n]),
                range(len(handlers)),
            )
        )

    store.append_to_stream("order-1", ANY, numbered(1, 2))

    assert [handler.call() for handler in handlers] == [[1, 2]] * 20
