"""Events and appends as values of the storage port. Payloads are bytes; no JSON here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Self
from uuid import UUID

import msgspec

from eventstore.model.errors import DuplicateEventError, EventStoreError
from eventstore.model.events import AppendResult

__all__ = [
    "OTHERWISE",
    "Append",
    "Committed",
    "EncodedEvent",
    "Outcome",
    "Refusal",
    "StoredEvent",
    "StoredOtherwiseError",
    "StreamAppend",
    "WatchedAppend",
    "as_stored",
    "only_checked",
    "payload_bytes",
    "placed",
]

JSON = "json"
"""The format of payloads that `JsonSerializer` writes."""


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to append, with serialized payloads.

    Its fields are the one list of an event's columns: appends, reads and the store in memory use
    it. The parameters of ``append_events`` in `schema.sql` have the same order.
    """

    event_id: UUID
    event_type: str
    data: bytes
    metadata: bytes | None = None
    causation_id: UUID | None = None
    correlation_id: UUID | None = None
    format: str = JSON
    """Which serializer wrote the payloads."""
    created_at: datetime | None = None
    """None: the time of storing."""

    @property
    def size(self) -> int:
        """Bytes of data and metadata."""
        return len(self.data) + (0 if self.metadata is None else len(self.metadata))


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """A stored event: its place, then the columns of `EncodedEvent`."""

    position: int
    """Place in what it was read from: the stream, or ``$all``."""
    global_position: int
    stream_id: str
    stream_version: int
    event_id: UUID
    event_type: str
    data: bytes
    metadata: bytes | None
    causation_id: UUID | None
    correlation_id: UUID | None
    format: str
    created_at: datetime

    @property
    def size(self) -> int:
        """Bytes of data and metadata."""
        return len(self.data) + (0 if self.metadata is None else len(self.metadata))


def as_stored(
    event: EncodedEvent, stream_id: str, version: int, global_position: int, created_at: datetime
) -> StoredEvent:
    """Return *event* as a read of ``$all`` returns it after the commit."""
    columns: list[Any] = [*msgspec.structs.astuple(event)[:-1], created_at]
    return StoredEvent(global_position, global_position, stream_id, version, *columns)


def payload_bytes(events: Sequence[EncodedEvent] | Sequence[StoredEvent]) -> int:
    """Return the bytes of data and metadata of all *events*."""
    if len(events) == 1:
        return events[0].size
    return sum(map(len, map(_data, events))) + sum(map(len, filter(None, map(_metadata, events))))


_data = attrgetter("data")
_metadata = attrgetter("metadata")


class StreamAppend(msgspec.Struct, frozen=True):
    """One stream's part of an append; without events the stream is only checked."""

    stream_id: str
    expected_version: int
    """A version, or the value of an `ExpectedVersion`."""
    events: tuple[EncodedEvent, ...]


Append = tuple[StreamAppend, ...]
"""An append: atomic, with distinct streams."""


class WatchedAppend(tuple[StreamAppend, ...]):  # noqa: SLOT001 - slots of a tuple are empty
    """An append whose caller has work to do while the server stores it, and is told when."""

    note_sending: Callable[[], object]
    """Called by a storage, from any thread and at each attempt, when only sending is left to do.

    Never raises. Who merges appends, or has no server, need not call it: the caller then waits for
    the result.
    """

    def __new__(cls, parts: Iterable[StreamAppend], note_sending: Callable[[], object]) -> Self:
        append = super().__new__(cls, parts)
        append.note_sending = note_sending
        return append


def placed(
    part: StreamAppend, first_version: int, first_position: int, *, repeated: bool
) -> AppendResult:
    """Return the result of *part*, whose events are stored in a row from there on."""
    more = len(part.events) - 1
    return AppendResult(
        stream_id=part.stream_id,
        first_version=first_version,
        last_version=first_version + more,
        first_global_position=first_position,
        last_global_position=first_position + more,
        repeated=repeated,
    )


def only_checked(part: StreamAppend, version: int, *, repeated: bool) -> AppendResult:
    """Return the result of *part*, which has no events and found the stream at *version*."""
    return AppendResult(
        stream_id=part.stream_id,
        first_version=None,
        last_version=version,
        first_global_position=None,
        last_global_position=None,
        repeated=repeated,
    )


class Committed(msgspec.Struct, frozen=True):
    """Result of an append that is durably stored."""

    results: tuple[AppendResult, ...]
    """One per stream of the append, in its order."""
    created_at: datetime
    """The database's time of storing: `created_at` of events that did not set their own."""

    @property
    def repeated(self) -> bool:
        """Whether the same append was stored before, so that nothing was written now."""
        return any(result.repeated for result in self.results)


OTHERWISE = "stored with another type or other data"
"""How a used event id is used, if not in another place."""


class StoredOtherwiseError(DuplicateEventError):
    """The ids of the append are stored in its place, but an event has another type or other bytes.

    Whoever can decode the bytes compares the values: if they are equal, the append is repeated.
    """

    def __init__(self, event_id: UUID, results: tuple[AppendResult, ...]) -> None:
        super().__init__(event_id, OTHERWISE)
        self.results = results
        """Where its events are stored."""


Refusal = EventStoreError
"""Reason of a refused append: wrong version, duplicate id, stream deleted. Not raised."""

Outcome = Committed | Refusal
