"""How a call waits: it blocks its thread, or it is a coroutine that lets others run.

What has to wait is written once, as a coroutine that waits through a `Waits`. Over `BLOCKING` it
never suspends, so `run_blocking` takes it to its end in one go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

__all__ = ["BLOCKING", "Signal", "Waits", "run_blocking"]

P = ParamSpec("P")
T = TypeVar("T")


class Signal(Protocol):
    """Wakes one waiter. It stays set until a waiter has seen it, or clears it."""

    def set(self) -> None:
        """Wake the waiter; from any thread, also when nobody waits any more. Never raises."""

    def clear(self) -> None:
        """Forget that it was set; by the waiter alone."""

    async def wait(self, seconds: float) -> bool:
        """Wait until it is set; return False if *seconds* passed first."""

    def block(self, seconds: float) -> bool:
        """Do what `wait` does, and block the thread; only a signal of `BLOCKING` can."""


class Waits(Protocol):
    """The ways to wait."""

    def signal(self) -> Signal:
        """Return a new signal, which is not set."""

    async def pause(self, seconds: float) -> None:
        """Wait for *seconds*."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function that blocks returns."""


class _ThreadSignal:
    """A lock that is held until the signal is set: cheaper than an event with its condition."""

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        try:
            self._unset.release()
        except RuntimeError:  # it is set already
            return

    def clear(self) -> None:
        self._unset.acquire(blocking=False)

    def block(self, seconds: float) -> bool:
        return self._unset.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))

    async def wait(self, seconds: float) -> bool:
        return self.block(seconds)


class _Blocking:
    """Blocks the thread."""

    def signal(self) -> Signal:
        return _ThreadSignal()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs it

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


BLOCKING: Waits = _Blocking()


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what *coroutine*, which waits through `BLOCKING`, returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("it waited in another way than through BLOCKING")
