"""Events in transactions of callers in other processes: killed, frozen, rolled back, committed."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import pytest

from eventstore import EventData, EventStore, ExpectedVersion, StorageUnavailableError
from tests.acceptance.guarantees.conftest import Settings, Start
from tests.acceptance.guarantees.test_live_delivery import listening
from tests.support.late_answers import expect_late_answers
from tests.support.plain_sql import Sql
from tests.support.processes import Service
from tests.support.waiting import AGES, wait_until

NAME = "sub"
ROUNDS = 4


@pytest.fixture
def outside(foreign: Any) -> Sql:
    """Somebody with SQL, and the table of the application."""
    outside: Sql = foreign()
    outside("CREATE TABLE {}.notes (number bigint PRIMARY KEY)")
    return outside


@pytest.fixture
def table(settings: Settings) -> str:
    return f"{settings['schema']}.notes"


def notes(outside: Sql) -> list[int]:
    return [number for (number,) in outside("SELECT number FROM {}.notes ORDER BY 1")]


def events(store: EventStore) -> list[tuple[int, int]]:
    """Return position and number of each event."""
    found = store.read_all_streams_forward(count=None)
    return [(event.global_position, event.data["number"]) for event in found]


def append_after(store: EventStore, timeout: float = AGES) -> int | None:
    """Append one more event; return its position."""
    after = EventData("Noted", {"number": 0})
    return store.append_to_stream(
        "after", ExpectedVersion.ANY, [after], timeout=timeout
    ).last_global_position


def test_what_a_killed_process_had_not_committed_was_never_there(
    start: Start, observer: EventStore, outside: Sql, table: str
) -> None:
    """G37, G3: neither the row nor the event, and the position goes to the next append."""
    (service,) = start()
    service.do("note", table=table, number=1).wait("noted")
    service.kill9()
    assert append_after(observer) == 1
    assert (notes(outside), events(observer)) == ([], [(1, 0)])


@pytest.mark.parametrize("runtime", ["caller", "actors"])
def test_what_a_process_rolls_back_was_never_there(
    start: Start, observer: EventStore, outside: Sql, table: str, runtime: Any
) -> None:
    """G37, G3: and what it commits next has both."""
    (service,) = start(runtime=runtime)
    service.do("note", table=table, number=1).wait("noted")
    service.do("rollback").wait("rolled back")
    assert append_after(observer) == 1
    service.do("note", table=table, number=2).wait("noted", number=2)
    service.do("commit").wait("committed")
    assert (notes(outside), events(observer)) == ([2], [(1, 0), (2, 2)])


def test_a_frozen_process_frees_the_lock_and_loses_its_transaction(
    start: Start,
    observer: EventStore,
    outside: Sql,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G37, G25: after `caller_transaction_timeout`; before, others hear who holds the lock."""
    expect_late_answers(monkeypatch, margin=4.5)
    (service,) = start(caller_transaction_timeout=4.0)
    service.do("note", table=table, number=1).wait("noted")
    service.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StorageUnavailableError, match=r"process \d+ .* holds the write lock"):
            append_after(observer, timeout=5.0)
        assert append_after(observer) == 1
    finally:
        service.signal(signal.SIGCONT)
    service.do("commit").wait("lost")
    assert (notes(outside), events(observer)) == ([], [(1, 0)])


def test_a_process_that_is_killed_at_any_moment_has_stored_both_or_neither(
    start: Start, observer: EventStore, outside: Sql, table: str
) -> None:
    """G37, G3, G5, G13: what committed is delivered, in order and without a gap."""
    (subscriber,) = start()
    subscriber.do("subscribe", name=NAME).wait("subscribed")
    kept: set[int] = set()
    for seed in range(ROUNDS):
        (service,) = start()
        service.do("note_on", table=table, seed=1_000 * (seed + 1))
        service.wait("kept", count=10)
        service.kill9()
        kept |= {report["number"] for report in service.reports("kept")}
    position = append_after(observer)
    stored = events(observer)
    assert [number for _, number in stored[:-1]] == notes(outside)
    assert kept <= {number for _, number in stored}
    assert [place for place, _ in stored] == list(range(1, len(stored) + 1))
    assert position == len(stored)
    assert subscriber.wait_delivered(NAME, len(stored)) == [place for place, _ in stored]


# ── who hears of it ──────────────────────────────────────────────────────────────────────────────


def test_a_commit_of_the_caller_is_announced_without_another_call(
    start: Start, outside: Sql, table: str
) -> None:
    """G37, G23: in its own process and in another one, neither of which polls."""
    writer, reader = start(2, poll_interval=AGES)
    for service in (writer, reader):
        service.do("subscribe", name=service_name(service, writer)).wait("subscribed")
        wait_until(partial(listening, service))
    for number in range(1, 4):
        writer.do("note", table=table, number=number).wait("noted", number=number)
        writer.do("commit").wait("committed", count=number)
        for service in (writer, reader):
            name = service_name(service, writer)
            assert service.wait_delivered(name, number) == list(range(1, number + 1))


def service_name(service: Service, writer: Service) -> str:
    return "own" if service is writer else "other"


def test_without_actors_a_wake_after_the_commit_is_an_announcement(
    start: Start, table: str, outside: Sql
) -> None:
    """G37, G23: for hooks that run after the commit."""
    (writer,) = start(runtime="caller")
    (reader,) = start(poll_interval=AGES)
    reader.do("subscribe", name=NAME).wait("subscribed")
    wait_until(lambda: listening(reader))
    writer.do("note", table=table, number=1).wait("noted")
    writer.do("commit").wait("committed")
    writer.do("wake").wait("woken")
    assert reader.wait_delivered(NAME, 1) == [1]
