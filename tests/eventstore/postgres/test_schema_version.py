"""Installing, migrating, checking and dropping the schema."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import SchemaVersionError, StorageError, StorageUnavailableError
from eventstore.model.subscription_start import Origin
from eventstore.ports.changes import Link
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import Committed
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.admin.store_schema import SchemaScripts, StoreSchema
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import PATIENCE, wait_until

SHIPPED = SchemaScripts.shipped()

# What is foreseen: tables for parked events and members of a group, an index for filters by type.
MIGRATION = """
    -- First the strongest lock of a table: to widen a weaker one may be a deadlock.
    ALTER TABLE :"schema".subscriptions ADD COLUMN partitions integer NOT NULL DEFAULT 1;
    CREATE TABLE :"schema".parked_events (
      subscription_id bigint NOT NULL REFERENCES :"schema".subscriptions ON DELETE CASCADE,
      position        bigint NOT NULL,
      reason          text   NOT NULL,
      CONSTRAINT parked_events_pkey PRIMARY KEY (subscription_id, position));
    CREATE TABLE :"schema".members (
      name  text COLLATE "C" CONSTRAINT members_pkey PRIMARY KEY,
      data  bytea NOT NULL);
    CREATE INDEX events_event_type_idx ON :"schema".events (event_type, global_position);
    CREATE FUNCTION :"schema".store_head_v2() RETURNS bigint LANGUAGE sql
      SET search_path = :"schema", pg_temp AS $$ SELECT store_head() $$;
    INSERT INTO :"schema".schema_version (version, compatible_with) VALUES (2, 1);
"""

NEXT = SchemaScripts(
    SHIPPED.newest.replace("(version, compatible_with) VALUES (1, 1)", "SELECT 1, 1 WHERE false")
    + MIGRATION,
    ((2, MIGRATION),),
)
"""The scripts of a library one version on: the newest schema, and the way there."""

CATALOG = """
    SELECT 'column', c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default,
           c.collation_name, c.is_identity
      FROM information_schema.columns c WHERE c.table_schema = %(schema)s
    UNION ALL
    SELECT 'constraint', r.relname, k.conname, pg_get_constraintdef(k.oid), NULL, NULL, NULL, NULL
      FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
     WHERE k.connamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'index', i.tablename, i.indexname, i.indexdef, NULL, NULL, NULL, NULL
      FROM pg_indexes i WHERE i.schemaname = %(schema)s
    UNION ALL
    SELECT 'trigger', r.relname, t.tgname, pg_get_triggerdef(t.oid), NULL, NULL, NULL, NULL
      FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid
     WHERE r.relnamespace = to_regnamespace(%(schema)s) AND NOT t.tgisinternal
    UNION ALL
    SELECT 'function', NULL, p.proname, pg_get_functiondef(p.oid), NULL, NULL, NULL, NULL
      FROM pg_proc p WHERE p.pronamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'view', NULL, v.viewname, v.definition, NULL, NULL, NULL, NULL
      FROM pg_views v WHERE v.schemaname = %(schema)s
    UNION ALL
    SELECT 'storage', r.relname, a.attname, a.attstorage::text, array_to_string(r.reloptions, ','),
           NULL, NULL, NULL
      FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
     WHERE r.relnamespace = to_regnamespace(%(schema)s) AND r.relkind = 'r' AND a.attnum > 0
"""

Result = TypeVar("Result")
Migrate = Callable[[SchemaScripts], int]


@pytest.fixture
def bare(config: Config) -> PostgresStorage:
    """A storage whose schema is not installed."""
    return PostgresStorage(config)


@pytest.fixture
def migrate(storage: PostgresStorage, schema: str) -> Migrate:
    """Bring the store to what the given scripts say is newest; return the number of steps."""

    def run(scripts: SchemaScripts) -> int:
        return on_connection(storage, lambda c: StoreSchema(schema, scripts).update(c, 5.0, soon()))

    return run


def on_connection(storage: PostgresStorage, work: Callable[[GuardedConnection], Result]) -> Result:
    return storage._pool.run_once(work, soon())


def catalog(psql: Psql, schema: str) -> list[tuple[str, ...]]:
    """Everything the schema consists of, as text without its name."""
    rows = psql.connection.execute(CATALOG.encode(), {"schema": schema}).fetchall()
    return sorted(
        tuple(str(field).replace(f'"{schema}"', "S").replace(schema, "S") for field in row)
        for row in rows
    )


# ── installing ───────────────────────────────────────────────────────────────────────────────────


def test_a_missing_schema_is_an_error_that_names_the_command(bare: PostgresStorage) -> None:
    """APS-14, G33: nothing is installed without being asked."""
    with pytest.raises(SchemaVersionError, match="not installed; run: eventstore init") as error:
        bare.open(init=False, deadline=soon())
    assert (error.value.found, error.value.expected) == (None, SHIPPED.version)
    bare.close()


def test_installing_again_changes_nothing(user: User, psql: Psql, config: Config) -> None:
    """DBS-03: what is there stays."""
    user.store("order-1")
    again = PostgresStorage(config)
    again.open(init=True, deadline=soon())
    again.close()
    assert psql("SELECT count(*) FROM {}.events") == [(1,)]
    assert psql("SELECT version, compatible_with FROM {}.schema_version") == [(1, 1)]


def test_many_install_at_once_and_all_find_it_done(config: Config, psql: Psql) -> None:
    """MIG-05, G33: one installs, the others wait for it."""
    start = threading.Barrier(4)

    def install() -> None:
        storage = PostgresStorage(config)
        start.wait()
        try:
            storage.open(init=True, deadline=soon())
        finally:
            storage.close()

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(install) for _ in range(4)]:
            future.result()
    assert psql("SELECT count(*) FROM {}.schema_version") == [(1,)]


def test_an_installation_that_fails_leaves_nothing(
    bare: PostgresStorage, psql: Psql, schema: str
) -> None:
    """G33: it is one transaction, the schema itself included."""
    broken = replace(SHIPPED, newest=f"{SHIPPED.newest}; SELECT 1 / 0")
    with pytest.raises(StorageError) as refused:
        on_connection(bare, lambda c: StoreSchema(schema, broken).update(c, 5.0, soon()))
    assert isinstance(refused.value.__cause__, psycopg.errors.DivisionByZero)
    assert psql("SELECT to_regnamespace(%s) IS NULL", schema) == [(True,)]
    bare.close()


def test_a_schema_made_by_somebody_else_is_used(bare: PostgresStorage, psql: Psql) -> None:
    """G33: an administrator may create it and grant the rest."""
    psql("CREATE SCHEMA {}")
    bare.open(init=True, deadline=soon())
    bare.close()


def test_dropping_leaves_other_schemas_alone(
    user: User, config: Config, psql: Psql, schema: str
) -> None:
    """DBS-04, G34: once; then there is nothing to drop."""
    neighbour = PostgresStorage(replace(config, schema=f"{schema}_2"))
    neighbour.open(init=True, deadline=soon())
    user.store("order-1")
    assert isinstance(user.storage, PostgresStorage)
    assert user.storage.drop(soon())
    assert not user.storage.drop(soon())
    assert psql("SELECT to_regnamespace(%s) IS NULL", schema) == [(True,)]
    neighbour.open(init=False, deadline=soon())
    assert neighbour.drop(soon())
    neighbour.close()


# ── migrating ────────────────────────────────────────────────────────────────────────────────────


def test_a_migrated_store_equals_a_fresh_one(
    user: User, migrate: Migrate, psql: Psql, bare: PostgresStorage, schema: str
) -> None:
    """MIG-03, MIG-06, MIG-07, G33: to the last index, and what was stored is still there."""
    user.store("order-1", 10)
    owned = user.own()
    fresh = f"{schema}_f"
    try:
        on_connection(bare, lambda c: StoreSchema(fresh, NEXT).update(c, 5.0, soon()))
        assert migrate(NEXT) == 1
        assert migrate(NEXT) == 0
        assert catalog(psql, schema) == catalog(psql, fresh)
        assert user.keep(owned.fence, 10).checkpoint == 10
    finally:
        on_connection(bare, lambda c: StoreSchema(fresh, NEXT).drop(c, 5.0, soon()))
        bare.close()


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
@pytest.mark.parametrize(("start", "left"), [(Origin.ORIGIN, 10), (Origin.CURRENT, 0)])
def test_a_subscription_goes_on_after_a_migration(
    user: User, migrate: Migrate, stream_id: str, start: Origin, left: int
) -> None:
    """MIG-07, MIG-09, MIG-10, MIG-11, MIG-12, G33: as the one that it was, after its checkpoint."""
    user.store("order-1", 10)
    before = user.own(stream_id=stream_id, start=start)
    user.release(before.fence, before.checkpoint)

    migrate(NEXT)

    after = user.own(stream_id=stream_id)
    assert after.subscription_id == before.subscription_id
    page = user.storage.read_after(stream_id, after.checkpoint, 100, 10**6, soon())
    assert [stored.position for stored in page] == list(range(11 - left, 11))


def test_links_are_read_after_a_migration(user: User, migrate: Migrate) -> None:
    """MIG-08, G33, G35: in their own order, with the versions that they have in their stream."""
    user.store("order-1", 10)
    source = user.storage.read_stream("order-1", 10, 10, ReadDirection.BACKWARD, soon())
    ids = tuple(stored.event_id for stored in source)
    user.storage.link(Link("linked", 0, ids), soon())

    migrate(NEXT)

    page = user.storage.read_stream("linked", 1, 100, ReadDirection.FORWARD, soon())
    assert [(each.position, each.stream_version) for each in page] == [
        (position, 11 - position) for position in range(1, 11)
    ]


def test_a_snapshot_is_read_after_a_migration(user: User, migrate: Migrate) -> None:
    """MIG-13, G33."""
    user.store("order-1", 10)
    snapshot = EncodedSnapshot("Order", "json", b"{}", None)
    user.storage.record_snapshot("order-1", 10, snapshot, soon())
    before = user.storage.read_snapshot("order-1", "Order", soon())

    migrate(NEXT)

    assert before is not None
    assert user.storage.read_snapshot("order-1", "Order", soon()) == before


def test_the_comparison_sees_every_difference(
    storage: PostgresStorage, migrate: Migrate, psql: Psql, schema: str
) -> None:
    """MIG-06: the test above can fail."""
    before = catalog(psql, schema)
    migrate(NEXT)
    kinds = {row[0] for row in set(catalog(psql, schema)) - set(before)}
    assert kinds == {"column", "constraint", "index", "function", "storage"}


def test_old_code_goes_on_during_and_after_a_migration(user: User, migrate: Migrate) -> None:
    """G33: its statements are those of its own version, and it may connect anew."""
    user.store("order-1")
    migrate(NEXT)
    assert user.store("order-1").results[0].last_version == 2
    user.storage.open(init=False, deadline=soon())


def test_an_old_schema_is_an_error_that_names_the_command(
    storage: PostgresStorage, schema: str
) -> None:
    """G33: new code does not guess."""
    with pytest.raises(SchemaVersionError, match="run: eventstore migrate") as error:
        on_connection(storage, lambda c: StoreSchema(schema, NEXT).check(c, soon()))
    assert (error.value.found, error.value.expected) == (1, 2)


def test_a_schema_that_is_too_new_is_an_error(storage: PostgresStorage, psql: Psql) -> None:
    """G33: the schema says which code may use it."""
    psql("INSERT INTO {}.schema_version (version, compatible_with) VALUES (7, 7)")
    with pytest.raises(SchemaVersionError, match="needs code of 7 or newer") as error:
        storage.open(init=True, deadline=soon())
    assert error.value.found == 7


def test_a_failed_migration_leaves_the_version_before(
    user: User, migrate: Migrate, psql: Psql
) -> None:
    """G33: each is a transaction of its own."""
    with pytest.raises(StorageError) as refused:
        migrate(replace(NEXT, migrations=((2, MIGRATION), (3, "SELECT 1 / 0"))))
    assert isinstance(refused.value.__cause__, psycopg.errors.DivisionByZero)
    assert psql("SELECT max(version) FROM {}.schema_version") == [(2,)]
    with pytest.raises(StorageError, match="no row of its own"):
        migrate(replace(NEXT, migrations=((2, MIGRATION), (3, "SELECT 1"))))
    assert user.store("order-1").results[0].last_version == 1


GREEDY = 'LOCK TABLE :"schema".events, :"schema".subscriptions IN ACCESS EXCLUSIVE MODE'


def test_a_migration_waits_for_a_lock_no_longer_than_it_may(
    user: User, storage: PostgresStorage, psql: Psql, schema: str
) -> None:
    """G33: appends queue up behind it for that long at most, and then go on."""
    greedy = StoreSchema(schema, replace(NEXT, migrations=((2, GREEDY),)))
    with psql.connection.transaction(), ThreadPoolExecutor(2) as threads:
        psql("SELECT count(*) FROM {}.subscriptions")
        migrating = threads.submit(on_connection, storage, lambda c: greedy.update(c, 0.5, soon()))
        wait_until(lambda: psql("SELECT 1 FROM pg_locks WHERE NOT granted"))
        appending = threads.submit(user.append, part("order-1", events(1)))
        with pytest.raises(StorageUnavailableError) as refused:
            migrating.result(PATIENCE)
        assert isinstance(refused.value.__cause__, psycopg.errors.LockNotAvailable)
        assert isinstance(appending.result(PATIENCE), Committed)
