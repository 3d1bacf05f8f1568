"""Every connection of a store is cut, again and again: nothing is lost, everything goes on."""

from __future__ import annotations

import time
from itertools import pairwise

import psycopg

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import (
    QUICK,
    Record,
    Start,
    sessions,
    wait_for_checkpoint,
)
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.processes import Service
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

ROUNDS = 10


def terminate(dsn: str, schema: str) -> None:
    """Cut every connection of the store, as an administrator would, and wait for their end."""
    doomed = sessions(dsn, schema)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [doomed])
    wait_until(lambda: not set(doomed) & set(sessions(dsn, schema)))


def test_appends_and_deliveries_go_on_while_every_backend_is_killed(
    dsn: str, schema: str, start: Start, observer: EventStore
) -> None:
    """G24, G25, G5, G13, G14, G15: writer, keeper, listener and pool, ten times."""
    (service,) = start()
    service.do("subscribe", name="actor", max_batch_size=7)
    service.do("subscribe_callable", name="function", batch_by="any")
    service.do("write", streams=["a", "b", "c"], seed=24, most_streams=2, timeout=30)
    for _ in range(ROUNDS):
        service.wait("appended", count=len(service.reports("appended")) + 20)
        wait_until(lambda: len(sessions(dsn, schema)) >= 3)
        terminate(dsn, schema)
    service.wait("appended", count=len(service.reports("appended")) + 20)
    service.do("stop").wait("written")

    stored = everything(observer)
    assert_stored(service.reports("appended"), stored)
    assert not service.reports("failed"), "each had 30 seconds"
    for name in ("actor", "function"):
        assert_all_delivered(service, observer, name, len(stored))
    assert_in_order(service.positions("actor"))
    assert service.running


def assert_all_delivered(service: Service, observer: EventStore, name: str, newest: int) -> None:
    service.until(lambda: newest in service.positions(name))
    assert set(service.positions(name)) == set(range(1, newest + 1))
    wait_for_checkpoint(observer, newest, name=name)


def assert_in_order(delivered: list[int]) -> None:
    """Each is the next one, or a redelivery began again at one seen before."""
    for before, after in pairwise(delivered):
        assert after <= before + 1


def test_live_delivery_is_back_soon_after_the_listening_connection_died(
    dsn: str, schema: str, store: EventStore, record: Record
) -> None:
    """G24, G23: within the poll, and by notification again."""
    seen = Seen()
    store.subscribe_to_all_streams("sub", record(seen))
    wait_until(lambda: store.health().listening)
    for number in range(1, 6):
        terminate(dsn, schema)
        appended = store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", number)])
        began = time.monotonic()
        seen.wait(number)
        assert time.monotonic() - began < QUICK["poll_interval"] + PATIENCE
        store.wait_for("$all", "sub", appended, timeout=PATIENCE)
    assert sorted(set(seen.positions)) == [1, 2, 3, 4, 5]
    wait_until(lambda: store.health().listening and store.health().running)


def test_an_idle_runtime_survives_more_cuts_than_its_restart_limit(
    dsn: str, schema: str, store: EventStore, record: Record
) -> None:
    """G24: a database that is away is no crash."""
    store.subscribe_to_all_streams("sub", record(Seen()))
    for _ in range(8):
        terminate(dsn, schema)
        wait_until(lambda: sessions(dsn, schema) and store.health().listening)
    wait_until(lambda: store.health().running)
    assert store.append_to_stream("s", 0, [EventData("X", 1)]).last_global_position == 1
    assert store.health().failure is None
