"""What a listener tells so that a history that went back is noticed, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventstore.ports.reads import ReadDirection
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.head_listener import PostgresHeadListener
from eventstore.storages.postgres.statements import Statements, channel_of
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql, listener_with
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def listener(storage: PostgresStorage) -> Iterator[PostgresHeadListener]:
    listener = storage.head_listener()
    assert isinstance(listener, PostgresHeadListener)
    assert listener.wait(PATIENCE).reconnected
    yield listener
    listener.close()


def test_a_look_tells_which_event_is_at_the_head(
    listener: PostgresHeadListener, user: User
) -> None:
    """G31: an empty store has none."""
    assert listener.wait(0.01).newest is None
    user.store("order-1", 2)
    heard = listener.wait(0.01)
    (newest,) = user.storage.read_all(2, 1, ReadDirection.FORWARD, soon())
    assert (heard.head, heard.newest) == (2, newest.event_id)


@pytest.mark.parametrize(
    "payload", ["999999999", "0", "²", "-1", "s", "s1,", "e", "", "p", "x" * 7_999]
)
def test_an_announcement_is_a_hint_to_look_and_nothing_else(
    listener: PostgresHeadListener, user: User, psql: Psql, schema: str, payload: str
) -> None:
    """F1, F2, G23: whatever somebody says on the channel, the head is what the store says."""
    user.store("order-1", 2)

    psql("SELECT pg_notify(%s, %s)", channel_of(schema), payload)

    heard = listener.wait(PATIENCE)
    assert (heard.head, heard.touched) == (2, frozenset())


class SlowLook(Statements):
    """Reads the head, and answers half a second later."""

    def __init__(self, schema: str) -> None:
        super().__init__(schema)
        self.newest = self.newest + b", pg_sleep(0.5)"


def test_what_is_committed_while_a_new_connection_reads_the_head_is_heard(
    storage: PostgresStorage, user: User, psql: Psql, schema: str
) -> None:
    """G23: it is announced together with the answer, which does not know of it."""
    listener = listener_with(SlowLook(schema), storage)
    try:
        with ThreadPoolExecutor(1) as threads:
            connecting = threads.submit(listener.wait, PATIENCE)
            wait_until(lambda: psql("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
            user.store("order-1")
            user.announce()
            heard = connecting.result(PATIENCE)
        assert heard.reconnected
        assert heard.head == 1 or listener.wait(60).head == 1
    finally:
        listener.close()
