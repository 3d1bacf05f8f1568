"""Parked events that several want to change at once: nobody waits for whoever waits for him."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from eventstore.model.errors import SubscriptionError
from eventstore.ports.changes import Deletion
from eventstore.ports.ownership import Claimed
from eventstore.ports.parking import Most, ParkedPlace, Parking, ParkingOutcome, Why
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import ANY, User
from tests.eventstore.postgres.conftest import Psql
from tests.support.waiting import wait_until

WAITING = """
    SELECT pid FROM pg_stat_activity
     WHERE query LIKE %s AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


def parking(owned: Claimed) -> Parking:
    return Parking(
        fence=owned.fence,
        checkpoint=1,
        events=[ParkedPlace("order-1", 1, 1)],
        why=Why("no stock"),
        follows=False,
        most=Most(events=9, of_key=9),
    )


@contextmanager
def changing(psql: Psql) -> Iterator[None]:
    """Change the store by plain SQL, in a transaction that waits for nobody for long."""
    with psql.connection.transaction():
        psql("SET LOCAL lock_timeout = 500")
        yield


def until_it_waits(psql: Psql, function: str, running: Future[Any]) -> None:
    def waits() -> bool:
        psql("SELECT pg_stat_clear_snapshot()")
        return running.done() or bool(psql(WAITING, f"%{function}%"))

    wait_until(waits)


def test_a_delete_does_not_wait_for_parked_events_that_somebody_has_locked(
    user: User, psql: Psql
) -> None:
    """G38: nor do the appends behind it; what it left is erased with the events."""
    user.store("order-1")
    assert user.storage.park(parking(user.own()), soon()) is ParkingOutcome.DONE

    with changing(psql):
        psql("SELECT FROM {}.parked FOR UPDATE")
        deadline = time.monotonic() + 5
        user.storage.delete_stream(Deletion("order-1", ANY, hard=True), deadline)
        user.store("order-2")
        assert psql("SELECT key FROM {}.parked") == [("order-1",)]

    psql("SELECT FROM {}.erase_events(1000, 100)")
    assert psql("SELECT key FROM {}.parked") == []


def test_a_delete_and_a_retry_lock_in_one_order(
    user: User, psql: Psql, thread: ThreadPoolExecutor
) -> None:
    """G38: the position of the subscription first, and then what it has parked."""
    user.store("order-1")
    user.storage.park(parking(user.own(stream_id="order-1")), soon())

    with changing(psql):
        psql("SELECT FROM {}.positions FOR NO KEY UPDATE")
        deletion = Deletion("order-1", ANY, hard=True)
        deleting = thread.submit(user.storage.delete_stream, deletion, soon())
        until_it_waits(psql, "delete_stream", deleting)
        psql("UPDATE {}.parked SET is_marked = true")

    deleting.result()
    assert psql("SELECT key FROM {}.parked") == []


def test_who_parks_locks_in_the_order_of_who_deletes_the_subscription(
    user: User, psql: Psql, thread: ThreadPoolExecutor
) -> None:
    """G38: the subscription, and then its position."""
    user.store("order-1")
    owned = user.own()

    with changing(psql):
        psql("SELECT FROM {}.subscriptions FOR UPDATE")
        parked = thread.submit(user.storage.park, parking(owned), soon())
        until_it_waits(psql, "park_events", parked)
        psql("SELECT FROM {}.positions FOR UPDATE")
        psql("DELETE FROM {}.subscriptions")

    assert parked.result() is ParkingOutcome.FENCED


def test_what_is_parked_during_a_delete_is_seen_by_it(
    user: User, psql: Psql, thread: ThreadPoolExecutor
) -> None:
    """G38: nothing is dropped unasked."""
    user.store("order-1")
    owned = user.own()

    with changing(psql):
        psql("SELECT FROM {}.subscriptions FOR KEY SHARE")
        deleting = thread.submit(user.storage.delete_subscription, "$all", "shipping", soon())
        until_it_waits(psql, "delete_subscription", deleting)
        psql(
            "SELECT {}.park_events(1000, %s, %s, %s, 1, false, 9, 9, '{order-1}', '{1}', '{1}',"
            " 'no stock', NULL, 1, p_unsafe => true)",
            owned.fence.position_id,
            owned.fence.owner,
            owned.fence.epoch,
        )

    with pytest.raises(SubscriptionError, match="has 1 parked events"):
        deleting.result()
    assert psql("SELECT position FROM {}.parked") == [(1,)]


def test_what_is_erased_while_it_is_parked_leaves_no_row(
    user: User, psql: Psql, thread: ThreadPoolExecutor
) -> None:
    """G38: a parked event that does not exist could not be delivered, and would stay for ever."""
    user.store("order-1")
    owned = user.own()

    with psql.connection.transaction(force_rollback=True):
        psql(
            "INSERT INTO {}.parked (subscription_id, key, position, global_position, reason,"
            " attempts, parked_at) VALUES (%s, 'other', 1, 9, '', 0, now())",
            owned.subscription_id,
        )
        parked = thread.submit(user.storage.park, parking(owned), soon())
        until_it_waits(psql, "park_events", parked)
        deadline = time.monotonic() + 1
        user.storage.delete_stream(Deletion("order-1", ANY, hard=True), deadline)

    parked.result()
    while psql("SELECT more FROM {}.erase_events(1000, 100)") == [(True,)]:
        pass
    assert psql("SELECT global_position FROM {}.events") == []
    assert psql("SELECT position FROM {}.parked") == []
