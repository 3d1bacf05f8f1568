"""Django itself: events in a transaction of `atomic`, by a cursor of its connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.db import connection as django_connection
from django.db import transaction
from psycopg.conninfo import conninfo_to_dict

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    WrongExpectedVersionError,
)
from eventstore.client.targets import registered_runtime
from tests.support.recorder import Seen
from tests.support.waiting import AGES, wait_until

ANY = ExpectedVersion.ANY


@pytest.fixture(scope="module")
def configured(server: Any) -> None:
    """Configure Django once; each worker of the tests has one server."""
    where = conninfo_to_dict(server.dsn)
    keys = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user"}
    database = {key: where.get(option, "") for key, option in keys.items()}
    database["ENGINE"] = "django.db.backends.postgresql"
    settings.configure(DATABASES={"default": database}, USE_TZ=True)
    django.setup()


@pytest.fixture
def store(dsn: str, schema: str) -> Iterator[EventStore]:
    config = Config(dsn, schema=schema)
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        yield store


@pytest.fixture
def connection(configured: None, store: EventStore, schema: str) -> Iterator[Any]:
    with django_connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE "{schema}".orders (number bigint PRIMARY KEY)')
    yield django_connection
    django_connection.close()


def place(store: EventStore, connection: Any, number: int, expected: int = ANY) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'INSERT INTO "{store.config.schema}".orders VALUES (%s)', [number])
        event = EventData("OrderPlaced", {"number": number})
        store.append_to_stream("orders", expected, [event], connection=cursor)


def orders(store: EventStore, connection: Any) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT number FROM "{store.config.schema}".orders ORDER BY 1')
        return [number for (number,) in cursor.fetchall()]


def stored(store: EventStore) -> list[tuple[int, int]]:
    return [(e.global_position, e.data["number"]) for e in store.read_all_streams_forward()]


def test_rows_and_events_of_atomic_commit_together(store: EventStore, connection: Any) -> None:
    """G37: nobody sees them before."""
    with transaction.atomic():
        place(store, connection, 1)
        assert stored(store) == []
    assert (orders(store, connection), stored(store)) == ([1], [(1, 1)])


def test_an_error_within_atomic_stores_nothing(store: EventStore, connection: Any) -> None:
    """G37, G3: nor does it leave a gap."""

    def place_in_vain() -> None:
        with transaction.atomic():
            place(store, connection, 1)
            raise TimeoutError

    with pytest.raises(TimeoutError):
        place_in_vain()
    assert (orders(store, connection), stored(store)) == ([], [])
    with transaction.atomic():
        place(store, connection, 2)
    assert stored(store) == [(1, 2)]


def test_a_refused_append_takes_its_inner_atomic_back_alone(
    store: EventStore, connection: Any
) -> None:
    """G37: the outer one goes on, and what it appends follows without a gap."""
    with transaction.atomic():
        place(store, connection, 1)
        with pytest.raises(WrongExpectedVersionError), transaction.atomic():
            place(store, connection, 2, expected=7)
        place(store, connection, 3)
    assert (orders(store, connection), stored(store)) == ([1, 3], [(1, 1), (2, 3)])


def test_autocommit_outside_of_atomic_is_refused(store: EventStore, connection: Any) -> None:
    """G37: it is Django's default, and would commit at once."""
    with connection.cursor() as cursor, pytest.raises(ValueError, match=r"append within .*atomic"):
        store.append_to_stream("orders", 0, [EventData("OrderPlaced", 1)], connection=cursor)
    assert stored(store) == []


def test_a_hook_on_commit_wakes_the_subscribers(
    store: EventStore, connection: Any, dsn: str, schema: str
) -> None:
    """G37, G23: of other runtimes, which do not poll."""
    seen = Seen()
    patient = Config(dsn, schema=schema, poll_interval=AGES)
    with EventStore.connect(patient, runtime=registered_runtime()) as elsewhere:
        elsewhere.subscribe_to_all_streams("billing", seen.handle)
        wait_until(lambda: elsewhere.health().listening)
        with transaction.atomic():
            place(store, connection, 1)
            transaction.on_commit(store.wake)
        assert seen.wait(1) == [1]
