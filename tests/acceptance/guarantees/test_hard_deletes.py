"""A hard delete in the middle of everything: kills, readers, appends, links, subscriptions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain

import pytest

from eventstore import (
    CallerRuntime,
    Config,
    DuplicateEventError,
    EventData,
    EventNotFoundError,
    EventStore,
    ExpectedVersion,
    StreamNotFoundError,
)
from tests.acceptance.guarantees.conftest import Settings
from tests.support.cli import Shell
from tests.support.plain_sql import Sql
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
EVENTS = 3_000

DELETER = """
import sys
from eventstore import CallerRuntime, Config, EventStore, ExpectedVersion

config = Config(sys.argv[1], schema=sys.argv[2], enable_hard_deletes=True)
with EventStore.connect(config, runtime=CallerRuntime) as store:
    store.delete_stream("doomed", ExpectedVersion.ANY, hard=True)
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return {**settings, "enable_hard_deletes": True}


def filled(store: EventStore) -> None:
    """Append the events of two streams in turn, and link the newest one of the first."""
    for _ in range(3):
        for stream in ("doomed", "kept"):
            events = [EventData("X", stream) for _ in range(EVENTS // 3)]
            store.append_to_stream(stream, ANY, events)
    store.link_to_stream("linked", 0, store.read_stream_backward("doomed", count=1))


@contextmanager
def held(holder: Sql, version: int) -> Iterator[None]:
    """Keep an event from being erased."""
    with holder.transaction():
        rows = holder(
            "SELECT FROM {}.events e JOIN {}.streams USING (stream_no)"
            " WHERE stream_id = 'doomed' AND stream_version = %s FOR KEY SHARE OF e",
            version,
        )
        assert len(rows) == 1
        yield


def is_erasing(looker: Sql) -> bool:
    waiting = looker(
        "SELECT FROM pg_stat_activity WHERE query LIKE %s AND wait_event_type = 'Lock'",
        "%erase_events%",
    )
    return bool(waiting)


def test_what_a_killed_process_has_not_erased_is_gone_and_is_erased_by_another(
    dsn: str, schema: str, store: EventStore, foreign: Callable[[], Sql]
) -> None:
    """G36: between the deletion and the end of the erasing nobody sees anything, nor waits."""
    filled(store)
    holder, looker = foreign(), foreign()
    with held(holder, EVENTS):
        deleter = subprocess.Popen([sys.executable, "-c", DELETER, dsn, schema])
        try:
            wait_until(lambda: is_erasing(looker))
        finally:
            deleter.kill()
            deleter.wait(PATIENCE)
        assert looker(
            "SELECT count(*) > 0 FROM {}.events e JOIN {}.deletions USING (stream_no)"
        ) == [(True,)]

        seen = {event.stream_id for event in store.stream_all_forward(batch_size=100)}
        assert seen == {"kept"}
        assert store.read_stream_forward("linked") == []
        with pytest.raises(StreamNotFoundError):
            store.read_stream_forward("doomed")
        again = store.append_to_stream("doomed", 0, [EventData("X", "again")])
        assert again.first_global_position == 2 * EVENTS + 1

    wait_until(lambda: looker("SELECT count(erased_at) FROM {}.deletions") == [(1,)])
    assert "no problem" in Shell(dsn, schema).run("verify")
    assert [event.data for event in store.read_stream_forward("doomed")] == ["again"]
    assert store.append_to_stream("linked", 1, [EventData("X", "next")]).first_version == 2


def test_a_reader_in_the_middle_of_a_stream_that_goes_sees_no_more_of_it(
    store: EventStore,
) -> None:
    """G36: its next page is the one that is there by then."""
    filled(store)
    of_all = store.stream_all_forward(batch_size=10)
    of_stream = store.stream_forward("doomed", batch_size=10)
    assert {next(of_all).stream_id for _ in range(10)} == {"doomed"}
    assert next(of_stream).stream_version == 1

    store.delete_stream("doomed", EVENTS, hard=True)

    assert {event.stream_id for event in of_all} == {"kept"}
    with pytest.raises(StreamNotFoundError):
        list(of_stream)


def test_appends_and_links_that_race_a_hard_delete_leave_nothing_behind(
    dsn: str, schema: str, settings: Settings, store: EventStore
) -> None:
    """G1, G3, G35, G36: each is before the deletion, and goes with it, or after it."""
    config = Config(**settings)

    def in_turn(act: Callable[[EventStore, int], None]) -> None:
        with EventStore.connect(config, runtime=CallerRuntime) as mine:
            for number in range(60):
                act(mine, number)

    def append(mine: EventStore, _: int) -> None:
        mine.append_to_stream("doomed", ANY, [EventData("X", 1), EventData("X", 2)])

    def link(mine: EventStore, number: int) -> None:
        newest = mine.read_all_streams_backward(count=2)
        refused = (EventNotFoundError, DuplicateEventError, ValueError)  # gone, linked, none there
        with suppress(*refused):
            mine.link_to_stream(f"linked-{number % 3}", ANY, newest)

    def delete(mine: EventStore, _: int) -> None:
        with suppress(StreamNotFoundError):
            mine.delete_stream("doomed", ANY, hard=True)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(in_turn, act) for act in (append, append, link, delete)]
        for each in done:
            each.result(PATIENCE)

    assert "no problem" in Shell(dsn, schema).run("verify")
    left = store.read_stream_forward("doomed", missing_ok=True)
    assert [event.stream_version for event in left] == list(range(1, len(left) + 1))
    names = [info.stream_id for info in store.streams(prefix="linked")]
    linked = chain.from_iterable(store.read_stream_forward(name) for name in names)
    assert {event.event_id for event in linked} <= {event.event_id for event in left}
