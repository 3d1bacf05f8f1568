"""Subscriptions that stop elsewhere without a word: here a read fails and they go on."""

from __future__ import annotations

from collections.abc import Callable

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.plain_sql import Sql
from tests.support.waiting import wait_until

BLOCKED_READS = """
    SELECT pid, query_start FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND query LIKE '%%SELECT%%'
       AND query LIKE '%%' || %s || '%%events%%'
"""
"""Reads of events, and looks whether an event is still there. A process may run the next at once,
so that a read is known by its begin, too."""


def test_a_read_that_fails_ends_no_subscription(
    observer: EventStore, start: Start, foreign: Callable[[], Sql], schema: str
) -> None:
    """G24, G13, G32: cancelled by an administrator, three times in a row; nothing is skipped."""
    observer.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(10)])
    (service,) = start(poll_interval=60.0, lease=60.0)
    service.do("subscribe", name="sub", ack_every=0, buffer_size=2, max_batch_size=1)
    service.wait_delivered("sub", 2)
    service.do("ack", name="sub", position=2).wait_delivered("sub", 4)
    locker, killer = foreign(), foreign()
    with locker.transaction():
        locker("LOCK TABLE {}.events IN ACCESS EXCLUSIVE MODE")
        service.do("ack", name="sub", position=4)
        for _ in range(3):
            wait_until(lambda: killer(BLOCKED_READS, schema))
            blocked = killer(BLOCKED_READS, schema)
            for pid, _ in blocked:
                assert killer("SELECT pg_cancel_backend(%s)", pid) == [(True,)]
            wait_until(lambda gone=blocked: not {*gone} & {*killer(BLOCKED_READS, schema)})  # type: ignore[misc]
    for position in (6, 8, 10):
        service.wait_delivered("sub", position)
        service.do("ack", name="sub", position=position)
    wait_for_checkpoint(observer, 10)
    assert service.positions("sub") == list(range(1, 11))
    assert not service.reports("lost")
