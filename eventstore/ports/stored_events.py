"""Events and appends as values of the storage port. Payloads are bytes; no JSON here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from eventstore.model.errors import EventStoreError
from eventstore.model.events import AppendResult

__all__ = [
    "Append",
    "Committed",
    "EncodedEvent",
    "Outcome",
    "Refusal",
    "StoredEvent",
    "StreamAppend",
    "as_stored",
    "payload_bytes",
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
        return len(self.data) + (len(self.metadata) if self.metadata is not None else 0)


def as_stored(
    event: EncodedEvent, stream_id: str, version: int, global_position: int, created_at: datetime
) -> StoredEvent:
    """Return *event* as a read of ``$all`` returns it after the commit."""
    columns: list[Any] = [*msgspec.structs.astuple(event)[:-1], created_at]
    return StoredEvent(global_position, global_position, stream_id, version, *columns)


def payload_bytes(events: Sequence[EncodedEvent] | Sequence[StoredEvent]) -> int:
    """Return the bytes of data and metadata of all *events*."""
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


class Committed(msgspec.Struct, frozen=True):
    """Result of an append that is durably stored."""

    results: tuple[AppendResult, ...]
    """One per stream of the append, in its order."""
    created_at: datetime
    """The database's time of storing: `created_at` of events that did not set their own."""
    repeated: bool
    """Whether the same append was stored before, so that nothing was written now."""


Refusal = EventStoreError
"""Reason of a refused append: wrong version, duplicate id, stream deleted. Not raised."""

Outcome = Committed | Refusal
