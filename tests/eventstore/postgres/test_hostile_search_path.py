"""Nothing that another schema offers under a name of the system's own is ever used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace as replaced
from psycopg import sql
from psycopg.conninfo import make_conninfo

import eventstore.storages.postgres
from eventstore.model.config import Config
from eventstore.model.event_filter import EventFilter
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.model.subscription import SubscriptionOptions
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.effects import Batch, HandledBeforeError, Settled, Settlement
from eventstore.ports.ownership import Claimed, Fence, Tried
from eventstore.ports.parking import (
    Choice,
    Most,
    ParkedKey,
    ParkedPlace,
    Parking,
    ParkingOutcome,
    Why,
)
from eventstore.ports.projections import (
    Created,
    Dropped,
    Rebuilt,
    StoredProjection,
    Switched,
    VersionChange,
)
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import Committed, EncodedEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.ports.waits import BLOCKING, run_blocking
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.admin.store_check import Finding
from eventstore.storages.postgres.admin.store_schema import SchemaScripts
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from eventstore.storages.postgres.write_lock import held_by
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.support.waiting import PATIENCE

# Everything of the system that our texts could mean by one of their words, and every operator
# between the types that we use: each raises when it is called.
SHADOWS = """
DO $do$
DECLARE
  f record;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
  FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
                  pg_get_function_result(p.oid) AS result
             FROM pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (WORDS)
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION HOSTILE.%I(%s) RETURNS %s LANGUAGE plpgsql AS'
                     ' $f$ BEGIN RAISE EXCEPTION ''hostile function %s''; END $f$',
                     f.proname, f.arguments, f.result, f.proname);
    EXCEPTION WHEN others THEN
      CONTINUE;
    END;
  END LOOP;
  FOR f IN SELECT o.oid, o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r,
                  o.oprresult::regtype AS result
             FROM pg_operator o
            WHERE o.oprnamespace = 'pg_catalog'::regnamespace
              AND o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '||', '&&')
              AND o.oprleft = ANY (TYPES::regtype[]) AND o.oprright = ANY (TYPES::regtype[])
  LOOP
    EXECUTE format('CREATE FUNCTION HOSTILE.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql'
                   ' AS $f$ BEGIN RAISE EXCEPTION ''hostile operator %s''; END $f$',
                   f.oid, f.l, f.r, f.result, f.oprname);
    EXECUTE format('CREATE OPERATOR HOSTILE.%s (LEFTARG = %s, RIGHTARG = %s,'
                   ' FUNCTION = HOSTILE.operator_%s)', f.oprname, f.l, f.r, f.oid);
  END LOOP;
  FOR f IN SELECT unnest(ARRAY['text', 'uuid', 'timestamptz', 'bytea', 'jsonb', 'regclass', 'void',
                               'trigger', 'name', 'oid']) AS name
  LOOP
    EXECUTE format('CREATE TYPE HOSTILE.%I AS ENUM (''hostile'')', f.name);
  END LOOP;
END $do$
"""

TYPES = (
    "{bool,int2,int4,int8,numeric,float8,text,name,oid,uuid,bytea,timestamptz,interval,"
    "anyarray,anycompatiblearray,anyelement,anynonarray}"
)


MATCHING = EventFilter(
    event_types=("Happened",), stream_prefix="order-1", metadata=(("k", (1, "v")),)
)


def our_words() -> list[str]:
    """Return whatever could name something in the statements that we send."""
    files = [
        Path(file) for file in Path(eventstore.storages.postgres.__file__).parent.rglob("*.py")
    ]
    texts = [SchemaScripts.shipped().newest, *(file.read_text() for file in files)]
    return sorted({word for text in texts for word in re.findall(r"[a-z_0-9]+", text)})


@pytest.fixture
def hostile(dsn: str, schema: str) -> Iterator[str]:
    """The name of a schema that shadows the system's functions, operators and types."""
    name = f"{schema}_hostile"
    shadows = SHADOWS
    for token, value in {"HOSTILE": name, "WORDS": our_words(), "TYPES": TYPES}.items():
        quoted = sql.Identifier(name) if value == name else sql.Literal(value)
        shadows = shadows.replace(token, quoted.as_string(None))
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        admin.execute(shadows.encode())
        yield name
        admin.execute("SET client_min_messages = warning")
        admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def use_everything(storage: PostgresStorage, user: User) -> None:
    """Every statement of the storage at least once, refused and repeated appends among them."""
    stored = event()
    claimed = user.own(stream_id="$all")
    tagged = replaced(event(), metadata=b'{"k": "v"}')
    user.append(part("order-1", (stored, tagged, *events(1))), part("order-2", events(1)))
    user.append(part("order-1", events(1), expected=7))
    user.append(part("order-1", (stored,)))
    found = [e.event_id for e in storage.read_all(1, 10, ReadDirection.FORWARD, soon())]
    assert found[0] == stored.event_id
    assert len(found) == 4
    for direction, versions in ((ReadDirection.FORWARD, [2, 3]), (ReadDirection.BACKWARD, [2, 1])):
        page = storage.read_stream("order-1", 2, 10, direction, soon())
        assert [e.stream_version for e in page] == versions
        assert len(storage.read_all(2, 10, direction, soon())) == {1: 3, -1: 2}[direction.value]
    for stream_id, positions in (("$all", [3, 4]), ("order-1", [3])):
        assert [
            e.position for e in storage.read_after(stream_id, 2, 10, 1 << 20, soon())
        ] == positions
    look_for(storage, stored, tagged)
    assert storage.stream_info("order-1", soon()).stream_version == 3
    assert storage.stream_info("$all", soon()).stream_version == 4
    assert [info.stream_id for info in storage.streams(StreamListing(), "order-1", 10, soon())] == [
        "order-2"
    ]
    newest = StreamListing(prefix="order-", search="2", order=StreamOrder.CREATION, descending=True)
    assert [info.stream_id for info in storage.streams(newest, None, 10, soon())] == ["order-2"]
    found_event = storage.find_event(stored.event_id, soon())
    assert found_event is not None
    assert found_event.global_position == 1
    assert storage.stream_count(soon()) == 2
    for version, data in ((1, b"1"), (2, b"2"), (2, b"3"), (1, b"4")):
        snapshot = EncodedSnapshot("T", "json", data, None)
        assert storage.record_snapshot("order-1", version, snapshot, soon()) == (data != b"4")
    read = storage.read_snapshot("order-1", "T", soon())
    assert read is not None
    assert (read.stream_version, read.data) == (2, b"3")
    read, after = storage.read_from_snapshot("order-1", "T", 10, soon())
    assert read is not None
    assert [e.stream_version for e in after] == [3]
    assert storage.delete_snapshot("order-1", "T", soon())
    assert (parked_once(storage, claimed), user.keep(claimed.fence, 3).checkpoint) == ([], 3)
    assert user.keeper.look([claimed.fence.position_id], soon())
    user.announce()
    user.announce(claimed.subscription_id)
    assert [info.lag_events for info in storage.subscriptions(soon())] == [1]
    storage.set_paused("$all", "shipping", paused=True, deadline=soon())
    assert (user.info().paused, user.progress().checkpoint) == (True, 3)
    storage.reset_subscription("$all", "shipping", 1, soon())
    user.release(user.own().fence)
    storage.delete_subscription("$all", "shipping", soon())
    assert storage.link(Link("linked", 0, (stored.event_id,)), soon()).last_version == 1
    assert [each.stream_id for each in storage.head_listener().linked(0, 9, soon())] == ["linked"]
    storage.delete_stream(Deletion("linked", 1, hard=False), soon())
    storage.delete_stream(Deletion("order-2", -1, hard=True), soon())
    assert not user.keeper.erase(soon())
    assert [storage.end_after(name, 3, soon()) for name in ("$all", "order-1")] == [4, 3]
    assert storage.verify(_complain, soon()).events == 3


def look_for(storage: PostgresStorage, stored: EncodedEvent, tagged: EncodedEvent) -> None:
    """Every kind of read with a filter, which the second event matches, and of the history."""
    assert storage.history_holds(1, stored.event_id, soon())
    assert not storage.history_holds(2, stored.event_id, soon())
    for stream_id in ("$all", "order-1"):
        for direction in ReadDirection:
            page = storage.read_matching(stream_id, 3, 10, direction, MATCHING, soon())
            assert [e.event_id for e in page.events] == [tagged.event_id] * (direction.value < 0)
        following = storage.read_matching_after(stream_id, 0, 10, 1 << 20, MATCHING, soon())
        assert [e.event_id for e in following.events] == [tagged.event_id]


def parked_once(storage: PostgresStorage, claimed: Claimed) -> list[ParkedKey]:
    """Park the first event, deliver it again, and skip it; return what is left."""
    fence, subscription_id = claimed.fence, claimed.subscription_id
    place = ParkedPlace("order-1", 1, 1)
    parking = Parking(
        fence=fence,
        checkpoint=1,
        events=[place],
        why=Why("broken"),
        follows=False,
        most=Most(events=9, of_key=9),
    )
    choice = Choice(
        stream_id="$all",
        subscription_name="shipping",
        key="order-1",
        limit=9,
        skip_reason=None,
        dry_run=False,
    )
    assert storage.park(parking, soon()) is ParkingOutcome.DONE
    assert (
        storage.park(replace(parking, follows=True, most=Most(events=0, of_key=9)), soon())
        is ParkingOutcome.TOO_MANY
    )
    assert storage.choose_parked(choice, soon()) == 1
    assert storage.parked_keys(subscription_id, soon()) == [ParkedKey("order-1", 1, 1)]
    found = storage.read_parked(subscription_id, ["order-1"], 0, 9, 99, soon())
    assert [event.position for event in found] == [1]
    assert storage.keep_parked(fence, place, Why("again", "error", 1), soon())
    assert [event.attempts for event in storage.parked("$all", "shipping", 0, 9, soon())] == [1]
    assert storage.unpark(fence, {"order-1": 1}, (), soon()) == {"order-1"}
    assert storage.note_tries(fence, 1, 0, Tried(2, 1), soon())
    assert storage.choose_parked(replace(choice, skip_reason="of no use"), soon()) == 1
    assert storage.skip_replayed(fence, 1, "of no use", soon())
    return storage.parked_keys(subscription_id, soon())


def handle_in_transactions(storage: PostgresStorage, fence: Fence) -> None:
    """Every statement of a transactional handler, also those after a failure."""

    async def handle(connection: object) -> None: ...

    async def fail(connection: object) -> None:
        raise KeyError

    batch = Batch(fence, 0, 0, 2)
    with pytest.raises(KeyError):
        run_blocking(storage.handle(batch, fail, 1.0, BLOCKING))
    settled = run_blocking(storage.handle(batch, handle, 1.0, BLOCKING))
    assert settled == Settled(Settlement.DONE, 2)
    run_blocking(storage.process(Batch(fence, 2, 2, 3), None, soon(), BLOCKING))
    with pytest.raises(HandledBeforeError):
        run_blocking(storage.process(Batch(fence, 2, 2, 3), None, soon(), BLOCKING))
    with psycopg.connect(storage.dsn) as connection:
        assert not run_blocking(storage.checkpoint(batch, connection, soon(), BLOCKING))
        connection.rollback()
        later = Batch(fence, 3, 3, 4)
        assert run_blocking(storage.checkpoint(later, connection, soon(), BLOCKING))


def change_projections(storage: PostgresStorage) -> None:
    """Every change of a projection, one after the other."""
    changes: list[VersionChange | None] = [
        Created(SubscriptionOptions(), False),
        Switched(),
        Rebuilt(SubscriptionOptions()),
        None,
        Dropped(),
    ]
    for change in changes:

        async def decide(
            stored: StoredProjection, _connection: object, change: VersionChange | None = change
        ) -> VersionChange | None:
            assert stored.is_there is not isinstance(change, Created)
            return change

        place = "sums", 1, decide, 1.0, soon(), BLOCKING
        run_blocking(storage.change_projection(*place, alone=True))
        found = [(info.name, info.is_current) for info in storage.projections(soon())]
        gone = isinstance(change, Dropped)
        assert found == ([] if gone else [("sums", not isinstance(change, Created))])


def append_in_transaction(storage: PostgresStorage) -> None:
    """Every statement in and about a transaction of a caller's, which is rolled back."""
    with psycopg.connect(storage.dsn) as connection:
        transaction = run_blocking(storage.join(connection, soon(), BLOCKING))
        stored = (part("order-1", events(1)),)
        assert isinstance(run_blocking(transaction.append(stored, soon())), Committed)
        assert len(run_blocking(transaction.read_stream("order-1", 1, 9, soon()))) == 4
        assert storage.in_progress(transaction.opened.transaction_id, soon())
        pid = connection.info.backend_pid
        assert f"process {pid} " in (held_by(storage._pool, storage._statements, soon()) or "")
        connection.rollback()
    announcer = storage.announce_session()
    number = transaction.opened.transaction_id
    assert announcer.committed([number], soon()) == {number: False}
    announcer.close()


def _complain(finding: Finding) -> None:
    raise AssertionError(finding)


@pytest.mark.parametrize("installed_so", [True, False])
def test_no_function_operator_or_type_of_another_schema_is_used(
    config: Config, hostile: str, installed_so: bool
) -> None:
    """G34: though the session looks there first, also while the schema is installed."""
    path = make_conninfo(config.dsn, options=f"-c search_path={hostile},pg_catalog")
    with ExitStack() as closing:
        for dsn in (path if installed_so else config.dsn, path):
            storage = PostgresStorage(replace(config, dsn=dsn))
            closing.callback(storage.close)
            storage.open(init=True, deadline=soon())
        listener = storage.head_listener()
        assert listener.wait(PATIENCE).reconnected
        user = User(storage)
        use_everything(storage, user)
        handle_in_transactions(storage, user.own("effects").fence)
        change_projections(storage)
        append_in_transaction(storage)
        heard = listener.wait(PATIENCE)
        assert heard.head == 4
        assert heard.touched
        assert storage.drop(soon())
        user.close()


def test_what_others_do_to_a_session_between_two_statements_changes_nothing(
    config: Config, hostile: str
) -> None:
    """G34: behind a pooler they set its search path and leave temporary tables there."""
    with ExitStack() as closing:
        storage = PostgresStorage(config)
        closing.callback(storage.close)
        storage.open(init=True, deadline=soon())
        user = User(storage)
        user.store("order-0")
        storage.read_after("order-0", 0, 10, 1 << 20, soon())
        spoil = [f'SET search_path = "{hostile}", pg_catalog'.encode()]
        spoil += [f"CREATE TEMP TABLE {name} ()".encode() for name in ("text", "uuid", "events")]

        def spoiled(connection: GuardedConnection) -> None:
            for statement in spoil:
                connection.raw.pgconn.exec_(statement)

        assert isinstance(user.appender, PostgresAppendSession)
        assert isinstance(user.keeper, PostgresKeeperSession)
        storage._pool.run_once(spoiled, soon())
        for session in (user.appender, user.keeper):
            session._connection.run_once(spoiled, soon())
        user.store("order-0")
        events_after = storage.read_after("order-0", 0, 10, 1 << 20, soon())
        assert [e.position for e in events_after] == [1, 2]
        fence = user.own("s", "order-0").fence
        assert user.keep(fence, 2).checkpoint == 2
        assert storage.history_holds(1, events_after[0].event_id, soon())
        user.close()
