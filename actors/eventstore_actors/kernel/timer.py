"""One thread for every delay, deadline and interval, instead of one per actor."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
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

    def is_awaited(self) -> bool:
        """Return whether an actor that lives is to get it."""
        ref = self._ref
        return ref is not None and ref.is_alive()

    def _tell(self) -> None:
        ref, message = self._ref, self._message
        if ref is not None and message is not None:
            with suppress(pykka.ActorDeadError):
                ref.tell(message)
            self.cancel()


class Timer:
    """Sends messages to actors after a delay; thread-safe. Start it once, stop it once.

    Messages that are not due at the stop are dropped. An exception in its thread is reported, and
    the thread goes on: a message stays scheduled until it was sent.
    """

    def __init__(self, crashed: Callable[[BaseException], object] = lambda _: None) -> None:
        """Create it; *crashed* is called in its thread with an exception of that."""
        self._crashed = crashed
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

    def drop_dead(self) -> None:
        """Drop the messages to actors that are dead."""
        with self._changed:
            self._waiting = [each for each in self._waiting if each[2].is_awaited()]
            heapq.heapify(self._waiting)

    def overdue(self) -> float:
        """Return for how many seconds the oldest message has been due; 0 if none is."""
        # Without the lock, which a thread that does not go on may hold.
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest[0])

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
        while not self._stopped:
            try:
                while self._wait():
                    self.send_due(time.monotonic())
            except BaseException as error:  # noqa: BLE001 - reported; nothing else keeps the time
                self._crashed(error)

    def _wait(self) -> bool:
        """Block until a message is due; return False when stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    return True
                self._changed.wait(self._waiting[0][0] - now if self._waiting else None)
        return False

    def send_due(self, now: float) -> None:
        """Send the messages that are due at *now*. Called by its thread, or instead of it."""
        while (due := self._next_due(now)) is not None:
            # Sent before it is removed: an exception in between does not lose it.
            due[2]._tell()  # noqa: SLF001
            self._remove(due)

    def _next_due(self, now: float) -> tuple[float, int, Handle] | None:
        with self._changed:
            return self._waiting[0] if self._waiting and self._waiting[0][0] <= now else None

    def _remove(self, sent: tuple[float, int, Handle]) -> None:
        with self._changed:
            # A message that was scheduled meanwhile may be due even earlier.
            if self._waiting and self._waiting[0] is sent:
                heapq.heappop(self._waiting)


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
