"""Batches for a callable that were sent and not begun, so that they can still be taken back."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from eventstore.model.subscriber_messages import Events

__all__ = ["Letter", "Mailbox"]


class Letter(NamedTuple):
    """A batch, and the delivery run it belongs to."""

    run: int
    batch: Events
    after: int
    """The position before its first event."""


class Mailbox:
    """Written by the subscription, fetched from by its subscriber.

    What a pause, a lost lease or a failed batch takes back under the lock was certainly not begun.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._good_until = math.inf
        self._closed = False

    def put(self, letters: Iterable[Letter]) -> bool:
        """Put in batches; True: it was empty, so the subscriber has to hear of it."""
        with self._lock:
            was_empty = not self._letters
            if not self._closed:
                self._letters.extend(letters)
        return was_empty

    def fetch(self) -> Letter | None:
        """Return the oldest batch; None: there is none, or the lease ran out."""
        with self._lock:
            if not self._letters or time.monotonic() >= self._good_until:
                return None
            return self._letters.popleft()

    def renew(self, good_until: float) -> bool:
        """Let batches be fetched until this moment of `time.monotonic`.

        Returns:
            True: There are some, and the subscriber may have been refused them.
        """
        with self._lock:
            self._good_until = good_until
            return bool(self._letters)

    def take_back(self) -> int | None:
        """Take out what was not fetched; return the position before it, None: there was nothing."""
        with self._lock:
            after = self._letters[0].after if self._letters else None
            self._letters.clear()
        return after

    def close(self) -> None:
        """Drop everything, also what is put in later."""
        with self._lock:
            self._letters.clear()
            self._closed = True
