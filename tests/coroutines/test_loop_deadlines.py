"""One timer of a loop for all deadlines in it."""

from __future__ import annotations

import asyncio
import gc
import random
from weakref import ref

import pytest

from eventstore.client.loop_calls import calls_into
from eventstore.client.loop_deadlines import LoopDeadlines
from tests.support.waiting import AGES

Waiter = asyncio.Future[bool]


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when it has nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, *arguments: object, **more: object) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, *arguments, **more)  # type: ignore[arg-type]

    def pass_until(self, moment: float) -> None:
        self.now = moment
        self.run_until_complete(asyncio.sleep(0))
        self.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_each_waiter_is_answered_at_its_own_deadline(order: str) -> None:
    loop, deadlines = Clock(), LoopDeadlines()
    moments = [float(number) for number in range(1, 101)]
    if order == "falling":
        moments.reverse()
    if order == "mixed":
        random.Random(7).shuffle(moments)
    waiters: dict[float, Waiter] = {moment: loop.create_future() for moment in moments}
    added = {moment: deadlines.add(loop, waiter, moment) for moment, waiter in waiters.items()}
    for moment in sorted(moments):
        loop.pass_until(moment - 0.01)
        assert not waiters[moment].done()
        loop.pass_until(moment)
        assert waiters[moment].result() is False
        deadlines.forget(added[moment])
    assert not deadlines._heap
    loop.close()


def test_those_that_are_answered_in_time_need_no_timer_and_no_memory() -> None:
    loop, deadlines = Clock(), LoopDeadlines()
    kept: Waiter = loop.create_future()
    deadlines.add(loop, kept, 10.0)
    for _ in range(10_000):
        waiter: Waiter = loop.create_future()
        deadline = deadlines.add(loop, waiter, 30.0)
        waiter.set_result(True)
        deadlines.forget(deadline)
    assert loop.timers == 1
    assert len(deadlines._heap) < 300
    loop.pass_until(10.0)
    assert kept.result() is False
    loop.close()


def test_a_deadline_that_has_passed_is_answered_at_once() -> None:
    loop, deadlines = Clock(), LoopDeadlines()
    waiter: Waiter = loop.create_future()
    deadlines.add(loop, waiter, -1.0)
    loop.pass_until(0.0)
    assert waiter.result() is False
    loop.close()


@pytest.mark.parametrize("is_left", [False, True])
def test_a_deadline_keeps_no_loop_alive(is_left: bool) -> None:
    loop = asyncio.new_event_loop()
    calls = calls_into(loop)
    waiter: Waiter = loop.create_future()
    deadline = calls.deadlines.add(loop, waiter, AGES)
    if not is_left:
        calls.deadlines.forget(deadline)
    loop.close()
    if is_left:
        assert not calls.call(waiter.done)
    gone = ref(loop)
    del loop, waiter, deadline
    gc.collect()
    assert gone() is None
