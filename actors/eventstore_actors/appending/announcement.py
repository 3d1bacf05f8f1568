"""What an append stored, as it would be read back: live subscriptions need no read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from eventstore.ports.storage import Append, Committed, EncodedEvent, StoredEvent

__all__ = ["stored_events"]


def stored_events(append: Append, committed: Committed) -> Iterator[StoredEvent]:
    """Yield the events of *append* as ``$all`` shows them, in order."""
    now = committed.created_at
    for part, result in zip(append, committed.results, strict=True):
        version, position = result.first_version, result.first_global_position
        if version is None or position is None:
            continue
        for place, event in enumerate(part.events):
            yield _stored(event, part.stream_id, version + place, position + place, now)


def _stored(
    event: EncodedEvent, stream_id: str, version: int, position: int, now: datetime
) -> StoredEvent:
    created_at = now if event.created_at is None else event.created_at.astimezone(UTC)
    return StoredEvent(
        position,
        position,
        stream_id,
        version,
        event.event_id,
        event.event_type,
        event.data,
        event.metadata,
        event.causation_id,
        event.correlation_id,
        created_at,
    )
