"""What was reported as stored is there, once, whatever was killed."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from eventstore import (
    AppendResult,
    CallerRuntime,
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    RecordedEvent,
)
from tests.acceptance.guarantees.conftest import Start, installed
from tests.support.pgserver import TestServer
from tests.support.processes import Report, Service

STREAMS = ["a", "b", "c"]


def groups(report: Report) -> list[tuple[str, int, list[EventData]]]:
    """Return the append of a report, with the ids and the data it had."""
    data = {"by": report["by"]}
    return [
        (stream, ExpectedVersion.ANY, [EventData("Written", data, event_id=UUID(i)) for i in ids])
        for stream, ids in report["ids"].items()
    ]


def everything(store: EventStore) -> dict[str, RecordedEvent]:
    """Return every event by its id; each must be there once, without a gap before it."""
    events = list(store.stream_all_forward())
    assert [event.global_position for event in events] == list(range(1, len(events) + 1))
    by_id = {str(event.event_id): event for event in events}
    assert len(by_id) == len(events)
    return by_id


def assert_stored(reports: list[Report], stored: dict[str, RecordedEvent]) -> None:
    """What the reports say was appended must be where they say."""
    for report in reports:
        for stream, ids in report["ids"].items():
            version, position = report["places"][stream]
            for offset, event_id in enumerate(ids):
                event = stored[event_id]
                assert event.stream_id == stream
                assert event.stream_version == version + offset
                assert event.global_position == position + offset


def test_successes_survive_kill_9_and_repeating_everything_stores_nothing_twice(
    start: Start, observer: EventStore
) -> None:
    """G5, G6, G1: writers are killed in the middle of what they do, again and again."""
    rng = random.Random(5)
    killed: list[Service] = []
    for round_ in range(3):
        writers = start(2)
        for seed, writer in enumerate(writers):
            writer.do("write", streams=STREAMS, seed=10 * round_ + seed, most_streams=2)
        for writer in writers:
            writer.wait("appended", count=rng.randint(5, 80))
            writer.kill9()
        killed += writers
    successes = [report for writer in killed for report in writer.reports("appended")]
    attempts = [report for writer in killed for report in writer.reports("trying")]
    stored = everything(observer)
    assert_stored(successes, stored)

    # The last attempt of each may or may not be stored, but never in part.
    for report in attempts:
        ids = [event_id for ids in report["ids"].values() for event_id in ids]
        assert len({event_id in stored for event_id in ids}) == 1

    for report in [*attempts, *attempts]:
        assert_repeats(observer, report, stored)
    assert len(everything(observer)) == sum(
        len(ids) for report in attempts for ids in report["ids"].values()
    )


def assert_repeats(store: EventStore, report: Report, stored: dict[str, RecordedEvent]) -> None:
    """Append it again: the first result if it was stored."""
    results = store.append_to_streams(groups(report))
    for result, ids in zip(results, report["ids"].values(), strict=True):
        if ids[0] in stored:
            assert places(result) == [position_of(stored[event_id]) for event_id in ids]


def places(result: AppendResult) -> list[tuple[int, int]]:
    assert result.first_version is not None
    assert result.first_global_position is not None
    versions = range(result.first_version, result.last_version + 1)
    return [(v, result.first_global_position + i) for i, v in enumerate(versions)]


def position_of(event: RecordedEvent) -> tuple[int, int]:
    return event.stream_version, event.global_position


def test_successes_survive_kill_9_of_the_server(private_server: TestServer) -> None:
    """G5, G1, G25: writers go on by themselves; what they were told is true."""
    settings = installed(private_server.dsn, "kept")
    writers = [Service({**settings, "append_timeout": 30.0}) for _ in range(2)]
    try:
        for seed, writer in enumerate(writers):
            writer.ready().do("write", streams=STREAMS, seed=seed, most_streams=2)
        for _ in range(2):
            for writer in writers:
                writer.wait("appended", count=len(writer.reports("appended")) + 30)
            private_server.kill9_postmaster()
            private_server.start()
        for writer in writers:
            writer.wait("appended", count=len(writer.reports("appended")) + 10, timeout=40)
            writer.do("stop").wait("written")
        assert_all_was_kept(settings, writers)
    finally:
        for writer in writers:
            writer.kill9()


def assert_all_was_kept(settings: dict[str, Any], writers: list[Service]) -> None:
    with EventStore.connect(Config(**settings), runtime=CallerRuntime) as store:
        stored = everything(store)
    for writer in writers:
        assert_stored(writer.reports("appended"), stored)
        assert not writer.reports("failed"), "its deadline was far away"
