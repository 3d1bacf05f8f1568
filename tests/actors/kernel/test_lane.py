"""The lane: turns in order, in one thread, and none waits for one that takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from eventstore_actors.kernel import lane as lanes
from eventstore_actors.kernel.actor import SupervisedActor
from eventstore_actors.kernel.lane import LANE, Lane
from eventstore_actors.kernel.workers import Workers
from tests.actors.application import raise_in
from tests.actors.kernel.children import does, in_child
from tests.support.waiting import PATIENCE, wait_until


class Long:
    """A turn that returns when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.thread = threading.current_thread()

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.may_end.wait(PATIENCE)


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    workers.actor_started()
    yield workers
    workers.actor_ended()
    wait_until(lambda: not workers._threads)


@pytest.fixture
def lane(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Lane:
    """A lane in which nothing takes too long."""
    monkeypatch.setattr(lanes, "STALL", 3600.0)
    return Lane(workers)


@pytest.fixture
def long(lane: Lane) -> Iterator[Long]:
    """A turn that is being taken."""
    long = Long()
    lane.run(long)
    assert long.begun.wait(PATIENCE)
    yield long
    long.may_end.set()


def test_turns_are_taken_in_order_and_in_one_thread(lane: Lane, long: Long) -> None:
    taken, threads, done = list[int](), set[threading.Thread](), threading.Event()

    def turn(number: int) -> None:
        taken.append(number)
        threads.add(threading.current_thread())

    for number in range(100):
        lane.run(lambda number=number: turn(number))  # type: ignore[misc]
    lane.run(done.set)
    assert not taken
    long.may_end.set()
    assert done.wait(PATIENCE)
    assert taken == list(range(100))
    assert threads == {long.thread}


def test_turns_that_wait_are_taken_when_one_leaves(lane: Lane) -> None:
    """What follows may block: the others must not wait for it."""
    may_leave, left, after = threading.Event(), Long(), threading.Event()

    def leave() -> None:
        assert may_leave.wait(PATIENCE)
        lane.leave()
        lane.leave()
        left()

    lane.run(leave)
    lane.run(after.set)
    assert not after.is_set()
    may_leave.set()
    assert after.wait(PATIENCE)
    assert left.begun.is_set() or left.begun.wait(PATIENCE)
    last = threading.Event()
    lane.run(last.set)
    assert last.wait(PATIENCE)
    left.may_end.set()


def test_who_is_not_in_the_lane_does_not_leave_it(lane: Lane, long: Long) -> None:
    waiting = threading.Event()
    lane.run(waiting.set)
    lane.leave()
    assert not waiting.wait(0.05)
    long.may_end.set()
    assert waiting.wait(PATIENCE)


def test_a_turn_that_takes_long_is_overtaken(
    lane: Lane, long: Long, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F50: whatever blocks, although nothing should, it costs the others a moment."""
    monkeypatch.setattr(lanes, "STALL", 0.0)
    first, second = threading.Event(), threading.Event()
    lane.run(first.set)
    assert first.wait(PATIENCE)
    long.may_end.set()
    lane.run(second.set)
    assert second.wait(PATIENCE)


def test_no_turn_is_lost_as_the_thread_goes(lane: Lane) -> None:
    """The last turn may end at the moment at which the next one comes."""
    taken = count()

    def add(sender: int) -> None:
        pause = threading.Event()
        for number in range(500):
            lane.run(lambda: next(taken))
            if number % 3 == sender:
                pause.wait(number / 1e7)

    senders = [threading.Thread(target=add, args=(sender,)) for sender in range(3)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    done = threading.Event()
    lane.run(done.set)
    assert done.wait(PATIENCE)
    assert next(taken) == 1_500


def test_no_turn_is_lost_when_an_exception_hits_the_thread(lane: Lane, long: Long) -> None:
    """F44, G24: the turn goes on in another thread, and then those that wait."""
    after = threading.Event()
    lane.run(after.set)
    raise_in(long.thread, ZeroDivisionError)
    long.may_end.set()
    assert after.wait(PATIENCE)


def test_a_turn_for_which_there_is_no_thread_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told tries again, and no actor has two turns."""
    workers, turns, done = Workers(), list[str](), threading.Event()
    lane = Lane(workers)
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            lane.run(lambda: turns.append("first"))
    lane.run(lambda: turns.append("second"))
    lane.run(done.set)
    assert done.wait(PATIENCE)
    assert turns == ["second"]


def test_a_child_after_a_fork_has_a_lane_of_its_own() -> None:
    long = Long()
    LANE.run(long)
    assert long.begun.wait(PATIENCE)
    try:
        in_child(lambda: does(LANE.run))
    finally:
        long.may_end.set()


class Slow(SupervisedActor):
    """One of many; blocks for as long as it is told."""

    is_one_of_many = True

    def __init__(self) -> None:
        super().__init__("slow", None)

    def receive(self, message: Long) -> None:
        LANE.leave()
        message()


def test_actors_of_the_lane_do_not_wait_for_one_that_left_it() -> None:
    first, second = Slow.start(), Slow.start()
    blocks, blocks_too = Long(), Long()
    first.tell(blocks)
    second.tell(blocks_too)
    assert blocks.begun.wait(PATIENCE)
    assert blocks_too.begun.wait(PATIENCE)
    assert blocks.thread is not blocks_too.thread
    blocks.may_end.set()
    blocks_too.may_end.set()
    first.stop(timeout=PATIENCE)
    second.stop(timeout=PATIENCE)


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
