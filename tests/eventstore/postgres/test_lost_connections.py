"""Connections that end while something is under way: nothing lost, nothing twice, nothing hangs."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from eventstore.model.config import Config
from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import AppendSession
from eventstore.ports.stored_events import Append, Committed
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting import connection
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.pgserver import TestServer
from tests.support.waiting import PATIENCE, wait_until

KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE query LIKE '%%append_events%%' AND pid <> pg_backend_pid()
"""

STILL_APPENDING = """
    SELECT 1 FROM pg_stat_activity
     WHERE query LIKE '%append_events%' AND state = 'active' AND pid <> pg_backend_pid()
"""


def until_answered(session: AppendSession, append: Append) -> tuple[Committed, int]:
    """Append with the same ids until it is answered; also how often that was unknown."""
    unknown = 0
    while True:
        try:
            outcome = session.append([append], soon())[0]
        except OutcomeUnknownError:
            unknown += 1
        else:
            assert isinstance(outcome, Committed)
            return outcome, unknown


@contextmanager
def backends_killed_at_random(psql: Psql) -> Iterator[None]:
    enough = threading.Event()

    def kill() -> None:
        chance = random.Random(1)
        while not enough.wait(chance.uniform(0.001, 0.03)):
            psql(KILL)

    killer = threading.Thread(target=kill, name="killer")
    killer.start()
    try:
        yield
    finally:
        enough.set()
        killer.join()


def test_an_append_whose_backend_is_killed_is_stored_once(user: User, psql: Psql) -> None:
    """G1, G3, G5, G6, G25: appended again with the same ids, it is there once, without a gap."""
    unknown = appended = 0
    with backends_killed_at_random(psql):
        # A kill may hit the connection while nothing is under way: on until one did not.
        for number in range(2_000):
            parts = (part(f"order-{number % 7}", events(3)), part(f"bill-{number}", events(1)))
            committed, failures = until_answered(user.appender, parts)
            assert committed.results[0].last_global_position == 4 * number + 3
            unknown += failures
            appended += 4
            if unknown and number >= 199:
                break
    assert unknown > 0
    stored = user.storage.read_all(1, 10_000, ReadDirection.FORWARD, soon())
    assert [event.global_position for event in stored] == list(range(1, appended + 1))
    assert len({event.event_id for event in stored}) == appended


def test_reads_and_keeping_go_on_over_killed_connections(user: User, psql: Psql) -> None:
    """G25: what may be repeated is repeated, on a new connection, before anybody notices."""
    user.store("order-1", 3)
    owned = user.own()
    for checkpoint in (1, 2, 3):
        psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'eventstore'"
        )
        assert len(user.storage.read_all(1, 10, ReadDirection.FORWARD, soon())) == 3
        assert user.keep(owned.fence, checkpoint).checkpoint == checkpoint


def test_a_read_is_repeated_whose_connection_turns_out_to_be_cut(
    user: User, psql: Psql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G25: nobody looked at the connection before, so the read itself finds out."""
    monkeypatch.setattr(connection, "_FRESH", math.inf)
    user.store("order-1", 3)
    for _ in range(3):
        psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'eventstore'"
        )
        assert len(user.storage.read_all(1, 10, ReadDirection.FORWARD, soon())) == 3


def test_a_success_survives_the_death_of_the_server() -> None:
    """G5, G25: kill -9 right after the answer, recovery, and every answered append is there."""
    with TestServer() as server, ExitStack() as stack:
        storage = PostgresStorage(Config(server.dsn))
        stack.callback(storage.close)
        storage.open(init=True, deadline=soon())
        user = User(storage)
        ids: list[UUID] = []
        for _ in range(3):
            batch = events(5)
            assert isinstance(user.append(part("order-1", batch)), Committed)
            ids += [event.event_id for event in batch]
            server.kill9_postmaster()
            server.start()
        found = storage.read_stream("order-1", 1, 100, ReadDirection.FORWARD, soon())
        assert [event.event_id for event in found] == ids


def test_without_a_server_nothing_is_written_and_that_is_known(config: Config) -> None:
    """G25: the call ends at its deadline, and says that it may be repeated."""
    storage = PostgresStorage(replace(config, dsn="host=127.0.0.1 port=1 dbname=none"))
    with pytest.raises(StorageUnavailableError, match="cannot connect"):
        storage.open(init=False, deadline=soon())
    with pytest.raises(StorageUnavailableError, match="cannot connect"):
        storage.append_session().append([(part("order-1", events(1)),)], soon())
    storage.close()


def test_another_server_of_the_list_will_do(config: Config, storage: PostgresStorage) -> None:
    """G25: the first one is gone, the next takes writes."""
    given = conninfo_to_dict(config.dsn)
    host, port = given["host"], given.get("port", 5432)
    several = make_conninfo(config.dsn, host=f"127.0.0.1,{host}", port=f"1,{port}")
    with_two = PostgresStorage(replace(config, dsn=several))
    with_two.open(init=False, deadline=soon())
    with_two.close()


def test_a_server_that_takes_no_writes_any_more_is_left(user: User) -> None:
    """G25, G27: a primary that became a standby is no server, and the next try finds another."""
    appender = user.appender
    assert isinstance(appender, PostgresAppendSession)
    readonly = b"SELECT set_config('default_transaction_read_only', 'on', false)"
    appender._connection.run_once(lambda c: c.execute(readonly, (), soon()), soon())

    with pytest.raises(StorageUnavailableError) as refused:
        user.store("order-1")
    assert isinstance(refused.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)

    assert user.store("order-1").results[0].last_version == 1


FORK = """
import os, sys, time
from uuid import uuid4
from eventstore.model.config import Config
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.ports.stored_events import Committed, EncodedEvent, StreamAppend
from eventstore.storages.postgres.connecting import connection

def append():
    event = EncodedEvent(uuid4(), "Happened", b"{}")
    return session.append([(StreamAppend("s", -1, (event,)),)], time.monotonic() + 10)[0]

storage = PostgresStorage(Config(sys.argv[1], schema=sys.argv[2]))
storage.open(init=True, deadline=time.monotonic() + 10)
session = storage.append_session()
pid = lambda c: c.execute(b"SELECT pg_backend_pid()", (), time.monotonic() + 10)
append()
pids = lambda: [each.run_once(pid, time.monotonic() + 10)
                for each in (session._connection, storage._pool)]
before = pids()
if os.fork() == 0:
    storage.close()
    sys.exit()
os.wait()
assert isinstance(append(), Committed)
assert pids() == before
storage.close()
print("same connections")
"""


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(dsn: str, schema: str) -> None:
    """G5, G26: neither by closing the storage nor by its own end."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", FORK, dsn, schema],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("same connections\n", "")


def test_what_is_closed_is_not_opened_again(user: User) -> None:
    """G26: a call under way elsewhere ends, and a later one is refused."""
    storage = user.storage
    storage.close()
    storage.close()
    for use in _uses(user):
        with pytest.raises(StorageUnavailableError, match="closed"):
            use()


def _uses(user: User) -> list[Callable[[], object]]:
    return [
        lambda: user.store("order-1"),
        lambda: user.storage.stream_info("$all", soon()),
        lambda: user.keeper.look([1], soon()),
        lambda: user.storage.head_listener().wait(1),
    ]


def test_closing_ends_a_call_under_way(
    open_storage: Callable[[], PostgresStorage], psql: Psql
) -> None:
    """G26: nobody waits for its deadline."""
    storage = open_storage()
    user = User(storage)
    failures: list[Exception] = []

    def append() -> None:
        try:
            user.store("order-1")
        except (OutcomeUnknownError, StorageUnavailableError) as error:
            failures.append(error)

    with psql.connection.transaction():
        psql("SELECT {}.lock_head(1000)")
        thread = threading.Thread(target=append)
        thread.start()
        wait_until(lambda: psql("SELECT 1 FROM pg_locks WHERE NOT granted"))
        storage.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert isinstance(failures[0], OutcomeUnknownError)
    # The server does not know yet that nobody waits for the answer.
    wait_until(lambda: not psql(STILL_APPENDING))
