"""Acknowledgements on their way to the actor of a subscription."""

from __future__ import annotations

import threading

__all__ = ["Ack", "Acks"]

Ack = tuple[int, int]
"""The number of a delivery run, and the position up to which it is acknowledged."""


class Acks:
    """The newest acknowledgement not yet read by the actor.

    Acknowledgements are cumulative, so one is enough, and one message announces all that are added
    before the actor reads it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: Ack | None = None

    def add(self, ack: Ack) -> bool:
        """Add an acknowledgement; thread-safe.

        Returns:
            True if the actor must be sent a message; False if one is on its way.
        """
        with self._lock:
            # Run numbers grow, so the acknowledgement of a newer run compares greater.
            newest = self._newest
            if newest is None or newest < ack:
                self._newest = ack
        return newest is None

    def take(self, sent: Ack) -> Ack:
        """Return the newest acknowledgement, at least *sent*, which the message carried."""
        with self._lock:
            newest, self._newest = self._newest, None
        return sent if newest is None else max(newest, sent)

    def clear(self) -> None:
        """Forget the acknowledgement that was sent to an actor that is gone."""
        with self._lock:
            self._newest = None
