"""Threads that work for coroutines; a blocking call in one of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from eventstore.client.loop_calls import calls_into

__all__ = ["OwnThread", "Threads"]

T = TypeVar("T")

_MOMENT = 0.001
"""Seconds between two looks whether a thread that has nothing left to do has ended."""


class Threads:
    """The threads that work for the coroutines of one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: list[threading.Thread] = []

    def add(self, thread: threading.Thread) -> None:
        with self._lock:
            self._alive = [*(each for each in self._alive if each.is_alive()), thread]

    def join(self, deadline: float) -> None:
        """Block until all have ended, or until *deadline*, of the monotonic clock."""
        for thread in self._alive:
            thread.join(max(0.0, deadline - time.monotonic()))


class OwnThread(Generic[T]):
    """Calls a function that blocks, at once."""

    def __init__(
        self,
        function: Callable[[], T],
        name: str,
        threads: Threads,
        *,
        undo: Callable[[T], object] = lambda _: None,
    ) -> None:
        """Start the thread.

        Args:
            function: Called once.
            name: Of the thread.
            threads: Get this one.
            undo: Called with what *function* returned, if the caller who waits was cancelled.
        """
        self._function = function
        self._undo = undo
        self._threads = threads
        self._done = Future[T]()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        threads.add(self._thread)

    async def result(self) -> T:
        """Return what the function returns, or raise its error, after the end of the thread.

        A caller who is cancelled leaves the thread to itself, which undoes what it has done.
        """
        loop, answered = asyncio.get_running_loop(), asyncio.Event()
        self._done.add_done_callback(lambda _: calls_into(loop).call(answered.set))
        try:
            await answered.wait()
            while self._thread.is_alive():  # noqa: ASYNC110 - an event would come before its end
                await asyncio.sleep(_MOMENT)
        except asyncio.CancelledError:
            if not self._done.cancel() and self._done.exception() is None:
                undoing = partial(self._undo, self._done.result())
                OwnThread(undoing, self._thread.name, self._threads)
            raise
        return self._done.result()

    def _run(self) -> None:
        try:
            returned = self._function()
        except BaseException as error:  # noqa: BLE001 - raised by the future
            if self._done.set_running_or_notify_cancel():
                self._done.set_exception(error)
            return
        if self._done.set_running_or_notify_cancel():
            self._done.set_result(returned)
        else:
            self._undo(returned)
