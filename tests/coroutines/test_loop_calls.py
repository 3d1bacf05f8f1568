"""Calls from threads into a loop: many share a wake-up, and a loop that is gone harms nobody."""

from __future__ import annotations

import asyncio
import threading
import time

from eventstore.client.loop_calls import LoopCalls, calls_into
from eventstore.client.loop_waits import LoopWaits


def test_many_calls_share_a_wake_up_and_come_in_order() -> None:
    """G42."""
    loop = asyncio.new_event_loop()
    wakes = 0
    tell = loop.call_soon_threadsafe

    def counted(*arguments: object) -> object:
        nonlocal wakes
        wakes += 1
        return tell(*arguments)  # type: ignore[arg-type]

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment]
    calls, called = calls_into(loop), list[int]()
    assert calls_into(loop) is calls
    for number in range(1_000):
        assert calls.call(called.append, number)
    calls.call(loop.stop)
    loop.run_forever()
    assert called == list(range(1_000))
    assert wakes < 10
    loop.close()


def test_one_that_raises_costs_no_other_its_turn() -> None:
    """G42."""
    loop = asyncio.new_event_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context["exception"]))
    calls, called = calls_into(loop), list[int]()
    calls.call(lambda: 1 / 0)
    calls.call(called.append, 1)
    calls.call(loop.stop)
    loop.run_forever()
    assert called == [1]
    assert [type(error) for error in errors] == [ZeroDivisionError]
    loop.close()


def test_calls_from_many_threads_all_arrive() -> None:
    """G42."""
    loop = asyncio.new_event_loop()
    calls, called = calls_into(loop), list[int]()

    def call() -> None:
        for number in range(2_000):
            calls.call(called.append, number)

    async def main() -> None:
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(called) < 8_000:  # noqa: ASYNC110 - they come from threads
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(main(), 60))
    loop.close()
    assert not calls.call(called.append, 1)
    assert len(calls._calls) == 0


def test_a_loop_that_stands_still_collects_no_news() -> None:
    """G22, G42."""
    loop = asyncio.new_event_loop()
    waits = LoopWaits(1)

    async def signal() -> object:
        return waits.signal()

    news = loop.run_until_complete(signal())
    for _ in range(1_000):
        news.set()  # type: ignore[attr-defined]
    assert len(calls_into(loop)._calls) == 1
    loop.close()
    waits.close(time.monotonic())


def test_a_loop_is_not_kept_alive() -> None:
    loop = asyncio.new_event_loop()
    calls: LoopCalls = calls_into(loop)
    loop.close()
    del loop
    assert calls.is_closed
