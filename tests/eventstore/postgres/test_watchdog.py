"""The watchdog: shuts down what is late, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from eventstore.storages.postgres.connecting.watchdog import Guard, Watchdog
from tests.actors.application import raise_in_threads
from tests.support.waiting import AGES, wait_until


class Pair:
    """Two ends of a connection; the watchdog guards the near one."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.settimeout(5)
        self.guard: Guard = watchdog.guard(self.near.fileno())

    def is_open(self) -> bool:
        try:
            self.far.send(b"?")
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.guard.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog()
    yield watchdog
    watchdog.close()


@pytest.fixture
def pairs(watchdog: Watchdog) -> Iterator[list[Pair]]:
    made = [Pair(watchdog) for _ in range(3)]
    yield made
    for pair in made:
        pair.close()


def test_a_call_that_is_late_loses_its_socket(pairs: list[Pair]) -> None:
    """G25: whoever waits on it is woken, and the other sockets stay."""
    late, other, idle = pairs
    other.guard.arm(time.monotonic() + 60)
    late.guard.arm(time.monotonic() + 0.05)
    assert late.far.recv(1) == b""
    assert not late.guard.disarm()
    assert late.guard.expired
    assert other.is_open()
    assert idle.is_open()


def test_a_call_that_ended_is_never_hit(pairs: list[Pair]) -> None:
    """G25: not even by the deadline of an earlier call on the same socket."""
    late, in_time, _ = pairs
    for _ in range(100):
        in_time.guard.arm(time.monotonic() + 0.5)
        assert in_time.guard.disarm()
    in_time.guard.arm(time.monotonic() + 60)
    late.guard.arm(time.monotonic() + 0.6)
    assert late.far.recv(1) == b""
    assert in_time.is_open()
    assert in_time.guard.disarm()


def test_an_idle_socket_is_never_hit(pairs: list[Pair]) -> None:
    """G25: the deadline of a call is over with the call."""
    idle, late, _ = pairs
    idle.guard.arm(time.monotonic() + 0.5)
    assert idle.guard.disarm()
    late.guard.arm(time.monotonic() + 0.6)
    assert late.far.recv(1) == b""
    assert idle.is_open()


def test_a_sooner_deadline_than_the_one_before_counts(pairs: list[Pair]) -> None:
    """G25: the watchdog does not sleep until the later one."""
    pair = pairs[0]
    pair.guard.arm(time.monotonic() + 60)
    pair.guard.disarm()
    pair.guard.arm(time.monotonic() + 0.05)
    assert pair.far.recv(1) == b""


def test_many_calls_schedule_next_to_nothing(watchdog: Watchdog, pairs: list[Pair]) -> None:
    """G25: what each call costs is not a place in a queue."""
    for _ in range(10_000):
        pairs[0].guard.arm(time.monotonic() + 60)
        pairs[0].guard.disarm()
    assert len(watchdog._moments) == 1


def test_the_socket_stays_as_the_driver_set_it(pairs: list[Pair]) -> None:
    """G25: a duplicate shares its mode, and a blocking one would block the driver."""
    assert not pairs[0].near.getblocking()
    with pytest.raises(BlockingIOError):
        pairs[0].near.recv(1)


def test_news_on_an_idle_socket_are_seen_and_left_there(pairs: list[Pair]) -> None:
    """G25: a server that said goodbye is noticed before something is sent."""
    silent, spoken, ended = pairs
    spoken.far.send(b"!")
    ended.far.close()
    wait_until(spoken.guard.has_news)
    wait_until(ended.guard.has_news)
    assert not silent.guard.has_news()
    assert spoken.near.recv(10) == b"!"


def test_an_interrupt_comes_at_once(pairs: list[Pair]) -> None:
    """G26: closing waits for no deadline."""
    pairs[0].guard.arm(time.monotonic() + 60)
    pairs[0].guard.interrupt()
    assert pairs[0].far.recv(1) == b""
    assert not pairs[0].guard.disarm()


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_crash_in_its_thread_is_reported_and_loses_no_deadline(
    watchdog: Watchdog, pairs: list[Pair], error: type[BaseException]
) -> None:
    """F44, G25: nothing else ends a call on a socket that is black-holed."""
    crashes: list[BaseException] = []
    watchdog.crashed = crashes.append
    before, waking, after = pairs
    before.guard.arm(time.monotonic() + 0.5)
    raise_in_threads("eventstore-deadlines", error)
    waking.guard.arm(time.monotonic() + 0.05)
    after.guard.arm(time.monotonic() + 0.6)
    for pair in pairs:
        assert pair.far.recv(1) == b""
    assert [type(each) for each in crashes] == [error]


def test_a_deadline_that_nobody_enforces_is_seen(pairs: list[Pair]) -> None:
    """F44, G32."""
    watchdog = Watchdog()
    assert watchdog.overdue() == 0.0
    guard = watchdog.guard(pairs[0].near.fileno())
    with watchdog._changed:
        watchdog._push(guard, time.monotonic() + AGES)
        assert watchdog.overdue() == 0.0
        watchdog._push(guard, time.monotonic() - 1)
        assert watchdog.overdue() >= 1
    guard.close()
