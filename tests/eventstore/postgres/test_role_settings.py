"""What a role or a database is set to neither stops the store nor changes what it does."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore.model.config import Config
from eventstore.model.errors import (
    DuplicateEventError,
    StorageError,
    StorageUnavailableError,
)
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.support.bent import As, in_the_dsn, of_the_database, of_the_role
from tests.support.pooler import PROGRAM, Pooler
from tests.support.waiting import PATIENCE

WAYS = pytest.mark.parametrize(
    "bend", [in_the_dsn, of_the_role, of_the_database], ids=lambda f: f.__name__
)


def use(user: User) -> None:
    """Append, repeat, be refused, read, record a snapshot, own, keep, verify, listen."""
    assert isinstance(user.storage, PostgresStorage)
    stored = event()
    user.append(part("order-1", (stored, *events(2))))
    user.append(part("order-1", events(1), expected=7))
    assert isinstance(user.append(part("order-2", (stored,))), DuplicateEventError)
    assert len(user.storage.read_all(1, 10, ReadDirection.FORWARD, soon())) == 3
    for version in (1, 2):
        snapshot = EncodedSnapshot("T", "json", b"%d" % version, None)
        assert user.storage.record_snapshot("order-1", version, snapshot, soon())
    found, after = user.storage.read_from_snapshot("order-1", "T", 9, soon())
    assert found is not None
    assert (found.data, len(after)) == (b"2", 1)
    owned = user.own()
    assert user.keep(owned.fence, 3).checkpoint == 3
    user.release(owned.fence, 3)
    user.storage.delete_subscription("$all", "shipping", soon())
    assert user.storage.verify(lambda finding: None, soon()).events == 3
    listener = user.storage.head_listener()
    assert listener.wait(PATIENCE).head == 3
    listener.close()


SETTINGS = {
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "exit_on_error": "on",
    "plan_cache_mode": "force_custom_plan",
    "client_min_messages": "error",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "client_encoding": "LATIN1",
}


@WAYS
@pytest.mark.parametrize("isolation", ["serializable", "repeatable read", "read uncommitted"])
def test_a_stricter_default_isolation_stops_no_append(
    bent: As, bend: object, isolation: str
) -> None:
    """F34, G4: an append needs read committed, so its session has that."""
    use(
        bent(
            "default_transaction_isolation",
            isolation.replace(" ", "\\ ") if bend is in_the_dsn else isolation,
        )
    )


@pytest.mark.parametrize("bend", [of_the_role])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_store_works_whatever_is_set(bent: As, name: str) -> None:
    """F34, G10, G34: what a statement needs, its session or its transaction has."""
    use(bent(name, SETTINGS[name]))


@WAYS
@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout", "transaction_timeout"])
def test_time_limits_of_others_do_not_end_our_calls(bent: As, config: Config, name: str) -> None:
    """F34, G25: a call ends by its own deadline; a page that takes longer would never be read."""
    with psycopg.connect(config.dsn) as connection:
        if connection.info.server_version < 170_000 and name == "transaction_timeout":
            pytest.skip("PostgreSQL 17 or newer has it")
    user = bent(name, "60s")
    session = user.appender
    assert isinstance(session, PostgresAppendSession)
    assert isinstance(user.storage, PostgresStorage)
    show = f"SELECT current_setting('{name}')".encode()
    for run_once in (session._connection.run_once, user.storage._pool.run_once):
        assert run_once(lambda c: c.execute(show, (), soon()), soon()) == [("0",)]


@WAYS
def test_a_session_in_which_no_foreign_key_is_kept_is_refused(bent: As) -> None:
    """F34, F41, G16: a deleted subscription would leave its position and its owner behind."""
    with pytest.raises(StorageError, match="session_replication_role is 'replica'") as refused:
        bent("session_replication_role", "replica")
    assert not isinstance(refused.value, StorageUnavailableError)


@pytest.fixture
def strict(storage: PostgresStorage, config: Config) -> Iterator[str]:
    """The connection string of a role whose transactions are serializable."""
    role = sql.Identifier(f"r_{uuid4().hex[:12]}")
    with psycopg.connect(config.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(role))
        strictly = sql.SQL("ALTER ROLE {} SET default_transaction_isolation = serializable")
        admin.execute(strictly.format(role))
        yield make_conninfo(config.dsn, user=role.as_string(None).strip('"'))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
def test_through_a_pooler_a_stricter_isolation_is_refused_with_the_reason(
    strict: str, config: Config
) -> None:
    """F34, G34: no session behind it is ours to set."""
    with Pooler(strict) as pooler:
        storage = PostgresStorage(Config(pooler.dsn, schema=config.schema))
        with pytest.raises(StorageError, match=r"'serializable'.*pooler.*set it for the role"):
            storage.open(init=False, deadline=soon())
        storage.close()
