"""A store touches its own schema only, whatever the session is set to and whoever is between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.model.config import Config
from eventstore.model.errors import StorageError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Committed, EncodedEvent
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import AGES, PATIENCE

AWKWARD = 'ö "quoted" schema % {} $1'

Open = Callable[[Config], PostgresStorage]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open a storage with other settings; its schema is dropped afterwards."""
    with ExitStack() as closing:

        def open_storage(config: Config) -> PostgresStorage:
            storage = PostgresStorage(config)
            closing.callback(storage.close)
            storage.open(init=True, deadline=soon())
            closing.callback(storage.drop, soon())
            return storage

        yield open_storage


@pytest.fixture
def joined() -> Iterator[Open]:
    """Open a store that is there already."""
    with ExitStack() as closing:

        def open_storage(config: Config) -> PostgresStorage:
            storage = PostgresStorage(config)
            closing.callback(storage.close)
            storage.open(init=False, deadline=soon())
            return storage

        yield open_storage


def first_event(storage: Storage) -> list[str]:
    page = storage.read_all(1, 10, ReadDirection.FORWARD, soon())
    return [stored.stream_id for stored in page]


def test_two_schemas_in_one_database_are_two_stores(
    user: User, config: Config, opened: Open
) -> None:
    """DBS-05, DBS-06, LCK-06, MUL-01, MUL-02, G34: own positions, ids and subscriptions."""
    neighbour = User(opened(replace(config, schema=AWKWARD)))
    same = events(1)
    for each, stream_id in ((user, "ours"), (neighbour, "theirs")):
        outcome = each.append(part(stream_id, same))
        assert isinstance(outcome, Committed)
        assert outcome.results[0].first_global_position == 1
    assert (first_event(user.storage), first_event(neighbour.storage)) == (["ours"], ["theirs"])
    assert user.own("shipping").created
    assert neighbour.own("shipping").created


def test_what_happens_in_another_schema_is_not_announced(
    user: User, other: User, config: Config, opened: Open
) -> None:
    """DBS-10, NOT-05, G34: each has its channel."""
    neighbour = User(opened(replace(config, schema=AWKWARD)))
    listener = user.storage.head_listener()
    listener.wait(PATIENCE)
    neighbour.announce(1)
    other.announce(2)
    assert listener.wait(AGES).touched == {2}
    listener.close()


def test_an_embedded_schema_name_of_56_bytes_has_its_channel(
    config: Config, opened: Open, joined: Open
) -> None:
    """G34: the channel's name is cut nowhere."""
    long_name = replace(config, schema="s" * 56)
    listener = opened(long_name).head_listener()
    listener.wait(PATIENCE)
    user = User(joined(long_name))
    user.store("order-1")
    user.announce()
    began = time.monotonic()
    assert listener.wait(AGES).head == 1
    assert time.monotonic() - began < PATIENCE
    listener.close()


SETTINGS = {
    "search_path": "pg_catalog",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "row_security": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_indexscan": "off",
    "client_min_messages": "debug1",
    "default_transaction_deferrable": "on",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_the_session_changes_what_is_stored_or_read(
    user: User, config: Config, joined: Open, setting: str
) -> None:
    """G10, G34: names are qualified, values are binary, times are UTC."""
    options = make_conninfo(config.dsn, options=f"-c {setting}={SETTINGS[setting]}")
    strange = User(joined(replace(config, dsn=options)))
    at = datetime(2013, 1, 1, 5, 15, 59, 999_999, tzinfo=UTC)
    given = EncodedEvent(event().event_id, "Ünïcode", b"\x00\\\xff'", b"{}", created_at=at)
    strange.append(part("order-1", (given,)))
    for each in (user, strange):
        found = each.storage.read_stream("order-1", 1, 1, ReadDirection.FORWARD, soon())[0]
        assert (found.event_type, found.data, found.created_at) == (
            given.event_type,
            given.data,
            at,
        )
        assert found.created_at.tzinfo is UTC


def test_a_search_path_with_tables_of_the_same_name_is_never_used(
    config: Config, psql: Psql, user: User
) -> None:
    """G34: a temporary table, which comes first in every search path, is not written either."""
    user.store("order-1")
    session = user.appender
    assert isinstance(session, PostgresAppendSession)
    for table in ("events", "streams", "links", "tombstones", "write_lock"):
        schema = sql.Identifier(config.schema).as_string(None)
        statement = f"CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table})".encode()
        session._connection.run_once(partial(_execute, statement), soon())
    user.store("order-1")
    assert psql("SELECT count(*) FROM {}.events") == [(2,)]
    rows = session._connection.run_once(
        lambda c: c.execute(b"SELECT count(*) FROM pg_temp.events", (), soon()), soon()
    )
    assert rows == [(0,)]


def _execute(statement: bytes, connection: GuardedConnection) -> None:
    connection.raw.execute(statement)


@pytest.mark.parametrize("statement", [b"DEALLOCATE ALL", b"DISCARD ALL"])
def test_lost_prepared_statements_are_noticed_and_used_no_more(
    user: User, statement: bytes
) -> None:
    """G34: a pooler that gives the session to others between our statements."""
    session = user.appender
    assert isinstance(session, PostgresAppendSession)
    user.store("order-1")
    # Below the driver, which would take notice.
    session._connection.run_once(lambda c: c.raw.pgconn.exec_(statement), soon())
    assert user.store("order-1").results[0].last_version == 2
    assert session._connection.run_once(lambda c: c.raw.prepare_threshold is None, soon())
    session._connection.run_once(lambda c: c.raw.pgconn.exec_(statement), soon())
    assert user.store("order-1").results[0].last_version == 3


def test_a_standby_is_not_written_to(config: Config, user: User) -> None:
    """G25: a server that is read-only is no server, and another may be."""
    readonly = make_conninfo(config.dsn, options="-c default_transaction_read_only=on")
    storage = PostgresStorage(replace(config, dsn=readonly))
    with pytest.raises(StorageError, match="cannot connect"):
        storage.open(init=False, deadline=soon())
    storage.close()


@pytest.mark.parametrize(
    "dsn", ["no dsn but secret", "postgresql://u:secret@[", "password='secret"]
)
def test_a_malformed_dsn_is_refused_without_showing_it(dsn: str) -> None:
    """G28: it may hold a password."""
    with pytest.raises(ValueError, match="no libpq connection string") as error:
        PostgresStorage(Config(dsn))
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_wrong_password_is_not_shown(config: Config) -> None:
    """G25: nor is it in the driver's error behind ours."""
    dsn = make_conninfo(config.dsn, user="nobody_here", password="topsecret")
    storage = PostgresStorage(replace(config, dsn=dsn))
    with pytest.raises(StorageError) as error:
        storage.open(init=False, deadline=soon())
    shown = [str(error.value), repr(error.value), str(error.value.__cause__)]
    assert isinstance(error.value.__cause__, psycopg.Error)
    assert not any("topsecret" in text for text in shown)
    storage.close()
