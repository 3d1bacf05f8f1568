"""Events that are gone: the schema foresees deletes for good, and no part of it may stumble."""

from __future__ import annotations

import time
from collections.abc import Callable

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.cli import Shell
from tests.support.plain_sql import Sql
from tests.support.waiting import wait_until

IDLE = 80
"""Transactions per second of a runtime that looks ten times a second, at most; about 25 are usual,
and a busy loop makes hundreds."""

SERVER_COUNTS_WITHIN = 1.1
"""Seconds until a server process that is at work reports how much it did."""


def transactions(looker: Sql) -> int:
    """Return how many were committed in this database so far."""
    [(count,)] = looker(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(count)


def test_appends_that_race_a_hard_delete_leave_no_orphan_and_no_gap(
    observer: EventStore, start: Start, foreign: Callable[[], Sql], dsn: str, schema: str
) -> None:
    """G1, G3, G9: check and write are one; a stream created again is another one."""
    deleter = foreign()
    writers = start(2, runtime="caller")
    for seed, writer in enumerate(writers):
        writer.do("write", streams=["doomed", "kept"], seed=seed, most_streams=2)
        writer.wait("appended", count=5)
    for _ in range(8):
        before = writers[0].wait("appended", count=len(writers[0].reports("appended")) + 2)
        assert before["places"]
        with deleter.transaction():
            deleter.delete_stream("doomed")
    for writer in writers:
        writer.do("stop").wait("written")
        assert not writer.reports("failed")
    assert "no problem" in Shell(dsn, schema).run("verify")
    assert deleter("SELECT count(*) > 0 FROM {}.tombstones") == [(True,)]
    stored = observer.stream_info("$all").stream_version
    last = max(
        position + len(report["ids"][stream]) - 1
        for writer in writers
        for report in writer.reports("appended")
        for stream, (_, position) in report["places"].items()
    )
    assert stored == last


def test_announced_events_that_are_deleted_before_they_are_read_make_nobody_busy(
    observer: EventStore, start: Start, foreign: Callable[[], Sql]
) -> None:
    """G4, G13, G22: there is nothing at the head that could be sent, ever."""
    (service,) = start()
    service.do("subscribe", name="sub")
    observer.append_to_stream("kept", ExpectedVersion.ANY, [EventData("X", 1)])
    service.wait_delivered("sub", 1)
    wait_for_checkpoint(observer, 1)
    deleter = foreign()
    with deleter.transaction():
        deleter.append("doomed", 3)
        deleter.delete_stream("doomed")
    assert deleter("SELECT {}.store_head()") == [(4,)]

    began, before = time.monotonic(), transactions(deleter)
    wait_until(lambda: time.monotonic() > began + 1.5 * SERVER_COUNTS_WITHIN)
    assert transactions(deleter) - before < IDLE * (time.monotonic() - began)
    observer.append_to_stream("kept", ExpectedVersion.ANY, [EventData("X", 2)])
    assert service.wait_delivered("sub", 2) == [1, 5]
    wait_for_checkpoint(observer, 5)
