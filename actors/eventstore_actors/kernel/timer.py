"""One thread that tells actors things later: every delay, deadline and interval of a runtime.

A thread per subscription is enough; a second one per subscription that only waits is not needed.
"""

from __future__ import annotations

import heapq
import threading
import time
from contextlib import suppress
from itertools import count
from typing import Any

import pykka
from pykka import ActorRef

__all__ = ["Alarm", "Handle", "Timer"]


class Handle:
    """A message that will be told; `cancel` takes it back if it was not told yet."""

    __slots__ = ("_message", "_ref")

    def __init__(self, ref: ActorRef[Any], message: Any) -> None:
        self._ref: ActorRef[Any] | None = ref
        self._message = message

    def cancel(self) -> None:
        """Forget actor and message; harmless when repeated, or too late."""
        self._ref = self._message = None

    def _tell(self) -> None:
        ref, message = self._ref, self._message
        if ref is not None and message is not None:
            with suppress(pykka.ActorDeadError):
                ref.tell(message)


class Timer:
    """Tells actors messages after a delay. Any thread may use it; `start` it once, `stop` it once.

    What is still waiting at the stop is never told.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Handle]] = []
        self._order = count()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="eventstore-timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread; harmless when repeated."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def after(self, seconds: float, ref: ActorRef[Any], message: Any) -> Handle:
        """Tell *ref* the *message* in *seconds*; a dead actor is no error."""
        handle = Handle(ref, message)
        due = time.monotonic() + seconds
        with self._changed:
            if not self._stopped:
                heapq.heappush(self._waiting, (due, next(self._order), handle))
                if self._waiting[0][2] is handle:
                    self._changed.notify()
        return handle

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            for handle in due:
                handle._tell()  # noqa: SLF001

    def _wait(self) -> list[Handle] | None:
        """Block until something is due; None when stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    return self._pop_due(now)
                self._changed.wait(self._waiting[0][0] - now if self._waiting else None)
        return None

    def _pop_due(self, now: float) -> list[Handle]:
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting)[2])
        return due


class Alarm:
    """The one next moment at which an actor wants to be told something; used by that actor alone.

    However often it is set, one message is on its way, so that ticks never multiply.
    """

    def __init__(self, timer: Timer, ref: ActorRef[Any], message: Any) -> None:
        self._timer = timer
        self._ref = ref
        self._message = message
        self._set: Handle | None = None
        self._due = 0.0

    def at(self, moment: float) -> None:
        """Ring at *moment* of `time.monotonic`, or earlier if that was asked for already."""
        if self._set is not None:
            if self._due <= moment:
                return
            self._set.cancel()
        self._due = moment
        delay = max(0.0, moment - time.monotonic())
        self._set = self._timer.after(delay, self._ref, self._message)

    def rang(self) -> bool:
        """Take note of the message; False: it was told too late to be taken back, ignore it."""
        if self._set is None or time.monotonic() < self._due:
            return False
        self._set = None
        return True
