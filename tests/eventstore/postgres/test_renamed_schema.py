"""A schema is renamed, and another store made under its name: nobody uses the wrong one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from eventstore.model.config import Config
from eventstore.model.errors import SchemaVersionError
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.ports.ownership import Claimed
from eventstore.ports.storage import ReadDirection
from eventstore.ports.stored_events import Committed
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.cli import Shell
from tests.support.plain_sql import Sql
from tests.support.unprotected import unprotected
from tests.support.waiting import wait_until

Connect = Callable[..., User]
Rename = Callable[[], object]

ANOTHER = "is not the one that was connected to"
ROWS = """
    SELECT (SELECT count(*) FROM {}.events), (SELECT count(*) FROM {}.streams),
           (SELECT count(*) FROM {}.subscriptions),
           (SELECT count(*) FROM {}.subscriptions WHERE paused),
           (SELECT max(checkpoint) FROM {}.positions)
"""


@pytest.fixture
def renamed(schema: str, psql: Psql) -> Iterator[str]:
    """The name that the schema of the store gets; dropped afterwards."""
    name = f"{schema}_old"
    yield name
    psql("SET client_min_messages = warning")
    psql(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def connect(config: Config) -> Iterator[Connect]:
    with ExitStack() as closing:

        def connect(schema: str, *, init: bool = False) -> User:
            storage = PostgresStorage(replace(config, schema=schema))
            closing.callback(storage.close)
            storage.open(init=init, deadline=soon())
            user = User(storage)
            closing.callback(user.close)
            return user

        yield connect


@pytest.fixture
def rename(psql: Psql, renamed: str) -> Rename:
    return partial(psql, f"ALTER SCHEMA {{}} RENAME TO {renamed}")


def store(user: User, claimed: Claimed) -> dict[str, Callable[[], object]]:
    """Return every call by its name."""
    storage, fence = user.storage, claimed.fence
    names = "$all", "shipping"
    return {
        "append": partial(user.append, part("order-1", events(1))),
        "append to a new stream": partial(user.append, part("order-9", events(1))),
        "repeat": partial(user.append_all, (part("order-1", events(1), expected=7),)),
        "claim": partial(user.claim, "shipping"),
        "subscribe": partial(user.claim, "another"),
        "keep": partial(user.keep, fence, 1),
        "release": partial(user.release, fence, 1),
        "look": partial(user.keeper.look, [fence.position_id], soon()),
        "pause": partial(storage.set_paused, *names, paused=True, deadline=soon()),
        "reset": partial(storage.reset_subscription, *names, 0, soon()),
        "delete": partial(storage.delete_subscription, *names, soon()),
        "subscriptions": partial(storage.subscriptions, soon()),
        "subscription": partial(user.info),
        "stream": partial(storage.read_stream, "order-1", 1, 9, ReadDirection.FORWARD, soon()),
        "backward": partial(storage.read_stream, "order-1", 9, 9, ReadDirection.BACKWARD, soon()),
        "missing": partial(storage.read_stream, "order-2", 1, 9, ReadDirection.FORWARD, soon()),
        "all": partial(storage.read_all, 1, 9, ReadDirection.FORWARD, soon()),
        "all backward": partial(storage.read_all, 9, 9, ReadDirection.BACKWARD, soon()),
        "after the end": partial(storage.read_all, 100, 9, ReadDirection.FORWARD, soon()),
        "next of all": partial(storage.read_after, "$all", 0, 9, 1_000, soon()),
        "next of a stream": partial(storage.read_after, "order-1", 0, 9, 1_000, soon()),
        "stream info": partial(storage.stream_info, "order-1", soon()),
        "head": partial(storage.stream_info, "$all", soon()),
        "streams": partial(storage.streams, StreamListing(), None, 9, soon()),
        "newest streams": partial(
            storage.streams,
            StreamListing(order=StreamOrder.CREATION, descending=True),
            "order-1",
            9,
            soon(),
        ),
        "event by id": partial(storage.find_event, uuid4(), soon()),
        "stream count": partial(storage.stream_count, soon()),
        "history": partial(storage.history_holds, 1, uuid4(), soon()),
        "listener": partial(storage.head_listener().wait, 5),
    }


CALLS = [
    "append",
    "append to a new stream",
    "repeat",
    "claim",
    "subscribe",
    "keep",
    "release",
    "look",
    "pause",
    "reset",
    "delete",
    "subscriptions",
    "subscription",
    "stream",
    "backward",
    "missing",
    "all",
    "all backward",
    "after the end",
    "next of all",
    "next of a stream",
    "stream info",
    "head",
    "streams",
    "newest streams",
    "event by id",
    "stream count",
    "history",
    "listener",
]


@pytest.mark.parametrize("warm", [True, False], ids=["prepared", "fresh"])
def test_another_store_under_the_same_name_is_refused_by_every_call(
    user: User,
    psql: Psql,
    rename: Rename,
    connect: Connect,
    *,
    warm: bool,
) -> None:
    """F33, G34: a new one has streams and subscriptions of the same names."""
    user.store("order-1", 2)
    calls = store(user, user.own())
    assert list(calls) == CALLS
    for _ in range(7 if warm else 0):
        for name in ("append", "keep", "all", "next of all", "stream", "head", "subscriptions"):
            calls[name]()
    rename()
    new = connect(psql.schema, init=True)
    new.store("order-1", 2)
    new.own()
    before = psql(ROWS)
    for call in calls.values():
        with pytest.raises(SchemaVersionError, match=ANOTHER):
            call()
    assert psql(ROWS) == before
    assert isinstance(new.append(part("order-1", events(1), expected=2)), Committed)


def test_a_name_that_leads_nowhere_is_refused_by_every_call(user: User, rename: Rename) -> None:
    """F33, G34: there is nothing under the old name."""
    user.store("order-1", 2)
    calls = store(user, user.own())
    rename()
    for call in calls.values():
        with pytest.raises(SchemaVersionError, match="does not exist"):
            call()


def test_a_store_under_its_old_name_again_goes_on(
    user: User, psql: Psql, rename: Rename, renamed: str
) -> None:
    """F33, G34: what was refused in between left nothing behind."""
    user.store("order-1")
    rename()
    with pytest.raises(SchemaVersionError):
        user.store("order-1")
    psql(f"ALTER SCHEMA {renamed} RENAME TO {{}}")
    assert user.store("order-1").results[0].last_version == 2


def test_two_stores_that_take_turns_under_one_name_never_mix(
    user: User, psql: Psql, rename: Rename, renamed: str, connect: Connect
) -> None:
    """F33, G34: both were connected to that name."""
    rename()
    another = connect(psql.schema, init=True)
    psql(f"ALTER SCHEMA {{}} RENAME TO {renamed}_b")
    psql(f"ALTER SCHEMA {renamed} RENAME TO {{}}")
    user.store("ours")
    psql(f"ALTER SCHEMA {{}} RENAME TO {renamed}")
    psql(f"ALTER SCHEMA {renamed}_b RENAME TO {{}}")
    another.store("theirs")
    for _ in range(2):
        for each, stream in ((user, "ours"), (another, "theirs")):
            with suppress(SchemaVersionError):
                each.store(stream)
            with suppress(SchemaVersionError):
                assert [
                    info.stream_id
                    for info in each.storage.streams(StreamListing(), None, 9, soon())
                ] == [stream]
        assert psql("SELECT stream_id FROM {}.streams") == [("theirs",)]
        assert psql(f"SELECT stream_id FROM {renamed}.streams") == [("ours",)]


@pytest.mark.parametrize("table", ["write_lock", "events"])
def test_an_append_that_waits_during_a_renaming_lands_nowhere_else(
    user: User,
    psql: Psql,
    dsn: str,
    rename: Rename,
    connect: Connect,
    table: str,
) -> None:
    """F33, G34: the old store was asked, and the name leads elsewhere afterwards."""
    for _ in range(7):
        user.store("order-1")
    with psycopg.connect(dsn) as locking, ThreadPoolExecutor(1) as threads:
        locker = Sql(locking, psql.schema)
        locker(f"LOCK TABLE {{}}.{table} IN ACCESS EXCLUSIVE MODE")
        appending = threads.submit(user.append, part("order-1", events(1)))
        wait_until(lambda: psql("SELECT FROM pg_locks WHERE NOT granted"))
        rename()
        new = connect(psql.schema, init=True)
        locking.commit()
        with pytest.raises(SchemaVersionError, match=ANOTHER):
            appending.result()
    assert new.store("order-1").results[0].first_global_position == 1


def test_a_store_under_a_new_name_is_refused_until_it_is_migrated(
    user: User,
    psql: Psql,
    dsn: str,
    rename: Rename,
    renamed: str,
    connect: Connect,
) -> None:
    """F33, G34: its functions name the tables of its old schema; afterwards they name their own."""
    user.store("order-1", 3)
    rename()
    with pytest.raises(SchemaVersionError, match=r"was renamed.*run: eventstore migrate"):
        connect(renamed)
    new = connect(psql.schema, init=True)
    new.store("order-1")
    with pytest.raises(
        SchemaVersionError, match=rf"was renamed.*{psql.schema}.*eventstore migrate"
    ):
        connect(renamed)
    shell = Shell(dsn, renamed)
    assert "eventstore migrate" in shell.refused("append", "order-1", "T", "1", code=4)
    assert "migrated to its new name" in shell.run("migrate")
    assert "up to date" in shell.run("migrate")
    old = connect(renamed)
    assert old.store("order-1").results[0].last_version == 4
    fence = old.own().fence
    assert old.keep(fence, 4).checkpoint == 4
    assert old.info().head == 4
    assert new.store("order-1").results[0].last_version == 2
    assert "no problem" in shell.run("verify")


def test_a_copy_with_the_same_id_is_not_taken_for_the_store(
    user: User,
    psql: Psql,
    rename: Rename,
    renamed: str,
    connect: Connect,
) -> None:
    """F33, G34: a dump was restored beside the store, which had been renamed."""
    user.store("order-1", 3)
    ((store_id,),) = psql("SELECT store_id FROM {}.store")
    rename()
    connect(psql.schema, init=True)
    with unprotected(psql.connection, psql.schema):
        psql("UPDATE {}.store SET store_id = %s", store_id)
    with pytest.raises(SchemaVersionError, match="was renamed"):
        connect(renamed)
    assert connect(renamed, init=True).store("order-1").results[0].last_version == 4
    assert connect(psql.schema).store("order-1").results[0].last_version == 1


def test_deletions_in_a_renamed_schema_have_numbers_of_their_own(
    user: User, psql: Psql, dsn: str, rename: Rename, renamed: str
) -> None:
    """F33, G34: a process that holds deleted events in memory learns of them by the number."""
    user.store("order-1")
    rename()
    insert = "INSERT INTO {}.tombstones VALUES (%s, %s, 's', now())"
    with psycopg.connect(dsn) as connection:
        old = Sql(connection, renamed)
        old(insert, 8, 8)
        old(insert, 9, 9)
        assert old("SELECT deletion_no FROM {}.tombstones ORDER BY 1") == [(1,), (2,)]


def test_a_pool_of_the_service_reads_no_other_store(
    config: Config,
    user: User,
    psql: Psql,
    rename: Rename,
    connect: Connect,
) -> None:
    """F33, G34: nothing is prepared there, and nothing found out once."""
    user.store("order-1")
    with ConnectionPool(config.dsn, min_size=1, max_size=1) as pool:
        storage = PostgresStorage(config, pool=pool)
        storage.open(init=False, deadline=soon())
        assert len(storage.read_all(1, 9, ReadDirection.FORWARD, soon())) == 1
        rename()
        connect(psql.schema, init=True)
        with pytest.raises(SchemaVersionError, match=ANOTHER):
            storage.read_all(1, 9, ReadDirection.FORWARD, soon())
        storage.close()
