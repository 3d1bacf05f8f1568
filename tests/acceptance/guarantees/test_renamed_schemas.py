"""A runtime whose schema was renamed uses no other store that is found under the old name."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    SchemaVersionError,
)
from tests.acceptance.guarantees.conftest import Record, Settings, installed
from tests.support.recorder import Seen
from tests.support.waiting import wait_until


def test_a_runtime_delivers_nothing_of_another_store_under_the_same_name(
    dsn: str, settings: Settings, schema: str, record: Record
) -> None:
    """F33, G34, G32: it says why, appends nothing there, and claims nothing."""
    old = f"{schema}_old"
    seen = Seen()
    with psycopg.connect(dsn, autocommit=True) as admin:
        try:
            with EventStore.connect(Config(**settings)) as store:
                store.subscribe_to_all_streams("sub", record(seen))
                store.append_to_stream("s", 0, [EventData("X", 1)])
                seen.wait(1)
                rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
                admin.execute(rename.format(sql.Identifier(schema), sql.Identifier(old)))
                installed(dsn, schema)
                with EventStore.connect(Config(**settings), runtime=CallerRuntime) as another:
                    another.append_to_stream("s", 0, [EventData("X", n) for n in range(5)])
                    with pytest.raises(SchemaVersionError, match="not the one"):
                        store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 2)])
                    with pytest.raises(SchemaVersionError, match="not the one"):
                        store.read_all_streams_forward()
                    wait_until(lambda: "not the one" in repr(store.health()))
                    assert seen.positions == [1]
                    assert another.subscriptions() == []
                    assert another.stream_info("$all").stream_version == 5
        finally:
            admin.execute("SET client_min_messages = warning")
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(old)))
