"""The database itself keeps what was stored: constraints, and triggers that refuse changes."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from eventstore.model.errors import StreamDeletedError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import Committed
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.eventstore.postgres.conftest import Psql

CHANGES = [
    pytest.param("DELETE FROM {}.events", id="PRT-01-events"),
    pytest.param("DELETE FROM {}.streams", id="PRT-01-streams"),
    pytest.param("DELETE FROM {}.links", id="PRT-01-links"),
    pytest.param("DELETE FROM {}.tombstones", id="tombstones"),
    pytest.param("DELETE FROM {}.write_lock", id="write-lock"),
    pytest.param("UPDATE {}.events SET event_type = 'Other'", id="PRT-02"),
    pytest.param("UPDATE {}.events SET data = data WHERE false", id="not-even-none"),
    pytest.param("UPDATE {}.links SET stream_version = 9", id="PRT-03"),
    pytest.param("UPDATE {}.streams SET stream_id = 'other'", id="stream-id"),
    pytest.param("UPDATE {}.streams SET created_at = now()", id="stream-created-at"),
    pytest.param("UPDATE {}.tombstones SET last_position = 0", id="tombstone-moved"),
    pytest.param("UPDATE {}.write_lock SET one = true", id="write-lock-updated"),
    pytest.param("UPDATE {}.store SET store_id = gen_random_uuid()", id="store-id"),
    pytest.param("DELETE FROM {}.store", id="store"),
    pytest.param("TRUNCATE {}.events CASCADE", id="truncate-events"),
    pytest.param("TRUNCATE {}.streams CASCADE", id="truncate-streams"),
    pytest.param("TRUNCATE {}.links", id="truncate-links"),
    pytest.param("TRUNCATE {}.tombstones", id="truncate-tombstones"),
]


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_was_stored_is_refused(
    user: User, psql: Psql, change: str, role: str
) -> None:
    """F41, PRT-01, PRT-02, PRT-03, G8: for everybody; the message says what to do instead."""
    user.store("order-1", 2)
    psql(f"SET session_replication_role = {role}")
    with pytest.raises(psycopg.DatabaseError, match="never changes") as refused:
        psql(change)
    assert refused.value.sqlstate == "ES001"
    assert refused.value.diag.message_hint is not None
    assert "Append an event" in refused.value.diag.message_hint
    assert psql("SELECT count(*), min(event_type) FROM {}.events") == [(2, "Happened")]
    assert psql("SELECT stream_id FROM {}.streams") == [("order-1",)]


def test_a_hard_delete_names_itself_for_one_transaction(
    user: User, psql: Psql, schema: str
) -> None:
    """PRT-04, G8: one that stayed behind, or is another store's, opens nothing."""
    user.store("order-1")
    allow = "SELECT set_config('eventstore.hard_delete', %s || ':' || pg_current_xact_id(), %s)"
    with psql.connection.transaction():
        psql(allow, "another_schema", True)
        with pytest.raises(psycopg.DatabaseError, match="refused"), psql.connection.transaction():
            psql("DELETE FROM {}.events")
    psql(allow, schema, False)
    with pytest.raises(psycopg.DatabaseError, match="refused"):
        psql("DELETE FROM {}.events")
    with psql.connection.transaction():
        psql(allow, schema, True)
        psql("DELETE FROM {}.events")
        with pytest.raises(psycopg.DatabaseError, match="refused"), psql.connection.transaction():
            psql("UPDATE {}.events SET event_type = 'Other'")
    assert psql("SELECT count(*) FROM {}.events") == [(0,)]


TRIGGERS = """
    SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'
"""


def test_every_trigger_of_the_store_fires_in_every_session(
    storage: PostgresStorage, psql: Psql
) -> None:
    """F41, G8: those to come included."""
    assert psql(TRIGGERS, psql.schema) == []


def test_a_stream_may_be_marked_as_deleted(user: User, psql: Psql) -> None:
    """G8: that is no change of what was stored."""
    user.store("order-1")
    psql("UPDATE {}.streams SET deleted_at = now()")
    assert psql("SELECT count(*) FROM {}.streams WHERE deleted_at IS NOT NULL") == [(1,)]


def test_a_stream_marked_as_deleted_is_neither_read_nor_appended_to(user: User, psql: Psql) -> None:
    """G12: and says so; what shares a commit with it is stored."""
    user.store("order-1")
    psql("UPDATE {}.streams SET deleted_at = now()")

    refused, stored = user.append_all((part("order-1", events(1)),), (part("order-2", events(1)),))

    assert isinstance(refused, StreamDeletedError)
    assert isinstance(stored, Committed)
    with pytest.raises(StreamDeletedError, match="order-1"):
        user.storage.read_stream("order-1", 1, 10, ReadDirection.FORWARD, soon())


INSERT = """
    INSERT INTO {}.events (global_position, stream_no, stream_version, created_at, event_id,
                           event_type, data)
    VALUES (%s, %s, %s, now(), %s, %s, '')
"""


@pytest.mark.parametrize(
    ("constraint", "position", "stream_no", "version", "event_type"),
    [
        ("events_pkey", 1, 9, 1, "T"),
        ("events_global_position_positive", 0, 9, 1, "T"),
        ("events_stream_version_key", 2, 1, 1, "T"),
        ("events_stream_version_positive", 2, 9, 0, "T"),
        ("events_event_type_size", 2, 9, 1, ""),
        ("events_event_type_size", 2, 9, 1, "T" * 1001),
        ("events_event_type_size", 2, 9, 1, "東" * 334),
    ],
)
def test_an_impossible_event_breaks_a_named_constraint(
    user: User,
    psql: Psql,
    constraint: str,
    position: int,
    stream_no: int,
    version: int,
    event_type: str,
) -> None:
    """G3, G8: even who writes around the append function cannot make a second truth."""
    user.store("order-1")
    with pytest.raises(psycopg.IntegrityError) as broken:
        psql(INSERT, position, stream_no, version, uuid4(), event_type)
    assert broken.value.diag.constraint_name == constraint


def test_an_event_id_is_stored_once(user: User, psql: Psql) -> None:
    """G6: by a constraint, not by a look-up that may come too early."""
    stored = events(1)
    user.append(part("order-1", stored))
    with pytest.raises(psycopg.IntegrityError) as broken:
        psql(INSERT, 2, 9, 1, stored[0].event_id, "T")
    assert broken.value.diag.constraint_name == "events_event_id_key"


@pytest.mark.parametrize(
    ("constraint", "stream_id"),
    [
        ("streams_stream_id_key", "order-1"),
        ("streams_stream_id_size", ""),
        ("streams_stream_id_size", "東" * 334),
        ("streams_stream_id_not_reserved", "$all"),
    ],
)
def test_an_impossible_stream_breaks_a_named_constraint(
    user: User, psql: Psql, constraint: str, stream_id: str
) -> None:
    """G8: names have 1 to 1,000 bytes, and those with a dollar are ours."""
    user.store("order-1")
    with pytest.raises(psycopg.IntegrityError) as broken:
        psql("INSERT INTO {}.streams (stream_id, created_at) VALUES (%s, now())", stream_id)
    assert broken.value.diag.constraint_name == constraint


def test_the_longest_names_fit_into_every_index(user: User) -> None:
    """G28: 1,000 bytes of stream id, event type and subscription name."""
    longest = "東" * 333 + "x"
    assert isinstance(user.append(part(longest, events(1))), Committed)
    assert user.own(longest, longest).checkpoint == 0


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        pytest.param(b'{"a": [1, "\xc3\xa9"]}', {"a": [1, "é"]}, id="json"),
        pytest.param(b'"\\u0000"', '"\\u0000"', id="nul-escape-that-jsonb-refuses"),
        pytest.param(b"no json", "no json", id="text"),
        pytest.param(b"\xff\x00", "\\377\\000", id="no-text"),
        pytest.param(b"[" * 100_000, "[" * 100_000, id="too-deep"),
    ],
)
def test_payloads_can_be_seen_as_jsonb_whatever_they_are(
    user: User, psql: Psql, payload: bytes, shown: object
) -> None:
    """G10: a view for people, which no single event can break."""
    user.append(part("order-1", (event(payload),)))
    assert psql("SELECT stream_id, stream_version, data FROM {}.recorded_events") == [
        ("order-1", 1, shown)
    ]
