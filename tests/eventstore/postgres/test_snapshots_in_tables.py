"""Snapshots in PostgreSQL: races, incarnations of a stream, locks, and what a read touches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from eventstore.model.errors import (
    SchemaVersionError,
    StreamDeletedError,
    StreamNotFoundError,
)
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql
from tests.support.plain_sql import Sql
from tests.support.waiting import wait_until

LENGTH = 5
WAITING = "SELECT pid FROM pg_locks WHERE NOT granted"


def snapshot(version: int) -> EncodedSnapshot:
    return EncodedSnapshot("T", "json", b"%d" % version, None)


@pytest.fixture
def deleter(dsn: str, schema: str) -> Iterator[Sql]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Sql(connection, schema)


@pytest.fixture
def recorded(user: User) -> PostgresStorage:
    """A stream with a snapshot of version 3."""
    assert isinstance(user.storage, PostgresStorage)
    user.store("s", LENGTH)
    user.storage.record_snapshot("s", 3, snapshot(3), soon())
    return user.storage


def test_of_many_that_record_at_once_the_newest_stays(user: User) -> None:
    """G10: the first one is created by several; nobody is refused or overwrites a newer one."""
    versions = list(range(1, 101))
    user.store("s", len(versions))
    random.Random(7).shuffle(versions)

    def record(version: int) -> bool:
        return user.storage.record_snapshot("s", version, snapshot(version), soon())

    with ThreadPoolExecutor(8) as threads:
        answers = dict(zip(versions, threads.map(record, versions), strict=True))

    found = user.storage.read_snapshot("s", "T", soon())
    assert found is not None
    assert (found.stream_version, found.data) == (100, b"100")
    assert answers[100]


def test_a_stream_that_is_created_again_has_no_snapshot(
    user: User, recorded: PostgresStorage, deleter: Sql
) -> None:
    """G3: the hard delete takes it along; the new stream is as long as the old one."""
    with deleter.transaction():
        deleter.delete_stream("s")
    with pytest.raises(StreamNotFoundError):
        recorded.read_snapshot("s", "T", soon())
    assert deleter("SELECT * FROM {}.snapshots") == []

    user.store("s", LENGTH)

    assert recorded.read_snapshot("s", "T", soon()) is None
    assert recorded.record_snapshot("s", 1, snapshot(1), soon())


def test_snapshot_and_events_are_never_those_of_two_incarnations(
    user: User, recorded: PostgresStorage, psql: Psql, deleter: Sql
) -> None:
    """G10: the stream becomes another one behind the read of its snapshot."""
    with ThreadPoolExecutor(1) as threads:
        with deleter.transaction():
            deleter("LOCK TABLE {}.events IN ACCESS EXCLUSIVE MODE")
            reading = threads.submit(recorded.read_from_snapshot, "s", "T", 10, soon())
            wait_until(lambda: psql(WAITING))
            deleter.delete_stream("s")
            deleter.append("s", LENGTH + 2)
        found, events = reading.result()
    assert found is None
    assert [event.stream_version for event in events] == list(range(1, LENGTH + 3))


def test_what_is_recorded_during_a_hard_delete_is_for_no_stream(
    user: User, psql: Psql, deleter: Sql
) -> None:
    """G12: it waits for the delete, and leaves nothing behind."""
    user.store("s", LENGTH)
    with ThreadPoolExecutor(1) as threads:
        with deleter.transaction():
            deleter.delete_stream("s")
            recording = threads.submit(user.storage.record_snapshot, "s", 1, snapshot(1), soon())
            wait_until(lambda: psql(WAITING))
        with pytest.raises(StreamNotFoundError, match="'s'"):
            recording.result()
    assert psql("SELECT * FROM {}.snapshots") == []


def test_the_snapshot_of_a_deleted_stream_can_only_be_deleted(
    recorded: PostgresStorage, psql: Psql
) -> None:
    """G12."""
    psql("UPDATE {}.streams SET deleted_at = '2026-01-02 03:04:05Z'")
    calls: list[Callable[[], object]] = [
        lambda: recorded.read_snapshot("s", "T", soon()),
        lambda: recorded.read_from_snapshot("s", "T", 10, soon()),
        lambda: recorded.record_snapshot("s", 4, snapshot(4), soon()),
    ]
    for call in calls:
        with pytest.raises(StreamDeletedError, match=r"'s' was deleted at 2026-01-02T03:04:05"):
            call()
    assert psql("SELECT stream_version FROM {}.snapshots") == [(3,)]
    assert recorded.delete_snapshot("s", "T", soon())
    assert psql("SELECT * FROM {}.snapshots") == []


def test_no_append_waits_for_a_snapshot_nor_a_snapshot_for_an_append(
    user: User, recorded: PostgresStorage, psql: Psql
) -> None:
    """G4: while somebody has the write lock, and while somebody has the snapshot."""
    with psql.connection.transaction():
        psql("SELECT {}.lock_head(5000)")
        assert recorded.record_snapshot("s", 4, snapshot(4), soon())
        assert recorded.delete_snapshot("s", "T", soon())
        assert recorded.record_snapshot("s", 4, snapshot(4), soon())
    with psql.connection.transaction():
        psql("SELECT FROM {}.snapshots FOR UPDATE")
        assert user.store("s").results[0].first_version == LENGTH + 1


@pytest.mark.parametrize("call", ["record", "delete"])
def test_a_change_whose_connection_is_lost_is_made_again(
    recorded: PostgresStorage, psql: Psql, call: str
) -> None:
    """G25: nobody has to know; what the lost attempt may have deleted counts as deleted."""
    calls: dict[str, Callable[[], bool]] = {
        "record": lambda: recorded.record_snapshot("s", 4, snapshot(4), soon()),
        "delete": lambda: recorded.delete_snapshot("s", "T", soon()),
    }
    with ThreadPoolExecutor(1) as threads:
        with psql.connection.transaction():
            psql("DELETE FROM {}.snapshots")
            changing = threads.submit(calls[call])
            wait_until(lambda: psql(WAITING))
            psql(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) w")
        assert changing.result()
    kept = [(4,)] if call == "record" else []
    assert psql("SELECT stream_version FROM {}.snapshots") == kept


def test_a_snapshot_that_waits_during_a_renaming_is_for_no_other_store(
    recorded: PostgresStorage, psql: Psql, dsn: str
) -> None:
    """G34: the store is proved behind the wait, too."""
    with ThreadPoolExecutor(1) as threads, psycopg.connect(dsn) as locking:
        locker = Sql(locking, psql.schema)
        locker("LOCK TABLE {}.snapshots IN ACCESS EXCLUSIVE MODE")
        recording = threads.submit(recorded.record_snapshot, "s", 4, snapshot(4), soon())
        wait_until(lambda: psql(WAITING))
        psql(f"ALTER SCHEMA {{}} RENAME TO {psql.schema}_old")
        locking.commit()
        with pytest.raises(SchemaVersionError):
            recording.result()
    psql(f"ALTER SCHEMA {psql.schema}_old RENAME TO {{}}")
    found = recorded.read_snapshot("s", "T", soon())
    assert found is not None
    assert found.stream_version == 3
