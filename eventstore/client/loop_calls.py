"""Calls from threads into an event loop. Many of them share one wake-up of the loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

from eventstore.client.loop_deadlines import LoopDeadlines

__all__ = ["LoopCalls", "calls_into"]

_AT_ONCE = 20
"""Most calls in a row, so that timers and other callbacks of the loop come in between.

What they wake is run in a row, too: with 200, a commit that 100 tasks wait for kept the loop of a
service from anything else for 30 ms.
"""


class LoopCalls:
    """The way into one event loop. Any thread may use it, also after the loop is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak: the dictionary of all of them keeps no loop.
        self._loop = ref(loop)
        self._calls = deque[tuple[Callable[..., object], tuple[Any, ...]]]()
        self._is_told = False
        self.deadlines = LoopDeadlines()
        """Of what waits in the loop; for use in the loop alone."""

    @property
    def is_closed(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def call(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have the loop call *function*, which must not raise, after all calls before.

        Returns:
            False if the loop is closed: the call is dropped.
        """
        if self.is_closed:
            self._drop()
            return False
        self._calls.append((function, arguments))
        # No lock: the loop forgets that it was told before it looks at the calls a last time.
        return self._is_told or self._tell()

    def _tell(self) -> bool:
        self._is_told = True
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._run)
                return True
        except RuntimeError:  # it was closed just now
            pass
        self._drop()
        return False

    def _drop(self) -> None:
        """Forget what holds the loop, which is closed."""
        self._calls.clear()
        self.deadlines.clear()

    def _run(self) -> None:
        calls = self._calls
        try:
            for _ in range(min(len(calls), _AT_ONCE)):
                function, arguments = calls.popleft()
                function(*arguments)
        finally:
            if calls:
                asyncio.get_running_loop().call_soon(self._run)
            else:
                self._is_told = False
                # Who added a call just before did not tell.
                if calls and not self._is_told:
                    self._tell()


_ways = WeakKeyDictionary[asyncio.AbstractEventLoop, LoopCalls]()
_lock = threading.Lock()


def calls_into(loop: asyncio.AbstractEventLoop) -> LoopCalls:
    """Return the way into *loop*: one for all its users, so that they share wake-ups."""
    found = _ways.get(loop)
    if found is None:
        with _lock:
            found = _ways.get(loop) or _ways.setdefault(loop, LoopCalls(loop))
    return found
