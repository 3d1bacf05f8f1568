"""How a coroutine waits, without blocking its loop; blocking calls run in a few threads."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

from eventstore.client.loop_calls import LoopCalls, calls_into
from eventstore.model.errors import NotRunningError
from eventstore.ports.waits import Signal

__all__ = ["LoopWaits", "run_alone", "start_alone"]

P = ParamSpec("P")
T = TypeVar("T")


class LoopWaits:
    """Suspends the coroutine. One for each store; any loop may use it."""

    def __init__(self, threads: int) -> None:
        """Use up to so many *threads* for blocking calls."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="eventstore-call")

    def signal(self) -> Signal:
        return _LoopSignal()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns. If the caller is cancelled, it still runs to its end."""
        # The context, so that logs of the application's code carry what the caller has bound.
        work: Callable[[], T] = partial(copy_context().run, partial(function, *args, **kwargs))
        try:
            result = self._threads.submit(work)
        except RuntimeError:
            raise NotRunningError("this store is closed") from None
        return await asyncio.wrap_future(result)

    def close(self) -> None:
        """End the threads that have nothing to do, and the others after what they do."""
        self._threads.shutdown(wait=False)


class _LoopSignal:
    """A signal for a coroutine of the running loop."""

    __slots__ = ("_calls", "_is_on_its_way", "_is_set", "_loop", "_waiter")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: LoopCalls = calls_into(self._loop)
        self._is_set = False
        self._is_on_its_way = False
        self._waiter: asyncio.Future[bool] | None = None

    def set(self) -> None:
        # Once until it has arrived: a loop that stands still collects no calls.
        if not self._is_on_its_way:
            self._is_on_its_way = True
            self._calls.call(self._arrive)

    def clear(self) -> None:
        self._is_set = False

    def block(self, seconds: float) -> NoReturn:
        raise AssertionError(f"a loop never blocks, not for {seconds} s")

    async def wait(self, seconds: float) -> bool:
        if self._is_set:
            self._is_set = False
            return True
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        timer = None
        if seconds < math.inf:
            timer = self._loop.call_later(max(0.0, seconds), _answer, waiter, False)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _arrive(self) -> None:
        self._is_on_its_way = False
        self._is_set = self._waiter is None or self._waiter.done()
        if self._waiter is not None:
            _answer(self._waiter, True)


def _answer(waiter: asyncio.Future[bool], is_set: bool) -> None:
    if not waiter.done():
        waiter.set_result(is_set)


async def run_alone(
    function: Callable[[], T], name: str, *, undo: Callable[[T], object] = lambda _: None
) -> T:
    """Return what *function*, which blocks, returns in a thread of its own; see `start_alone`."""
    result = start_alone(function, name, undo=undo)
    try:
        return await asyncio.wrap_future(result)
    except asyncio.CancelledError:
        if not result.cancelled() and result.exception() is None:
            # It was ready, and its way back to the loop was cut.
            start_alone(lambda: undo(result.result()), name)
        raise


def start_alone(
    function: Callable[[], T], name: str, *, undo: Callable[[T], object] = lambda _: None
) -> Future[T]:
    """Call *function* in a thread of its own.

    Args:
        function: Blocks.
        name: Of the thread.
        undo: Called in that thread with the result, if the returned future was cancelled.
    """
    done = Future[T]()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - raised by the future
            if done.set_running_or_notify_cancel():
                done.set_exception(error)
            return
        if done.set_running_or_notify_cancel():
            done.set_result(result)
        else:
            undo(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
