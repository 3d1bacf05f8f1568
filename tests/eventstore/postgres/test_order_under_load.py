"""Commit order is position order, whatever else happens on the server."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Committed, StoredEvent
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql

WRITERS = 4
APPENDS = 40

Open = Callable[[], PostgresStorage]


@contextmanager
def transaction(dsn: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that somebody began and then forgot."""
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
        connection.rollback()


@contextmanager
def foreign_load(dsn: str, schema: str) -> Iterator[None]:
    """Everything that other stores' orders depend on: old snapshots and old transaction ids."""
    long_snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    look = f'SELECT count(*) FROM "{schema}".events'
    with ExitStack() as stack:
        stack.enter_context(transaction(dsn, "SELECT pg_current_xact_id()"))
        stack.enter_context(transaction(dsn, long_snapshot, look))
        other = make_conninfo(dsn, dbname="template1")
        stack.enter_context(transaction(other, "SELECT pg_current_xact_id()"))
        yield


def appended(open_storage: Open, seed: int) -> int:
    """Append groups of random size to random streams; return how many events."""
    chance = random.Random(seed)
    user = User(open_storage())
    total = 0
    for _ in range(APPENDS):
        streams = chance.sample(["a", "b", "c", "d", "e"], k=chance.randint(1, 3))
        outcome = user.append(*(part(name, events(chance.randint(1, 7))) for name in streams))
        assert isinstance(outcome, Committed)
        total += sum(r.last_version - (r.first_version or 0) + 1 for r in outcome.results)
    return total


def followed(storage: Storage, done: threading.Event) -> list[StoredEvent]:
    """Read on from the last event seen, until nothing new can come."""
    seen: list[StoredEvent] = []
    while True:
        finished = done.is_set()
        page = storage.read_after("$all", len(seen), 50, 1 << 20, soon())
        if finished and not page:
            return seen
        seen += page


def test_a_reader_that_follows_misses_nothing(open_storage: Open, dsn: str, schema: str) -> None:
    """RDS-09, RDS-10, RDS-11, G3, G4: positions without a hole, versions too, in one order.

    Meanwhile old transactions, with ids and with snapshots, stay open here and in another database.
    """
    reader = open_storage()
    done = threading.Event()
    with foreign_load(dsn, schema), ThreadPoolExecutor(WRITERS + 1) as threads:
        reading = threads.submit(followed, reader, done)
        writing = [threads.submit(appended, open_storage, seed) for seed in range(WRITERS)]
        try:
            total = sum(future.result(timeout=60) for future in writing)
        finally:
            done.set()
        seen = reading.result(timeout=60)
    assert [event.global_position for event in seen] == list(range(1, total + 1))
    versions = defaultdict(list)
    for event in seen:
        versions[event.stream_id].append(event.stream_version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert [event.created_at for event in seen] == sorted(event.created_at for event in seen)


def test_an_append_that_is_rolled_back_leaves_no_gap(user: User, psql: Psql) -> None:
    """G1, G3, G4: nobody waits for it, and its position is given out again."""
    append = """
        SELECT * FROM {}.append_events(1000, false, ARRAY[1], ARRAY['lost'], ARRAY[-1], ARRAY[1],
          NULL, ARRAY[1], ARRAY[1], ARRAY[gen_random_uuid()], ARRAY['T'], ARRAY['x'::bytea],
          NULL, NULL, NULL, NULL, NULL)
    """
    with psql.connection.transaction(force_rollback=True):
        assert psql(append)[0][:3] == (0, 1, 1)
    stored = user.store("order-1")
    assert stored.results[0].first_global_position == 1
    assert psql("SELECT stream_id FROM {}.streams") == [("order-1",)]


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_another_isolation_than_read_committed_is_refused(
    storage: PostgresStorage, psql: Psql, isolation: str
) -> None:
    """G4: there the head would be older than the lock."""
    with psql.connection.transaction():
        psql(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        with pytest.raises(psycopg.DatabaseError, match="read committed only") as refused:
            psql("SELECT {}.lock_head(1000)")
    assert refused.value.sqlstate == "ES010"


def test_a_deleted_tail_is_never_given_out_again(user: User, psql: Psql) -> None:
    """G3, G31: tombstones are the floor of the head, and count as history that holds."""
    kept = user.store("kept").results[0]
    gone = events(2)
    user.append(part("gone", gone))
    with psql.connection.transaction():
        psql("SELECT {}.delete_stream(1000, 'gone', -1, true)")
        psql("SELECT {}.erase_events(1000, 10)")
    assert kept.last_global_position == 1
    assert user.storage.stream_info("$all", soon()).stream_version == 3
    assert user.storage.history_holds(3, gone[1].event_id, soon())
    assert not user.storage.history_holds(4, gone[1].event_id, soon())
    assert user.store("next").results[0].first_global_position == 4
    again = user.store("gone").results[0]
    assert (again.first_version, again.first_global_position) == (1, 5)


def test_the_lock_is_the_same_whatever_was_appended(user: User, psql: Psql) -> None:
    """G4: it is never updated, so that no old snapshot makes it slow."""
    before = psql("SELECT ctid FROM {}.write_lock")
    for _ in range(20):
        user.store("order-1")
    assert psql("SELECT ctid FROM {}.write_lock") == before
