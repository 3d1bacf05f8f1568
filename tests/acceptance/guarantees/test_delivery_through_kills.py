"""A subscriber that is killed again and again misses nothing."""

from __future__ import annotations

import random

from eventstore import EventData, EventStore, ExpectedVersion
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.support.processes import Service

EVENTS = 2_000
KILLS = 4
NAME = "projection"


def append_all(store: EventStore) -> None:
    for first in range(0, EVENTS, 50):
        events = [EventData("Counted", number) for number in range(first, first + 50)]
        store.append_to_stream(f"s-{first % 3}", ExpectedVersion.ANY, events)


def checkpoint(observer: EventStore) -> int:
    return observer.subscription_info("$all", NAME).checkpoint


def assert_one_run(run: Service, stored: int) -> None:
    """A run starts right behind the stored checkpoint and goes on without a hole."""
    positions = run.positions(NAME)
    assert positions == list(range(stored + 1, stored + 1 + len(positions)))


def test_a_subscriber_killed_again_and_again_receives_everything_in_order(
    start: Start, observer: EventStore
) -> None:
    """G13, G14, G15: every second batch is acknowledged, so that acks and deliveries differ."""
    rng = random.Random(13)
    append_all(observer)
    stored, delivered = 0, set[int]()
    for _ in range(KILLS):
        (run,) = start()
        run.do("subscribe", name=NAME, ack_every=2, max_batch_size=20, buffer_size=60)
        run.wait("subscribed", name=NAME)
        run.wait("delivered", count=rng.randint(2, 16))
        run.kill9()
        assert_one_run(run, stored)
        delivered |= {position for position, *_ in run.delivered(NAME)}
        acknowledged = [report["position"] for report in run.reports("acking")]
        behind = checkpoint(observer)
        assert stored <= behind <= max(acknowledged, default=stored)
        stored = behind

    (last,) = start()
    last.do("subscribe", name=NAME, max_batch_size=100)
    last.until(lambda: len(last.delivered(NAME)) >= EVENTS - stored)
    assert_one_run(last, stored)
    delivered |= {position for position, *_ in last.delivered(NAME)}
    assert delivered == set(range(1, EVENTS + 1))
    wait_for_checkpoint(observer, EVENTS, name=NAME)
    assert last.end() == 0
    assert checkpoint(observer) == EVENTS


def test_a_killed_subscription_to_one_stream_goes_on_in_its_own_versions(
    start: Start, observer: EventStore
) -> None:
    """G13, G14, G15: with others' events between its own, and live ones while it runs."""
    stored = 0
    for round_ in range(3):
        (run,) = start()
        run.do("subscribe", name="own", stream="mine", ack_every=3, max_batch_size=5)
        run.wait("subscribed", name="own")
        for number in range(40):
            stream = "mine" if number % 2 else "other"
            observer.append_to_stream(stream, ExpectedVersion.ANY, [EventData("X", number)])
        newest = 20 * (round_ + 1)
        run.wait_delivered("own", newest - stored)
        run.kill9()
        assert own_versions(run) == list(range(stored + 1, newest + 1))
        stored = observer.subscription_info("mine", "own").checkpoint
        assert stored <= max((r["position"] for r in run.reports("acking")), default=stored)


def own_versions(run: Service) -> list[int]:
    for position, stream, version, _ in run.delivered("own"):
        assert (stream, position) == ("mine", version)
    return [version for _, _, version, _ in run.delivered("own")]


def test_a_checkpoint_is_written_while_the_subscriber_lives_and_survives_it(
    start: Start, observer: EventStore
) -> None:
    """G15: acknowledged events are not held back until a clean end that may never come."""
    observer.append_to_stream("s", 0, [EventData("X", number) for number in range(10)])
    (run,) = start()
    run.do("subscribe", name=NAME, ack_every=0)
    run.wait_delivered(NAME, 10)
    run.do("ack", name=NAME, position=4).wait("acked")
    wait_for_checkpoint(observer, 4, name=NAME)
    run.kill9()
    assert checkpoint(observer) == 4
