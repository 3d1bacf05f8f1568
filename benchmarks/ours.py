"""Our own store, as an application uses it: the facade, the actors, real objects."""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from uuid import uuid4

from benchmarks.load import ALL, events, new_stream
from eventstore import Events, EventStore, ExpectedVersion

__all__ = ["Ours"]

_TIMEOUT = 300.0


class Ours:
    """One store with its runtime, and threads that call it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def append(self, appends: int, callers: int, number: int) -> None:
        """Make *appends* of *number* events each, from *callers* threads, to new streams."""
        with ThreadPoolExecutor(callers) as threads:
            for _ in threads.map(self._append_one, repeat(number, appends)):
                pass

    def _append_one(self, number: int) -> None:
        self._store.append_to_stream(new_stream(), ExpectedVersion.NO_STREAM, events(number))

    def read_stream(self, stream_id: str) -> int:
        """Read a stream; return how many events it has."""
        return len(self._store.read_stream_forward(stream_id))

    def catch_up(self, **options: object) -> int:
        """Deliver everything to a new subscription that acknowledges; return the events."""
        name, delivered = f"bench-{uuid4()}", [0]

        def count(batch: Events) -> None:
            delivered[0] += len(batch)

        head = self._store.stream_info(ALL).stream_version
        last = self._store.read_all_streams_backward(head, 1)[0]
        subscription = self._store.subscribe_to_all_streams(name, count, **options)  # type: ignore[arg-type]
        subscription.wait_for(last, _TIMEOUT)
        subscription.unsubscribe()
        self._store.delete_subscription(ALL, name)
        return delivered[0]

    def live_latencies(self, number: int) -> list[float]:
        """Return the milliseconds from the call of append to the handler, *number* times."""
        received: queue.SimpleQueue[float] = queue.SimpleQueue()
        name = f"bench-{uuid4()}"
        subscription = self._store.subscribe_to_all_streams(
            name, lambda _: received.put(time.perf_counter()), start_from="current"
        )
        latencies = []
        for _ in range(number):
            begun = time.perf_counter()
            self._append_one(1)
            latencies.append(1_000 * (received.get(timeout=_TIMEOUT) - begun))
        subscription.unsubscribe()
        self._store.delete_subscription(ALL, name)
        return latencies
