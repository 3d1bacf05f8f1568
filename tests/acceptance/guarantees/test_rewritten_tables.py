"""A table is written anew, as by a restore of the same rows, beside who reads it."""

from __future__ import annotations

from collections.abc import Callable

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.plain_sql import Sql
from tests.support.waiting import wait_until

BLOCKED_LOOKS = """
    SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'
       AND query LIKE '%%' || %s || '%%look_at_subscriptions%%'
"""


def test_a_table_that_is_written_anew_beside_a_look_ends_no_subscription(
    observer: EventStore, start: Start, foreign: Callable[[], Sql], schema: str
) -> None:
    """G24: a snapshot from before sees an empty table."""
    (service,) = start(poll_interval=0.5, lease=60.0)
    service.do("subscribe", name="sub").wait("subscribed")
    locker, watcher = foreign(), foreign()
    for _ in range(3):  # The first may meet a look that has no plan yet, which is not misled.
        with locker.transaction():
            locker("LOCK TABLE {}.leases IN ACCESS EXCLUSIVE MODE")
            wait_until(lambda: watcher(BLOCKED_LOOKS, schema))
            locker(
                "ALTER TABLE {}.leases ALTER COLUMN renewed_at"
                " TYPE timestamptz USING renewed_at + interval '0'"
            )
        wait_until(lambda: not watcher(BLOCKED_LOOKS, schema))
    observer.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", 1)])
    service.wait_delivered("sub", 1)
    wait_for_checkpoint(observer, 1)
    assert not service.reports("lost")
