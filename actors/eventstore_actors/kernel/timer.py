"""One thread for every delay, deadline and interval of a runtime, instead of one per actor."""

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
    """A scheduled message."""

    __slots__ = ("_message", "_ref")

    def __init__(self, ref: ActorRef[Any], message: Any) -> None:
        self._ref: ActorRef[Any] | None = ref
        self._message = message

    def cancel(self) -> None:
        """Do not send it; a no-op if it was sent or cancelled already."""
        self._ref = self._message = None

    def _tell(self) -> None:
        ref, message = self._ref, self._message
        if ref is not None and message is not None:
            with suppress(pykka.ActorDeadError):
                ref.tell(message)


class Timer:
    """Sends messages to actors after a delay; thread-safe. Start it once, stop it once.

    Messages that are not due at the stop are dropped.
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
        """End the thread; idempotent."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def after(self, seconds: float, ref: ActorRef[Any], message: Any) -> Handle:
        """Send *message* to *ref* in *seconds*; a no-op if the actor is dead by then."""
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
        """Block until a message is due; return all that are due, or None when stopped."""
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
    """The next wake-up of one actor, which alone uses it.

    At most one message is scheduled, however often the alarm is set, so ticks never multiply.
    """

    def __init__(self, timer: Timer, ref: ActorRef[Any], message: Any) -> None:
        self._timer = timer
        self._ref = ref
        self._message = message
        self._set: Handle | None = None
        self._due = 0.0

    def at(self, moment: float) -> None:
        """Ring at *moment* of `time.monotonic`, unless the alarm is set to an earlier one."""
        if self._set is not None:
            if self._due <= moment:
                return
            self._set.cancel()
        self._due = moment
        delay = max(0.0, moment - time.monotonic())
        self._set = self._timer.after(delay, self._ref, self._message)

    def rang(self) -> bool:
        """Take note of the alarm's message.

        Returns:
            False if the message is stale and must be ignored: the alarm was set anew after the
            message was sent.
        """
        if self._set is None or time.monotonic() < self._due:
            return False
        self._set = None
        return True
