"""The database itself refuses to change what was stored. PostgreSQL alone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from eventstore import CallerRuntime, Config, EventStore
from tests.conformance.conftest import numbered


@pytest.fixture
def events(dsn: str, schema: str) -> Iterator[EventStore]:
    """A store with three events in "order-1"."""
    config = Config(dsn, schema=schema)
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        store.append_to_stream("order-1", 0, numbered(1, 3))
        yield store
        assert [event.data["event"] for event in store.read_stream_forward("order-1")] == [1, 2, 3]


def run(store: EventStore, statement: str) -> None:
    """Run *statement* with ``S`` for the schema."""
    schema = sql.Identifier(store.config.schema)
    composed = sql.SQL(statement.replace("S.", "{schema}.")).format(schema=schema)
    with psycopg.connect(store.dsn) as connection:
        connection.execute(composed)


@pytest.mark.parametrize("table", ["events", "streams", "links"])
def test_rows_cannot_be_deleted(events: EventStore, table: str) -> None:
    """PRT-01, G8: the message says what to do instead."""
    with pytest.raises(psycopg.Error, match=f"DELETE of {table} is refused") as refused:
        run(events, f"DELETE FROM S.{table}")

    assert refused.value.sqlstate == "ES001"
    assert "Append an event" in (refused.value.diag.message_hint or "")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE S.events SET data = 'x'",
        "UPDATE S.events SET event_type = 'x' WHERE global_position = 2",
        "UPDATE S.links SET stream_version = 1",
        "UPDATE S.streams SET stream_id = 'order-2'",
        "UPDATE S.streams SET created_at = now()",
    ],
)
def test_rows_cannot_be_updated(events: EventStore, statement: str) -> None:
    """PRT-02, PRT-03, G8: neither events nor links nor the names of streams."""
    with pytest.raises(psycopg.Error, match=r"UPDATE of \w+ is refused") as refused:
        run(events, statement)

    assert refused.value.sqlstate == "ES001"


@pytest.mark.parametrize(
    "tables", ["S.events, S.links", "S.links", "S.streams, S.links, S.snapshots"]
)
def test_tables_cannot_be_truncated(events: EventStore, tables: str) -> None:
    """PRT-01, G8."""
    with pytest.raises(psycopg.Error, match=r"TRUNCATE of \w+ is refused"):
        run(events, f"TRUNCATE {tables}")


def test_the_row_of_the_write_lock_cannot_be_taken_away(events: EventStore) -> None:
    """G8, G3: without it nobody could append."""
    for statement in ("DELETE FROM S.write_lock", "UPDATE S.write_lock SET one = true"):
        with pytest.raises(psycopg.Error, match="write_lock is refused"):
            run(events, statement)


def test_a_hard_delete_must_name_itself_in_its_own_transaction(events: EventStore) -> None:
    """PRT-04, G8: a flag that stays in a session opens nothing."""
    schema = events.config.schema
    flag = f"set_config('eventstore.hard_delete', '{schema}:' || pg_current_xact_id(), false)"
    delete = sql.SQL("DELETE FROM {}.events").format(sql.Identifier(schema))
    with psycopg.connect(events.dsn) as connection:
        connection.execute(f"SELECT {flag}")
        connection.execute(delete)
        connection.execute("ROLLBACK")
    with psycopg.connect(events.dsn, autocommit=True) as connection:
        connection.execute(f"SELECT {flag}")
        with pytest.raises(psycopg.Error, match="DELETE of events is refused"):
            connection.execute(delete)
