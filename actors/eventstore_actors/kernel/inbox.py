"""The inbox of an actor, which needs a thread only while messages come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Inbox", "NoMessage"]

LINGER = 0.05
"""Seconds that an actor keeps its thread without a message. A busy actor never gives it back, and a
message to one that has it costs less."""


class NoMessage(Exception):  # noqa: N818 - the usual end of a turn, not an error
    """No message has come; the next one wakes the actor."""


class Inbox:
    """Messages to one actor, as pykka's envelopes; any thread puts, only the actor takes."""

    def __init__(self) -> None:
        self.keeps_thread = True
        """Its actor keeps its thread for a while without a message."""
        # Carries three times as many messages per second as pykka's queue.Queue.
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._asleep = False
        """The actor has no thread, and nobody has woken it since it gave that back."""
        self._wake: Callable[[], object] = lambda: None
        self.empty = self._messages.empty

    def woken_by(self, wake: Callable[[], object]) -> None:
        """Call *wake* when a message comes while the actor sleeps, in the thread that puts it."""
        self._wake = wake

    def put(self, envelope: Any) -> None:
        # In this order: who falls asleep looks at the messages afterwards.
        self._messages.put(envelope)
        if self._asleep:
            self._rouse()

    def get(self) -> Any:
        """Take the oldest message.

        Raises:
            NoMessage: None came for a while. The actor must end its turn: it is woken for the next.
        """
        try:
            return self._messages.get(self.keeps_thread, LINGER)
        except queue.Empty:
            return self._get_or_sleep()

    def _get_or_sleep(self) -> Any:
        with self._lock:
            self._asleep = True
            if self._messages.empty():
                raise NoMessage
            self._asleep = False
        return self._messages.get()

    def _rouse(self) -> None:
        with self._lock:
            if not self._asleep:
                return
            self._asleep = False
        try:
            self._wake()
        except BaseException:
            # The next message tries again.
            with self._lock:
                self._asleep = True
            raise
