"""The newest events in memory, which live subscriptions read instead of the storage."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from uuid import UUID

import msgspec

from eventstore.model.names import ALL_STREAMS
from eventstore.ports.stored_events import StoredEvent, payload_bytes

__all__ = ["RecentEvents"]

MAX_BYTES = 32 * 1024 * 1024
MAX_EVENTS = 50_000

_PARTS = 8
"""A full memory evicts one part in this many at once."""

_stream_id = attrgetter("stream_id")
_stream_version = attrgetter("stream_version")


class RecentEvents:
    """A run of events without a gap, which ends at the newest known position.

    The publisher extends it, subscriptions read it; thread-safe. It is bounded in events and in
    payload bytes and evicts the oldest first; an event larger than the bound leaves it empty.
    Cost is proportional to the events touched, not to the events held.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_events: int = MAX_EVENTS) -> None:
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._lock = threading.Lock()
        self._run: list[StoredEvent] = []
        """In order of `$all`; the last event is at the head."""
        self._by_stream: dict[str, list[StoredEvent]] = {}
        """The same events per stream, in order."""
        self._bytes = 0
        self._head: int | None = None
        self._mark: tuple[int, UUID] | None = None
        self.watched = False
        """A subscription of this runtime reads it, so new commits must be put in at once."""
        self.writing = False
        """The writer is committing; its events will be put in."""
        self.listening = False
        """The publisher learns of new events; False: the database cannot be reached."""
        self.deaf = False
        """Notifications do not arrive; the publisher learns of new events by polling."""
        self.away = False
        """The database did not answer the last look."""

    @property
    def max_events(self) -> int:
        """Upper bound for the events held."""
        return self._max_events

    @property
    def max_bytes(self) -> int:
        """Upper bound for the payload bytes held."""
        return self._max_bytes

    @property
    def head(self) -> int | None:
        """Global position where the run ends; None if nothing is known."""
        return self._head

    @property
    def mark(self) -> tuple[int, UUID] | None:
        """Global position and id of the newest event ever held; outlives `clear`."""
        return self._mark

    def extend(self, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Add *events*, in order, at the end; after a gap drop everything before it.

        Returns:
            The events that were new.
        """
        with self._lock:
            new = _after_head(self._head, events)
            if new:
                self._append(new)
                self._mark = (new[-1].global_position, new[-1].event_id)
                self._evict_oldest()
        return new

    def clear(self, head: int | None = None) -> None:
        """Drop all events; the run starts again after *head*, or anywhere if that is None."""
        with self._lock:
            self._drop_all()
            self._head = head

    def contradicts(self, event: StoredEvent) -> bool:
        """Return whether a different event is held at the position of *event*."""
        with self._lock:
            held = self._slice_of_all(event.global_position - 1, 1)
        return bool(held) and held[0].event_id != event.event_id

    def version_of(self, stream_id: str) -> int | None:
        """Return the newest version of a stream; None if none of its events is held."""
        with self._lock:
            return self._version_of(stream_id)

    def after(
        self, stream_id: str, position: int, count: int, max_bytes: int
    ) -> tuple[StoredEvent, ...] | None:
        """Read the events after *position* of a stream, or of ``$all``.

        Returns:
            At most *count* events of at most *max_bytes* together, the first whatever its size.
            Empty if there are none up to the head. None if the next event is not held and must be
            read from the storage.
        """
        of_all = stream_id == ALL_STREAMS
        with self._lock:
            if of_all:
                head, held = self._head, self._slice_of_all(position, count)
            else:
                head = self._version_of(stream_id)
                held = self._slice_of_stream(stream_id, position, count)
        if not held and position != head:
            return None
        found = _bounded(held, max_bytes)
        if of_all:
            return tuple(found)
        return tuple(
            msgspec.structs.replace(event, position=event.stream_version) for event in found
        )

    # ── what is held ─────────────────────────────────────────────────────────────────────────

    def _slice_of_all(self, position: int, count: int) -> list[StoredEvent]:
        """Return the events after a position of ``$all``."""
        start = position - (self._head or 0) + len(self._run)
        return self._run[start : start + count] if start >= 0 else []

    def _version_of(self, stream_id: str) -> int | None:
        events = self._by_stream.get(stream_id)
        return events[-1].stream_version if events else None

    def _slice_of_stream(self, stream_id: str, version: int, count: int) -> list[StoredEvent]:
        """Return the events after a version of a stream, up to the first gap."""
        events = self._by_stream.get(stream_id, [])
        start = bisect_right(events, version, key=_stream_version)
        found = events[start : start + count]
        while found and found[-1].stream_version != version + len(found):
            found.pop()
        return found

    # ── adding and evicting ──────────────────────────────────────────────────────────────────

    def _append(self, events: Sequence[StoredEvent]) -> None:
        run = _after_last_gap(events)
        if self._head is not None and run[0].global_position != self._head + 1:
            self._drop_all()
        self._head = run[-1].global_position
        self._run += run
        self._bytes += payload_bytes(run)
        by_stream = self._by_stream
        for number, event in enumerate(run):
            held = by_stream.get(event.stream_id)
            if held is None:
                by_stream[event.stream_id] = [event]
            elif held[-1].stream_version < event.stream_version:
                held.append(event)
            else:
                # The stream was deleted for good, and this is another one of its name.
                self._drop_all()
                self._append(run[number:])
                return

    def _evict_oldest(self) -> None:
        if len(self._run) <= self._max_events and self._bytes <= self._max_bytes:
            return
        most = self._max_events - self._max_events // _PARTS
        most_bytes = self._max_bytes - self._max_bytes // _PARTS
        count = max(0, len(self._run) - most)
        self._bytes -= payload_bytes(self._run[:count])
        while self._bytes > most_bytes:
            self._bytes -= self._run[count].size
            count += 1
        self._drop_oldest(count)

    def _drop_oldest(self, count: int) -> None:
        streams = Counter(map(_stream_id, self._run[:count]))
        del self._run[:count]
        for stream_id, number in streams.items():
            held = self._by_stream[stream_id]
            del held[:number]
            if not held:
                del self._by_stream[stream_id]

    def _drop_all(self) -> None:
        self._run.clear()
        self._by_stream.clear()
        self._bytes = 0


def _after_head(head: int | None, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    if head is None or not events or events[0].global_position > head:
        return events
    return [event for event in events if event.global_position > head]


def _after_last_gap(events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """Return the events after the last gap between them."""
    last = events[-1].global_position
    start = len(events) - 1
    if last - events[0].global_position == start:
        return events
    while events[start - 1].global_position == events[start].global_position - 1:
        start -= 1
    return events[start:]


def _bounded(events: Sequence[StoredEvent], max_bytes: int) -> Iterable[StoredEvent]:
    """Return as many of *events* as have at most *max_bytes* together, but at least one."""
    if payload_bytes(events) <= max_bytes:
        return events
    size = 0
    for number, event in enumerate(events):
        size += event.size
        if number and size > max_bytes:
            return events[:number]
    return events
