"""The events and streams of a store in memory. Pure: no lock, no clock, no subscription."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest, nsmallest
from itertools import accumulate, islice
from uuid import UUID

import msgspec

from eventstore.model.errors import (
    DuplicateEventError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from eventstore.model.events import AppendResult, ExpectedVersion, StreamInfo
from eventstore.model.names import ALL_STREAMS
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.ports.storage import ReadDirection
from eventstore.ports.stored_events import (
    Append,
    Committed,
    EncodedEvent,
    Outcome,
    Refusal,
    StoredEvent,
    StoredOtherwiseError,
    StreamAppend,
    as_stored,
    only_checked,
    payload_bytes,
    placed,
)

__all__ = ["EventLog", "ended_by_bytes"]


@dataclass(slots=True)
class _Stream:
    created_at: datetime
    events: list[StoredEvent] = field(default_factory=list)


class EventLog:
    """All events, ordered by global position, and by version in each stream."""

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []
        self._stored_at: list[datetime] = []
        self._streams: dict[str, _Stream] = {}
        self._by_id: dict[UUID, StoredEvent] = {}

    @property
    def head(self) -> int:
        """Newest global position."""
        return len(self._events)

    @property
    def newest_id(self) -> UUID | None:
        """The event at the head."""
        return self._events[-1].event_id if self._events else None

    def head_of(self, stream_id: str) -> int:
        """Return the newest position of a stream, or of the store for ``$all``; 0 if missing."""
        return len(self._subscribed(stream_id))

    def stored_at(self, event: StoredEvent) -> datetime:
        """Return when *event* was stored; its `created_at` may be the caller's."""
        return self._stored_at[event.global_position - 1]

    def append(self, append: Append, now: datetime) -> Outcome:
        """Store *append* atomically, or return why it is refused."""
        if any(self._used_id(part) for part in append):
            repeated = self._first_results(append)
            if repeated is not None:
                differing = self._differing_id(append)
                return (
                    StoredOtherwiseError(differing, repeated)
                    if differing
                    else Committed(repeated, now)
                )
        for part in append:
            refusal = self._refusal(part)
            if refusal is not None:
                return refusal
        return Committed(tuple(self._store(part, now) for part in append), now)

    def read_stream(
        self, stream_id: str, start: int, count: int, direction: ReadDirection
    ) -> list[StoredEvent]:
        return _page(self._existing(stream_id).events, start, count, direction)

    def read_all(self, start: int, count: int, direction: ReadDirection) -> list[StoredEvent]:
        return _page(self._events, start, count, direction)

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int
    ) -> list[StoredEvent]:
        """Read at most *count* events and *max_bytes* bytes; the first event whatever its size."""
        found: list[StoredEvent] = []
        size = 0
        for event in self.after(stream_id, after, count):
            size += event.size
            if found and size > max_bytes:
                break
            found.append(event)
        return found

    def after(self, stream_id: str, position: int, count: int) -> list[StoredEvent]:
        """Return the next events after *position*; a missing stream has none."""
        return self._subscribed(stream_id)[position : position + count]

    def stream_info(self, stream_id: str) -> StreamInfo:
        if stream_id == ALL_STREAMS:
            return StreamInfo(
                stream_id=stream_id, stream_version=self.head, created_at=None, deleted_at=None
            )
        stream = self._existing(stream_id)
        return StreamInfo(
            stream_id=stream_id,
            stream_version=len(stream.events),
            created_at=stream.created_at,
            deleted_at=None,
        )

    @property
    def stream_count(self) -> int:
        """Number of streams."""
        return len(self._streams)

    def streams(self, listing: StreamListing, after: str | None, count: int) -> list[StreamInfo]:
        """Return the next *count* streams of *listing* after the stream *after*."""
        if listing.order is StreamOrder.STREAM_ID:
            ids = self._by_id_after(listing, after, count)
        else:
            ids = self._by_creation_after(listing, after, count)
        return [self.stream_info(stream_id) for stream_id in ids]

    def find(self, event_id: UUID) -> StoredEvent | None:
        """Return the event with this id, as it is in ``$all``."""
        return self._by_id.get(event_id)

    def _by_id_after(self, listing: StreamListing, after: str | None, count: int) -> list[str]:
        ids = filter(listing.holds, self._streams)
        if listing.descending:
            return nlargest(count, (each for each in ids if after is None or each < after))
        return nsmallest(count, (each for each in ids if after is None or each > after))

    def _by_creation_after(
        self, listing: StreamListing, after: str | None, count: int
    ) -> list[str]:
        if after is not None:
            self._existing(after)
        ids = iter(reversed(self._streams) if listing.descending else self._streams)
        if after is not None:
            next(each for each in ids if each == after)
        return list(islice(filter(listing.holds, ids), count))

    def holds(self, global_position: int, event_id: UUID) -> bool:
        """Return whether *event_id* is stored at *global_position*."""
        event = self._by_id.get(event_id)
        return event is not None and event.global_position == global_position

    def _subscribed(self, stream_id: str) -> list[StoredEvent]:
        if stream_id == ALL_STREAMS:
            return self._events
        stream = self._streams.get(stream_id)
        return stream.events if stream is not None else []

    def _existing(self, stream_id: str) -> _Stream:
        try:
            return self._streams[stream_id]
        except KeyError:
            raise StreamNotFoundError(stream_id) from None

    def _refusal(self, part: StreamAppend) -> Refusal | None:
        used = self._used_id(part)
        if used is not None:
            return DuplicateEventError(used)
        version = self.head_of(part.stream_id)
        if _fits(part.expected_version, version):
            return None
        return WrongExpectedVersionError(part.stream_id, _named(part.expected_version), version)

    def _used_id(self, part: StreamAppend) -> UUID | None:
        return next((e.event_id for e in part.events if e.event_id in self._by_id), None)

    def _first_results(self, append: Append) -> tuple[AppendResult, ...] | None:
        """Return the results of an earlier, equal append; None if there is none."""
        firsts = [self._first_of_run(part) for part in append]
        if any(part.events and not first for part, first in zip(append, firsts, strict=True)):
            return None
        return tuple(
            self._result(part, first, repeated=True)
            for part, first in zip(append, firsts, strict=True)
        )

    def _differing_id(self, append: Append) -> UUID | None:
        """Return the id of the first event that is stored with another type or other bytes."""
        for event in (event for part in append for event in part.events):
            stored = self._by_id[event.event_id]
            if _content(event) != _content(stored):
                return event.event_id
        return None

    def _first_of_run(self, part: StreamAppend) -> StoredEvent | None:
        """Return the stored first event of *part*, if all its events are stored in a row."""
        first = self._by_id.get(part.events[0].event_id) if part.events else None
        if first is None:
            return None
        place = first.global_position - 1
        run = self._events[place : place + len(part.events)]
        same_ids = [e.event_id for e in run] == [e.event_id for e in part.events]
        same_stream = all(e.stream_id == part.stream_id for e in run)
        return first if same_ids and same_stream else None

    def _store(self, part: StreamAppend, now: datetime) -> AppendResult:
        if not part.events:
            return self._result(part, None, repeated=False)
        stream = self._streams.get(part.stream_id)
        if stream is None:
            stream = _Stream(created_at=part.events[0].created_at or now)
            self._streams[part.stream_id] = stream
        stored = [self._put(part.stream_id, stream, event, now) for event in part.events]
        return self._result(part, stored[0], repeated=False)

    def _put(
        self, stream_id: str, stream: _Stream, event: EncodedEvent, now: datetime
    ) -> StoredEvent:
        global_position = self.head + 1
        version = len(stream.events) + 1
        stored = as_stored(event, stream_id, version, global_position, event.created_at or now)
        self._events.append(stored)
        self._stored_at.append(now)
        stream.events.append(msgspec.structs.replace(stored, position=stored.stream_version))
        self._by_id[event.event_id] = stored
        return stored

    def _result(
        self, part: StreamAppend, first: StoredEvent | None, *, repeated: bool
    ) -> AppendResult:
        if first is None:
            return only_checked(part, self.head_of(part.stream_id), repeated=repeated)
        return placed(part, first.stream_version, first.global_position, repeated=repeated)


def _content(event: EncodedEvent | StoredEvent) -> tuple[str, str, bytes]:
    """Return what makes a repeated event the same one; the rest may differ in an honest retry."""
    return event.event_type, event.format, event.data


def _fits(expected: int, version: int) -> bool:
    match expected:
        case ExpectedVersion.ANY:
            return True
        case ExpectedVersion.STREAM_EXISTS:
            return version > 0
        case _:
            return expected == version


def _named(expected: int) -> int | ExpectedVersion:
    return ExpectedVersion(expected) if expected < 0 else expected


def _page(
    events: list[StoredEvent], start: int, count: int, direction: ReadDirection
) -> list[StoredEvent]:
    """Return up to *count* events from the 1-based place *start* on."""
    if direction is ReadDirection.FORWARD:
        place = max(start, 1) - 1
        return events[place : place + count]
    end = max(min(start, len(events)), 0)
    return events[max(end - count, 0) : end][::-1]


def ended_by_bytes(page: list[StoredEvent], max_bytes: int | None) -> list[StoredEvent]:
    """Return *page* up to the event with which it has *max_bytes* bytes; None: all of it."""
    if max_bytes is None or payload_bytes(page) < max_bytes:
        return page
    before = accumulate((event.size for event in page), initial=0)
    return [event for event, size in zip(page, before, strict=False) if size < max_bytes]
