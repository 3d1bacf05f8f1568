"""What a listener learns when the database does not tell it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import pytest

from eventstore import CallerRuntime, EventData, EventStore, ExpectedVersion
from eventstore.model.config import Config
from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.statements import Statements
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql, listener_with
from tests.support.pgserver import TestServer
from tests.support.waiting import AGES, PATIENCE, wait_until

CUT_LISTENER = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name LIKE '%listens:%'
"""


@pytest.fixture
def listener(storage: PostgresStorage) -> Iterator[PostgresHeadListener]:
    listener = storage.head_listener()
    assert isinstance(listener, PostgresHeadListener)
    assert listener.wait(PATIENCE).reconnected
    yield listener
    listener.close()


def test_a_cut_listener_connects_anew_and_reads_the_head(
    listener: PostgresHeadListener, other: User, psql: Psql
) -> None:
    """NOT-01, REC-01, G23: what was announced meanwhile is found, and the next is heard again."""
    psql(CUT_LISTENER)
    other.store("order-1")
    heard = listener.wait(PATIENCE)
    assert (heard.head, heard.reconnected) == (1, True)
    assert listener.listening
    other.store("order-1")
    other.announce()
    began = time.monotonic()
    assert listener.wait(AGES).head == 2
    assert time.monotonic() - began < PATIENCE


def test_a_deaf_listener_looks_at_every_timeout(
    listener: PostgresHeadListener, user: User, psql: Psql
) -> None:
    """G23: an announcement that never comes costs the timeout, nothing more."""
    assert listener._ears.connection is not None
    listener._ears.connection.raw.execute("UNLISTEN *")
    user.store("order-1")
    assert listener.wait(0.05).head == 1


class DeafStatements(Statements):
    """Through a pooler LISTEN succeeds somewhere else."""

    def __init__(self, schema: str) -> None:
        super().__init__(schema)
        self.listen = b"SELECT 1"


def test_listening_that_does_not_hear_itself_is_no_listening(
    storage: PostgresStorage, user: User, schema: str
) -> None:
    """G23: its own probe did not come back."""
    listener = listener_with(DeafStatements(schema), storage)
    try:
        heard = listener.wait(PATIENCE)
        assert heard.reconnected
        assert heard.deaf
        assert not listener.listening
        user.store("order-1")
        assert listener.wait(0.05).head == 1
    finally:
        listener.close()


def test_a_deaf_store_says_so_and_still_delivers(
    dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G23, G32: health shows it; another process's events come within the poll interval."""
    config = Config(dsn, schema=schema, poll_interval=0.1)
    received = queue.SimpleQueue[int]()
    with EventStore.connect(config, runtime=CallerRuntime, init=True) as another:
        monkeypatch.setattr(
            "eventstore.storages.postgres.postgres_storage.Statements", DeafStatements
        )
        with EventStore.connect(config) as store:
            store.subscribe_to_all_streams("all", lambda events: received.put(len(events)))
            wait_until(lambda: store.health().database_reachable)
            assert not store.health().listening
            another.append_to_stream("order-1", ExpectedVersion.ANY, [EventData("X", 1)])
            assert received.get(timeout=PATIENCE) == 1


def test_somebody_elses_probe_wakes_nobody(
    listener: PostgresHeadListener, storage: PostgresStorage
) -> None:
    """G23: another process that starts to listen is no news."""
    listener.wake()
    listener.wait(PATIENCE)
    another = storage.head_listener()
    another.wait(PATIENCE)
    another.close()
    started = time.monotonic()
    assert not listener.wait(0.2).touched
    assert time.monotonic() - started >= 0.15


def test_closing_ends_a_wait(listener: PostgresHeadListener) -> None:
    """G26: from another thread, at once."""
    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(StorageUnavailableError):
            listener.wait(60)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    listener.close()
    assert ended.wait(PATIENCE)
    thread.join()


def test_a_listener_waits_for_a_server_that_is_away() -> None:
    """G23, G25: it fails after its timeout, and hears of everything when the server is back."""
    with TestServer() as server:
        storage = PostgresStorage(Config(server.dsn))
        storage.open(init=True, deadline=soon())
        user = User(storage)
        listener = storage.head_listener()
        listener.wait(PATIENCE)
        user.store("order-1")
        server.kill9_postmaster()
        with contextlib.suppress(StorageUnavailableError):  # heard of, or noticed the end first
            listener.wait(PATIENCE)
        with pytest.raises(StorageUnavailableError):
            listener.wait(0.1)
        server.start()
        heard = listener.wait(PATIENCE)
        assert (heard.head, heard.reconnected) == (1, True)
        user.store("order-1")
        assert listener.wait(PATIENCE).head == 2
        storage.close()


def test_what_another_store_announces_is_not_heard(
    listener: PostgresHeadListener, other: User, psql: Psql
) -> None:
    """G34: a session that a pooler lends to several clients may listen for all of them."""
    assert listener._ears.connection is not None
    listener._ears.connection.raw.execute("LISTEN another_events")
    psql("NOTIFY another_events, 's500'")
    assert not listener.wait(0.2).touched
    # Also what comes with the answer to a statement of ours.
    listener._ears.connection.raw.execute("NOTIFY another_events, 's500'")
    assert not listener.wait(0.2).touched
    other.announce(1)
    assert listener.wait(AGES).touched == {1}


def test_announcements_for_others_are_not_kept(user: User) -> None:
    """G34, G22: psycopg itself would keep each of them for ever."""
    session = user.appender
    assert isinstance(session, PostgresAppendSession)

    def hear(connection: GuardedConnection) -> int:
        connection.raw.execute("LISTEN another_events")
        connection.raw.execute("NOTIFY another_events")
        connection.raw.execute("UNLISTEN another_events")
        return len(connection.raw._notifies_backlog or ())

    assert session._connection.run_once(hear, soon()) == 0
