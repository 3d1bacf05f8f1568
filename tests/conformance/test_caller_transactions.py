"""Events in a transaction of the caller's own, on every runtime and on both surfaces."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import IsolationLevel, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.types.string import StrDumper

from eventstore import (
    AppendError,
    CallerRuntime,
    Config,
    DuplicateEventError,
    EventData,
    EventNotFoundError,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
    SchemaVersionError,
    SnapshotData,
    StorageUnavailableError,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import Connect, Surface, opened, soon
from tests.conformance.port.conftest import events, part
from tests.support.late_answers import expect_late_answers
from tests.support.over_loop import LoopThread, driver_over
from tests.support.plain_sql import Sql
from tests.support.waiting import AGES, wait_until

ANY = ExpectedVersion.ANY

PATIENT, LOOKING = 5.0, 4.5
"""Seconds of an append that is to wait in vain, and how many of them are left to look for whom."""

Driver = Callable[..., Any]
"""Connects psycopg as the surface needs it; keywords are of the connection string."""


def noted(number: int = 1) -> EventData:
    return EventData("Noted", {"number": number})


@pytest.fixture
def config(dsn: str, schema: str) -> Iterator[Config]:
    settings = Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)
    keeper = opened(settings)
    try:
        yield settings
    finally:
        keeper.close()


@pytest.fixture
def outside(dsn: str, config: Config) -> Iterator[Sql]:
    """Somebody else with SQL, each of whose statements commits; and a table for the tests."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        outside = Sql(connection, config.schema)
        outside("CREATE TABLE {}.notes (number bigint PRIMARY KEY)")
        yield outside


@pytest.fixture
def driver(dsn: str, surface: Surface, outside: Sql) -> Iterator[Driver]:
    with ExitStack() as connections:

        def connect(**options: Any) -> Any:
            conninfo = make_conninfo(dsn, **options)
            if isinstance(surface, LoopThread):
                connection = driver_over(surface, conninfo)
            else:
                connection = psycopg.connect(conninfo)
            connections.callback(connection.close)
            return connection

        yield connect


@pytest.fixture
def mine(driver: Driver) -> Any:
    """A connection of the caller's, whose transaction begins with its first statement."""
    return driver(application_name="shop")


def note(config: Config, connection: Any, number: int = 1) -> None:
    table = sql.Identifier(config.schema, "notes")
    connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, number))


def notes(outside: Sql) -> list[int]:
    return [number for (number,) in outside("SELECT number FROM {}.notes ORDER BY 1")]


def stored(store: EventStore) -> list[tuple[int, int]]:
    """Return position and number of every event."""
    return [(e.global_position, e.data["number"]) for e in store.read_all_streams_forward()]


def status(connection: Any) -> str:
    return str(connection.info.transaction_status.name)


# ── together or not at all ───────────────────────────────────────────────────────────────────────


def test_events_and_rows_commit_together(
    store: EventStore, config: Config, outside: Sql, mine: Any
) -> None:
    """G37, G1: nobody sees one without the other."""
    note(config, mine)
    result = store.append_to_stream("order-1", 0, [noted(1), noted(2)], connection=mine)
    assert (result.last_version, result.last_global_position, result.repeated) == (2, 2, False)
    assert (stored(store), notes(outside)) == ([], [])
    mine.commit()
    assert (stored(store), notes(outside)) == ([(1, 1), (2, 2)], [1])


def test_a_rollback_leaves_neither_events_nor_a_gap(
    store: EventStore, config: Config, outside: Sql, mine: Any
) -> None:
    """G37, G3: the next append gets the positions."""
    note(config, mine)
    store.append_to_stream("order-1", 0, [noted(1)], connection=mine)
    mine.rollback()
    assert (stored(store), notes(outside)) == ([], [])
    assert store.append_to_stream("order-1", 0, [noted(2)]).last_global_position == 1


def test_several_streams_and_several_appends_share_a_transaction(
    store: EventStore, mine: Any
) -> None:
    """G37, G9: each append sees those before it."""
    store.append_to_streams(
        [("order-1", 0, [noted(1)]), ("order-2", 0, [noted(2)]), ("order-3", 0, [])],
        connection=mine,
    )
    store.append_to_stream("order-1", 1, [noted(3)], connection=mine)
    mine.commit()
    assert stored(store) == [(1, 1), (2, 2), (3, 3)]


def test_a_savepoint_takes_its_events_back_alone(store: EventStore, mine: Any) -> None:
    """G37, G3: their positions go to the next ones."""
    store.append_to_stream("order-1", 0, [noted(1)], connection=mine)
    mine.execute("SAVEPOINT inner_one")
    store.append_to_stream("order-1", 1, [noted(2)], connection=mine)
    mine.execute("ROLLBACK TO inner_one")
    store.append_to_stream("order-1", 1, [noted(3)], connection=mine)
    mine.commit()
    assert stored(store) == [(1, 1), (2, 3)]


def test_a_cursor_stands_for_its_connection(store: EventStore, surface: Surface, mine: Any) -> None:
    """G37: whatever its rows are made of."""
    raw = mine._over if isinstance(surface, LoopThread) else mine
    store.append_to_stream("order-1", 0, [noted()], connection=raw.cursor(row_factory=dict_row))
    mine.commit()
    assert stored(store) == [(1, 1)]


# ── refused by a status ──────────────────────────────────────────────────────────────────────────


def test_a_wrong_version_leaves_the_transaction_usable(
    store: EventStore, config: Config, outside: Sql, mine: Any
) -> None:
    """G37, G2: what else is written commits."""
    store.append_to_stream("order-1", 0, [noted()])
    note(config, mine)
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.append_to_stream("order-1", 0, [noted(2)], connection=mine)
    assert refused.value.actual == 1
    assert status(mine) == "INTRANS"
    note(config, mine, 2)
    store.append_to_stream("order-1", 1, [noted(3)], connection=mine)
    mine.commit()
    assert (stored(store), notes(outside)) == ([(1, 1), (2, 3)], [1, 2])


def test_a_used_id_leaves_the_transaction_usable(
    store: EventStore, config: Config, outside: Sql, mine: Any
) -> None:
    """G37, G6: it is looked up, as a violated constraint would abort everything."""
    used = noted()
    store.append_to_stream("order-1", 0, [used])
    with pytest.raises(DuplicateEventError):
        store.append_to_stream("order-2", ANY, [used], connection=mine)
    note(config, mine)
    mine.commit()
    assert (stored(store), notes(outside)) == ([(1, 1)], [1])


def test_an_append_is_idempotent_within_and_across_transactions(
    store: EventStore, mine: Any
) -> None:
    """G37, G6: also with the same data in other bytes, which only the transaction itself sees."""
    first = EventData("Noted", {"number": 1, "by": "Ada"})
    same = EventData("Noted", {"by": "Ada", "number": 1}, event_id=first.event_id)
    other = EventData("Noted", {"by": "Bob", "number": 1}, event_id=first.event_id)
    store.append_to_stream("order-1", 0, [first], connection=mine)
    for again in (first, same):
        result = store.append_to_stream("order-1", 0, [again], connection=mine)
        assert (result.last_global_position, result.repeated) == (1, True)
    with pytest.raises(DuplicateEventError, match="other data"):
        store.append_to_stream("order-1", 0, [other], connection=mine)
    mine.commit()
    assert store.append_to_stream("order-1", 0, [same], connection=mine).repeated
    mine.rollback()
    assert store.append_to_stream("order-1", 0, [same]).repeated
    assert stored(store) == [(1, 1)]


# ── refused before anything is written ───────────────────────────────────────────────────────────


def in_autocommit(connection: Any) -> None:
    connection.set_autocommit(True)


def failed(connection: Any) -> None:
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT 1 / 0")


def closed(connection: Any) -> None:
    connection.close()


def isolated(connection: Any) -> None:
    connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)


def isolated_by_statement(connection: Any) -> None:
    connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")


def isolated_by_default(connection: Any) -> None:
    connection.execute("SET default_transaction_isolation = 'repeatable read'")
    connection.commit()


def read_only(connection: Any) -> None:
    connection.execute("SET TRANSACTION READ ONLY")


def encoded(connection: Any) -> None:
    connection.execute("SET client_encoding = 'LATIN1'")


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (in_autocommit, "is in autocommit, outside of a transaction"),
        (failed, "has a transaction that failed: roll it back"),
        (closed, "is closed"),
        (isolated, "has an isolation_level .* READ_COMMITTED"),
        (
            isolated_by_statement,
            "has a transaction under serializable.*begin it under read committed",
        ),
        (isolated_by_default, "has a transaction under repeatable read"),
        (read_only, "has a transaction that is read-only"),
        (encoded, "has a client_encoding that is not UTF8"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_transaction_that_takes_no_events_is_refused_and_goes_on(
    store: EventStore, mine: Any, prepare: Callable[[Any], None], problem: str
) -> None:
    """G37: the error says what to do, and nothing was sent that could harm."""
    prepare(mine)
    before = status(mine)
    with pytest.raises(ValueError, match=f"connection {problem}"):
        store.append_to_stream("order-1", 0, [noted()], connection=mine)
    assert status(mine) == before or (before, status(mine)) == ("IDLE", "INTRANS")
    assert stored(store) == []


def test_a_pipeline_takes_no_events(config: Config, dsn: str) -> None:
    """G37: its answers come too late."""
    with (
        EventStore.connect(config, runtime=CallerRuntime) as store,
        psycopg.connect(dsn) as connection,
        connection.pipeline(),
        pytest.raises(ValueError, match="connection is in pipeline mode"),
    ):
        store.append_to_stream("order-1", 0, [noted()], connection=connection)


def test_a_stream_in_between_takes_no_events(config: Config, dsn: str) -> None:
    """G37: the connection is busy until it is read to its end."""
    with (
        EventStore.connect(config, runtime=CallerRuntime) as store,
        psycopg.connect(dsn) as connection,
        connection.cursor() as cursor,
    ):
        rows = cursor.stream("SELECT generate_series(1, 9)")
        next(rows)
        with pytest.raises(ValueError, match="connection runs another statement"):
            store.append_to_stream("order-1", 0, [noted()], connection=connection)
        assert len(list(rows)) == 8
        store.append_to_stream("order-1", 0, [noted()], connection=connection)


def test_autocommit_within_a_transaction_is_taken(
    store: EventStore, mine: Any, config: Config
) -> None:
    """G37: as Django does it."""
    mine.set_autocommit(True)
    mine.execute("BEGIN")
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    mine.execute("COMMIT")
    assert stored(store) == [(1, 1)]


def test_what_is_no_connection_is_refused_by_its_name(store: EventStore) -> None:
    """G37: and shown."""
    with sqlite3.connect(":memory:") as other:
        for given in (3, "postgresql:///shop", object(), other, other.cursor(), store):
            with pytest.raises(TypeError, match=r"connection must be .* not "):
                store.append_to_stream("order-1", 0, [noted()], connection=given)
    other.close()


def test_a_connection_of_the_other_kind_is_refused(
    store: EventStore, surface: Surface, dsn: str
) -> None:
    """G37, G42: it would block the loop, or could not be waited for."""
    if isinstance(surface, LoopThread):
        with (
            psycopg.connect(dsn) as other,
            pytest.raises(TypeError, match="for AsyncEventStore, not Conn"),
        ):
            store.append_to_stream("order-1", 0, [noted()], connection=other)
        return
    loop = LoopThread()
    waiting = driver_over(loop, dsn)
    try:
        with pytest.raises(TypeError, match="for EventStore, not AsyncConn"):
            store.append_to_stream("order-1", 0, [noted()], connection=waiting._over)
    finally:
        waiting.close()
        loop.close()


def test_a_store_in_memory_has_no_transactions() -> None:
    """G37: the error names the argument."""
    with (
        EventStore.connect("memory:", runtime=CallerRuntime) as store,
        pytest.raises(ValueError, match="connection needs a store in PostgreSQL"),
    ):
        store.append_to_stream("order-1", 0, [noted()], connection=object())


def test_another_database_is_no_place_for_the_events(
    store: EventStore, driver: Driver, outside: Sql
) -> None:
    """G37, G34: what the store writes proves where it is."""
    elsewhere = driver(dbname="template1")
    with pytest.raises(SchemaVersionError, match="transaction is aborted, roll it back"):
        store.append_to_stream("order-1", 0, [noted()], connection=elsewhere)
    assert stored(store) == []


# ── the caller's connection stays as it is ───────────────────────────────────────────────────────


def test_nothing_of_the_connection_matters_or_changes(
    store: EventStore, surface: Surface, mine: Any, config: Config
) -> None:
    """G37, G34: row factory, adapters, search path and settings."""

    class Hostile(StrDumper):
        def dump(self, obj: str) -> bytes:
            raise AssertionError(obj)

    raw = mine._over if isinstance(surface, LoopThread) else mine
    raw.row_factory = dict_row
    raw.adapters.register_dumper(int, Hostile)
    raw.adapters.register_dumper(bool, Hostile)
    dumpers = raw.adapters._dumpers_by_oid
    settings = {"lock_timeout": "7s", "search_path": "pg_temp", "enable_seqscan": "on"}
    for name, value in settings.items():
        mine.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), value))
    mine.commit()
    before = [dict(each) for each in dumpers]
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    assert raw.row_factory is dict_row
    assert [dict(each) for each in raw.adapters._dumpers_by_oid] == before
    assert {name: shown(surface, mine, name) for name in settings} == settings
    mine.commit()
    assert stored(store) == [(1, 1)]


def shown(surface: Surface, connection: Any, name: str) -> Any:
    """Return a setting as the session has it now."""
    statement = sql.SQL("SELECT pg_catalog.current_setting({}) AS found").format(name)
    if isinstance(surface, LoopThread):

        async def read() -> Any:
            cursor = await connection._over.execute(statement)
            return await cursor.fetchone()

        row = surface.run(read())
    else:
        row = connection.execute(statement).fetchone()
    return row["found"] if isinstance(row, dict) else row[0]


WAITS_FOR_LONG = """
    SELECT FROM pg_locks
     WHERE NOT granted AND waitstart < clock_timestamp() - interval '1 second'
"""

IDLE, WHOLE = "idle_in_transaction_session_timeout", "transaction_timeout"
"""Settings that bound a transaction; the second one is there since PostgreSQL 17."""


def test_the_transaction_is_bounded_unless_it_is_bounded_more(
    store: EventStore, surface: Surface, mine: Any, config: Config
) -> None:
    """G37: for itself alone; the next one is as long as the session wants."""
    bounds = [IDLE, WHOLE] if mine.info.server_version >= 170000 else [IDLE]

    def bounded() -> list[str]:
        return [shown(surface, mine, name) for name in bounds]

    assert bounded() == ["0", "0"][: len(bounds)]
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    assert bounded() == ["10s", "10s"][: len(bounds)]
    mine.commit()
    assert bounded() == ["0", "0"][: len(bounds)]
    for name, longer in zip(bounds, ("7s", "2h"), strict=False):
        mine.execute(f"SET LOCAL {name} = '{longer}'")
    store.append_to_stream("order-1", 1, [noted()], connection=mine)
    assert bounded() == ["7s", "10s"][: len(bounds)]
    mine.rollback()


def test_the_commit_is_as_durable_as_that_of_every_append(
    store: EventStore, surface: Surface, mine: Any, config: Config
) -> None:
    """G37, G5: whatever the session is set to; after it, the session is as before."""
    mine.execute("SET synchronous_commit = off")
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    assert shown(surface, mine, "synchronous_commit") == "on"
    mine.commit()
    assert shown(surface, mine, "synchronous_commit") == "off"


# ── the write lock ───────────────────────────────────────────────────────────────────────────────


def test_who_waits_in_vain_hears_who_holds_the_lock(
    store: EventStore, config: Config, driver: Driver, mine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G37, G25: an append that the store commits, and one in a transaction, which is aborted."""
    expect_late_answers(monkeypatch, LOOKING)
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    pid = mine.info.backend_pid
    holder = rf"process {pid} \('shop', idle in transaction\) holds the write lock"
    other = driver(application_name="till")
    assert stored(store) == []  # there is a connection now by which to look
    with pytest.raises(StorageUnavailableError, match=holder) as in_vain:
        store.append_to_stream("order-2", 0, [noted()], timeout=PATIENT, connection=other)
    assert "transaction is aborted, roll it back" in str(in_vain.value)
    assert status(other) == "INERROR"
    other.rollback()
    # As every runtime sends it; those that have time left would try again.
    with closing(opened(config)) as storage, closing(storage.append_session()) as session:
        session.connect(soon())
        with pytest.raises(StorageUnavailableError, match=holder):
            session.append([(part("order-2", events(1)),)], time.monotonic() + PATIENT)
    mine.commit()
    store.append_to_stream("order-2", 0, [noted(2)], connection=other)
    other.commit()
    assert stored(store) == [(1, 1), (2, 2)]


def test_a_busy_transaction_is_named_as_well(
    connect: Callable[..., EventStore],
    outside: Sql,
    driver: Driver,
    mine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G37, G25: nothing ends it before `caller_transaction_timeout`."""
    expect_late_answers(monkeypatch, LOOKING)
    store = connect(caller_transaction_timeout=AGES)
    store.append_to_stream("order-1", 0, [noted()], connection=mine)
    pid, other = mine.info.backend_pid, driver()
    assert stored(store) == []
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(mine.execute, f"SELECT pg_sleep({AGES})")
        wait_until(lambda: outside("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        with pytest.raises(StorageUnavailableError, match=rf"process {pid} \('shop', active\)"):
            store.append_to_stream("order-2", 0, [noted()], timeout=PATIENT, connection=other)
        outside("SELECT pg_cancel_backend(%s)", pid)
        with pytest.raises(psycopg.errors.QueryCanceled):
            busy.result()
    mine.rollback()
    other.rollback()
    assert store.append_to_stream("order-2", 0, [noted()]).last_global_position == 1


def test_a_thread_does_not_wait_for_its_own_transaction(
    for_threads: None, store: EventStore, outside: Sql, mine: Any
) -> None:
    """G37, G25: it is refused at once. Others wait, and a later transaction does not count."""
    store.append_to_stream("order-1", 0, [noted(1)], connection=mine)
    with pytest.raises(AppendError, match="this thread has a transaction open"):
        store.append_to_stream("order-2", 0, [noted(2)], timeout=AGES)
    with pytest.raises(AppendError, match="this thread has a transaction open"):
        store.append_many([("order-2", noted(2))])
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(store.append_to_stream, "order-2", 0, [noted(2)])
        wait_until(lambda: outside("SELECT FROM pg_locks WHERE NOT granted"))
        mine.commit()
        waiting.result()
    mine.execute("SELECT")
    assert status(mine) == "INTRANS"
    store.append_to_stream("order-3", 0, [noted(3)])
    assert stored(store) == [(1, 1), (2, 2), (3, 3)]


def test_a_refused_append_holds_the_lock_as_well(
    for_threads: None, store: EventStore, mine: Any
) -> None:
    """G37: the transaction goes on, and so does its lock."""
    with pytest.raises(WrongExpectedVersionError):
        store.append_to_stream("order-1", 7, [noted()], connection=mine)
    with pytest.raises(AppendError, match="this thread has a transaction open"):
        store.append_to_stream("order-1", 0, [noted()], timeout=AGES)
    mine.rollback()
    store.append_to_stream("order-1", 0, [noted()])


def test_a_lost_connection_loses_its_transaction(
    store: EventStore, outside: Sql, mine: Any, config: Config
) -> None:
    """G37: surely, so nothing of it is unknown."""
    note(config, mine)
    outside("SELECT pg_terminate_backend(%s)", mine.info.backend_pid)
    wait_until(lambda: not outside("SELECT FROM pg_stat_activity WHERE application_name = 'shop'"))
    with pytest.raises(StorageUnavailableError, match="transaction is lost with its connection"):
        store.append_to_stream("order-1", 0, [noted()], connection=mine)
    assert (stored(store), notes(outside)) == ([], [])


def test_a_deadlock_with_rows_of_the_application_ends_one_of_both(
    store: EventStore, config: Config, outside: Sql, driver: Driver
) -> None:
    """G37, G3: a row locked before the append, and the same row locked after another append."""
    outside("INSERT INTO {}.notes VALUES (1)")
    first, second = driver(), driver()
    lock = sql.SQL("SELECT FROM {} WHERE number = 1 FOR UPDATE").format(
        sql.Identifier(config.schema, "notes")
    )
    first.execute(lock)
    store.append_to_stream("order-2", 0, [noted(2)], connection=second)
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(store.append_to_stream, "order-1", 0, [noted(1)], connection=first)
        after = threads.submit(second.execute, lock)
        errors = [each.exception() for each in (before, after)]
    assert errors.count(None) == 1
    for error, connection in zip(errors, (first, second), strict=True):
        if error is None:
            connection.commit()
        else:
            assert isinstance(error, psycopg.errors.DeadlockDetected | StorageUnavailableError)
            connection.rollback()
    assert stored(store) in ([(1, 1)], [(1, 2)])


def test_the_wait_for_the_lock_is_no_part_of_the_bounded_time(
    connect: Callable[..., EventStore], config: Config, dsn: str, outside: Sql, mine: Any
) -> None:
    """G37: it blocks nobody meanwhile."""
    store = connect(caller_transaction_timeout=0.3)
    with psycopg.connect(dsn) as holding, ThreadPoolExecutor(1) as threads:
        Sql(holding, config.schema)("SELECT {}.lock_head(1000)")
        waiting = threads.submit(store.append_to_stream, "a", 0, [noted()], connection=mine)
        wait_until(lambda: outside(WAITS_FOR_LONG))
        holding.rollback()
        # It waited for longer than it may last. How long it does from now on is another matter.
        assert waiting.result().last_global_position == 1


def test_an_idle_transaction_frees_the_lock(
    connect: Callable[..., EventStore], outside: Sql, mine: Any, config: Config
) -> None:
    """G37, G25: others wait for `caller_transaction_timeout`, not for ever."""
    store = connect(caller_transaction_timeout=0.3)
    note(config, mine)
    store.append_to_stream("order-1", 0, [noted(1)], connection=mine)
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(store.append_to_stream, "order-2", 0, [noted(2)], timeout=AGES)
        assert other.result().last_global_position == 1
    with pytest.raises(psycopg.Error):
        mine.commit()
    assert (stored(store), notes(outside)) == ([(1, 2)], [])


# ── links and deletions ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def order(store: EventStore) -> list[RecordedEvent]:
    """Two stored events of one stream."""
    store.append_to_stream("order-1", 0, [noted(1), noted(2)])
    return store.read_stream_forward("order-1")


def test_links_and_rows_commit_together(
    store: EventStore, config: Config, outside: Sql, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37, G35: rolled back, the versions are free again."""
    for end in (mine.rollback, mine.commit):
        note(config, mine)
        result = store.link_to_stream("linked", 0, order, connection=mine)
        assert (result.first_version, result.last_version) == (1, 2)
        assert store.read_stream_forward("linked", missing_ok=True) == []
        end()
    assert [event.event_id for event in store.read_stream_forward("linked")] == [
        event.event_id for event in order
    ]
    assert notes(outside) == [1]
    assert store.link_to_stream("linked", 0, order, connection=mine).repeated


def test_a_stream_is_deleted_with_the_callers_rows(
    connect: Connect, config: Config, outside: Sql, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37, G36: of both kinds; what is gone for good is erased by whoever has actors."""
    store = connect(enable_hard_deletes=True)
    store.append_to_stream("order-2", 0, [noted(3)])
    for end in (mine.rollback, mine.commit):
        note(config, mine)
        store.delete_stream("order-1", 2, connection=mine)
        store.delete_stream("order-2", 1, hard=True, connection=mine)
        assert stored(store) == [(1, 1), (2, 2), (3, 3)]
        end()
    with pytest.raises(StreamDeletedError):
        store.read_stream_forward("order-1")
    assert stored(store) == [(1, 1), (2, 2)]
    assert notes(outside) == [1]
    with EventStore.connect(config):
        wait_until(lambda: outside("SELECT count(erased_at) FROM {}.deletions") == [(1,)])


def test_a_refused_link_or_deletion_leaves_the_transaction_as_it_was(
    store: EventStore, config: Config, outside: Sql, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37: the caller's rows commit without it."""
    note(config, mine)
    with pytest.raises(EventNotFoundError):
        store.link_to_stream("linked", 0, [uuid4()], connection=mine)
    with pytest.raises(WrongExpectedVersionError):
        store.link_to_stream("linked", 3, order, connection=mine)
    with pytest.raises(StreamNotFoundError):
        store.delete_stream("order-9", ANY, connection=mine)
    with pytest.raises(WrongExpectedVersionError):
        store.delete_stream("order-1", 7, connection=mine)
    assert status(mine) == "INTRANS"
    mine.commit()
    assert notes(outside) == [1]
    assert store.read_stream_forward("order-1") == order


@pytest.mark.usefixtures("for_threads")
def test_a_link_or_deletion_that_would_wait_for_its_own_thread_is_refused(
    store: EventStore, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37, G25: at once, not at its deadline."""
    store.append_to_stream("order-2", 0, [noted(3)], connection=mine)
    with pytest.raises(AppendError, match="has a transaction open"):
        store.link_to_stream("linked", 0, order)
    with pytest.raises(AppendError, match="has a transaction open"):
        store.delete_stream("order-1", ANY)
    mine.rollback()
    assert store.link_to_stream("linked", 0, order).last_version == 2


# ── snapshots ────────────────────────────────────────────────────────────────────────────────────


def test_a_snapshot_is_recorded_and_deleted_with_the_callers_rows(
    store: EventStore, config: Config, outside: Sql, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37: nobody sees it before, nor after a rollback; and no append waits for it."""
    total = SnapshotData("Total", {"sum": 3})
    for end in (mine.rollback, mine.commit):
        note(config, mine)
        assert store.record_snapshot("order-1", 2, total, connection=mine)
        assert store.read_snapshot("order-1", "Total") is None
        end()
    store.record_snapshot("order-1", 2, SnapshotData("Other", None), connection=mine)
    assert store.append_to_stream("order-2", 0, [noted(3)]).last_version == 1
    assert store.delete_snapshot("order-1", "Total", connection=mine)
    assert not store.delete_snapshot("order-1", "Missing", connection=mine)
    found = store.read_snapshot("order-1", "Total")
    assert found is not None
    assert (found.stream_version, found.data) == (2, {"sum": 3})
    mine.commit()
    assert store.read_snapshot("order-1", "Total") is None
    assert store.read_snapshot("order-1", "Other") is not None
    assert notes(outside) == [1]


def test_a_snapshot_that_is_refused_leaves_the_transaction_as_it_was(
    store: EventStore, config: Config, outside: Sql, mine: Any, order: list[RecordedEvent]
) -> None:
    """G37."""
    note(config, mine)
    with pytest.raises(ValueError, match="stream_version"):
        store.record_snapshot("order-1", 3, SnapshotData("Total", 1), connection=mine)
    with pytest.raises(StreamNotFoundError):
        store.record_snapshot("order-9", 1, SnapshotData("Total", 1), connection=mine)
    with pytest.raises(TypeError, match="snapshot must be SnapshotData"):
        store.record_snapshot("order-1", 1, 1, connection=mine)  # type: ignore[arg-type]
    assert status(mine) == "INTRANS"
    mine.commit()
    assert notes(outside) == [1]
