"""The memory of the newest events: what live subscriptions read instead of the storage."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import count as counting
from uuid import UUID

import msgspec

from eventstore.identifiers import ALL_STREAMS
from eventstore.storage import StoredEvent

__all__ = ["Recent"]

MAX_BYTES = 32 * 1024 * 1024
MAX_EVENTS = 50_000


class Recent:
    """The run of events without a hole that ends at the newest known position.

    The publisher extends it, subscriptions read it, from any thread. It is bounded in events and
    in bytes of payload: the oldest go first, and an event larger than all of it leaves it empty.
    Every operation takes time for the events it is about, however many are held.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_events: int = MAX_EVENTS) -> None:
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._changed = threading.Condition(threading.Lock())
        self._run: dict[int, StoredEvent] = {}
        """By global position."""
        self._versions: dict[tuple[str, int], StoredEvent] = {}
        self._newest: dict[str, int] = {}
        """Per stream in the run its newest version."""
        self._bytes = 0
        self._head: int | None = None
        self._mark: tuple[int, UUID] | None = None
        self.writing = False
        """The writer commits just now: what it commits is on its way into this memory."""
        self.listening = False
        """The publisher hears of new events; False: the database is away."""
        self.deaf = False
        """It hears of them by polling alone."""

    @property
    def max_events(self) -> int:
        """Most events it holds."""
        return self._max_events

    @property
    def max_bytes(self) -> int:
        """Most bytes of payload it holds."""
        return self._max_bytes

    @property
    def head(self) -> int | None:
        """Global position where the run ends; None if nothing is known."""
        return self._head

    @property
    def mark(self) -> tuple[int, UUID] | None:
        """Global position and id of the newest event ever held; outlives `clear`."""
        return self._mark

    def extend(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Put *events*, in order, behind what is held; start anew behind a hole.

        Returns:
            Those that were not known.
        """
        with self._changed:
            new = [event for event in events if self._put(event)]
            if new:
                self._mark = (new[-1].global_position, new[-1].event_id)
                self._evict()
                self._changed.notify_all()
        return new

    def clear(self, head: int | None = None) -> None:
        """Forget all events; the run starts again behind *head*, or anywhere if that is None."""
        with self._changed:
            self._forget()
            self._head = head
            self._changed.notify_all()

    def contradicts(self, event: StoredEvent) -> bool:
        """Tell whether another event is held at the position of *event*."""
        with self._changed:
            held = self._run.get(event.global_position)
        return held is not None and held.event_id != event.event_id

    def wait_for(self, head: int, timeout: float) -> bool:
        """Block until the run ends at *head* or beyond; False after *timeout* seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._head is not None and self._head >= head, timeout
            )

    def version_of(self, stream_id: str) -> int | None:
        """Return the newest version of a stream; None if none of its events is held."""
        return self._newest.get(stream_id)

    def after(
        self, stream_id: str, position: int, count: int, max_bytes: int
    ) -> tuple[StoredEvent, ...] | None:
        """Read the events after *position* of a stream, or of ``$all``.

        Returns:
            At most *count* events of at most *max_bytes*, but always the first one. Empty: there
            is none up to the head. None: what comes next is not held; ask the storage.
        """
        with self._changed:
            if stream_id == ALL_STREAMS:
                head, following = self._head, self._following(position)
            else:
                head, following = self._newest.get(stream_id), self._of(stream_id, position)
            found = _bounded(following, count, max_bytes)
        if not found and position != head:
            return None
        if stream_id == ALL_STREAMS:
            return tuple(found)
        return tuple(
            msgspec.structs.replace(event, position=event.stream_version) for event in found
        )

    def _following(self, position: int) -> Iterator[StoredEvent]:
        return _while_found(self._run.get(place) for place in counting(position + 1))

    def _of(self, stream_id: str, version: int) -> Iterator[StoredEvent]:
        return _while_found(self._versions.get((stream_id, v)) for v in counting(version + 1))

    def _put(self, event: StoredEvent) -> bool:
        position = event.global_position
        if self._head is not None and position != self._head + 1:
            if position <= self._head:
                return False
            self._forget()
        self._head = position
        self._run[position] = event
        self._versions[event.stream_id, event.stream_version] = event
        self._newest[event.stream_id] = event.stream_version
        self._bytes += event.size
        return True

    def _evict(self) -> None:
        assert self._head is not None
        while self._bytes > self._max_bytes or len(self._run) > self._max_events:
            event = self._run.pop(self._head - len(self._run) + 1)
            self._bytes -= event.size
            del self._versions[event.stream_id, event.stream_version]
            if self._newest[event.stream_id] == event.stream_version:
                del self._newest[event.stream_id]

    def _forget(self) -> None:
        self._run.clear()
        self._versions.clear()
        self._newest.clear()
        self._bytes = 0


def _while_found(events: Iterator[StoredEvent | None]) -> Iterator[StoredEvent]:
    for event in events:
        if event is None:
            return
        yield event


def _bounded(events: Iterator[StoredEvent], count: int, max_bytes: int) -> Sequence[StoredEvent]:
    found: list[StoredEvent] = []
    size = 0
    for event in events:
        size += event.size
        if len(found) == count or (found and size > max_bytes):
            break
        found.append(event)
    return found
