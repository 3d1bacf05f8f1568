"""Acknowledgements on their way to the actor of a subscription."""

from __future__ import annotations

import threading

__all__ = ["Acks"]

Ack = tuple[int, int]
"""A delivery run, and the position up to which it is acknowledged."""


class Acks:
    """The newest one that the actor has not heard of: it stands for all before it.

    So one message tells of however many come until it is read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: Ack | None = None

    def add(self, ack: Ack) -> bool:
        """Take note, from any thread; True: no message is on its way, so the actor is to be told.

        Runs are numbered upwards, so a newer run's acknowledgement is newer.
        """
        with self._lock:
            newest = self._newest
            if newest is None or newest < ack:
                self._newest = ack
        return newest is None

    def take(self, told: Ack) -> Ack:
        """Return what to do for a message that told of *told*: that, or what came after it."""
        with self._lock:
            newest, self._newest = self._newest, None
        return told if newest is None else max(newest, told)

    def clear(self) -> None:
        """Forget what an actor that is gone was told."""
        with self._lock:
            self._newest = None
