"""One statement, several appends: what one of them breaks, and what the others learn of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventstore.model.errors import (
    DuplicateEventError,
    StorageError,
    StorageUnavailableError,
    WrongExpectedVersionError,
)
from eventstore.ports.stored_events import Committed, EncodedEvent, StreamAppend
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import PostgresAppendSession
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, event, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.unprotected import unprotected

POISONOUS = [
    pytest.param(lambda: part("s", (EncodedEvent(event().event_id, "", b"{}"),)), id="type"),
    pytest.param(lambda: part("$s", events(1)), id="stream"),
    pytest.param(lambda: part("nul\x00", events(1)), id="nul"),
    pytest.param(lambda: StreamAppend("s", -1, (event(),) * 2), id="an-id-twice"),
]


@pytest.mark.parametrize("poisonous", POISONOUS)
def test_a_poisonous_append_fails_its_group_and_leaves_nothing(
    user: User, poisonous: Callable[[], StreamAppend]
) -> None:
    """G7, G1: nothing was written, so each can be sent again alone, and only one fails."""
    good, bad, fine = (part("a", events(2)),), (poisonous(),), (part("b", events(1)),)
    with pytest.raises(StorageError) as error:
        user.append_all(good, bad, fine)
    assert not isinstance(error.value, StorageUnavailableError)
    assert user.storage.stream_info("$all", soon()).stream_version == 0
    assert isinstance(user.append(*good), Committed)
    with pytest.raises(StorageError):
        user.append(*bad)
    stored = user.append(*fine)
    assert isinstance(stored, Committed)
    assert stored.results[0].first_global_position == 3


def test_refusals_and_a_repetition_share_a_commit(user: User) -> None:
    """APS-07, APS-09, APS-11, APS-12, G6, G7: each append of a group is judged on its own."""
    known, fresh = events(2), events(2)
    user.append(part("a", known))
    outcomes = user.append_all(
        (part("a", known, expected=0),),
        (part("b", (event(), fresh[0]), expected=0), part("c", events(1), expected=4)),
        (part("d", (known[1], event())),),
        (part("e", (fresh[1],)), part("f", expected=0)),
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Committed",
        "WrongExpectedVersionError",
        "DuplicateEventError",
        "Committed",
    ]
    repeated, _, _, stored = outcomes
    assert isinstance(repeated, Committed)
    assert isinstance(stored, Committed)
    assert (repeated.repeated, repeated.results[0].last_global_position) == (True, 2)
    assert (stored.repeated, stored.results[0].first_global_position) == (False, 3)


def test_a_used_id_fails_no_neighbour_that_is_as_expected(user: User) -> None:
    """G6, G7: the database notices it only while it stores the whole group."""
    known = event()
    user.append(part("a", (known,)))
    outcomes = user.append_all(
        (part("b", events(1)),), (part("c", (event(), known)),), (part("d", events(1)),)
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, DuplicateEventError, Committed]
    assert user.storage.stream_info("$all", soon()).stream_version == 3


def test_a_refused_append_among_others_leaves_no_stream_behind(user: User, psql: Psql) -> None:
    """G1, G7: though a neighbour creates streams in the same commit."""
    refused = part("refused", events(1), expected=1)
    outcomes = user.append_all((part("a", events(1)),), (refused, part("beside", events(1))))
    assert [type(outcome) for outcome in outcomes] == [Committed, WrongExpectedVersionError]
    assert psql("SELECT stream_id FROM {}.streams") == [("a",)]


def test_a_big_event_goes_through(user: User) -> None:
    """G28: 64 MiB of one event, unchanged."""
    data = bytes(range(256)) * (64 * 1024 * 4)
    user.append(part("big", (event(data),)))
    assert user.storage.read_after("$all", 0, 10, 1, soon())[0].data == data


def test_a_damaged_schema_is_refused_with_a_hint(user: User, psql: Psql, schema: str) -> None:
    """G4: without its row the lock would be none."""
    with unprotected(psql.connection, schema):
        psql("DELETE FROM {}.write_lock")
    with pytest.raises(StorageError, match="write_lock has no row"):
        user.store("a")


def test_a_connection_is_kept_over_refusals(storage: PostgresStorage, psql: Psql) -> None:
    """G7: an error of one statement costs no new connection."""
    session = storage.append_session()
    assert isinstance(session, PostgresAppendSession)
    pid = b"SELECT pg_backend_pid()"
    before = session._connection.run_once(lambda c: c.execute(pid, (), soon()), soon())
    with pytest.raises(StorageError):
        session.append([(part("$bad", events(1)),)], soon())
    after = session._connection.run_once(lambda c: c.execute(pid, (), soon()), soon())
    assert after == before
