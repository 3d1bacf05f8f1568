"""The events and streams of a store in memory. Pure: no lock, no clock, no subscription."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest, nsmallest
from itertools import islice
from uuid import UUID

import msgspec

from eventstore.model.errors import (
    DuplicateEventError,
    EventNotFoundError,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from eventstore.model.events import (
    AppendResult,
    ExpectedVersion,
    LinkResult,
    StreamInfo,
    named_version,
)
from eventstore.model.names import ALL_STREAMS
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.ports.changes import Deletion, Link
from eventstore.ports.listening import LinkedStream
from eventstore.ports.reads import ReadDirection
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
    placed,
)
from eventstore.storages.memory.event_pages import page_of, within_bytes

__all__ = ["EventLog"]


@dataclass(slots=True)
class _Stream:
    created_at: datetime
    deleted_at: datetime | None = None
    version: int = 0
    """The newest that was ever given out."""
    events: list[StoredEvent] = field(default_factory=list)
    """Its own and the linked ones, by their `position` in it."""
    places: dict[UUID, int] = field(default_factory=dict)
    """Their positions, by id."""

    def put(self, event: StoredEvent) -> int:
        """Add *event* at the next version. Return that version."""
        self.version += 1
        self.events.append(msgspec.structs.replace(event, position=self.version))
        self.places[event.event_id] = self.version
        return self.version


class EventLog:
    """All events, ordered by global position, and by version in each stream."""

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []
        self._stored_at: dict[UUID, datetime] = {}
        self._streams: dict[str, _Stream] = {}
        self._by_id: dict[UUID, StoredEvent] = {}
        self._links: list[LinkedStream] = []
        """The linked streams, in commit order."""
        self.head = 0
        """Newest global position that was ever given out."""
        self.deletion_no = 0
        """Number of the newest hard delete."""

    @property
    def newest_id(self) -> UUID | None:
        """The event at the head; None if it was deleted."""
        newest = self._events[-1] if self._events else None
        return newest.event_id if newest and newest.global_position == self.head else None

    def head_of(self, stream_id: str) -> int:
        """Return the newest position of a stream, or of the store for ``$all``; 0 if missing."""
        if stream_id == ALL_STREAMS:
            return self.head
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.version

    def stored_at(self, event: StoredEvent) -> datetime:
        """Return when *event* was stored; its `created_at` may be the caller's."""
        return self._stored_at[event.event_id]

    def append(self, append: Append, now: datetime) -> Outcome:
        """Store *append* atomically, or return why it is refused."""
        known = self.known_outcome(append, now)
        if known is not None:
            return known
        return Committed(tuple(self._store(part, now) for part in append), now)

    def known_outcome(self, append: Append, now: datetime) -> Outcome | None:
        """Return the first result of *append*, or why it is refused; None if it can be stored."""
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
        return None

    def read_stream(
        self, stream_id: str, start: int, count: int, direction: ReadDirection
    ) -> list[StoredEvent]:
        return page_of(self.readable(stream_id), start, count, direction)

    def read_all(self, start: int, count: int, direction: ReadDirection) -> list[StoredEvent]:
        return page_of(self._events, start, count, direction)

    def readable(self, stream_id: str) -> list[StoredEvent]:
        """Return all events of a stream that can be read, or of the store."""
        if stream_id == ALL_STREAMS:
            return self._events
        stream = self._existing(stream_id)
        if stream.deleted_at is not None:
            raise StreamDeletedError(stream_id, stream.deleted_at)
        return stream.events

    def read_after(
        self, stream_id: str, after: int, count: int, max_bytes: int
    ) -> list[StoredEvent]:
        """Read at most *count* events and *max_bytes* bytes; the first event whatever its size."""
        return within_bytes(self.after(stream_id, after, count), max_bytes)

    def after(self, stream_id: str, position: int, count: int) -> list[StoredEvent]:
        """Return the next events after *position*; a missing stream has none."""
        return page_of(self.subscribed(stream_id), position + 1, count, ReadDirection.FORWARD)

    def stream_info(self, stream_id: str) -> StreamInfo:
        if stream_id == ALL_STREAMS:
            return StreamInfo(
                stream_id=stream_id, stream_version=self.head, created_at=None, deleted_at=None
            )
        stream = self._existing(stream_id)
        return StreamInfo(
            stream_id=stream_id,
            stream_version=stream.version,
            created_at=stream.created_at,
            deleted_at=stream.deleted_at,
        )

    @property
    def stream_count(self) -> int:
        """Number of streams that are not deleted."""
        return sum(stream.deleted_at is None for stream in self._streams.values())

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

    def link(self, link: Link, now: datetime) -> LinkResult:
        """Link events to a stream, all or none; see `Storage.link`."""
        stream_id, expected, event_ids = link
        events = [self._known(event_id) for event_id in event_ids]
        known = self._streams.get(stream_id)
        places = [None if known is None else known.places.get(each) for each in event_ids]
        first, is_own = places[0], any(event.stream_id == stream_id for event in events)
        if first is not None and not is_own and places == [*range(first, first + len(places))]:
            return _linked(stream_id, first, len(places), repeated=True)
        for event_id, place in zip(event_ids, places, strict=True):
            if place is not None:
                raise DuplicateEventError(event_id, f"in stream {stream_id!r}")
        if (refusal := self._unexpected(stream_id, expected)) is not None:
            raise refusal
        stream = self._created(stream_id, now)
        first = stream.version + 1
        for event in events:
            version = stream.put(event)
            self._links.append(LinkedStream(len(self._links) + 1, stream_id, version))
        return _linked(stream_id, first, len(events), repeated=False)

    def linked(self, after: int, count: int) -> list[LinkedStream]:
        """Return the next *count* links after number *after*."""
        return self._links[after : after + count]

    @property
    def link_no(self) -> int:
        """Number of the newest link."""
        return len(self._links)

    def delete_stream(self, deletion: Deletion, now: datetime) -> None:
        """Delete a stream; see `Storage.delete_stream`."""
        stream_id, expected, hard = deletion
        stream = self._existing(stream_id)
        if (refusal := self._unexpected(stream_id, expected)) is not None:
            raise refusal
        if hard:
            self._erase(stream_id)
        else:
            stream.deleted_at = now

    def _erase(self, stream_id: str) -> None:
        """Delete a stream with its events, and the links to them."""
        del self._streams[stream_id]
        for event in self._events:
            if event.stream_id == stream_id:
                del self._by_id[event.event_id], self._stored_at[event.event_id]
        self._events = _others(self._events, stream_id)
        for stream in self._streams.values():
            stream.events = _others(stream.events, stream_id)
            stream.places = {event.event_id: event.position for event in stream.events}
        self.deletion_no += 1

    def _known(self, event_id: UUID) -> StoredEvent:
        try:
            return self._by_id[event_id]
        except KeyError:
            raise EventNotFoundError(event_id) from None

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
        """Return whether *event_id* is stored at *global_position*, or was deleted there."""
        event = self._by_id.get(event_id)
        if event is not None:
            return event.global_position == global_position
        found = page_of(self._events, global_position, 1, ReadDirection.FORWARD)
        is_free = not found or found[0].global_position != global_position
        return is_free and global_position <= self.head

    def subscribed(self, stream_id: str) -> list[StoredEvent]:
        """Return all events of a stream, or of the store; a missing stream has none."""
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
        return self._unexpected(part.stream_id, part.expected_version)

    def _unexpected(self, stream_id: str, expected: int) -> Refusal | None:
        """Return what is wrong with a stream that is expected at a version; None if nothing is."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.deleted_at is not None:
            return StreamDeletedError(stream_id, stream.deleted_at)
        version = self.head_of(stream_id)
        if _fits(expected, version):
            return None
        return WrongExpectedVersionError(stream_id, named_version(expected), version)

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
        run = self.after(ALL_STREAMS, first.global_position - 1, len(part.events))
        same_ids = [e.event_id for e in run] == [e.event_id for e in part.events]
        same_stream = all(e.stream_id == part.stream_id for e in run)
        return first if same_ids and same_stream else None

    def _store(self, part: StreamAppend, now: datetime) -> AppendResult:
        if not part.events:
            return self._result(part, None, repeated=False)
        stream = self._created(part.stream_id, part.events[0].created_at or now)
        stored = [self._put(part.stream_id, stream, event, now) for event in part.events]
        return self._result(part, stored[0], repeated=False)

    def _created(self, stream_id: str, now: datetime) -> _Stream:
        """Return a stream, which is created if it is missing."""
        return self._streams.setdefault(stream_id, _Stream(created_at=now))

    def _put(
        self, stream_id: str, stream: _Stream, event: EncodedEvent, now: datetime
    ) -> StoredEvent:
        version = stream.version + 1
        self.head += 1
        stored = as_stored(event, stream_id, version, self.head, event.created_at or now)
        self._events.append(stored)
        self._stored_at[event.event_id] = now
        stream.put(stored)
        self._by_id[event.event_id] = stored
        return stored

    def _result(
        self, part: StreamAppend, first: StoredEvent | None, *, repeated: bool
    ) -> AppendResult:
        if first is None:
            return only_checked(part, self.head_of(part.stream_id), repeated=repeated)
        return placed(part, first.stream_version, first.global_position, repeated=repeated)


def _linked(stream_id: str, first: int, count: int, *, repeated: bool) -> LinkResult:
    return LinkResult(
        stream_id=stream_id,
        first_version=first,
        last_version=first + count - 1,
        repeated=repeated,
    )


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


def _others(events: list[StoredEvent], stream_id: str) -> list[StoredEvent]:
    """Return the events that were not appended to a stream."""
    return [event for event in events if event.stream_id != stream_id]
