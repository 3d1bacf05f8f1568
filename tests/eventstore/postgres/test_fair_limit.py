"""The bound on how many do something at once: its places go round in the order of arrival."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from eventstore.storages.postgres.connecting.fair_limit import FairLimit
from tests.support.waiting import wait_until


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


def waiter(limit: FairLimit, threads: ThreadPoolExecutor) -> Future[bool]:
    """Return who waits behind everybody that waits already."""
    before = len(limit._waiting)
    future = threads.submit(limit.acquire, 10)
    wait_until(lambda: len(limit._waiting) == before + 1)
    return future


def free_places(limit: FairLimit) -> int:
    taken = 0
    while limit.acquire(0):
        taken += 1
    for _ in range(taken):
        limit.release()
    return taken


def test_there_are_as_many_places_as_it_says() -> None:
    assert free_places(FairLimit(3)) == 3


def test_a_place_goes_to_who_waits_longest(threads: ThreadPoolExecutor) -> None:
    """G25."""
    limit = FairLimit(1)
    assert limit.acquire(0)
    waiters = [waiter(limit, threads) for _ in range(5)]
    for number, served in enumerate(waiters):
        limit.release()
        assert served.result(10)
        assert not any(other.done() for other in waiters[number + 1 :])
    limit.release()
    assert free_places(limit) == 1


def test_who_gave_a_place_up_does_not_overtake_who_waits_for_it(
    threads: ThreadPoolExecutor,
) -> None:
    """G25: a busy thread lets the others in."""
    limit = FairLimit(1)
    limit.acquire(0)
    waiting = waiter(limit, threads)
    limit.release()
    assert not limit.acquire(0)
    assert waiting.result(10)


def test_who_gives_up_leaves_no_trace(threads: ThreadPoolExecutor) -> None:
    """G25: nobody waits longer than the deadline, and no place is lost by it."""
    limit = FairLimit(1)
    limit.acquire(0)
    assert not limit.acquire(0.01)
    assert not limit.acquire(-1)
    waiting = waiter(limit, threads)
    limit.release()
    assert waiting.result(10)


def test_no_place_is_lost_when_it_comes_in_the_last_moment(threads: ThreadPoolExecutor) -> None:
    """G25."""
    limit = FairLimit(2)

    def come_and_go(patience: float) -> None:
        for _ in range(300):
            if limit.acquire(patience):
                limit.release()

    for done in [threads.submit(come_and_go, n * 1e-5) for n in range(20)]:
        done.result()
    assert free_places(limit) == 2


def test_who_is_interrupted_leaves_no_trace(threads: ThreadPoolExecutor) -> None:
    """G25: Ctrl-C in one of many threads costs nobody else a place."""
    limit = FairLimit(1)
    limit.acquire(0)

    def interrupt() -> None:
        wait_until(lambda: limit._waiting)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threads.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        limit.acquire(10)
    interrupting.result(10)
    limit.release()
    assert free_places(limit) == 1
