"""Stores in one database never mix, whatever the session is set to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import Config, EventData, EventStore, ExpectedVersion, StreamNotFoundError
from tests.acceptance.guarantees.conftest import QUICK, Record, installed, wait_for_checkpoint
from tests.acceptance.guarantees.test_pooler import write_and_deliver
from tests.support.recorder import Seen
from tests.support.waiting import wait_until


@pytest.fixture
def database(dsn: str) -> Iterator[str]:
    """The connection string of a database of the test's own, to bend its settings."""
    name = f"d_{uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(dsn, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def by_options(database: str, role: str, path: str) -> str:
    return make_conninfo(database, options=f"-c search_path={path.replace(' ', '')}")


def by_role(database: str, role: str, path: str) -> str:
    alter(database, sql.SQL("ALTER ROLE {} SET search_path = {}"), role, path)
    return make_conninfo(database, user=role)


def by_database(database: str, role: str, path: str) -> str:
    alter(database, sql.SQL("ALTER DATABASE {} SET search_path = {}"), None, path)
    return database


def alter(database: str, statement: sql.SQL, name: str | None, path: str) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        whom = sql.Identifier(name or admin.info.dbname)
        schemas = sql.SQL(", ").join(map(sql.Identifier, path.split(", ")))
        admin.execute(statement.format(whom, schemas))


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    name = f"r_{uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("bend", [by_options, by_role, by_database])
def test_two_stores_in_one_database_never_mix_under_a_hostile_search_path(
    database: str, role: str, record: Record, bend: object
) -> None:
    """DBS-11, MUL-05, G34, G13: same streams and subscriptions; each path names the other first."""
    assert callable(bend)
    for schema in ("left", "right"):
        installed(database, schema)
    with ExitStack() as stack:
        stores, seen = {}, {}
        for schema, other in (("left", "right"), ("right", "left")):
            dsn = bend(database, role, f"{other}, pg_catalog, {schema}")
            config = Config(dsn, schema=schema, **QUICK)
            stores[schema] = stack.enter_context(EventStore.connect(config))
            seen[schema] = Seen()
            stores[schema].subscribe_to_all_streams("sub", record(seen[schema]))
        for schema, count in (("left", 5), ("right", 3)):
            for number in range(count):
                event = EventData("X", f"{schema}-{number}")
                stores[schema].append_to_stream("s", number, [event])
        stores["left"].append_to_stream("only-left", 0, [EventData("X", "left-5")])
        seen["left"].wait(6)
        seen["right"].wait(3)
        with pytest.raises(StreamNotFoundError):
            stores["right"].read_stream_forward("only-left")
        for schema, count in (("left", 6), ("right", 3)):
            expected = [f"{schema}-{number}" for number in range(count)]
            store = stores[schema]
            assert [event.data for event in store.read_all_streams_forward()] == expected
            assert [event.data for event in seen[schema].events] == expected
            assert seen[schema].positions == list(range(1, count + 1))
            wait_for_checkpoint(store, count)


def test_processes_of_two_stores_never_mix_under_a_hostile_search_path(
    database: str, role: str
) -> None:
    """G34, G13, G14: a writer and a subscriber each; what is written, delivered and stored."""
    stores = []
    for schema, other in (("left", "right"), ("right", "left")):
        settings = installed(database, schema)
        dsn = by_options(database, role, f"{other}, pg_catalog, {schema}")
        stores.append({**settings, "dsn": dsn})
    write_and_deliver(stores, processes=2)


SHADOWS = """
CREATE SCHEMA shadow;
CREATE FUNCTION shadow.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION shadow.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION shadow.pg_notify(text, text) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION shadow.gen_random_uuid() RETURNS uuid LANGUAGE sql AS
    $$ SELECT '00000000-0000-0000-0000-000000000000'::uuid $$;
CREATE FUNCTION shadow.array_length(anyarray, int) RETURNS int LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION shadow.cardinality(anyarray) RETURNS int LANGUAGE sql AS 'SELECT 0';
CREATE TABLE shadow.events (global_position bigint, stream_no bigint);
CREATE TABLE shadow.streams (stream_no bigint, stream_id text);
CREATE TABLE shadow.write_lock (id int);
CREATE TABLE shadow.subscriptions (subscription_id bigint);
"""


def test_functions_and_tables_that_shadow_the_real_ones_are_never_used(
    database: str, record: Record
) -> None:
    """G34: a search path that puts them even before the system's own."""
    installed(database, "real")
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(SHADOWS)
    dsn = make_conninfo(database, options="-c search_path=shadow,pg_catalog")
    seen = Seen()
    with EventStore.connect(Config(dsn, schema="real", **QUICK)) as store:
        subscription = store.subscribe_to_all_streams("sub", record(seen))
        for number in range(5):
            stream = f"s-{number % 2}"
            store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", number)])
        wait_until(lambda: seen.positions == [1, 2, 3, 4, 5])
        wait_for_checkpoint(store, 5)
        assert subscription.checkpoint == 5
        events = store.read_stream_forward("s-0")
        assert [event.data for event in events] == [0, 2, 4]
        assert min(event.created_at.year for event in events) > 2000
    with psycopg.connect(database) as admin:
        counted = admin.execute("SELECT count(*) FROM shadow.events").fetchone()
    assert counted == (0,)
