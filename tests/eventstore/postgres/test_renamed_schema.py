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
from eventstore.model.event_filter import EventFilter
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.effects import Batch
from eventstore.ports.ownership import Claimed, Fence
from eventstore.ports.parking import Choice, Most, ParkedPlace, Parking, Why
from eventstore.ports.projections import (
    Created,
    Dropped,
    Rebuilt,
    StoredProjection,
    Switched,
    VersionChange,
)
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import Storage
from eventstore.ports.stored_events import Committed
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.ports.waits import BLOCKING, run_blocking
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

MATCHING = EventFilter(event_types=("T",), stream_prefix="o", metadata=(("k", ("v",)),))
ANOTHER = "is not the one that was connected to"
ROWS = """
    SELECT (SELECT count(*) FROM {}.events), (SELECT count(*) FROM {}.streams),
           (SELECT count(*) FROM {}.subscriptions),
           (SELECT count(*) FROM {}.subscriptions WHERE paused),
           (SELECT count(*) FROM {}.snapshots),
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


PLACE = ParkedPlace("order-1", 1, 1)
CHOICE = Choice(
    stream_id="$all",
    subscription_name="shipping",
    key=None,
    limit=None,
    skip_reason=None,
    dry_run=False,
)


def parking(fence: Fence) -> Parking:
    return Parking(
        fence=fence,
        checkpoint=1,
        events=[PLACE],
        why=Why("broken"),
        follows=False,
        most=Most(events=9, of_key=9),
    )


def store(user: User, claimed: Claimed) -> dict[str, Callable[[], object]]:
    """Return every call by its name."""
    storage, fence = user.storage, claimed.fence
    names = "$all", "shipping"
    return {
        "append": partial(user.append, part("order-1", events(1))),
        "append to a new stream": partial(user.append, part("order-9", events(1))),
        "append in a transaction": partial(append_in_transaction, storage),
        "repeat": partial(user.append_all, (part("order-1", events(1), expected=7),)),
        "claim": partial(user.claim, "shipping"),
        "subscribe": partial(user.claim, "another"),
        "keep": partial(user.keep, fence, 1),
        "release": partial(user.release, fence, 1),
        "look": partial(user.keeper.look, [fence.position_id], soon()),
        "pause": partial(storage.set_paused, *names, paused=True, deadline=soon()),
        "reset": partial(storage.reset_subscription, *names, 0, soon()),
        "delete": partial(storage.delete_subscription, *names, soon()),
        "park": partial(storage.park, parking(fence), soon()),
        "unpark": partial(storage.unpark, fence, {"order-1": 1}, (), soon()),
        "note tries": partial(storage.note_tries, fence, 0, 0, None, soon()),
        "skip replayed": partial(storage.skip_replayed, fence, 1, "of no use", soon()),
        "keep parked": partial(storage.keep_parked, fence, PLACE, Why("broken"), soon()),
        "parked keys": partial(storage.parked_keys, claimed.subscription_id, soon()),
        "parked events": partial(
            storage.read_parked, claimed.subscription_id, ["order-1"], 0, 9, 99, soon()
        ),
        "parked": partial(storage.parked, *names, 0, 9, soon()),
        "choose parked": partial(storage.choose_parked, CHOICE, soon()),
        "subscriptions": partial(storage.subscriptions, soon()),
        "stored progress": partial(storage.stored_progress, *names, soon()),
        "subscription": partial(user.info),
        "stream": partial(storage.read_stream, "order-1", 1, 9, ReadDirection.FORWARD, soon()),
        "backward": partial(storage.read_stream, "order-1", 9, 9, ReadDirection.BACKWARD, soon()),
        "missing": partial(storage.read_stream, "order-2", 1, 9, ReadDirection.FORWARD, soon()),
        "all": partial(storage.read_all, 1, 9, ReadDirection.FORWARD, soon()),
        "all backward": partial(storage.read_all, 9, 9, ReadDirection.BACKWARD, soon()),
        "after the end": partial(storage.read_all, 100, 9, ReadDirection.FORWARD, soon()),
        "next of all": partial(storage.read_after, "$all", 0, 9, 1_000, soon()),
        "next of a stream": partial(storage.read_after, "order-1", 0, 9, 1_000, soon()),
        "what matches": partial(
            storage.read_matching, "$all", 1, 9, ReadDirection.FORWARD, MATCHING, soon()
        ),
        "what matches in a stream": partial(
            storage.read_matching, "order-1", 9, 9, ReadDirection.BACKWARD, MATCHING, soon()
        ),
        "next that match": partial(
            storage.read_matching_after, "$all", 0, 9, 1_000, MATCHING, soon()
        ),
        "next that match in a stream": partial(
            storage.read_matching_after, "order-1", 0, 9, 1_000, MATCHING, soon()
        ),
        "end of all": partial(storage.end_after, "$all", 0, soon()),
        "end of a stream": partial(storage.end_after, "order-1", 0, soon()),
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
        "link": partial(storage.link, Link("linked", 0, (uuid4(),)), soon()),
        "delete a stream": partial(storage.delete_stream, Deletion("order-2", -1, False), soon()),
        "delete it for good": partial(storage.delete_stream, Deletion("order-2", -1, True), soon()),
        "erase": partial(user.keeper.erase, soon()),
        "linked": partial(storage.head_listener().linked, 0, 9, soon()),
        "stream count": partial(storage.stream_count, soon()),
        "record a snapshot": partial(
            storage.record_snapshot, "order-1", 1, EncodedSnapshot("T", "json", b"1", None), soon()
        ),
        "read a snapshot": partial(storage.read_snapshot, "order-1", "T", soon()),
        "read from a snapshot": partial(storage.read_from_snapshot, "order-1", "T", 9, soon()),
        "delete a snapshot": partial(storage.delete_snapshot, "order-1", "T", soon()),
        "handle": partial(handle_nothing, storage, fence),
        "process": partial(process_nothing, storage, fence),
        "checkpoint": partial(checkpoint_in_transaction, storage, fence),
        "projections": partial(storage.projections, soon()),
        "look at a projection": partial(change_projection, storage, None),
        "create a projection": partial(
            change_projection, storage, Created(SubscriptionOptions(), True)
        ),
        "switch a projection": partial(change_projection, storage, Switched()),
        "rebuild a projection": partial(change_projection, storage, Rebuilt(SubscriptionOptions())),
        "drop a projection": partial(change_projection, storage, Dropped()),
        "history": partial(storage.history_holds, 1, uuid4(), soon()),
        "listener": partial(storage.head_listener().wait, 5),
    }


def append_in_transaction(storage: Storage) -> None:
    """Append in a transaction of a caller's, which is rolled back."""
    with psycopg.connect(storage.dsn) as connection:
        transaction = run_blocking(storage.join(connection, soon(), BLOCKING))
        run_blocking(transaction.append((part("order-1", events(1)),), soon()))
        connection.rollback()


def checkpoint_in_transaction(storage: Storage, fence: Fence) -> None:
    """Store a checkpoint in a transaction of a caller's."""
    batch = Batch(fence, 0, 0, 1)
    with psycopg.connect(storage.dsn) as connection:
        assert run_blocking(storage.checkpoint(batch, connection, soon(), BLOCKING))
        connection.rollback()


def process_nothing(storage: Storage, fence: Fence) -> None:
    """Store a checkpoint, which is the present one."""
    run_blocking(storage.process(Batch(fence, 0, 1, 1), None, soon(), BLOCKING))


def change_projection(storage: Storage, change: VersionChange | None) -> None:
    """Change a projection, together with nothing."""

    async def decide(_stored: StoredProjection, _connection: object) -> VersionChange | None:
        return change

    run_blocking(storage.change_projection("orders", 1, decide, 1.0, soon(), BLOCKING, alone=True))


def handle_nothing(storage: Storage, fence: Fence) -> None:
    """Handle the first event in a transaction, without any effect."""

    async def handle(connection: object) -> None: ...

    run_blocking(storage.handle(Batch(fence, 0, 0, 1), handle, 1.0, BLOCKING))


CALLS = [
    "append",
    "append to a new stream",
    "append in a transaction",
    "repeat",
    "claim",
    "subscribe",
    "keep",
    "release",
    "look",
    "pause",
    "reset",
    "delete",
    "park",
    "unpark",
    "note tries",
    "skip replayed",
    "keep parked",
    "parked keys",
    "parked events",
    "parked",
    "choose parked",
    "subscriptions",
    "stored progress",
    "subscription",
    "stream",
    "backward",
    "missing",
    "all",
    "all backward",
    "after the end",
    "next of all",
    "next of a stream",
    "what matches",
    "what matches in a stream",
    "next that match",
    "next that match in a stream",
    "end of all",
    "end of a stream",
    "stream info",
    "head",
    "streams",
    "newest streams",
    "event by id",
    "link",
    "delete a stream",
    "delete it for good",
    "erase",
    "linked",
    "stream count",
    "record a snapshot",
    "read a snapshot",
    "read from a snapshot",
    "delete a snapshot",
    "handle",
    "process",
    "checkpoint",
    "projections",
    "look at a projection",
    "create a projection",
    "switch a projection",
    "rebuild a projection",
    "drop a projection",
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
