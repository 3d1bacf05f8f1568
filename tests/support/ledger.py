"""A program that books transfers, to be killed: each by a handler whose effects are there once.

Knows only the public API. Started by `tests.support.processes.Service`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import django
import psycopg
import pykka
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db import connection as django_connection
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from eventstore import Config, EventData, Events, EventStore, ExpectedVersion, RecordedEvent
from tests.support.receiver import report

__all__ = ["NAME", "TABLES", "WAYS", "append", "entries"]

NAME = "ledger"

TABLES = """
    CREATE TABLE entries (position bigint, account int, amount int);
    CREATE TABLE accounts (account int PRIMARY KEY, balance int);
    INSERT INTO accounts SELECT account, 0 FROM generate_series(0, 9) account;
"""

_ENTRY = "INSERT INTO entries VALUES (%s, %s, %s)"
_BALANCE = "UPDATE accounts SET balance = balance + %s WHERE account = %s"
_PAUSE = "SELECT pg_sleep(0.02)"
"""It makes a transaction so long that most kills hit one."""


def transfers(numbers: Iterable[int]) -> list[EventData]:
    """Return a transfer between two of ten accounts for each of *numbers*."""
    return [
        EventData("Moved", {"source": n % 10, "target": (n + 1 + n // 10 % 9) % 10, "cents": n})
        for n in numbers
    ]


def entries(events: Iterable[RecordedEvent]) -> list[tuple[int, int, int]]:
    """Return position, account and amount of both entries of each event."""
    return [
        entry
        for event in events
        for entry in (
            (event.global_position, event.data["source"], -event.data["cents"]),
            (event.global_position, event.data["target"], event.data["cents"]),
        )
    ]


def book(events: Events, cursor: Any) -> None:
    """Write the entries, and between them and the balances take some time."""
    booked = entries(events)
    cursor.executemany(_ENTRY, booked)
    cursor.execute(_PAUSE)
    cursor.executemany(_BALANCE, sorted((amount, account) for _, account, amount in booked))


def transactional(store: EventStore) -> dict[str, Any]:
    def handle(events: Events, connection: psycopg.Connection[Any]) -> None:
        book(events, connection.cursor())

    return {"subscriber": handle, "transactional": True}


def in_own_transactions(store: EventStore) -> dict[str, Any]:
    levels = itertools.cycle(psycopg.IsolationLevel)

    def handle(events: Events) -> None:
        with psycopg.connect(store.dsn) as connection:
            connection.isolation_level = next(levels)
            book(events, connection.cursor())
            events.checkpoint(connection)

    return {"subscriber": handle, "transactional": "caller"}


def in_transactions_of_django(store: EventStore) -> dict[str, Any]:
    where = conninfo_to_dict(store.dsn)
    keys = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user"}
    database: dict[str, Any] = {key: where.get(option, "") for key, option in keys.items()}
    database["ENGINE"] = "django.db.backends.postgresql"
    database["OPTIONS"] = {"options": where["options"]}
    settings.configure(DATABASES={"default": database}, USE_TZ=True)
    django.setup()

    def handle(events: Events) -> None:
        close_old_connections()
        with transaction.atomic(), django_connection.cursor() as cursor:
            book(events, cursor)
            events.checkpoint(cursor)

    return {"subscriber": handle, "transactional": "caller"}


def in_transactions_of_sqlalchemy(store: EventStore) -> dict[str, Any]:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(store.dsn), poolclass=NullPool
    )

    def handle(events: Events) -> None:
        with Session(engine) as session, session.begin():
            book(events, session.connection().connection.cursor())
            events.checkpoint(session)

    return {"subscriber": handle, "transactional": "caller"}


def processed(store: EventStore) -> dict[str, Any]:
    """Append the entries as an event, and nothing to the tables."""

    def handle(events: Events) -> None:
        booked = [EventData("Booked", entry) for entry in entries(events)]
        store.append_to_stream("booked", ExpectedVersion.ANY, booked, processed=events)

    def is_transfer(event: RecordedEvent) -> bool:
        return event.event_type == "Moved"

    return {"subscriber": handle, "batch_by": "any", "selector": is_transfer}


WAYS: dict[str, Callable[[EventStore], dict[str, Any]]] = {
    "django": in_transactions_of_django,
    "own": in_own_transactions,
    "processed": processed,
    "sqlalchemy": in_transactions_of_sqlalchemy,
    "transactional": transactional,
}


def main(given: dict[str, Any]) -> None:
    """Book until stdin ends."""
    way = WAYS[given.pop("way")]
    with EventStore.connect(Config(**given)) as store:
        options = way(store)
        report("ready", pid=os.getpid())
        store.subscribe_to_all_streams(NAME, max_batch_size=10, **options)
        sys.stdin.read()
    pykka.ActorRegistry.stop_all()


def append(store: EventStore, numbers: Iterable[int]) -> None:
    """Append transfers, to ten streams."""
    for transfer in transfers(numbers):
        stream_id = f"account-{transfer.data['source']}"
        store.append_to_stream(stream_id, ExpectedVersion.ANY, [transfer])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
