"""PostgreSQL fails over to a standby under running services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid5

import pytest

from eventstore import (
    CallerRuntime,
    Config,
    EventData,
    Events,
    EventStore,
    ExpectedVersion,
    HistoryRewoundError,
    OutcomeUnknownError,
    Retry,
)
from tests.acceptance.guarantees.conftest import Record, installed
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.support.cli import Shell
from tests.support.cluster import Cluster
from tests.support.processes import Service
from tests.support.recorder import Seen
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

SCHEMA = "survivor"
WAITING = "SELECT pid || ' ' || query_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def append(store: EventStore, stream: str, count: int = 1) -> None:
    store.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


def cancel_the_wait(cluster: Cluster) -> None:
    """Do what an impatient administrator does; returns when that statement has ended."""
    wait_until(lambda: cluster.primary.query(WAITING))
    waiting = cluster.primary.query(WAITING)
    assert cluster.primary.query(CANCEL)
    wait_until(lambda: cluster.primary.query(WAITING) != waiting)


def test_no_acknowledged_append_is_lost_and_subscriptions_go_on_by_themselves(
    cluster: Cluster,
) -> None:
    """G5, G13, G14, G25: two writers never stop, the newest standby is promoted."""
    settings = {**installed(cluster.dsn, SCHEMA), "append_timeout": 60.0}
    services = [Service(settings) for _ in range(3)]
    *writers, subscriber = services
    try:
        subscriber.ready().do("subscribe", name="sub")
        for seed, writer in enumerate(writers):
            writer.ready().do("write", streams=["a", "b", "c"], seed=seed, most_streams=2)
        for writer in writers:
            writer.wait("appended", count=50)

        cluster.primary.kill9()
        cluster.fail_over_to(cluster.newest_standby())

        for writer in writers:
            writer.wait("appended", count=len(writer.reports("appended")) + 30, timeout=40)
            writer.do("stop").wait("written")
        with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
            stored = everything(store)
        for writer in writers:
            assert_stored(writer.reports("appended"), stored)
            assert not writer.reports("failed"), "its deadline was far away"
        positions = subscriber.wait_delivered("sub", len(stored))
        assert positions == list(range(1, len(stored) + 1))
        assert [event_id for *_, event_id in subscriber.delivered("sub")] == list(stored)
        assert "no problem" in Shell(cluster.dsn, SCHEMA).run("verify")
    finally:
        for service in services:
            service.kill9()


def test_an_append_counts_when_a_standby_has_it_and_not_before(cluster: Cluster) -> None:
    """G5, G25: a cancelled wait for the standbys looks like a success, and is none."""
    settings = installed(cluster.dsn, SCHEMA)
    with EventStore.connect(Config(**settings)) as store, ThreadPoolExecutor(1) as threads:
        append(store, "s")
        for standby in cluster.standbys:
            standby.follow(None)

        with pytest.raises(OutcomeUnknownError):
            store.append_to_stream("t", 0, [EventData("X", 1)], timeout=1)
        cancel_the_wait(cluster)
        patient = threads.submit(append, store, "s")
        cancel_the_wait(cluster)
        wait_until(lambda: cluster.primary.query(WAITING))  # it tries again, and waits again
        assert not patient.done()

        cluster.standbys[1].follow(cluster.primary)
        patient.result(timeout=60)
        cluster.primary.kill9()
        assert cluster.newest_standby() is cluster.standbys[1]
        cluster.fail_over_to(cluster.standbys[1])
        assert [event.data for event in store.read_stream_forward("s")] == [0, 0]


def test_what_a_process_manager_appends_counts_when_a_standby_has_it(cluster: Cluster) -> None:
    """G5, G39: a cancelled wait is no success, and the same append once more waits again."""
    settings = {**installed(cluster.dsn, SCHEMA), "lease": 600.0}
    may_decide = threading.Event()
    answers: list[str] = []

    def decide(events: Events) -> None:
        assert may_decide.wait(PATIENCE)
        decided = [
            EventData("Y", event.data, event_id=uuid5(event.event_id, "y")) for event in events
        ]
        try:
            store.append_to_stream("t", ExpectedVersion.ANY, decided, processed=events, timeout=600)
        except OutcomeUnknownError:
            answers.append("unknown")
            raise
        answers.append("stored")

    def cancelled_twice() -> bool:
        cluster.primary.query(CANCEL)
        return len(answers) >= 2

    with EventStore.connect(Config(**settings)) as store:
        store.subscribe_to_stream("s", "sub", decide, on_error=Retry(longest=0.1))
        append(store, "s")
        for standby in cluster.standbys:
            standby.follow(None)
        may_decide.set()
        wait_until(cancelled_twice)
        assert set(answers) == {"unknown"}
        cluster.standbys[1].follow(cluster.primary)
        wait_until(lambda: "stored" in answers)
        assert answers[-1] == "stored"

        cluster.primary.kill9()
        cluster.fail_over_to(cluster.standbys[1])
        assert [event.data for event in store.read_stream_forward("t")] == [0]
        assert answers.count("stored") == 1


def test_promoting_a_standby_that_lost_a_tail_stops_the_runtime(
    cluster: Cluster, record: Record
) -> None:
    """G31: what comes next has positions that were delivered before; it is never skipped."""
    settings = installed(cluster.dsn, SCHEMA)
    behind = cluster.standbys[1]
    seen = Seen()
    with EventStore.connect(Config(**settings)) as store:
        store.subscribe_to_all_streams("sub", record(seen))
        append(store, "s", 3)
        seen.wait(3)
        wait_until(lambda: behind.query(f"SELECT count(*) FROM {SCHEMA}.events") == 3)
        behind.follow(None)
        append(store, "s", 4)
        assert seen.wait(7) == list(range(1, 8))

        cluster.primary.kill9()
        assert cluster.newest_standby() is not behind
        cluster.fail_over_to(behind)
        behind.wait_for("")  # the other one is ahead of it, and cannot follow

        with EventStore.connect(Config(**settings), runtime=CallerRuntime) as others:
            append(others, "t", 6)
        with pytest.raises(HistoryRewoundError):
            store.join(timeout=60)
        assert seen.positions == list(range(1, 8))
