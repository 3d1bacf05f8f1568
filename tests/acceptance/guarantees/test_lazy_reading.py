"""Long reads hold one page, step over gaps, and say what is missing."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from eventstore import EventData, EventStore, ExpectedVersion, StreamNotFoundError
from tests.acceptance.guarantees.conftest import Start

MIB = 1024 * 1024
PAYLOAD = "x" * 2_000


def test_a_lazy_read_of_a_long_stream_stays_small(start: Start, observer: EventStore) -> None:
    """G11: 20,000 events, over 40 MB; a page of them is 1 MB."""
    for _ in range(20):
        events = [EventData("Long", {"text": PAYLOAD}) for _ in range(1_000)]
        observer.append_to_stream("long", ExpectedVersion.ANY, events)
    (reader,) = start(runtime="caller")
    reader.do("scan", stream="long", batch_size=500)
    scanned = reader.wait("scanned", timeout=40)
    assert scanned["count"] == 20_000
    assert scanned["grown"] < 12 * MIB


@pytest.mark.slow
def test_a_lazy_read_of_large_events_holds_a_few_of_them(
    start: Start, observer: EventStore
) -> None:
    """F47, G11: 24 events of 16 MiB fit a page of 1,000, and are not read together."""
    payload = "x" * (16 * MIB - 100)
    for _ in range(24):
        observer.append_to_stream("large", ExpectedVersion.ANY, [EventData("Large", payload)])
    (reader,) = start(runtime="caller")
    before = reader.do("measure").wait("measured")["peak"]
    reader.do("scan", stream="large", batch_size=1_000).wait("scanned", timeout=120)
    after = reader.do("measure").wait("measured", count=2)["peak"]
    assert after - before < 200 * MIB


@pytest.fixture
def gaps(dsn: str, schema: str, observer: EventStore) -> set[int]:
    """Positions that a superuser who disabled the triggers deleted, out of 30."""
    for number in range(30):
        observer.append_to_stream(f"s-{number % 2}", ExpectedVersion.ANY, [EventData("X", number)])
    gone = {1, *range(5, 17), 30}
    events = sql.Identifier(schema, "events")
    with psycopg.connect(dsn) as connection:
        for statement in (
            "ALTER TABLE {} DISABLE TRIGGER ALL",
            f"DELETE FROM {{}} WHERE global_position IN ({', '.join(map(str, gone))})",
            "ALTER TABLE {} ENABLE TRIGGER ALL",
        ):
            connection.execute(sql.SQL(statement).format(events))
    return gone


@pytest.mark.parametrize("batch_size", [1, 3, 1_000])
def test_lazy_reads_step_over_gaps(
    gaps: set[int], observer: EventStore, store: EventStore, batch_size: int
) -> None:
    """G11."""
    left = [position for position in range(1, 31) if position not in gaps]
    forward = list(observer.stream_all_forward(batch_size=batch_size))
    assert [event.global_position for event in forward] == left
    backward = list(store.stream_all_backward(batch_size=batch_size))
    assert backward == forward[::-1]
    for stream in ("s-0", "s-1"):
        own = [event.stream_version for event in forward if event.stream_id == stream]
        for read in (observer, store):
            events = read.stream_forward(stream, batch_size=batch_size)
            assert [event.stream_version for event in events] == own
            events = read.stream_backward(stream, batch_size=batch_size)
            assert [event.stream_version for event in events] == own[::-1]


def test_reading_a_missing_stream_says_which(store: EventStore) -> None:
    """G12: at once, also of a lazy read."""
    store.append_to_stream("there", 0, [EventData("X", 1)])
    for read in (
        store.read_stream_forward,
        store.read_stream_backward,
        store.stream_forward,
        store.stream_backward,
        store.stream_info,
    ):
        with pytest.raises(StreamNotFoundError, match="'gone-1'") as missing:
            read("gone-1")
        assert missing.value.stream_id == "gone-1"
    assert store.read_stream_forward("gone-1", missing_ok=True) == []
    assert store.read_stream_forward("there", 2) == []
    assert list(store.stream_forward("there", 7)) == []
