"""How a coroutine waits, without blocking its loop; blocking calls run in a few threads."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

from eventstore.client.loop_calls import LoopCalls, calls_into
from eventstore.client.own_thread import Threads
from eventstore.model.errors import NotRunningError
from eventstore.ports.waits import Signal

__all__ = ["LoopWaits"]

P = ParamSpec("P")
T = TypeVar("T")


class LoopWaits:
    """Suspends the coroutine. One for each store; any loop may use it."""

    def __init__(self, threads: int) -> None:
        """Use up to so many *threads* for blocking calls."""
        self.threads = Threads()
        self._pool = ThreadPoolExecutor(
            threads,
            thread_name_prefix="eventstore-call",
            initializer=lambda: self.threads.add(threading.current_thread()),
        )

    def signal(self) -> Signal:
        return _LoopSignal()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns. If the caller is cancelled, it still runs to its end."""
        # The context, so that logs of the application's code carry what the caller has bound.
        work: Callable[[], T] = partial(copy_context().run, partial(function, *args, **kwargs))
        try:
            result = self._pool.submit(work)
        except RuntimeError:
            raise NotRunningError("this store is closed") from None
        return await asyncio.wrap_future(result)

    def close(self, deadline: float) -> None:
        """Call nothing any more; block until the threads end, or until *deadline*, monotonic."""
        self._pool.shutdown(wait=False)
        self.threads.join(deadline)


class _LoopSignal:
    """A signal for a coroutine of the running loop."""

    __slots__ = ("_calls", "_is_on_its_way", "_is_set", "_waiter")

    def __init__(self) -> None:
        self._calls: LoopCalls = calls_into(asyncio.get_running_loop())
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
        loop, deadlines = asyncio.get_running_loop(), self._calls.deadlines
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        deadline = deadlines.add(loop, waiter, seconds) if seconds < math.inf else None
        try:
            return await waiter
        finally:
            self._waiter = None
            if deadline is not None:
                deadlines.forget(deadline)

    def _arrive(self) -> None:
        self._is_on_its_way = False
        waiter = self._waiter
        self._is_set = waiter is None or waiter.done()
        if waiter is not None and not waiter.done():
            waiter.set_result(True)
