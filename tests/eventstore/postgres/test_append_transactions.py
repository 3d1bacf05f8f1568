"""What an append costs the server: one transaction id, and no lock that another store takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from eventstore import EventData, EventStore, ExpectedVersion
from eventstore.model.config import Config
from eventstore.model.errors import DuplicateEventError
from eventstore.ports.stored_events import Committed
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.pgserver import TestServer
from tests.support.waiting import wait_until

SAMPLES = 3_000
LOOKS = 100
"""Commits that look for their event ids first, after one with a duplicate."""


@pytest.fixture(scope="module")
def quiet_server() -> Iterator[TestServer]:
    """A server on which nobody else takes a transaction id."""
    with TestServer({"autovacuum": "off"}) as server:
        yield server


@pytest.fixture
def dsn(quiet_server: TestServer) -> str:
    return quiet_server.dsn


class Ids:
    """Counts the transaction ids that were given out; looking takes none."""

    def __init__(self, psql: Psql) -> None:
        self._psql = psql
        self._next = self._look()

    def taken(self) -> int:
        """Return how many since the last call."""
        before, self._next = self._next, self._look()
        return self._next - before

    def _look(self) -> int:
        ((number,),) = self._psql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(number)


@pytest.fixture
def ids(user: User, psql: Psql) -> Ids:
    user.store("first")
    return Ids(psql)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of each commit of appends."""
    names: list[str] = []
    append: Callable[..., Any] = PostgresAppendSession.append

    def noted(session: PostgresAppendSession, *arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return append(session, *arguments)

    monkeypatch.setattr(PostgresAppendSession, "append", noted)
    return names


def test_a_commit_takes_one_transaction_id_whatever_is_in_it(user: User, ids: Ids) -> None:
    """G4, G9: of one event or many, to a new stream or several, of one append or many."""
    for _ in range(5):
        user.store("first")
    assert ids.taken() == 5
    user.store("first", 200)
    assert ids.taken() == 1
    user.append(*(part(f"new-{number}", events(3)) for number in range(5)))
    assert ids.taken() == 1
    user.append_all(*((part(f"s-{number}", events(2)),) for number in range(20)))
    assert ids.taken() == 1


def test_an_append_in_the_callers_thread_takes_one_transaction_id_and_so_does_a_group(
    config: Config, ids: Ids, commits: list[str]
) -> None:
    """G4, G2: the announcer takes none where nobody listens."""
    with EventStore.connect(config) as store:
        wait_until(lambda: store.health().listening)
        ids.taken()
        for number in range(10):
            store.append_to_stream("own", number, [EventData("X", number)])
        assert commits == [threading.current_thread().name] * 10
        assert ids.taken() == 10

        commits.clear()
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda n: append_any(store, n), range(200)))
        assert "eventstore-writer" in commits
        assert len(commits) < 200
        assert ids.taken() == len(commits)


def append_any(store: EventStore, number: int) -> None:
    store.append_to_stream("group", ExpectedVersion.ANY, [EventData("X", number)])


def test_a_duplicate_id_takes_two_transaction_ids_and_the_next_99_commits_one(
    user: User, ids: Ids
) -> None:
    """G6: the first one is refused by the index; then ids are looked for first, for a while."""
    stored = event()
    assert isinstance(user.append(part("a", (stored,))), Committed)
    assert ids.taken() == 1

    for _ in range(2):
        assert isinstance(user.append(part("b", (stored,))), DuplicateEventError)
        assert ids.taken() == 2
        for left in reversed(range(LOOKS - 1)):
            if left % 10 == 0:
                outcome = user.append(part("a", (stored,)))
                assert isinstance(outcome, Committed)
                assert outcome.repeated
            else:
                user.store("b")
        assert ids.taken() == LOOKS - 1
    assert user.storage.stream_info("a", soon()).stream_version == 1


def test_two_stores_of_one_server_commit_side_by_side(
    config: Config, user: User, psql: Psql
) -> None:
    """G4: no append waits for the lock of all notifications, though every one is announced."""
    neighbour = replace(config, schema=f"{config.schema}_b")
    done = threading.Event()
    with ExitStack() as stack:
        # Announced from other sessions: a look takes a session's statement and its wait separately.
        users = []
        for each in (config, config, neighbour, neighbour):
            storage = PostgresStorage(each)
            stack.callback(storage.close)
            storage.open(init=True, deadline=soon())
            users.append(User(storage))
        threads = stack.enter_context(ThreadPoolExecutor(len(users)))
        stack.callback(done.set)
        appending = [threads.submit(append_until, user, done) for user in users]
        for sample in range(SAMPLES):
            assert psql(_WAITING_FOR_AN_OBJECT) == [], f"sample {sample}"
        done.set()
        assert all(future.result(60) > 1 for future in appending)


_WAITING_FOR_AN_OBJECT = """
    SELECT pid, application_name FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND wait_event = 'object' AND query LIKE '%append_events%'
"""


def append_until(user: User, done: threading.Event) -> int:
    count = 0
    while not done.is_set():
        user.store("s")
        user.announce(1)
        count += 1
    return count
