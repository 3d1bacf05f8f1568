"""Appends that share a commit: one that fails, fails alone."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    AppendResult,
    DuplicateEventError,
    EventData,
    EventStore,
    ExpectedVersion,
    StorageError,
    WrongExpectedVersionError,
)

CALLERS = 100


@pytest.fixture
def poison(dsn: str, schema: str, settings: dict[str, object]) -> None:
    """Let the database itself fail on events of type Poison, in a way that nobody foresees."""
    names = {
        "events": sql.Identifier(schema, "events"),
        "function": sql.Identifier(schema, "poisoned"),
    }
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN IF NEW.event_type = 'Poison' THEN RAISE EXCEPTION 'poisoned'; END IF;"
                " RETURN NEW; END $$"
            ).format(**names)
        )
        connection.execute(
            sql.SQL(
                "CREATE TRIGGER poisoned BEFORE INSERT ON {events}"
                " FOR EACH ROW EXECUTE FUNCTION {function}()"
            ).format(**names)
        )


def test_among_a_hundred_concurrent_appends_each_bad_one_fails_alone(
    poison: None, store: EventStore
) -> None:
    """G7, G1: poison, a wrong version, a used id; all others are stored."""
    used = EventData("Kept", 0)
    store.append_to_stream("used", 0, [used])
    together = threading.Barrier(CALLERS)

    def append(number: int) -> AppendResult:
        together.wait(timeout=60)
        match number:
            case 10 | 60:
                return store.append_to_stream(f"s-{number}", 0, [EventData("Poison", number)])
            case 20 | 70:
                return store.append_to_stream(f"s-{number}", 7, [EventData("Kept", number)])
            case 30 | 80:
                return store.append_to_stream(f"s-{number}", 0, [used])
        # Every tenth is one of several to the same stream, merged perhaps.
        stream = "hot" if number % 10 == 5 else f"s-{number}"
        return store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("Kept", number)])

    with ThreadPoolExecutor(CALLERS) as threads:
        calls = [threads.submit(append, number) for number in range(CALLERS)]
    assert_failed_alone(calls, used.event_id)
    stored = {event.data for event in store.read_all_streams_forward()}
    assert stored == set(range(CALLERS)) - {10, 20, 30, 60, 70, 80}
    assert store.health().running


def assert_failed_alone(calls: list[Future[AppendResult]], used: UUID) -> None:
    errors = {number: call.exception() for number, call in enumerate(calls) if call.exception()}
    assert sorted(errors) == [10, 20, 30, 60, 70, 80]
    for number in (10, 60):
        poisoned = errors[number]
        assert isinstance(poisoned, StorageError)
        assert "poisoned" in f"{poisoned} {poisoned.__cause__}"
    for number in (20, 70):
        assert isinstance(errors[number], WrongExpectedVersionError)
    for number in (30, 80):
        error = errors[number]
        assert isinstance(error, DuplicateEventError)
        assert error.event_id == used


def test_a_used_id_among_merged_appends_to_one_stream_refuses_its_own_append_alone(
    store: EventStore,
) -> None:
    """G7, G6: appends to a hot stream share one item; the refusal does not."""
    used = EventData("Kept", -1)
    store.append_to_stream("elsewhere", 0, [used])
    together = threading.Barrier(30)

    def append(number: int) -> AppendResult:
        together.wait(timeout=60)
        event = used if number == 13 else EventData("Kept", number)
        return store.append_to_stream("hot", ExpectedVersion.ANY, [event])

    with ThreadPoolExecutor(30) as threads:
        calls = [threads.submit(append, number) for number in range(30)]
    refused = [number for number, call in enumerate(calls) if call.exception()]
    assert refused == [13]
    assert isinstance(calls[13].exception(), DuplicateEventError)
    assert len(store.read_stream_forward("hot")) == 29
