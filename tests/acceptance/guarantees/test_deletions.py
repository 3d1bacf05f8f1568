"""What is deleted for good: it is delivered no more, and its place is given to nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventstore import EventData, EventStore, WrongExpectedVersionError
from tests.acceptance.guarantees.conftest import Record
from tests.support.cli import Shell
from tests.support.plain_sql import Sql
from tests.support.recorder import Seen, Stuck
from tests.support.waiting import wait_until


@pytest.mark.parametrize("writer", ["store", "observer"])
def test_what_waits_in_memory_is_not_delivered_once_its_hard_delete_was_seen(
    store: EventStore,
    foreign: Callable[[], Sql],
    record: Record,
    request: pytest.FixtureRequest,
    writer: str,
) -> None:
    """G13: in the memory of the newest events, in queues, before a handler; own or heard of."""
    full, stuck, quick = Seen(), Stuck(), Seen()
    filled = store.subscribe_to_all_streams("full", record(full, acks=False), buffer_size=5)
    hanging = store.subscribe_to_all_streams("stuck", stuck, max_batch_size=1)
    store.subscribe_to_all_streams("quick", record(quick))
    wait_until(lambda: store.health().listening)
    appending: EventStore = request.getfixturevalue(writer)
    try:
        appending.append_to_stream("kept", 0, [EventData("X", number) for number in range(5)])
        appending.append_to_stream("doomed", 0, [EventData("X", number) for number in range(20)])
        quick.wait(25)
        assert full.wait(5) == [1, 2, 3, 4, 5]
        assert stuck.entered.wait(60)
        deleter = foreign()
        with deleter.transaction():
            deleter.delete_stream("doomed")
            deleter.append("kept")  # announced to nobody: it is found by the poll
        quick.wait(26)
        hanging.resume()  # answered after what it was told before
        filled.ack(5)
    finally:
        stuck.released.set()
    assert full.wait(6) == [1, 2, 3, 4, 5, 26]
    wait_until(lambda: len(stuck.positions) >= 6)
    assert stuck.positions == [1, 2, 3, 4, 5, 26]


@pytest.mark.parametrize("kind", ["events", "links"])
def test_a_version_whose_event_or_link_is_gone_is_never_given_out_again(
    store: EventStore, foreign: Callable[[], Sql], dsn: str, schema: str, kind: str
) -> None:
    """G3: appends, heads, subscriptions and the check go on behind the version floor."""
    deleter = foreign()
    store.append_to_stream("source", 0, [EventData("X", 1), EventData("X", 2)])
    store.append_to_stream("s", 0, [EventData("X", 3)])
    if kind == "events":
        store.append_to_stream("s", 1, [EventData("X", 4), EventData("X", 5)])
    else:
        with deleter.transaction():
            deleter("SELECT {}.lock_head(5000)")
            deleter(
                "INSERT INTO {}.links (stream_no, stream_version, global_position)"
                " SELECT s.stream_no, e.global_position + 1, e.global_position"
                " FROM {}.streams s, {}.events e WHERE s.stream_id = 's' AND e.global_position <= 2"
            )
    assert store.stream_info("s").stream_version == 3

    with deleter.transaction():
        deleter.permit_deletes()
        deleter("UPDATE {}.streams SET version_floor = 3 WHERE stream_id = 's'")
        if kind == "events":
            deleter.bury(4, 5)
            deleter("DELETE FROM {}.events WHERE global_position IN (4, 5)")
        else:
            deleter("DELETE FROM {}.links")
            deleter.delete_stream("source")

    assert store.stream_info("s").stream_version == 3
    assert [s.stream_version for s in store.streams() if s.stream_id == "s"] == [3]
    for expected in (0, 1, 2, 4):
        with pytest.raises(WrongExpectedVersionError) as refused:
            store.append_to_stream("s", expected, [EventData("X", 6)])
        assert refused.value.actual == 3
    old, new = Seen(), Seen()
    store.subscribe_to_stream("s", "old", old.handle)
    store.subscribe_to_stream("s", "new", new.handle, start_from="current")
    assert [i.head for i in store.subscriptions()] == [3, 3]
    assert store.subscription_info("s", "new").checkpoint == 3
    assert old.wait(1) == [1]
    assert "no problem" in Shell(dsn, schema).run("verify")

    assert store.append_to_stream("s", 3, [EventData("X", 7)]).first_version == 4
    assert new.wait(1) == [4]
    assert old.wait(2) == [1, 4]
    wait_until(lambda: store.subscription_info("s", "old").checkpoint == 4)
    assert [e.stream_version for e in store.read_stream_forward("s")] == [1, 4]
    assert "no problem" in Shell(dsn, schema).run("verify")
