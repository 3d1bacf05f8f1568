"""A filtered subscription misses nothing: killed, among writers, behind open transactions."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.processes import Service

NAME = "projection"
KILLS = 4
WRITERS = 3

FILTERS = [
    {"event_types": ["Wanted"]},
    {"stream_prefix": "wanted-"},
    {"metadata": {"wanted": [True, "yes"]}},
]


def append(store: EventStore, rng: random.Random) -> None:
    """Append a few events, of which some match each of `FILTERS`, and the same ones each."""
    is_wanted = rng.random() < 0.3
    stream = f"{'wanted' if is_wanted else 'other'}-{rng.randrange(3)}"
    kind, metadata = ("Wanted", {"wanted": True}) if is_wanted else ("Other", {"wanted": 1})
    events = [EventData(kind, number, metadata) for number in range(rng.randint(1, 5))]
    store.append_to_stream(stream, ExpectedVersion.ANY, events)


@contextmanager
def writing(store: EventStore) -> Iterator[None]:
    """Append from several threads."""
    stopping = threading.Event()

    def write(seed: int) -> None:
        rng = random.Random(seed)
        while not stopping.is_set():
            append(store, rng)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def positions_of(run: Service) -> list[int]:
    return [position for position, *_ in run.delivered(NAME)]


@pytest.mark.parametrize("only", FILTERS, ids=["types", "prefix", "metadata"])
def test_a_filtered_subscriber_killed_among_writers_misses_nothing(
    start: Start, observer: EventStore, only: dict[str, object]
) -> None:
    """G40, G13, G14, G15: nothing up to a stored checkpoint was left out that matches."""
    rng = random.Random(40)
    delivered, stored = set[int](), 0
    with writing(observer):
        for _ in range(KILLS):
            (run,) = start()
            run.do("subscribe", name=NAME, ack_every=2, max_batch_size=10, batch_by="any", **only)
            run.wait("subscribed", name=NAME)
            run.wait("delivered", count=rng.randint(2, 10))
            run.kill9()
            positions = positions_of(run)
            assert positions == sorted(positions)
            assert not positions or positions[0] > stored
            delivered.update(positions)
            behind = observer.subscription_info("$all", NAME).checkpoint
            assert stored <= behind
            stored = behind
            wanted = observer.read_all_streams_forward(count=None, event_types="Wanted")
            assert {e.global_position for e in wanted if e.global_position <= stored} <= delivered
    (last,) = start()
    last.do("subscribe", name=NAME, batch_by="any", **only)
    wait_for_checkpoint(observer, observer.stream_info("$all").stream_version, name=NAME)
    wanted = observer.read_all_streams_forward(count=None, event_types="Wanted")
    delivered.update(positions_of(last))
    assert delivered == {event.global_position for event in wanted}
    assert last.end() == 0


def test_what_is_not_committed_yet_is_not_passed_over(start: Start, observer: EventStore) -> None:
    """G40, G4, G37: a transaction that appended holds the events of others back, not the reader."""
    (run,) = start()
    observer.append_to_stream("s", 0, [EventData("Other", 1)])
    run.do("subscribe", name=NAME, event_types=["Wanted"]).wait("subscribed", name=NAME)
    wait_for_checkpoint(observer, 1, name=NAME)
    with psycopg.connect(observer.dsn) as mine:
        observer.append_to_stream("s", 1, [EventData("Other", 2)], connection=mine)
        observer.append_to_stream("s", 2, [EventData("Wanted", 3)], connection=mine)
        assert run.do("look", name=NAME).wait("seen")["checkpoint"] == 1
        assert observer.subscription_info("$all", NAME).lag_events == 0
        mine.commit()
    run.wait_delivered(NAME, 1)
    assert positions_of(run) == [3]
    wait_for_checkpoint(observer, 3, name=NAME)
    assert run.end() == 0


def test_a_filtered_subscription_that_is_killed_goes_on_where_it_had_looked(
    start: Start, observer: EventStore
) -> None:
    """G40: what did not match is not read again, though nothing was ever acknowledged."""
    for number in range(30):
        observer.append_to_stream("s", number, [EventData("Other", number)])
    (run,) = start()
    run.do("subscribe", name=NAME, event_types=["Wanted"]).wait("subscribed", name=NAME)
    wait_for_checkpoint(observer, 30, name=NAME)
    assert observer.subscription_info("$all", NAME).lag_events == 0
    run.kill9()
    observer.append_to_stream("s", 30, [EventData("Wanted", 31)])
    (successor,) = start()
    successor.do("subscribe", name=NAME, event_types=["Wanted"])
    subscribed = successor.wait("subscribed", name=NAME)
    assert subscribed["checkpoint"] >= 30
    successor.wait_delivered(NAME, 1)
    assert positions_of(successor) == [31]
    assert successor.end() == 0
