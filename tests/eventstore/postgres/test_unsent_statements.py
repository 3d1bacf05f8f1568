"""A statement that was not sent, or certainly not read, is never called unknown."""

from __future__ import annotations

import psycopg
import pytest

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.ports.stored_events import EncodedEvent
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import event, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import wait_until


def test_nothing_is_sent_on_a_connection_that_is_lost_already(storage: PostgresStorage) -> None:
    """F36, G25: for instance the second statement of a call, after the first."""

    def call(connection: GuardedConnection) -> None:
        connection.execute(b"SELECT 1", (), soon())
        connection.interrupt()
        connection.execute(b"SELECT 1", (), soon())

    with pytest.raises(StorageUnavailableError, match="before the statement was sent"):
        storage._pool.run_once(call, soon())


def test_a_value_that_cannot_be_sent_is_refused(storage: PostgresStorage) -> None:
    """F27, G25: whatever it is; it never left this process."""
    session = storage.append_session()
    odd = EncodedEvent(event().event_id, "Happened", object())  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="cannot be sent") as refused:
        session.append([(part("order-1", (odd,)),)], soon())
    assert not refused.value.retryable
    assert storage.stream_count(soon()) == 0


@pytest.mark.parametrize(
    ("end", "reaction"),
    [
        ("SET idle_session_timeout = 1", Reaction.RECONNECT),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Reaction.LOST),
    ],
)
def test_a_session_that_ended_because_it_was_idle_has_read_nothing(
    dsn: str, psql: Psql, end: str, reaction: Reaction
) -> None:
    """F36, G25: unlike one that an administrator ended, which may have been at work."""
    # At times the end arrives without the message that says why.
    ended = next(error for _ in range(50) if (error := end_of_session(dsn, psql, end)).sqlstate)
    assert reaction_to(ended) is reaction


def end_of_session(dsn: str, psql: Psql, end: str) -> psycopg.Error:
    with psycopg.connect(dsn, autocommit=True) as connection:
        pid = connection.info.backend_pid
        try:
            connection.execute(end.encode())
            wait_until(lambda: not psql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            return error
    raise AssertionError("the session did not end")
