"""The database itself refuses to change what happened."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore

STATEMENTS = (
    "UPDATE {events} SET event_type = 'Other'",
    "UPDATE {events} SET data = '\\x31' WHERE global_position = 1",
    "UPDATE {events} SET global_position = global_position + 10",
    "DELETE FROM {events}",
    "DELETE FROM {events} WHERE global_position = 2",
    "TRUNCATE {events}",
    "TRUNCATE {events} CASCADE",
    "UPDATE {streams} SET stream_id = 'renamed'",
    "DELETE FROM {streams}",
    "TRUNCATE {streams}",
    "TRUNCATE {streams} CASCADE",
    "MERGE INTO {events} USING (VALUES (1)) v (n) ON global_position = n WHEN MATCHED THEN DELETE",
)


@pytest.fixture
def owner(dsn: str, schema: str) -> Iterator[str]:
    """The connection string of an ordinary user, who will own the tables of the store."""
    role = sql.Identifier(f"{schema}_owner")
    with psycopg.connect(dsn, autocommit=True) as admin:
        database = sql.Identifier(admin.info.dbname)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, role))
        yield make_conninfo(dsn, user=f"{schema}_owner")
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_changes_are_refused_for_the_owner_of_the_tables_and_for_a_superuser(
    dsn: str, owner: str, schema: str
) -> None:
    """F41, G8: also for one who says that it replicates."""
    names = {name: sql.Identifier(schema, name) for name in ("events", "streams")}
    config = Config(owner, schema=schema)
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as store:
        store.append_to_stream("s", 0, [EventData("Kept", number) for number in range(3)])
        before = store.read_all_streams_forward()
        replicating = make_conninfo(dsn, options="-c session_replication_role=replica")
        for user in (owner, dsn, replicating):
            with psycopg.connect(user, autocommit=True) as connection:
                for statement in STATEMENTS:
                    with pytest.raises(psycopg.Error) as refused:
                        connection.execute(sql.SQL(statement).format(**names))
                    assert not isinstance(refused.value, psycopg.errors.SyntaxError)
                    assert not isinstance(refused.value, psycopg.errors.UndefinedTable)
        assert store.read_all_streams_forward() == before
        assert store.append_to_stream("s", 3, [EventData("Kept", 3)]).last_global_position == 4
