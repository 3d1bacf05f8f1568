"""Check a link, in the caller's own thread."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from eventstore.client.appending import check_iterable
from eventstore.model.checks import check_uuid, shown
from eventstore.model.errors import DuplicateEventError
from eventstore.model.events import EventData, RecordedEvent, check_expected_version
from eventstore.model.names import check_stream_id
from eventstore.ports.changes import Link

__all__ = ["MAX_LINKS", "prepare_link"]

MAX_LINKS = 10_000
"""Most events of one link; the appends of all processes wait for it."""


def prepare_link(
    stream_id: str, expected_version: int, events: Iterable[RecordedEvent | UUID]
) -> Link:
    """Return the link of *events* to a stream.

    Raises:
        TypeError, ValueError: An argument is invalid, or *events* is empty or too many.
        DuplicateEventError: An event occurs twice.
    """
    stream_id = check_stream_id(stream_id)
    expected = check_expected_version(expected_version)
    ids = tuple(_id_of(event) for event in check_iterable("events", events))
    if not ids:
        raise ValueError(f"events must not be empty (link to {shown(stream_id)})")
    if len(ids) > MAX_LINKS:
        raise ValueError(f"events are {len(ids):,}, at most {MAX_LINKS:,} are possible in one link")
    seen: set[UUID] = set()
    for event_id in ids:
        if event_id in seen:
            raise DuplicateEventError(event_id, "in this link")
        seen.add(event_id)
    return Link(stream_id, expected, ids)


def _id_of(event: object) -> UUID:
    if isinstance(event, RecordedEvent):
        return event.event_id
    if isinstance(event, EventData):
        raise TypeError(f"events must be stored ones, or their ids: {shown(event)}")
    return check_uuid("events", event)
