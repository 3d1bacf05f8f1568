"""Has parked events delivered again or skipped, now and then, while everything else goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from eventstore import EventStore, EventStoreError
from tests.torture.parking import PARKING

__all__ = ["marking"]

_PAUSE = 0.5
"""Seconds between two marks."""
_SKIPS = 0.2
"""Share of them that skip events."""
_FEW = 3


@contextmanager
def marking(observer: EventStore, seed: int) -> Iterator[None]:
    """Mark parked events from another thread while the block runs."""
    stopping = threading.Event()
    thread = threading.Thread(target=_mark, args=(observer, random.Random(seed), stopping))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _mark(observer: EventStore, rng: random.Random, stopping: threading.Event) -> None:
    while not stopping.wait(_PAUSE):
        # Other faults keep the server from answering.
        with suppress(EventStoreError):
            if rng.random() < _SKIPS:
                _skip_some(observer, rng)
            else:
                observer.retry_parked("$all", PARKING, limit=rng.choice([None, _FEW, 100]))


def _skip_some(observer: EventStore, rng: random.Random) -> None:
    keys = sorted({event.key for event in observer.parked("$all", PARKING)})
    if keys:
        key = rng.choice(keys)
        observer.skip_parked("$all", PARKING, key, limit=_FEW, reason="by the torture")
