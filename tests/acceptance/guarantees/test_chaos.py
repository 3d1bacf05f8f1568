"""Everything that can go wrong with a subscription at once, for a while; then we count."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventstore import EventStore
from tests.acceptance.guarantees.conftest import Start, wait_for_checkpoint
from tests.acceptance.guarantees.test_durability import assert_stored, everything
from tests.acceptance.guarantees.test_lost_backends import terminate
from tests.support.processes import Service

pytestmark = pytest.mark.slow

NAME = "sub"
SECONDS = 12.0
LEASE = 1.5
"""Seconds; some are frozen for longer, and nothing depends on keeping it."""


class Standbys:
    """Three services that want the same subscription, and what becomes of them."""

    def __init__(self, start: Start, rng: random.Random) -> None:
        self._start = start
        self._rng = rng
        self.alive = start(3, lease=LEASE)
        self.dead: list[Service] = []
        for service in self.alive:
            self._subscribe(service)

    def _subscribe(self, service: Service) -> None:
        service.do("subscribe", name=NAME, max_batch_size=5, buffer_size=40)

    def replace(self) -> None:
        """Kill one, perhaps the owner, and start another."""
        victim = self.alive.pop(self._rng.randrange(3))
        victim.kill9()
        self.dead.append(victim)
        (service,) = self._start(lease=LEASE)
        self._subscribe(service)
        self.alive.append(service)

    @contextmanager
    def one_frozen(self) -> Iterator[None]:
        """Freeze one for the time of the block."""
        victim = self._rng.choice(self.alive)
        victim.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            victim.signal(signal.SIGCONT)


def test_kills_freezes_cuts_and_pauses_together_lose_and_skip_nothing(
    dsn: str, schema: str, start: Start, observer: EventStore
) -> None:
    """G5, G13, G14, G15, G16, G17, G20, G24: the faults are drawn with a fixed seed."""
    rng = random.Random(7)
    standbys = Standbys(start, rng)
    (writer,) = start(append_timeout=60.0)
    writer.do("write", streams=["a", "b", "c"], seed=1, most_streams=2, pause=0.01)
    writer.wait("appended")
    with watched_checkpoint(observer) as checkpoints:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            fault(rng, standbys, dsn, schema, observer)
        observer.resume_subscription("$all", NAME)
        writer.do("stop").wait("written", timeout=60)
        stored = everything(observer)
        wait_for_checkpoint(observer, len(stored), timeout=30)
    assert_stored(writer.reports("appended"), stored)
    assert not writer.reports("failed")
    assert checkpoints == sorted(checkpoints), "a checkpoint went back"
    services = [*standbys.alive, *standbys.dead]
    delivered = {position for service in services for position in service.positions(NAME)}
    assert delivered == set(range(1, len(stored) + 1))
    for service in services:
        assert_runs(service)


def fault(
    rng: random.Random, standbys: Standbys, dsn: str, schema: str, observer: EventStore
) -> None:
    """Do one bad thing, and let a moment pass."""
    moment = threading.Event()
    match rng.randrange(5):
        case 0:
            standbys.replace()
        case 1:
            with standbys.one_frozen():
                moment.wait(rng.choice([0.3, 2.0]))
        case 2:
            terminate(dsn, schema)
        case 3:
            observer.pause_subscription("$all", NAME)
            moment.wait(0.2)
            observer.resume_subscription("$all", NAME)
        case _:
            moment.wait(rng.random())


@contextmanager
def watched_checkpoint(observer: EventStore) -> Iterator[list[int]]:
    """Note the stored checkpoint again and again, from another thread."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(observer.subscription_info("$all", NAME).checkpoint)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def assert_runs(service: Service) -> None:
    """Each delivery run starts behind the checkpoint it was told and goes on without a hole."""
    expected: int | None = None
    for report in service.all_reports():
        match report:
            case {"what": "subscribed", "checkpoint": int(checkpoint)}:
                expected = checkpoint + 1
            case {"what": "delivered", "events": [*events]}:
                expected = assert_follows(events, expected)
            case _:
                pass


def assert_follows(events: list[Any], expected: int | None) -> int:
    assert expected is not None, "events before the run started"
    positions = [position for position, *_ in events]
    assert positions == list(range(expected, expected + len(positions)))
    return expected + len(positions)
