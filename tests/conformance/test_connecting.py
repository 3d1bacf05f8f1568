"""Databases that cannot be used, and processes that must not use them. PostgreSQL alone."""

from __future__ import annotations

import subprocess
import sys
import traceback

import psycopg
import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventStore,
    Runtime,
    SchemaVersionError,
    StorageError,
    StorageUnavailableError,
)
from tests.conftest import ONLOOKER


@pytest.mark.parametrize(
    ("dsn", "error", "message"),
    [
        ("nonsense", ValueError, "dsn is no libpq connection string"),
        ("postgresql://u:secret@[", ValueError, "dsn is no libpq connection string"),
        ("mysql://u:secret@localhost/x", ValueError, "dsn is no libpq connection string"),
        (
            "postgresql://u:secret@127.0.0.1:1/x?connect_timeout=2",
            StorageUnavailableError,
            "cannot connect: .*127.0.0.1.*refused",
        ),
        (
            "host=/nowhere dbname=x password=secret",
            StorageUnavailableError,
            "cannot connect: .*/nowhere",
        ),
    ],
)
def test_a_wrong_connection_string_is_told_without_its_password(
    dsn: str, error: type[Exception], message: str
) -> None:
    """G25, G28: what is no connection string at once, an absent server within its time."""
    with pytest.raises(error, match=message) as raised:
        EventStore.connect(Config(dsn, connect_timeout=1), runtime=CallerRuntime)

    assert "secret" not in "".join(traceback.format_exception(raised.value))
    assert getattr(raised.value, "retryable", False) is (error is StorageUnavailableError)


def test_a_database_that_does_not_exist_is_named(dsn: str) -> None:
    """G25, G28."""
    config = Config(f"{dsn} dbname=nowhere", connect_timeout=2)
    with pytest.raises(StorageError, match="nowhere"):
        EventStore.connect(config, runtime=CallerRuntime)


def test_a_database_that_is_not_initialised_names_the_command(
    dsn: str, schema: str, runtime: type[Runtime]
) -> None:
    """APS-14, G34, G28: nothing is created without being asked for."""
    config = Config(dsn, schema=schema)

    with pytest.raises(SchemaVersionError, match=rf"(?s){schema}.*eventstore init") as missing:
        EventStore.connect(config, runtime=runtime)

    assert (missing.value.found, missing.value.expected) == (None, 1)
    EventStore.connect(config, runtime=runtime, init=True).close()
    EventStore.connect(config, runtime=runtime).close()


@pytest.mark.parametrize("init", [True, False])
def test_a_schema_that_is_too_new_is_left_alone(
    dsn: str, schema: str, runtime: type[Runtime], init: bool
) -> None:
    """G33, G28: the error says which version it is and which is known."""
    config = Config(dsn, schema=schema)
    EventStore.connect(config, runtime=CallerRuntime, init=True).close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        table = psycopg.sql.Identifier(schema, "schema_version")
        connection.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (99, 98)").format(table))

    with pytest.raises(SchemaVersionError, match="99") as too_new:
        EventStore.connect(config, runtime=runtime, init=init)

    assert (too_new.value.found, too_new.value.expected) == (99, 1)


FORKED = """
import os, sys
from eventstore import Config, CallerRuntime, EventData, EventStore, NotRunningError
from eventstore.client.targets import registered_runtime

dsn, schema, runtime = sys.argv[1:]
chosen = CallerRuntime if runtime == "caller" else registered_runtime()
store = EventStore.connect(Config(dsn, schema=schema), runtime=chosen, init=True)
beside = store.for_schema(f"{schema}_b", init=True)
for each in (store, beside):
    each.append_to_stream("order-1", 0, [EventData("Before", {})])
child = os.fork()
if not child:
    try:
        for use in (
            lambda: store.append_to_stream("order-1", 1, [EventData("InChild", {})]),
            lambda: store.read_all_streams_forward(),
            lambda: store.subscriptions(),
            lambda: store.health(),
            lambda: store.for_schema(f"{schema}_b"),
            lambda: beside.append_to_stream("order-1", 1, [EventData("InChild", {})]),
            lambda: beside.health(),
        ):
            try:
                use()
            except NotRunningError as error:
                assert "fork" in str(error) or "process" in str(error), error
            else:
                os._exit(1)
        beside.close()
        store.close()
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(2)
_, status = os.waitpid(child, 0)
for each in (store, beside):
    each.append_to_stream("order-1", 1, [EventData("After", {})])
    types = [event.event_type for event in each.read_stream_forward("order-1")]
    assert types == ["Before", "After"], types
store.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("runtime_name", ["caller", "actors"])
def test_a_forked_child_cannot_use_the_store_and_harms_nothing(
    dsn: str, schema: str, runtime_name: str, pytestconfig: pytest.Config
) -> None:
    """G26, G28: every call of the child says so, and the parent goes on."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, dsn, schema, runtime_name],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    pytestconfig.stash[ONLOOKER].drop_schema(f"{schema}_b")
    assert (done.returncode, done.stderr) == (0, "")
